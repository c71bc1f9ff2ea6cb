"""Lesson 13: two processes behind a main guard."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say what the children ended with, and what starting them cost."""
    codes = [int(ran[f"exit code of call {number}"]) for number in (1, 2)]
    return [
        f"The two children ended with exit codes {codes[0]} and {codes[1]}.",
        words.together(ran.spans, "calls"),
        words.starting(ran),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what two workers do."""
    return [words.versus(ran, ours), words.starting(ours), words.verdict(ours)]


LESSON = Lesson(
    13,
    "Processes",
    "Two processes behind a main guard",
    "What only the first process shall do stands behind the guard; a child that imports the file passes it by.",
    shows,
    beside,
)
