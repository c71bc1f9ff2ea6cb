"""Lesson 23: threads or processes for it?."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Chart, Lesson, Ran

_WORK = {
    "blur": "blur, shrink and save",
    "median": "MedianFilter",
    "encode": "encoding JPEG to memory",
    "python": "a loop in pure Python",
}


def shows(ran: Ran) -> list[str]:
    """Say for each piece of work what threads and processes gained, and which won."""
    lanes = int(ran["lanes"])
    said = [f"Each on {lanes} threads and on {lanes} processes, the best of three rounds."]
    for name, what in _WORK.items():
        threads, processes = gains(ran, name)
        said.append(
            f"{what[0].upper()}{what[1:]}: threads {threads:.2f}x, processes {processes:.2f}x as fast as one by one. "
            f"{winner(ran, name)}"
        )
    return [*said, _rule(ran)]


def gains(ran: Ran, name: str) -> tuple[float, float]:
    """Return how many times as fast threads and processes were."""
    alone = ran[f"{name}, one by one"]
    return alone / ran[f"{name}, threads"], alone / ran[f"{name}, processes"]


def winner(ran: Ran, name: str) -> str:
    """Say which of the two won; a lead that rounds of the same have over each other is none."""
    threads, processes = gains(ran, name)
    apart = max(ran[f"{name}, {way}, next"] for way in ("one by one", "threads", "processes"))
    lead = max(words.EVEN, 1 + apart / 100)
    if max(threads, processes) < words.EVEN:
        return "Neither helped."
    if max(threads, processes) < lead:
        return f"Rounds of the same differed by {apart:.0f}%, so nothing can be told."
    if threads > processes * lead:
        return "Threads won."
    if processes > threads * lead:
        return "Processes won."
    return "They came out even."


def _rule(ran: Ran) -> str:
    """Say where the rule of thumb held."""
    won = {name: winner(ran, name) for name in _WORK}
    holds = [_WORK[name] for name, who in won.items() if who == "Processes won."]
    fails = [_WORK[name] for name, who in won.items() if who in ("Threads won.", "They came out even.")]
    if not holds and not fails:
        return "Nothing was seen to help here, so the rule cannot be judged."
    if not holds:
        return f"All of it computes, and processes were better for none of it: the rule failed for {_listed(fails)}."
    if not fails:
        return f"Processes were better wherever anything was: here the rule held, for {_listed(holds)}."
    return (
        f"The rule held for {_listed(holds)}. It failed for {_listed(fails)}: there threads did as well or better, "
        "which they can only where the GIL is released most of the time."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def charts(ran: Ran) -> list[Chart]:
    """Return the gains."""
    bars = []
    for name in _WORK:
        threads, processes = gains(ran, name)
        bars += [(f"{name}, threads", threads), (f"{name}, processes", processes)]
    return [Chart("Times as fast as one by one", "x", bars)]


def beside(ran: Ran, ours: Ran) -> list[str]:
    """Say which shape poolwise chose for each, and whether the program's numbers agree."""
    return [_chosen(name, what, ran, ours) for name, what in _WORK.items()]


def _chosen(name: str, what: str, ran: Ran, ours: Ran) -> str:
    shape = ours.texts[f"shape of {name}"]
    workers, _, lanes = shape.partition("x")
    kind = "Processes" if int(workers) > 1 else "Threads" if int(lanes) > 1 else "one lane"
    best = winner(ran, name)
    agree = {
        "Neither helped.": "neither helped",
        "They came out even.": "threads and processes came out even",
        "Threads won.": "threads had won",
        "Processes won.": "processes had won",
    }.get(best, "nothing could be told")
    return f"{what[0].upper()}{what[1:]}: poolwise took {shape} ({kind.lower()}); in the program {agree}."


LESSON = Lesson(
    23,
    "Questions",
    "Threads or processes for it?",
    "The rule says: what computes wants processes. It holds where the GIL is held, and that is not seen from outside.",
    shows,
    beside,
    needs="photographs",
    charts=charts,
)
