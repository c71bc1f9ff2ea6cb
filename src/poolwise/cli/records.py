"""An outcome as one line of JSON."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from poolwise.cli.terminal import failure

_ESCAPED = {
    each: f"\\u{each:04x}"
    for each in (*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
"""Valid inside JSON strings, but some readers take them for the end of a line, and some terminals for a command."""


def outcome_line(outcome: Any) -> bytes:
    """Write an outcome as a line of JSON in UTF-8, newline included.

    `value` holds the value where JSON says exactly the same; otherwise it is null, and `repr` holds the repr.

    Args:
        outcome: a `poolwise.Outcome`.
    """
    return _encoded({"index": outcome.index, **outcome_fields(outcome)})


def recorded_line(outcome: Any) -> bytes:
    """Write an outcome out of a journal as a line of JSON: as `outcome_line`, without its place in an input.

    Args:
        outcome: a `Recorded`.
    """
    return _encoded(outcome_fields(outcome))


def outcome_fields(outcome: Any) -> dict[str, Any]:
    """Return what a line says of an outcome, or of a recorded one."""
    fields: dict[str, Any] = {"key": plain_key(outcome.key), "ok": outcome.error is None}
    fields |= _value_fields(outcome.value)
    return fields | {
        "error": None if outcome.error is None else _error_fields(outcome.error),
        "attempts": outcome.attempts,
        "started": round(outcome.started, 6),
        "finished": round(outcome.finished, 6),
        "seconds": round(outcome.seconds, 9),
        "cpu_seconds": None if outcome.cpu_seconds is None else round(outcome.cpu_seconds, 9),
        "worker": outcome.worker,
        "lane": outcome.lane,
    }


def _encoded(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return f"{text}\n".encode()
    try:
        return f"{text.translate(_ESCAPED)}\n".encode()
    except UnicodeEncodeError:
        # A lone surrogate: a file name that is not UTF-8. Only an escape can say it.
        return f"{json.dumps(record)}\n".encode()


def _value_fields(value: Any) -> dict[str, Any]:
    try:
        if _is_plain(value):
            json.dumps(value)  # an integer of more than 4,300 digits is refused here
            return {"value": value}
    except (ValueError, RecursionError):
        pass
    return {"value": None, "repr": _safe_repr(value)}


def _is_plain(value: Any) -> bool:
    """Say whether JSON holds exactly this: a tuple, an enum member, NaN would come back as something else."""
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(name) is str for name in value) and all(map(_is_plain, value.values()))
    return False


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


def plain_key(key: Any) -> Any:
    """Return a key as JSON can say it; paths become text, tuples lists."""
    if isinstance(key, str | int | None):
        return key
    if isinstance(key, os.PathLike):
        return os.fsdecode(key)
    if isinstance(key, tuple):
        return [plain_key(each) for each in key]
    return _safe_repr(key)


def _error_fields(error: Any) -> dict[str, str]:
    name, message = failure(error)
    fields = {"type": name, "message": message}
    if error.remote_traceback:
        fields["traceback"] = error.remote_traceback
    return fields
