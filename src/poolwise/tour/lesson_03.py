"""Lesson 3: ten threads in a list, joined in a second loop."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran

_LATER, _INSIDE = "joined in a second loop", "joined inside the loop"


def shows(ran: Ran) -> list[str]:
    """Say what each place of join() did."""
    inside = [span for span in ran.spans if span.name.startswith("inside")]
    later = [span for span in ran.spans if not span.name.startswith("inside")]
    said = [
        f"Joined in a second loop: {words.together(later, 'calls')}",
        f"Joined inside the loop: {words.together(inside, 'calls')}",
        words.speed(ran[_INSIDE], ran[_LATER], "Joining in a second loop", "joining inside the loop"),
    ]
    if words.one_at_a_time(inside):
        said.append("So a join() inside the loop is serial: the next thread starts when the one before has ended.")
    return said


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Compare with the faster of the two."""
    better = min((_LATER, _INSIDE), key=lambda name: ran[name])
    return [
        words.versus(ran, ours, better, f"the threads {better}", "call" if better == _LATER else "inside"),
        words.together(ours.spans, "calls"),
        words.verdict(ours),
    ]


LESSON = Lesson(
    3,
    "Threads",
    "Ten threads in a list, joined in a second loop",
    "Start all, then join all. Joining where each is started looks alike, and is another program.",
    shows,
    beside,
)
