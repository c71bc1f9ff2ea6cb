"""How many items may be between the input and the consumer."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise._policy.pack import FEW_ITEMS, batch_seconds

_BATCHES = 2
FEWEST_PER_LANE = 4
MOST_KNOWN = 256
LOOK_AHEAD = 16_384  # Tasks of groups that have enough of them, at most, behind which others are looked for.


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds in items.

    Attributes:
        near: taken and not yet yielded, while the consumer is away; also taken and not yet settled, always.
        far: taken and not yet yielded, while the consumer waits for a straggler.
        least: so many are taken at once, or none yet.
    """

    near: int
    far: int
    least: int = 1


def window(
    lanes: int,
    seconds_per_item: float | None,
    mean_bytes: float | None,
    buffered_bytes: int,
    in_flight: int | None,
    known: int = 0,
    surplus: int = 0,
    held_seconds: float = 0.0,
    *,
    inline: bool = False,
) -> Window:
    """Choose the window.

    With a window of 4 x lanes counted from the oldest unyielded item one straggler costs 2.3x at 8 lanes and 6.2x at
    32; at 1,000 x lanes 1.0 to 1.1. So bytes bound it while the consumer waits.

    Args:
        lanes: all lanes of the shape.
        seconds_per_item: lanes / throughput, or None where it is not known.
        mean_bytes: of an item and its value, or None.
        buffered_bytes: `Limits.buffered_bytes`.
        in_flight: `Limits.in_flight`: a hard bound, or None.
        known: how many items were taken last, in a row, whose outcomes a journal had: as many more may be taken at
            once, as they cost next to nothing. A few: the next one may have to be executed.
        surplus: tasks that wait although lanes may be free: their group is parked, or has as many as its lanes can
            take. So other groups are found behind up to `LOOK_AHEAD` of them; behind more only as these settle.
        held_seconds: for which the shape has been held, see `batch_seconds`.
        inline: the lane is the caller's thread; the first items are a batch.
    """
    fewest = FEW_ITEMS if inline and seconds_per_item is None else FEWEST_PER_LANE * lanes
    near = max(fewest, min(known, MOST_KNOWN))
    if seconds_per_item:
        near = max(near, int(_BATCHES * batch_seconds(lanes, held_seconds) * lanes / seconds_per_item))
    near += min(surplus, LOOK_AHEAD)
    far = near
    if mean_bytes:
        affordable = max(1, int(buffered_bytes / mean_bytes))
        near = min(near, affordable)
        far = affordable
    if in_flight is not None:
        near, far = min(near, in_flight), min(max(near, far), in_flight)
    return Window(max(1, near), max(1, near, far), max(1, min(known, near) // 2))
