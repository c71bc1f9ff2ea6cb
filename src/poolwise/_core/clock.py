"""The clock the engine reads. One protocol, so that tests can run it on a clock of their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go backwards, and the offset that turns them into Unix time."""

    def now(self) -> float:
        """Return seconds on a monotonic clock that all processes of this machine share."""

    @property
    def epoch(self) -> float:
        """Seconds to add to `now()` to get Unix time."""


class SystemClock:
    """`time.perf_counter`: on Linux, macOS and Windows one system-wide monotonic clock for all processes."""

    __slots__ = ("epoch",)

    def __init__(self) -> None:
        self.epoch = time.time() - time.perf_counter()

    now = staticmethod(time.perf_counter)
