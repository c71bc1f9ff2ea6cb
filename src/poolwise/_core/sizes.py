"""What values occupy in memory, at a glance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

_SAMPLE = 16


def shallow_bytes(value: Any) -> int:
    """Return the memory that a value itself occupies: its shallow size, plus `nbytes` of an array."""
    try:
        return sys.getsizeof(value) + int(getattr(value, "nbytes", 0))
    except Exception:  # A hostile __sizeof__ or nbytes: nothing that should end a run.
        return 0


def sampled_bytes(values: Sequence[Any]) -> float:
    """Return about the memory that values occupy, looking at no more than 16 of them."""
    number = len(values)
    if number <= _SAMPLE:
        return sum(map(shallow_bytes, values))
    sample = values[:: -(-number // _SAMPLE)]
    return sum(map(shallow_bytes, sample)) * number / len(sample)
