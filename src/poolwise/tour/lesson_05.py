"""Lesson 5: ThreadPoolExecutor: submit and result."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say when submit() came back, and how long the results were waited for."""
    submitted, first = ran["both submitted"], words.results(ran)[0][0]
    return [
        f"Both submit() had come back after {words.duration(submitted)}; the first result came "
        f"{words.duration(first)} after the first call had begun.",
        words.together(ran.spans, "calls"),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what map does."""
    return [words.versus(ran, ours), words.together(ours.spans, "calls"), words.verdict(ours)]


LESSON = Lesson(
    5,
    "Threads",
    "ThreadPoolExecutor: submit and result",
    "submit() gives a future at once; its result() waits for the value.",
    shows,
    beside,
)
