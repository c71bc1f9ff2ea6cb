"""Lesson 27: how many lanes? The knee."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from poolwise.tour import words
from poolwise.tour.lesson import Chart, Lesson, Ran

_LANES = (1, 2, 4, 8, 16, 32, 64)
_PAYS = 1.25
"""Twice the lanes have to give at least so many times the throughput."""


def knee(rates: Sequence[tuple[int, float]]) -> int | None:
    """Return the lanes from which on twice as many no longer pay; None where they paid to the end."""
    for (lanes, rate), (_, doubled) in pairwise(rates):
        if doubled < rate * _PAYS:
            return lanes
    return None


def _rates(ran: Ran) -> list[tuple[int, float]]:
    return [(lanes, ran[f"{lanes} lanes"]) for lanes in _LANES]


def shows(ran: Ran) -> list[str]:
    """Say where the knee is, and what lanes beyond it cost."""
    rates = _rates(ran)
    best = max(rates, key=lambda pair: pair[1])
    said = [f"One lane did {rates[0][1]:.3g} a second; the most was {best[1]:.3g}, on {words.has(best[0], 'lane')}."]
    at = knee(rates)
    if at is None:
        said.append("Twice the lanes paid up to the last step: the knee lies beyond 64 lanes, or there is none.")
        return said
    said.append(f"The knee was at {words.has(at, 'lane')}: twice as many gave less than {_PAYS:.2f} times as much.")
    before, after = ran[f"each on {at} lanes"], ran["each on 64 lanes"]
    if after > before * words.EVEN and at < 64:
        said.append(
            f"Lanes beyond it wait in line: a request took {words.duration(before)} on {words.has(at, 'lane')} and "
            f"{words.duration(after)} on 64."
        )
    return said


def charts(ran: Ran) -> list[Chart]:
    """Return the throughput by lanes."""
    bars = [(words.has(lanes, "lane"), rate) for lanes, rate in _rates(ran)]
    return [Chart("Images a second", "/s", bars)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what poolwise settled on, and how near its throughput came to the best."""
    best = max(rate for _, rate in _rates(ran))
    return [
        f"poolwise did {ours['rate']:.3g} images a second, its search included: {ours['rate'] / best:.0%} of the best "
        "number of threads.",
        words.verdict(ours),
    ]


LESSON = Lesson(
    27,
    "Questions",
    "How many lanes? The knee",
    "The tour's own server, where it serves only eight at a time, asked by more and more threads.",
    shows,
    beside,
    needs="busy urls",
    charts=charts,
)
