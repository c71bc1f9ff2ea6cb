"""Lesson 6: a list of futures, and as_completed."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how many results came, and whether in another order than they were submitted in."""
    return [words.together(ran.spans, "calls"), words.order(ran, [f"call {number}" for number in range(1, 11)])]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what run does."""
    return [words.versus(ran, ours), words.together(ours.spans, "calls"), words.verdict(ours)]


LESSON = Lesson(
    6,
    "Threads",
    "A list of futures, and as_completed",
    "as_completed() gives each future when it is done, whichever that is.",
    shows,
    beside,
)
