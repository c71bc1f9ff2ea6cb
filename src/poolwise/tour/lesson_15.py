"""Lesson 15: arguments."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long each call took, and what the usual mistake did."""
    took = {span.name: span.seconds for span in ran.spans}
    said = [f"{name} took {words.duration(seconds)}." for name, seconds in took.items() if name.startswith("call")]
    said.append(words.together([span for span in ran.spans if span.name.startswith("call")], "calls"))
    error = next((line for _, line in ran.lines if line.startswith("a lambda: ")), "")
    if error:
        name = error.removeprefix("a lambda: ")
        said.append(f"A lambda could not be sent to a spawned process: {name}. It has no name to be imported by.")
    else:
        said.append("A lambda was sent to a spawned process without an error.")
    return said


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say that a lambda did."""
    count = len(ours.spans)
    return [
        words.versus(ran, ours),
        f"{words.has(count, 'call')} of a lambda ran in worker processes.",
        words.verdict(ours),
    ]


LESSON = Lesson(
    15,
    "Processes",
    "Arguments",
    "Arguments, and where children are spawned the function as well, are pickled on their way to another process.",
    shows,
    beside,
)
