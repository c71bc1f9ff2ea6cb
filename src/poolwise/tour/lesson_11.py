"""Lesson 11: two calls in a row."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say whether they ran one after the other, and in how many processes."""
    return [words.together(ran.spans, "calls"), f"They ran in {words.has(int(ran['processes']), 'process')}."]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what two workers do."""
    ran_in = f"They ran in {words.has(int(ours['processes']), 'process')}."
    return [words.versus(ran, ours), words.together(ours.spans, "calls"), ran_in, words.verdict(ours)]


LESSON = Lesson(
    11,
    "Processes",
    "Two calls in a row",
    "Where the second half begins: the same two calls in one process.",
    shows,
    beside,
)
