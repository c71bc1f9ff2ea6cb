"""Lesson 2: two threads: start and join."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say when start() came back, and whether the calls ran together."""
    started, all_ = ran["both started"], ran["all"]
    return [
        f"Both start() had come back after {words.duration(started)}; all was over after {words.duration(all_)}.",
        words.together(ran.spans, "calls"),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what two lanes do."""
    return [words.versus(ran, ours), words.together(ours.spans, "calls"), words.verdict(ours)]


LESSON = Lesson(
    2,
    "Threads",
    "Two threads: start and join",
    "start() begins a call and comes back; join() waits until it has ended.",
    shows,
    beside,
)
