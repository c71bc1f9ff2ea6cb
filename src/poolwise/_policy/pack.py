"""How many tasks go into a batch, and how many batches wait at a lane.

Capped factoring on decomposed time: b = min(cap / mean, growth, ceil(remaining / 2p)). Factoring (Hummel, Schonberg
and Flynn, CACM 35(8), 1992) hands out half of what remains in equal parts; the cap keeps results flowing: 30 ms; more
where there are many lanes, as the calling process does no more than so many batches a second; and up to 90 ms once a
shape has been held for a while, or lanes have found their number: no windows of a comparison have to end soon then. In
the caller's thread it is 5 ms, for the consumer's sake, and up to 20 ms once it is held. The
growth of x2 a round from 1 keeps a wrong first estimate cheap; what should take 0.1 ms is no risk. The mean is the
function's own time in a lane, never queueing, pickling or a cold start. Unknown length drops the last term, and so does
the caller's own thread, as there is no other lane to wait for. In that thread a few items are packed before anything is
known, and what has not begun after 0.1 ms is given back: a result waits for one item more, at most, that is not quick.
"""

from __future__ import annotations

from dataclasses import dataclass

BATCH_SECONDS = 0.030
LANE_SECONDS = 0.0007  # For each lane: 1,400 batches a second keep the calling process busy for a third of its time.
HELD_BATCH_SECONDS = 0.090  # At most, where a shape is held: each batch costs switches between threads and cores.
HELD_SHARE = 0.10  # Of the time for which it has been held.
INLINE_BATCH_SECONDS, INLINE_HELD_SECONDS = 0.005, 0.020  # At first, and where a shape is held.
INLINE_FLUSH_SHARE = 2
FLUSH_SHARE = 5 / 6  # Of the time a batch should run; after that what is finished of it is sent.
QUEUED_SECONDS = 0.012
SAFE_SECONDS = 100e-6  # A batch that should take no longer is packed at once.
MOST_ITEMS = 16_384
MOST_BATCH_BYTES = 1024 * 1024
MOST_DEPTH = 6
FEW_ITEMS = 16
TINY_SECONDS = 20e-6  # Below this a clock reading for each item would cost more than 2 % of it.


@dataclass(frozen=True, slots=True)
class PackLimits:
    """What bounds batches from outside.

    Attributes:
        lanes: all lanes of the shape.
        inline: the lane is the caller's thread, where a long batch delays the consumer.
        held_seconds: for which that shape has been held; negative while others are compared with it.
        first: nothing has been executed yet.
        in_flight: `Limits.in_flight`, or None.
        items_per_worker: `Limits.items_per_worker`, or None.
    """

    lanes: int
    inline: bool = False
    held_seconds: float = 0.0
    first: bool = False
    in_flight: int | None = None
    items_per_worker: int | None = None

    @property
    def batch_seconds(self) -> float:
        """How long a batch should run."""
        if self.inline:
            return max(INLINE_BATCH_SECONDS, min(INLINE_HELD_SECONDS, HELD_SHARE * self.held_seconds))
        return batch_seconds(self.lanes, self.held_seconds)

    @property
    def flush_seconds(self) -> float:
        """After how long what is finished of a batch should be sent."""
        if self.inline:
            return SAFE_SECONDS if self.first else INLINE_FLUSH_SHARE * self.batch_seconds
        return FLUSH_SHARE * self.batch_seconds


def batch_seconds(lanes: int, held_seconds: float = 0.0) -> float:
    """Return how long a batch should run, in seconds.

    Args:
        lanes: all lanes of the shape.
        held_seconds: for which that shape has been held; negative while others are compared with it.
    """
    return max(BATCH_SECONDS, LANE_SECONDS * lanes, min(HELD_BATCH_SECONDS, HELD_SHARE * held_seconds))


class Packer:
    """Chooses batch sizes for one run. It remembers only how far it has grown."""

    __slots__ = ("growth",)

    def __init__(self) -> None:
        self.growth = 1.0

    def size(
        self, limits: PackLimits, mean_seconds: float | None, mean_bytes: float | None, remaining: int | None
    ) -> int:
        """Return the size of the next batch, at least 1.

        Args:
            limits: what bounds it.
            mean_seconds: of an item in its lane, or None where nothing is known.
            mean_bytes: of an item and its value.
            remaining: items that are not yet in a batch, or None where that is not known.
        """
        size: float
        if mean_seconds is None:
            size = FEW_ITEMS if limits.inline else 1
        else:
            wanted = min(limits.batch_seconds / max(mean_seconds, 1e-9), MOST_ITEMS)
            size = min(wanted, max(self.growth, SAFE_SECONDS / max(mean_seconds, 1e-9)))
            self.growth = max(1.0, min(wanted, self.growth * 2 ** (1 / limits.lanes)))
        if remaining is not None and not limits.inline:
            size = min(size, -(-remaining // (2 * limits.lanes)))
        if limits.in_flight is not None:
            size = min(size, limits.in_flight // limits.lanes)
        if limits.items_per_worker is not None:
            size = min(size, limits.items_per_worker // 8)
        if mean_bytes and not limits.inline:
            size = min(size, MOST_BATCH_BYTES / mean_bytes)
        return max(1, int(size))


def depth(mean_seconds: float | None, size: int) -> int:
    """Return how many batches a lane may hold, the running one included: enough to bridge the engine's absence.

    Args:
        mean_seconds: of an item in its lane.
        size: of a batch.
    """
    if mean_seconds is None:
        return 1
    if mean_seconds >= 2 * BATCH_SECONDS:
        return 1
    return min(MOST_DEPTH, 1 + max(1, round(QUEUED_SECONDS / max(mean_seconds * size, 1e-6))))


def clock_each(mean_seconds: float | None, size: int, *, timeout: bool) -> bool:
    """Say whether each item of the next batch is timed, or only the batch; where there are few, that costs nothing."""
    return timeout or mean_seconds is None or mean_seconds >= TINY_SECONDS or size <= FEW_ITEMS
