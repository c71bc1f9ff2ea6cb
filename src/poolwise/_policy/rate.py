"""The rate limit: a token bucket over starts of executions."""

from __future__ import annotations

_BURST_SECONDS = 0.02


class TokenBucket:
    """Grants starts at `per_second`, with a burst of 20 ms worth and at least one.

    Args:
        per_second: starts a second. It may be changed.
    """

    __slots__ = ("_last", "_tokens", "per_second")

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._tokens = 1.0
        self._last: float | None = None

    def available(self, now: float) -> int:
        """Return how many starts are allowed at `now` seconds."""
        if self._last is not None:
            capacity = max(1.0, self.per_second * _BURST_SECONDS)
            self._tokens = min(capacity, self._tokens + (now - self._last) * self.per_second)
        self._last = now
        return int(self._tokens + 1e-9)

    def take(self, count: int) -> None:
        """Use up `count` starts."""
        self._tokens -= count

    def next_at(self, now: float) -> float:
        """Return when the next start is allowed, in seconds on the same clock."""
        return now + max(0.0, 1.0 - self._tokens) / self.per_second
