"""Lesson 8: map: input order."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran

_INPUT = ["5", "4", "3", "2", "1"]


def shows(ran: Ran) -> list[str]:
    """Say in which order the results came."""
    return [words.together(ran.spans, "calls"), words.order(ran, _INPUT), words.held_back(ran)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say in which order those of poolwise came."""
    return [words.versus(ran, ours), words.order(ours, _INPUT), words.held_back(ours), words.verdict(ours)]


LESSON = Lesson(
    8,
    "Threads",
    "map: input order",
    "map() gives values in the order of the items; those that are done earlier wait for their turn.",
    shows,
    beside,
)
