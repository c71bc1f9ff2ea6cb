"""Lesson 21: the same with a process pool."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long it took, beside what the photographs took added up."""
    count, seconds = len(ran.spans), ran["all"]
    return [
        f"{count} photographs in {words.duration(seconds)}: {count / seconds:.3g} a second.",
        words.together(ran.spans, "photographs"),
        "What one by one takes is in lesson 20.",
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what the images job does, and on which shape."""
    return [words.versus(ran, ours), words.together(ours.spans, "photographs"), words.verdict(ours)]


LESSON = Lesson(
    21,
    "Processes",
    "The same with a process pool",
    "Where it computes, further processes use further cores.",
    shows,
    beside,
    needs="photographs",
)
