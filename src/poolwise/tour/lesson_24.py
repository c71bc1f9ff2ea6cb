"""Lesson 24: ten processes in the time of one: why?."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Chart, Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say what ten cost against one, waiting and computing."""
    cores = int(ran["cores"])
    waiting, computing = ran["ten, wait"] / ran["one, wait"], ran["ten, compute"] / ran["one, compute"]
    said = [
        f"This machine has {words.has(cores, 'core')}.",
        f"Waiting: ten processes took {words.times(waiting)} as long as one. {_why(waiting, cores, 'waiting')}",
        f"Computing: ten processes took {words.times(computing)} as long as one. {_why(computing, cores, 'computing')}",
    ]
    if computing > waiting * 1.5:
        said.append("So the number of cores bounds how much is computed at a time, and not how much waits.")
    return said


def _why(ratio: float, cores: int, what: str) -> str:
    fair = 10 / min(cores, 10)
    if ratio < 1.5:
        if what == "computing" and cores < 10:
            return "Less than the cores that are counted would allow; this cannot be told apart further here."
        return "A process that waits uses no core." if what == "waiting" else "There is a core for each."
    if what == "waiting":
        return "That is what starting ten processes cost here: more than the wait itself would explain."
    if ratio > fair * 1.3:
        return (
            f"More than the {fair:.3g} times that {words.has(cores, 'core')} allow: something else used them too, or "
            "starting took it."
        )
    return f"With {words.has(cores, 'core')} for ten, {fair:.3g} times is what there is to be had."


def charts(ran: Ran) -> list[Chart]:
    """Return the four times."""
    names = ("one, wait", "ten, wait", "one, compute", "ten, compute")
    return [Chart("Seconds until all had ended", "s", [(name, ran[name]) for name in names])]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say how many workers poolwise took for what computes."""
    most = words.most_at_once(ours.spans)
    return [
        words.speed(ran["ten, compute"], ours["all"], "Ten that compute, with poolwise,", "ten processes"),
        f"At most {words.has(most, 'item')} ran at a time. {words.verdict(ours)}",
    ]


LESSON = Lesson(
    24,
    "Questions",
    "Ten processes in the time of one: why?",
    "Ten sleeping processes need no ten cores. Ten computing ones would.",
    shows,
    beside,
    charts=charts,
)
