"""Lesson 20: processing photographs one by one."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long it took, and whether that was computing."""
    count, seconds = len(ran.spans), ran["all"]
    return [
        f"{count} photographs in {words.duration(seconds)}: {count / seconds:.3g} a second.",
        words.together(ran.spans, "photographs"),
        words.cpu(ran),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what shape "serial" does."""
    return [words.versus(ran, ours), words.verdict(ours)]


LESSON = Lesson(
    20,
    "Processes",
    "Processing photographs one by one",
    "Blur, shrink, save: work that computes. Or does it? (Lesson 22 asks.)",
    shows,
    beside,
    needs="photographs",
)
