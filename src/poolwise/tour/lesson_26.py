"""Lesson 26: asyncio on the download."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say which was faster, and which used less CPU."""
    threads, coroutines = ran["threads, cpu"], ran["coroutines, cpu"]
    same = ran["bytes by threads"] == ran["bytes by coroutines"]
    return [
        words.together(ran.spans, "coroutines"),
        words.speed(ran["threads"], ran["coroutines"], "Coroutines", "as many threads"),
        f"CPU: coroutines {words.duration(coroutines)}, threads {words.duration(threads)}."
        + ("" if same else " But they did not fetch the same bytes."),
    ]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what lanes of an event loop do."""
    return [
        words.versus(ran, ours, "coroutines", "asyncio.gather"),
        words.together(ours.spans, "downloads"),
        words.verdict(ours),
    ]


LESSON = Lesson(
    26,
    "Questions",
    "asyncio on the download",
    "Coroutines wait in one thread; each await lets another one go on.",
    shows,
    beside,
    needs="urls",
)
