"""Lesson 17: a list of futures, and as_completed."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how many results came, and whether in another order than they were submitted in."""
    return [
        words.together(ran.spans, "calls"),
        words.order(ran, [f"call {number}" for number in range(1, 11)]),
        words.starting(ran),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what run does."""
    return [words.versus(ran, ours), words.starting(ours), words.verdict(ours)]


LESSON = Lesson(
    17,
    "Processes",
    "A list of futures, and as_completed",
    "Ten calls in ten processes, each result when it is there.",
    shows,
    beside,
)
