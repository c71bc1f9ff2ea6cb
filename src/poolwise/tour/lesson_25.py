"""Lesson 25: what does a thread or a process cost?."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Chart, Lesson, Ran

_COSTS = ("a call", "a task in a thread pool", "a thread", "a task in a process pool", "a process")


def shows(ran: Ran) -> list[str]:
    """Say what each costs, and what it did to small calls and to counting."""
    cost = {name: ran[name] for name in _COSTS}
    dearer = cost["a process"] / max(cost["a thread"], 1e-9)
    said = [
        f"To start and join one: a thread {_us(cost['a thread'])}, a process {_us(cost['a process'])}, "
        f"{words.times(dearer)} as much.",
        f"To hand over a task and get its result: {_us(cost['a task in a thread pool'])} in a thread pool, "
        f"{_us(cost['a task in a process pool'])} in a process pool; a plain call took {_us(cost['a call'])}.",
    ]
    said.append(_slower(ran, "20000 small calls, a loop", "20000 small calls, a thread pool", "20,000 calls in a pool"))
    said.append(_slower(ran, "two counts, in a row", "two counts, two threads", "Counting in two threads"))
    return said


def _us(microseconds: float) -> str:
    return words.duration(microseconds / 1e6)


def _slower(ran: Ran, before: str, after: str, what: str) -> str:
    factor = ran[after] / max(ran[before], 1e-9)
    both = f"{_us(ran[after])} against {_us(ran[before])} without"
    if factor >= words.EVEN:
        return f"{what} took {both}: threads made it slower, {words.times(factor)} as long."
    if factor <= 1 / words.EVEN:
        return f"{what} took {both}: here threads made it faster."
    return f"{what} took {both}: threads made no difference."


def charts(ran: Ran) -> list[Chart]:
    """Return the costs."""
    return [Chart("Microseconds each", "us", [(name, ran[name]) for name in _COSTS])]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say what poolwise did with 20,000 small calls."""
    pool = "20000 small calls, a thread pool"
    return [
        words.speed(ran[pool] / 1e6, ours["all"], "20,000 small calls with poolwise", "the thread pool"),
        words.speed(ran["20000 small calls, a loop"] / 1e6, ours["all"], "They", "the plain loop"),
        f"Its first run took {words.duration(ours['first run'])}, importing the engine; compared is the second one.",
        words.verdict(ours),
    ]


LESSON = Lesson(
    25,
    "Questions",
    "What does a thread or a process cost?",
    "Starting one, handing it a task; and when more of them make a program slower.",
    shows,
    beside,
    charts=charts,
)
