"""The meter: what many Done events say about the function, as running means."""

from __future__ import annotations

_MEMORY_BATCHES = 16
_LEAST_ITEM_BYTES = 100  # A small Python object and its place in lists: what pickles of a few bytes stand for.


class Meter:
    """Running estimates of one run.

    Attributes:
        items: how many were executed.
        mean_seconds: wall seconds an item takes in its lane, or None (the first one, which may import or connect,
            counts only until there are others).
        item_bytes, value_bytes: means of what one item, and what one value occupies.
        mean_bytes: bytes that an item and its value occupy together, or None.
        busy_seconds, cpu_seconds: sums over all items.
        own_cpu_seconds: CPU of those that ran in the calling process.
        resident_bytes: the largest worker seen.
    """

    __slots__ = (
        "_seconds",
        "busy_seconds",
        "cpu_seconds",
        "item_bytes",
        "items",
        "own_cpu_seconds",
        "resident_bytes",
        "value_bytes",
    )

    def __init__(self) -> None:
        self.items = 0
        self.item_bytes = Mean()
        self.value_bytes = Mean()
        self.busy_seconds = 0.0
        self.cpu_seconds = 0.0
        self.own_cpu_seconds = 0.0
        self.resident_bytes = 0
        self._seconds = Mean()

    def add(
        self, count: int, seconds: float, cpu_seconds: float | None, resident_bytes: int = 0, *, own: bool = True
    ) -> None:
        """Take in `count` executions that took `seconds` of one lane together, `own` if in the calling process."""
        self.busy_seconds += seconds
        self.cpu_seconds += cpu_seconds or 0.0
        self.own_cpu_seconds += cpu_seconds or 0.0 if own else 0.0
        self.resident_bytes = max(self.resident_bytes, resident_bytes)
        if count == 0:
            return
        if self.items == 1:
            self._seconds = Mean()
        self.items += count
        self._seconds.add(count, seconds)

    @property
    def mean_seconds(self) -> float | None:
        return self._seconds.mean

    @property
    def mean_bytes(self) -> float | None:
        if self.item_bytes.mean is None and self.value_bytes.mean is None:
            return None
        return max(_LEAST_ITEM_BYTES, (self.item_bytes.mean or 0.0) + (self.value_bytes.mean or 0.0))


class Mean:
    """A running mean that forgets: additions weigh less the older they are.

    Attributes:
        mean: of what was added, or None.
    """

    __slots__ = ("_total", "_weight", "mean")

    def __init__(self) -> None:
        self._total = self._weight = 0.0
        self.mean: float | None = None

    def add(self, count: int, total: float) -> None:
        """Take in `count` things that are `total` together."""
        if count == 0:
            return
        keep = 1 - 1 / _MEMORY_BATCHES
        self._total = self._total * keep + total
        self._weight = self._weight * keep + count
        self.mean = self._total / self._weight
