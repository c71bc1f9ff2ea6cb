"""Lesson 14: ten processes in a list."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say whether they ran together, and what starting them cost."""
    return [words.together(ran.spans, "calls"), words.starting(ran)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what poolwise took instead."""
    return [words.versus(ran, ours), words.starting(ours), words.verdict(ours)]


LESSON = Lesson(
    14,
    "Processes",
    "Ten processes in a list",
    "As with ten threads; only that each is a Python of its own, which has to be started.",
    shows,
    beside,
)
