"""Lesson 10: the same with a thread pool."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long it took, beside what the downloads took added up."""
    count, seconds = len(ran.spans), ran["all"]
    return [
        f"{count} images, {ran['bytes'] / 1e6:.3g} MB, in {words.duration(seconds)}: {count / seconds:.3g} a second.",
        words.together(ran.spans, "downloads"),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what the fetch job does."""
    same = "the same bytes" if ran["bytes"] == ours["bytes"] else "not the same bytes"
    return [
        words.versus(ran, ours),
        f"It fetched {same}; each file was checked to be a whole image before it got its name.",
        words.verdict(ours),
    ]


LESSON = Lesson(
    10,
    "Threads",
    "The same with a thread pool",
    "One thread for each image: while one waits, the others do.",
    shows,
    beside,
    needs="urls",
    pycurl=True,
)
