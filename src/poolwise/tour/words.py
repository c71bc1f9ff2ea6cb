"""Sentences on measurements, for all lessons. Pure: the same numbers give the same words, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from poolwise.report.words import duration
from poolwise.tour.lesson import Ran, Span

EVEN = 1.1
"""Times that differ by less than this factor are called the same: one run cannot tell more."""

_TOUCH = 0.1
"""Pieces that are together for less than this share of the shorter one are not called together."""

__all__ = [
    "EVEN", "added_up", "by_the_clock", "cpu", "duration", "has", "held_back", "most_at_once", "one_at_a_time", "order",
    "results", "speed", "starting", "times", "together", "verdict", "versus",
]  # fmt: skip


def added_up(spans: Sequence[Span]) -> float:
    """Return the seconds of all pieces, added up."""
    return sum(span.seconds for span in spans)


def by_the_clock(spans: Sequence[Span]) -> float:
    """Return the seconds from the first start to the last end.

    Raises:
        KeyError: there is none.
    """
    if not spans:
        raise KeyError("the start and the end of a piece of work")
    return max(span.end for span in spans) - min(span.start for span in spans)


def most_at_once(spans: Sequence[Span]) -> int:
    """Return how many pieces were under way at the same time, at most; a mere touch does not count."""
    margin = _TOUCH * min((span.seconds for span in spans), default=0.0)
    edges = sorted(
        [(span.start, 1) for span in spans] + [(max(span.start, span.end - margin), -1) for span in spans],
    )
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def one_at_a_time(spans: Sequence[Span]) -> bool:
    """Say whether no two pieces were under way at the same time."""
    return most_at_once(spans) <= 1


def times(factor: float) -> str:
    """Write a factor: "1.98 times", "12 times"."""
    return f"{factor:.2f} times" if factor < 9.95 else f"{factor:.0f} times"


def has(count: int, what: str) -> str:
    """Write "1 thread", "10 threads", "2 processes"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}{'es' if what.endswith('s') else 's'}"


def speed(before: float, after: float, what: str, than: str) -> str:
    """Say how a time compares with another one, whichever way it went.

    Args:
        before, after: seconds of `than`, and of `what`.
        what, than: names, such as "two threads" and "one after another".
    """
    factor = max(before, 1e-9) / max(after, 1e-9)
    both = f"{duration(after)} against {duration(before)}"
    if factor >= EVEN:
        return f"{what} took {both} for {than}: {times(factor)} as fast."
    if factor <= 1 / EVEN:
        return f"{what} took {both} for {than}: slower, {times(1 / factor)} as long."
    return f"{what} took {both} for {than}: no difference that one run can show."


def together(spans: Sequence[Span], what: str) -> str:
    """Say whether pieces ran at the same time, and what that saved.

    Args:
        spans: the pieces.
        what: what they are, in the plural.
    """
    sum_, clock, most = added_up(spans), by_the_clock(spans), most_at_once(spans)
    if most <= 1:
        return f"No two {what} were under way at the same time: they took {duration(sum_)} added up, {_clock(clock)}."
    gain = sum_ / max(clock, 1e-9)
    if gain < EVEN:
        return (
            f"Up to {most} {what} were under way at once, and yet nothing was saved: {duration(sum_)} added up, "
            f"{_clock(clock)}."
        )
    return f"Up to {most} {what} were under way at once: {duration(sum_)} added up, {_clock(clock)}."


def _clock(seconds: float) -> str:
    return f"{duration(seconds)} by the clock"


def cpu(ran: Ran) -> str:
    """Say what share of its time a program computed, from its figures "all" and "cpu"."""
    share = ran["cpu"] / max(ran["all"], 1e-9)
    used = f"The CPU was used for {duration(ran['cpu'])} of the {duration(ran['all'])} ({share:.0%})"
    if share < 0.2:
        return f"{used}: the program waited."
    if share > 0.8:
        return f"{used}: the program computed."
    return f"{used}: it did some of both, waiting and computing."


def versus(ran: Ran, ours: Ran, figure: str = "all", than: str = "the program", only: str = "") -> str:
    """Say how long the calls took with poolwise, beside the program; and how long all did, where that differs.

    Args:
        ran, ours: of the program, and with poolwise.
        figure: the number of `ran` that is what all took.
        than: what that number is of.
        only: compare pieces of `ran` whose name begins so.
    """
    theirs = [span for span in ran.spans if span.name.startswith(only)]
    before, after = by_the_clock(theirs), by_the_clock(ours.spans)
    said = speed(before, after, "With poolwise, from the first start to the last end, it", than)
    outside, others = ours["all"] - after, ran[figure] - before
    if outside - others < 0.05 * ran[figure]:
        return said
    return (
        f"{said} All in all it took {duration(ours['all'])} against {duration(ran[figure])}: the time before and "
        "after counts here, importing poolwise at its first run included."
    )


def verdict(ours: Ran) -> str:
    """Quote what poolwise says of its run."""
    return f"It ran on shape {ours.texts['shape']}, and says: {ours.texts['verdict']}"


def results(ran: Ran) -> Sequence[tuple[float, str]]:
    """Return the results with the second at which each came.

    Raises:
        KeyError: there was none.
    """
    if not ran.results:
        raise KeyError("a result")
    return ran.results


def order(ran: Ran, given: Sequence[str]) -> str:
    """Say in which order the results came.

    Args:
        ran: of a program that prints results.
        given: the items in input order.
    """
    came = [text for _, text in results(ran)]
    shown = ", ".join(came)
    if sorted(came) != sorted(given):
        return f"{len(came)} results came for {len(given)} items: {shown}."
    ends = {span.name: span.end for span in ran.spans}
    near = _TOUCH * max((span.seconds for span in ran.spans), default=0.0)
    if ends and max(ends.values()) - min(ends.values()) < near:
        apart = duration(max(ends.values()) - min(ends.values()))
        return f"All calls ended within {apart} of each other, so their order is chance; results came in this: {shown}."
    ended = [ends.get(name, 0.0) for name in came]
    as_ended = all(later > earlier - near for earlier, later in pairwise(ended))
    if came == list(given):
        return f"Results came in input order{', in which the calls also ended' if as_ended else ''}: {shown}."
    if as_ended:
        return f"Results came in the order in which the calls ended, not in input order: {shown}."
    return f"Results came neither in input order nor in that in which the calls ended: {shown}."


def held_back(ran: Ran) -> str:
    """Say how long the first call that ended was held back behind others."""
    first = min(ran.spans, key=lambda span: span.end, default=None)
    at = next((at for at, text in results(ran) if first is not None and text == first.name), None)
    if first is None or at is None:
        raise KeyError("the result of the call that ended first")
    late = at - first.end
    if late < _TOUCH * max(span.seconds for span in ran.spans):
        return f"Call {first.name} ended first, and its result came at once."
    return f"Call {first.name} ended first, at {duration(first.end)}; its result came {duration(late)} later."


def starting(ran: Ran) -> str:
    """Say what starting took: the time that lies outside of all pieces, from the figure "all"."""
    outside = max(0.0, ran["all"] - by_the_clock(ran.spans))
    last = max((span.start for span in ran.spans), default=0.0)
    return (
        f"Of {duration(ran['all'])}, {duration(outside)} lay before the first call or after the last one; the last "
        f"call began {duration(last)} after the first."
    )
