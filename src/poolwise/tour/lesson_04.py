"""Lesson 4: arguments."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long each call took, and what the usual mistake did."""
    took = {span.name: span.seconds for span in ran.spans}
    said = [f"{name} took {words.duration(seconds)}." for name, seconds in took.items() if name.startswith("call")]
    said.append(words.together([span for span in ran.spans if span.name.startswith("call")], "calls"))
    if "mistake" in took:
        before = ran["mistake, before it started"]
        early = before >= took["mistake"] / words.EVEN
        where = "before the thread was made, in the caller" if early else "after the thread was made"
        said.append(f"With target=wait(...) the call of {words.duration(took['mistake'])} was run {where}.")
    return said


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what several iterables do."""
    return [words.versus(ran, ours, only="call"), words.together(ours.spans, "calls"), words.verdict(ours)]


LESSON = Lesson(
    4,
    "Threads",
    "Arguments",
    "A thread gets the function and its arguments apart: target=wait, args=(...). target=wait(...) is a call.",
    shows,
    beside,
)
