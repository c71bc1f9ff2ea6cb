"""Tracebacks as text, as `traceback.format_exception` writes them, for failures that come by the thousand.

To write out one frame asks for its file and parses its line, for the marks under it. The same frames come again and
again, so their text is kept (`benchmarks/overhead.py --only fail-1x1`).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import CodeType, TracebackType

_MOST_KEPT = 1_000
_FEW = 3  # So often a line that calls itself is written out; of more it is said how many there are.
_BECAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"

_kept: dict[tuple[int, int], tuple[CodeType, str]] = {}  # By the code's id, which stays its own while it is kept.


def text_of(error: BaseException) -> str:
    """Return an exception with its traceback, and with those that led to it.

    Raises:
        Exception: what the exception's own `__str__` raises.
    """
    parts: list[str] = []
    chain: set[int] = set()  # By id: exceptions may have an equality of their own.
    following: BaseException | None = error
    while following is not None:
        frames = _frames(following)
        if frames is None or id(following) in chain or _wants_its_frames(following):
            return "".join(traceback.format_exception(error))
        chain.add(id(following))
        parts.append("".join([*frames, *traceback.format_exception_only(following)]))
        if following.__cause__ is not None:
            following, link = following.__cause__, _BECAUSE
        elif following.__context__ is not None and not following.__suppress_context__:
            following, link = following.__context__, _MEANWHILE
        else:
            break
        parts.append(link)
    return "".join(reversed(parts))


def _wants_its_frames(error: BaseException) -> bool:
    """Say whether what is said of an exception depends on more than itself: guesses at a name, a tree of others."""
    return isinstance(error, NameError | ImportError | SyntaxError | BaseExceptionGroup)


def _frames(error: BaseException) -> list[str] | None:
    """Return the lines of a traceback; None where a line calls itself so often that it is not written out each time."""
    if error.__traceback__ is None:
        return []
    lines, before, times = ["Traceback (most recent call last):\n"], None, 0
    for place, text in _lines(error.__traceback__):
        times = times + 1 if place == before else 1
        if times > _FEW:
            return None
        before = place
        lines.append(text)
    return lines


def _lines(trace: TracebackType | None) -> Iterator[tuple[tuple[str, int | None, str], str]]:
    """Yield for each frame the file, the line and the function, and its text."""
    while trace is not None:
        code = trace.tb_frame.f_code
        key = (id(code), trace.tb_lasti)
        kept = _kept.get(key)
        if kept is None:
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            kept = _kept[key] = (code, "".join(traceback.extract_tb(trace, limit=1).format()))
        yield (code.co_filename, trace.tb_lineno, code.co_name), kept[1]
        trace = trace.tb_next
