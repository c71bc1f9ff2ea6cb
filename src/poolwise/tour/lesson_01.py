"""Lesson 1: two calls in a row."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say whether the calls were one after the other, and whether the time was spent waiting."""
    first = words.together(ran.spans, "calls")
    return [first, words.cpu(ran)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what shape "serial" does."""
    order = "in the calling thread, one after the other" if words.one_at_a_time(ours.spans) else "at the same time"
    return [words.versus(ran, ours), f'shape="serial" ran them {order}. {words.verdict(ours)}']


LESSON = Lesson(
    1,
    "Threads",
    "Two calls in a row",
    "What everything else is measured against: one call, and when it has ended, the next.",
    shows,
    beside,
)
