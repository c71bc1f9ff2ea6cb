"""Lesson 9: downloading images one by one."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say how long it took, and whether that was waiting."""
    count, seconds = len(ran.spans), ran["all"]
    return [
        f"{count} images, {ran['bytes'] / 1e6:.3g} MB, in {words.duration(seconds)}: {count / seconds:.3g} a second.",
        words.together(ran.spans, "downloads"),
        words.cpu(ran),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what shape "serial" does."""
    return [words.versus(ran, ours), words.verdict(ours)]


LESSON = Lesson(
    9,
    "Threads",
    "Downloading images one by one",
    "The first real work: each request waits for the server, then the next one is sent.",
    shows,
    beside,
    needs="urls",
)
