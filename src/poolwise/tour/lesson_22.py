"""Lesson 22: does the image job compute or wait?."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Chart, Lesson, Ran

_CONDITIONS = {
    "a small batch": "five photographs",
    "a large batch": "a larger batch",
    "a cold cache": "files from a cold cache",
    "only shrinking": "shrinking alone, without the blur",
    "only reading": "reading the files alone",
    "only reading, cold": "reading alone, from a cold cache",
}


def shows(ran: Ran) -> list[str]:
    """Say for each condition what share of the time was computing."""
    said = [f"With {what}: {_bound(ran, name)}" for name, what in _CONDITIONS.items() if f"{name}, each" in ran.figures]
    said.append(_compared(ran, "a small batch", "a large batch", "A larger batch"))
    if "a cold cache, each" in ran.figures:
        said.append(_compared(ran, "a large batch", "a cold cache", "A cold cache"))
    else:
        said.append("This system cannot be told to forget files, so a cold cache was not measured.")
    return said


def _bound(ran: Ran, name: str) -> str:
    share = ran[f"{name}, computing"]
    kind = "CPU-bound" if share > 80 else "I/O-bound, as it waited" if share < 20 else "some of both"
    return f"{words.duration(ran[f'{name}, each'])} each, of which {share:.0f}% was CPU: {kind}."


def _compared(ran: Ran, before: str, after: str, what: str) -> str:
    change = ran[f"{after}, computing"] - ran[f"{before}, computing"]
    if abs(change) < 10:
        return f"{what} did not change what it is bound by: the share of CPU moved by {change:+.0f} points."
    return f"{what} changed the share of CPU by {change:+.0f} points."


def charts(ran: Ran) -> list[Chart]:
    """Return the shares."""
    bars = [(name, ran[f"{name}, computing"]) for name in _CONDITIONS if f"{name}, computing" in ran.figures]
    return [Chart("Share of the time that was CPU", "%", bars)]


def beside(ran: Ran, ours: Ran) -> list[str]:  # noqa: ARG001
    """Say what poolwise measured."""
    kind = {"cpu": "it computes with the GIL released", "gil": "it computes with the GIL held", "io": "it waits"}
    named = ours.texts["kind"]
    return [
        f"poolwise took {words.duration(ours['all'])} of real items to say {named}: "
        f"{kind.get(named, 'neither waiting nor computing alone')}.",
        ours.texts["verdict"],
    ]


LESSON = Lesson(
    22,
    "Questions",
    "Does the image job compute or wait?",
    "CPU time beside wall time: for a larger batch, from a cold cache, and for other work.",
    shows,
    beside,
    needs="photographs",
    charts=charts,
)
