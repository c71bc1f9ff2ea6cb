"""Axes: what range a picture shows, on which scale, and where its ticks are. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from poolwise.report.words import tick

_LEAST_RATIO = 5.0  # Of the ends of a logarithmic axis: there are at least two round values between them.
LEAST, MOST = 1e-100, 1e100
"""What lies beyond is not drawn."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a picture.

    Attributes:
        title: what it shows, with its unit.
        low, high: values at its ends; low is above high where it runs the other way.
        log: its scale is logarithmic.
        ticks: pairs of value and label.
        grid: there is a line at each tick.
    """

    title: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    grid: bool = True

    def at(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high one; what lies beyond is put at the end."""
        low, high = self.low, self.high
        if self.log:
            if value <= 0:
                return 0.0
            low, high, value = math.log(low), math.log(high), math.log(value)
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear(title: str, high: float, label: Callable[[float], str] = tick, count: int = 5, *, room: float = 1.0) -> Axis:
    """Return an axis from 0 to at least `high`, with about so many ticks at round values.

    Args:
        title: of the axis.
        high: the largest value on it.
        label: makes the label of a tick.
        count: of ticks.
        room: the axis ends at `high` times this.
    """
    high = high if LEAST < high < MOST else 1.0
    step = _round_step(high / count)
    ticks = tuple((step * place, label(step * place)) for place in range(math.floor(high * room / step * 1.0001) + 1))
    return Axis(title, 0.0, high * room, ticks=ticks)


def _round_step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)


def logarithmic(
    title: str, values: Iterable[float], label: Callable[[float], str] = tick, *, most: int = 7, room: float = 1.0
) -> Axis:
    """Return a logarithmic axis over the values above 0, with ticks at powers of ten, or between them where few.

    Args:
        title: of the axis.
        values: that it has to show.
        label: makes the label of a tick.
        most: of ticks.
        room: the axis begins at the smallest divided by this, and ends at the largest times this.
    """
    positive = [value for value in values if LEAST < value < MOST] or [1.0]
    low, high = min(positive) / room, max(positive) * room
    if high / low < _LEAST_RATIO:
        wider = math.sqrt(_LEAST_RATIO / (high / low))
        low, high = low / wider, high * wider
    return Axis(title, low, high, log=True, ticks=tuple((value, label(value)) for value in _log_ticks(low, high, most)))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            float(f"{factor}e{power}")
            for power in range(first, last + 1)
            for factor in factors
            if low * 0.999 <= float(f"{factor}e{power}") <= high * 1.001
        ]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def doubling(title: str, high: float) -> Axis:
    """Return a logarithmic axis from 1 on, with ticks at powers of two."""
    high = max(2.0, high)
    step = math.ceil((math.log2(high) + 1) / 10)
    powers = range(0, math.floor(math.log2(high) + 0.001) + 1, step)
    return Axis(title, 1.0, high, log=True, ticks=tuple((2.0**power, tick(2.0**power)) for power in powers))


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move places of labels on a line from 0 to 1 so that neighbours are `gap` apart, where there is room for that.

    Args:
        places: where each would be best.
        gap: the least distance.

    Returns:
        Where each is to be, in the order of `places`.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    if order and gap * (len(order) - 1) > 1:
        gap = 1 / (len(order) - 1)
    put = [0.0] * len(places)
    floor = 0.0
    for index in order:
        put[index] = floor = max(places[index], floor)
        floor += gap
    ceiling = 1.0
    for index in reversed(order):
        put[index] = min(put[index], ceiling)
        ceiling = put[index] - gap
    return put
