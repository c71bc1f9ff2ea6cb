"""What is run how often, on how many items, and in which order. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from poolwise import Shape, UsageError
from poolwise._bench.model import PEERS, Calibration

MOST_ITEMS = 1_000_000
"""Of an input, which may be a generator that never ends, no more are taken."""

_LONGER = 3.0  # A run on one lane may take so many times the wanted time for the sake of shapes with many lanes.
_LEAST_LIMIT_SECONDS = 20.0
_LIMIT = 5.0  # Times what one lane is expected to take.


class Place(NamedTuple):
    """One run of a block: a side, and whether it stands for the side that is compared with itself."""

    side: str
    twin: bool = False


def block_order(sides: Sequence[str], twin: str, seed: int, block: int) -> list[Place]:
    """Return the runs of a block: all sides, and one of them a second time, at random; then the same reversed.

    Args:
        sides: what is compared.
        twin: the side that is compared with itself, if it is one of them.
        seed, block: the order depends on nothing else, so a block can be measured on its own.
    """
    places = [Place(side) for side in sides]
    if twin in sides:
        places.append(Place(twin, twin=True))
    random.Random(f"{seed}/{block}").shuffle(places)
    return places + places[::-1]


def parse_shapes(shapes: Iterable[str | Shape]) -> tuple[str, ...]:
    """Return shapes as they are written everywhere, each once.

    Raises:
        UsageError: one is no shape.
    """
    if isinstance(shapes, (str, Shape)):
        shapes = [shapes]
    try:
        listed = list(shapes)
    except TypeError:
        raise UsageError(f'shapes is {shapes!r}; it must be a list such as ["1x1", "1x8", "4x1"]') from None
    found: dict[str, None] = {}
    for shape in listed:
        if not isinstance(shape, (str, Shape)):
            raise UsageError(f'shapes holds {shape!r}; write "auto", "serial", or workers x lanes such as "2x1"')
        text = shape if shape == "auto" else str(shape if isinstance(shape, Shape) else Shape.parse(shape))
        found[str(text)] = None
    return tuple(found)


def default_shapes(advised: str, cores: int) -> tuple[str, ...]:
    """Return what is compared where nobody says what: one lane, threads, processes, what is advised, and `auto`."""
    many = max(2, cores)
    return tuple(dict.fromkeys(["1x1", f"1x{many}", f"{many}x1", advised, "auto"]))


def default_seconds(cores: float) -> float:
    """Return the wanted length of a run on one lane: 2 s, more where many cores make short work of it."""
    return max(2.0, 0.5 * cores)


def item_count(given: int, calibration: Calibration, sides: Sequence[str], cores: int, seconds: float) -> int:
    """Return how many items a run has: so many that one lane takes about the wanted time.

    Shapes with many lanes need more to be seen at work; they get two items a lane, as far as one lane then takes no
    more than three times the wanted time. Every core gets two in any case.

    Args:
        given: items there are.
        calibration: what the first look told.
        sides: what is compared.
        cores: usable ones.
        seconds: the wanted length of a run on one lane, in seconds.
    """
    each = max(calibration.item_seconds, 1e-9)
    lanes = max([Shape.parse(side).total for side in sides if side not in PEERS and side != "auto"], default=1)
    wanted = max(seconds / each, min(2 * lanes, _LONGER * seconds / each), 2 * cores)
    return max(1, min(given, math.ceil(wanted)))


def spread_out(given: int, count: int) -> list[int]:
    """Return the places of `count` items out of `given`, evenly spread and in order: sorted input is no trap."""
    return [place * given // count for place in range(count)]


def run_limit(count: int, calibration: Calibration) -> float:
    """Return what a run may take, in seconds, before it is taken for one that hangs."""
    return max(_LEAST_LIMIT_SECONDS, _LIMIT * count * calibration.item_seconds)
