"""A lesson as lines of text for a terminal. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poolwise.report.words import duration, number, visible
from poolwise.tour.lesson import LESSONS, Chart, Lesson, Ran, Span, Told, lesson

WIDTH = 80
_MOST_ROWS = 24
_FIRST_LINES, _LAST_LINES = 10, 4
_NAME = 18
_ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and whether it is a heading."""

    text: str
    heading: bool = False


def program_lines(lesson: Lesson) -> Iterator[Line]:
    """Yield what there is to read before a lesson is run."""
    yield Line(f"Lesson {lesson.number} of {LESSONS}. {lesson.part}: {lesson.title}", heading=True)
    yield from _wrapped(lesson.about)
    yield Line("")
    yield Line(f"The program ({lesson.program.name})", heading=True)
    yield from _code(lesson.program.read_text("utf-8"))


def told_lines(told: Told, *, bar: str = "█") -> Iterator[Line]:
    """Yield what there is to read after it was run.

    Args:
        told: the lesson.
        bar: the character that bars are made of.
    """
    yield from _ran_lines(told.ran, bar)
    for chart in charts_of(told):
        yield Line("")
        yield Line(chart.title, heading=True)
        yield from (Line(text) for text in chart_lines(chart, bar))
    yield Line("")
    yield Line("What this shows", heading=True)
    for sentence in told.shows:
        yield from _wrapped(sentence, "* ")
    yield Line("")
    yield Line(f"The same with poolwise ({told.lesson.with_poolwise.name})", heading=True)
    yield from _code(told.lesson.with_poolwise.read_text("utf-8"))
    if told.ours is not None:
        yield from _ran_lines(told.ours, bar)
    yield Line("")
    for sentence in told.beside:
        yield from _wrapped(sentence, "* ")


def charts_of(told: Told) -> list[Chart]:
    """Return the charts of a lesson, none where its program failed."""
    if told.ran.code != 0:
        return []
    try:
        return told.lesson.charts(told.ran)
    except KeyError:
        return []


def list_lines() -> Iterator[Line]:
    """Yield the list of all lessons."""
    part = ""
    for each in map(lesson, range(1, LESSONS + 1)):
        if each.part != part:
            if part:
                yield Line("")
            part = each.part
            yield Line(part, heading=True)
        yield Line(f"  {each.number:2}  {each.title}")


def _wrapped(text: str, first: str = "") -> Iterator[Line]:
    indent = " " * len(first)
    for each in textwrap.wrap(visible(text), WIDTH, initial_indent=first, subsequent_indent=indent,
                              break_on_hyphens=False):  # fmt: skip
        yield Line(each)


def _code(source: str) -> Iterator[Line]:
    for text in source.rstrip("\n").split("\n"):
        yield Line(f"    {text}".rstrip())


def _ran_lines(ran: Ran, bar: str) -> Iterator[Line]:
    yield Line("")
    yield Line("What it wrote, and at which second", heading=True)
    for text in output_lines(ran):
        yield Line(text)
    if ran.spans:
        yield Line("")
        yield Line("What ran when", heading=True)
        yield from (Line(text) for text in timeline_lines(ran.spans, bar))


def output_lines(ran: Ran) -> list[str]:
    """Return what a program wrote, a long text without its middle; of errors the last lines."""
    shown = [_cut(f"{at:8.3f}  {visible(text)}") for at, text in ran.lines]
    shown = _middle_out(shown)
    errors = [line for line in ran.errors.splitlines() if line.strip()]
    if errors:
        named = [place for place, line in enumerate(errors) if _ERROR.match(line)]
        first = named[-1] if named else max(0, len(errors) - _LAST_LINES)
        shown += [_cut(f"  stderr  {visible(line)}") for line in errors[first : first + _LAST_LINES]]
    return shown


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _middle_out(lines: list[str]) -> list[str]:
    hidden = len(lines) - _FIRST_LINES - _LAST_LINES
    if hidden <= 1:
        return lines
    return [*lines[:_FIRST_LINES], f"     ...  {hidden} more lines", *lines[-_LAST_LINES:]]


def timeline_lines(spans: Sequence[Span], bar: str = "█") -> list[str]:
    """Return a line for each piece of work, with a bar from its start to its end."""
    shown = spans[:_MOST_ROWS]
    names = [_short(span.name) for span in shown]
    margin = max(map(len, names))
    room = WIDTH - margin - 12
    end = max(span.end for span in spans) or 1.0
    lines = []
    for name, span in zip(names, shown):
        left = min(room - 1, round(span.start / end * room))
        right = min(room, max(left + 1, round(span.end / end * room)))
        drawn = " " * left + bar * (right - left) + " " * (room - right)
        lines.append(f"{name:>{margin}} |{drawn}| {duration(span.seconds)}")
    if len(spans) > len(shown):
        lines.append(f"{'...':>{margin}}  {len(spans) - len(shown)} more")
    return [*lines, f"{'0 s':>{margin + 2}}{duration(end):>{room}}"]


def chart_lines(chart: Chart, bar: str = "█") -> list[str]:
    """Return a line for each bar of a chart."""
    margin = max(len(label) for label, _ in chart.bars)
    room = WIDTH - margin - 14
    most = max(value for _, value in chart.bars) or 1.0
    return [
        f"{label:>{margin}} |{bar * max(0, round(value / most * room)):<{room}} {value_text(value, chart.unit)}"
        for label, value in chart.bars
    ]


def value_text(value: float, unit: str) -> str:
    """Write a number with its unit."""
    if unit == "s":
        return duration(value)
    return f"{value:.2f}x" if unit == "x" else f"{number(value)}{'' if unit in '%x' else ' '}{unit}"


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= _NAME else f"{text[: _NAME - 9]}…{text[-8:]}"
