"""Lessons that were run as one page of HTML: complete in itself, it loads nothing, and runs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from poolwise._runtime.host import facts
from poolwise.report.files import write_whole
from poolwise.report.page import render
from poolwise.report.words import clean, duration, moment
from poolwise.tour.drawing import charts_of, output_lines, value_text
from poolwise.tour.lesson import LESSONS, Chart, Span, Told

_LEAST_WIDTH = 0.004
_MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A bar with its name and its value; left end and width in per cent."""

    name: str
    left: str
    width: str
    label: str


def write_page(lessons: Sequence[Told], path: str | os.PathLike[str], scale: float) -> None:
    """Write lessons to a file, which appears complete or not at all.

    Args:
        lessons: as they were run.
        path: the file; one that is there is replaced.
        scale: what the original seconds were multiplied by.

    Raises:
        UsageError: the file cannot be written.
        BackendUnavailable: jinja2 is not installed.
    """
    write_whole(path, html(lessons, scale, time.time()).encode())


def html(lessons: Sequence[Told], scale: float, began: float) -> str:
    """Return lessons as a page of HTML.

    Args:
        lessons: as they were run.
        scale: what the original seconds were multiplied by.
        began: Unix time at which that was, in seconds.

    Raises:
        BackendUnavailable: jinja2 is not installed.
    """
    parts: dict[str, list[Told]] = {}
    for told in lessons:
        parts.setdefault(told.lesson.part, []).append(told)
    return render(
        _resource("page.html"),
        {
            "when": f"Run at {moment(began)}",
            "sentence": _sentence(len(lessons), scale),
            "parts": list(parts.items()),
            "lessons": lessons,
            "machine": ", ".join(_machine()),
            "source": _source,
            "output": lambda ran: "\n".join(output_lines(ran)),
            "timeline_rows": timeline_rows,
            "over": lambda spans: duration(max(span.end for span in spans)),
            "charts": charts_of,
            "chart_rows": chart_rows,
        },
        style=_resource("page.css"),
    )


def _sentence(count: int, scale: float) -> str:
    taken = f"All {LESSONS} lessons" if count == LESSONS else f"{count} of {LESSONS} lessons"
    seconds = "" if scale == 1 else f"; a second of the original programs took {duration(scale)} here"
    return f"{taken}, run and measured on one machine{seconds}. What is said below is what these runs showed."


def _machine() -> list[str]:
    known = facts()
    return [f"{name}: {clean(known[name])}" for name in ("python", "system", "machine", "cores", "poolwise")]


def _source(program: Path) -> str:
    return program.read_text("utf-8").rstrip("\n")


def _resource(name: str) -> str:
    return files("poolwise.tour").joinpath(name).read_text("utf-8")


def timeline_rows(spans: Sequence[Span]) -> list[Row]:
    """Return a bar from start to end for each piece of work; of very many, the first ones."""
    end = max(span.end for span in spans) or 1.0
    rows = []
    for span in spans[:_MOST_ROWS]:
        left = min(1 - _LEAST_WIDTH, span.start / end)
        width = max(_LEAST_WIDTH, span.seconds / end)
        rows.append(Row(clean(span.name, 24), _percent(left), _percent(width), duration(span.seconds)))
    return rows


def chart_rows(chart: Chart) -> list[Row]:
    """Return a bar for each value of a chart."""
    most = max(value for _, value in chart.bars) or 1.0
    return [
        Row(label, "0%", _percent(max(0.0, value / most)), value_text(value, chart.unit)) for label, value in chart.bars
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
