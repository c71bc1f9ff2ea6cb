"""The gauge: the throughput of one shape, from what its lanes report.

Each lane's own record is enough: so many items between the start of its first and the end of its last, idle gaps
included. Summed over the lanes that is the throughput (Little's law read backwards), without the error at the ends of a
window that counting completions would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolwise._core.model import Done
from poolwise._policy.pack import batch_seconds

_SLACK_SECONDS = 0.025  # Of what a lane has done it tells that much later than it should (`Batch.flush_seconds`).


@dataclass(slots=True)
class _Track:
    """What one lane has done: from `begun` to `ended` seconds, this many items."""

    begun: float
    ended: float
    items: int = 0


class Gauge:
    """Measures one shape from `since` on.

    Args:
        lanes: of the shape.
        since: clock reading, in seconds; executions that began before it belong to another shape.
        children: the lanes are in child processes.

    Attributes:
        items: executions that ended well and count.
        busy_seconds: CPU seconds of all executions seen, or wall seconds where CPU is not known.
        seen: all executions seen.
        waits: of their lanes' threads, see `Done.waits`.
    """

    def __init__(self, lanes: int, since: float, *, children: bool) -> None:
        self.lanes = lanes
        self.since = since
        self.items = 0
        self.seen = 0
        self.busy_seconds = 0.0
        self.waits = 0
        self._longest_seconds = 0.0  # Of an item that counts.
        self._children = children
        self._tracks: dict[tuple[int, int], _Track] = {}

    def add(self, done: Done, good: int) -> None:
        """Take in an event of which `good` executions ended well. Each lane's first execution only starts its clock."""
        if done.started < self.since or (done.worker > 0) is not self._children or not done.values:
            return
        self.seen += len(done.values)
        self.waits += done.waits
        self.busy_seconds += done.seconds if done.cpu_seconds is None else done.cpu_seconds
        lane = (done.worker, done.lane)
        ended = done.started + done.seconds
        if done.clocks:
            start, seconds, _ = done.clocks[-1]
            ended = start + seconds
        track = self._tracks.get(lane)
        if track is None:
            first_end = _end_of_first(done)
            self._tracks[lane] = _Track(first_end, max(ended, first_end), good - 1)
            self.items += max(0, good - 1)
            each = (done.clocks or ())[1:]
        else:
            track.ended = max(track.ended, ended)
            track.items += good
            self.items += good
            each = done.clocks or ((done.started, done.seconds / len(done.values), None),)
        self._longest_seconds = max(self._longest_seconds, max((seconds for _, seconds, _ in each), default=0.0))

    @property
    def covered_seconds(self) -> float:
        """Lane-seconds observed."""
        return sum(track.ended - track.begun for track in self._tracks.values())

    @property
    def heard_seconds(self) -> float:
        """From `since` to the end of the last execution that is known."""
        return max((track.ended for track in self._tracks.values()), default=self.since) - self.since

    @property
    def plain_rate(self) -> float | None:
        """The items a second that all lanes together told of: where some starve, their own records say little."""
        seconds = self.heard_seconds
        return (self.items + len(self._tracks)) / seconds if seconds > 0 else None

    @property
    def rate_but_longest(self) -> float | None:
        """The items a second of the whole shape without the item that took longest; None where there is no other."""
        seconds = self.covered_seconds - self._longest_seconds
        return (self.items - 1) / seconds * self.lanes if self.items > 1 and seconds > 0 else None

    @property
    def heard_lanes(self) -> int:
        """Lanes that have been heard of."""
        return len(self._tracks)

    @property
    def complete(self) -> bool:
        """Every lane has been heard of."""
        return self.heard_lanes >= self.lanes

    @property
    def size(self) -> float | None:
        """CPU seconds of one item, by which windows with unlike items are told; None where nothing was seen."""
        return self.busy_seconds / self.seen if self.seen else None

    def rate(self, now: float) -> float | None:
        """Return the items a second of the whole shape, or None where too little is known.

        All items over all lane-seconds, and not the mean of the lanes' rates: a lane that happened to have quick items
        tells of a short time. What a lane has in hand counts as well, but for the time in which it may have finished
        something and not told of it yet: the longer an item takes, the likelier it is the one that is in hand; and
        behind a lock some lanes starve.

        Args:
            now: clock reading, in seconds.
        """
        heard = now - batch_seconds(self.lanes) - _SLACK_SECONDS
        items = sum(track.items for track in self._tracks.values())
        seconds = sum(max(track.ended, heard) - track.begun for track in self._tracks.values())
        if items == 0 or seconds <= 0:
            return None
        return items / seconds * min(self.lanes, len(self._tracks))


def _end_of_first(done: Done) -> float:
    """Return when the first execution of an event ended."""
    clocks: Sequence[tuple[float, float, float | None]] | None = done.clocks
    if clocks:
        start, seconds, _ = clocks[0]
        return start + seconds
    return done.started + done.seconds / max(1, len(done.values))
