"""Lesson 7: durations 5 4 3 2 1: completion order."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran

_INPUT = ["5", "4", "3", "2", "1"]


def shows(ran: Ran) -> list[str]:
    """Say in which order the results came."""
    return [words.together(ran.spans, "calls"), words.order(ran, _INPUT)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say in which order those of poolwise came."""
    return [words.versus(ran, ours), words.order(ours, _INPUT), words.verdict(ours)]


LESSON = Lesson(
    7,
    "Threads",
    "Durations 5 4 3 2 1: completion order",
    "The longest call is submitted first. Which result is there first?",
    shows,
    beside,
)
