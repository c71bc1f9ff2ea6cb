"""The meter: what many Done events say about the function, as running means."""

from __future__ import annotations

_MEMORY_BATCHES = 16
_LEAST_ITEM_BYTES = 100  # A small Python object and its place in lists: what pickles of a few bytes stand for.


class Meter:
    """Running estimates of one run.

    Attributes:
        items: how many were executed.
        mean_seconds: wall seconds an item takes in its lane, or None before the second item (the first one, which
            may import or connect, is left out of estimates as long as there are others).
        mean_bytes: bytes that an item and its value occupy, or None.
        busy_seconds, cpu_seconds: sums over all items.
        resident_bytes: the largest worker seen.
    """

    __slots__ = (
        "_bytes",
        "_bytes_weight",
        "_seconds",
        "_weight",
        "busy_seconds",
        "cpu_seconds",
        "items",
        "mean_bytes",
        "mean_seconds",
        "resident_bytes",
    )

    def __init__(self) -> None:
        self.items = 0
        self.mean_seconds: float | None = None
        self.mean_bytes: float | None = None
        self.busy_seconds = 0.0
        self.cpu_seconds = 0.0
        self.resident_bytes = 0
        self._seconds = self._weight = 0.0
        self._bytes = self._bytes_weight = 0.0

    def add(self, count: int, seconds: float, cpu_seconds: float | None, resident_bytes: int = 0) -> None:
        """Take in `count` executions that took `seconds` of one lane together."""
        self.busy_seconds += seconds
        self.cpu_seconds += cpu_seconds or 0.0
        self.resident_bytes = max(self.resident_bytes, resident_bytes)
        if count == 0:
            return
        if self.items == 1:
            self._seconds = self._weight = 0.0
        self.items += count
        keep = 1 - 1 / _MEMORY_BATCHES
        self._seconds = self._seconds * keep + seconds
        self._weight = self._weight * keep + count
        self.mean_seconds = self._seconds / self._weight

    def add_bytes(self, count: int, size: float) -> None:
        """Take in that `count` items (or values) occupy `size` bytes."""
        if count == 0:
            return
        keep = 1 - 1 / _MEMORY_BATCHES
        self._bytes = self._bytes * keep + max(size, count * _LEAST_ITEM_BYTES)
        self._bytes_weight = self._bytes_weight * keep + count
        self.mean_bytes = self._bytes / self._bytes_weight
