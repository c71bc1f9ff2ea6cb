"""A comparison as a file: written after each block, read to go on or to be analysed again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from poolwise import UsageError
from poolwise._bench.model import (
    BenchWarning,
    Calibration,
    Comparison,
    Design,
    Disturbance,
    Identity,
    Measured,
    Trial,
)
from poolwise.report.files import write_whole

FORMAT = "poolwise bench 1"


def save(path: str | os.PathLike[str], design: Design, trials: Sequence[Trial]) -> None:
    """Write a comparison, as a whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    content = {"format": FORMAT, "design": _design_to_dict(design), "trials": [asdict(trial) for trial in trials]}
    write_whole(path, json.dumps(content, indent=1, allow_nan=False).encode())


def load(path: str | os.PathLike[str]) -> tuple[Design, list[Trial]]:
    """Read what `save` wrote.

    Raises:
        UsageError: the file cannot be read, or is something else.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {name!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{name!r} is no comparison: it is not JSON; give another path") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{name!r} is no comparison that this version of poolwise saved; give another path")
    try:
        return _design_from_dict(content["design"]), [_trial_from_dict(trial) for trial in content["trials"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{name!r} is a damaged comparison ({type(error).__name__}: {error})") from error


def difference(before: Identity, now: Identity) -> str:
    """Say how the identity of a saved comparison differs from that of this one; "" where figures can be compared."""
    if before.function != now.function:
        return f"is of {before.function}, not of {now.function}"
    for name in sorted(before.options.keys() | now.options.keys()):
        if before.options.get(name) != now.options.get(name):
            old, new = before.options.get(name, "not given"), now.options.get(name, "not given")
            return f"was made with {name}={old}, which is {new} now"
    if before.python != now.python:
        return f"was measured by {before.python}, not {now.python}"
    if before.source and now.source and before.source != now.source:
        return f"was measured before the source of {now.function} was changed"
    if before.code != now.code:
        return f"is of another {now.function}: its code differs"
    if (before.items, before.given) != (now.items, now.given):
        return f"was made with other items ({before.given:,} then, {now.given:,} now)"
    if before.machine != now.machine:
        return f"was measured on another machine ({before.machine}, not {now.machine})"
    return ""


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as values that JSON can hold."""
    return {
        "function": comparison.design.identity.function,
        "verdict": comparison.verdict,
        "winner": comparison.winner,
        "baseline": comparison.baseline,
        "blocks": comparison.blocks,
        "noise_floor": comparison.noise_floor,
        "rows": [asdict(row) for row in comparison.rows],
        "warnings": [asdict(warning) for warning in comparison.warnings],
        "design": _design_to_dict(comparison.design),
        "trials": [asdict(trial) for trial in comparison.trials],
    }


def _design_to_dict(design: Design) -> dict[str, Any]:
    found: dict[str, Any] = _strict(asdict(design))
    return found


def _strict(value: Any) -> Any:
    """Return a value without what JSON has no word for: a bound that is infinite becomes None."""
    if isinstance(value, Mapping):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _design_from_dict(found: Mapping[str, Any]) -> Design:
    return Design(
        **{
            **found,
            "identity": Identity(**found["identity"]),
            "sides": tuple(found["sides"]),
            "calibration": Calibration(**found["calibration"]),
            "warnings": tuple(BenchWarning(**warning) for warning in found["warnings"]),
        }
    )


def _trial_from_dict(found: Mapping[str, Any]) -> Trial:
    measured = found["measured"]
    return Trial(
        **{
            **found,
            "measured": None if measured is None else Measured(**measured),
            "disturbance": Disturbance(**found["disturbance"]),
        }
    )
