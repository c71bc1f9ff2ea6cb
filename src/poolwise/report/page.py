"""The report as one page of HTML: complete in itself, it loads nothing, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from poolwise import __version__
from poolwise._core.errors import BackendUnavailable
from poolwise._core.story import FailureClass, Mark, Story
from poolwise.report.files import write_whole
from poolwise.report.pictures import DARK, LIGHT, MOST_ROWS, decisions, executed, pictures
from poolwise.report.svg import draw
from poolwise.report.words import NOT_KNOWN, clean, duration, many, moment, number, percent, size, visible

_LONG = 20_000  # Characters of the explanation.
_SENTENCE = 1_000


def write_html(story: Story, path: str | os.PathLike[str]) -> None:
    """Write the report of a run to a file, which appears complete or not at all.

    Args:
        story: of the run.
        path: the file; one that is there is replaced.

    Raises:
        UsageError: the file cannot be written.
        BackendUnavailable: jinja2 is not installed.
    """
    write_whole(path, html(story).encode())


def html(story: Story) -> str:
    """Return the report of a run as a page of HTML. The same story gives the same page.

    Raises:
        BackendUnavailable: jinja2 is not installed.
    """
    return render(_resource("page.html"), _facts(story))


def render(template: str, facts: Mapping[str, Any], *, style: str = "") -> str:
    """Return a page that a template makes of facts; what others named in them is made visible, and escaped.

    Args:
        template: in the language of jinja2; it is given `style`, `style_hash` and `version` as well.
        facts: by name.
        style: rules of the page's own, after those of a report.

    Raises:
        BackendUnavailable: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise BackendUnavailable(
            f"the page needs jinja2, which cannot be imported ({error}): pip install 'poolwise[report]'"
        ) from error
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    rules = _style() + style
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    return environment.from_string(template).render(
        facts, style=_Safe(rules), style_hash=_Safe(f"sha256-{digest}"), version=__version__
    )


class _Safe(str):
    """Text of ours, which is put into the page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _finalized(value: Any) -> Any:
    """Make what users named visible, wherever it is put into the page."""
    return visible(value) if type(value) is str else value


def _resource(name: str) -> str:
    return files("poolwise.report").joinpath(name).read_text("utf-8")


def _style() -> str:
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in palette.items()) for palette in (LIGHT, DARK))
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"{_resource('page.css')}"
    )


def _facts(story: Story) -> dict[str, Any]:
    others = [mark for mark in story.marks if mark.kind != "decision"]
    explanation = story.explanation
    return {
        "title": clean(story.title) or "A run",
        "when": _when(story),
        "sentence": clean(story.sentence, _SENTENCE) or "The run left no verdict.",
        "figures": list(_figures(story)),
        "notes": list(_notes(story)),
        "drawings": [draw(picture) for picture in pictures(story)],
        "failures": [(clean(one.name), _count(one.count), _example(one)) for one in story.failures],
        "no_failures": "No item failed." if not story.failed else "What failed was not recorded by class.",
        "slowest": [(clean(one.key), duration(one.seconds)) for one in story.slowest],
        "shape": clean(story.shape, 30) or "this shape",
        "reasons": [clean(reason, _SENTENCE) for reason in story.reasons],
        "decisions": [
            (f"{place:,}", *row) for place, row in enumerate(_lines(decisions(story.marks)[:MOST_ROWS], kind=False), 1)
        ],
        "no_decisions": "No change of the shape was recorded.",
        "events": list(_lines(others[:MOST_ROWS], kind=True)),
        "events_caption": _events_caption(len(others)),
        "explanation": explanation if len(explanation) <= _LONG else clean(explanation, _LONG),
        "host": [_host_fact(str(name), value) for name, value in story.host.items()],
    }


def _when(story: Story) -> str:
    return f"Report of a run that began at {moment(story.began)}" if story.began > 0 else "Report of a run"


def _count(count: float) -> str:
    return f"{count:,.0f}" if math.isfinite(count) else NOT_KNOWN


def _figures(story: Story) -> Iterable[tuple[str, str]]:
    """Yield the key figures by name."""
    timed = 0 < story.seconds < math.inf
    yield "items", _count(story.done + story.failed)
    yield "done", _count(story.done)
    yield "failed", _count(story.failed)
    yield "shape at the end", clean(story.shape, 30) or "not recorded"
    yield "wall time", duration(story.seconds) if timed else NOT_KNOWN
    yield "items a second", number(executed(story) / story.seconds) if timed else NOT_KNOWN
    yield "lanes busy on average", number(story.busy_seconds / story.seconds) if timed else NOT_KNOWN
    yield "cores used", number(story.cpu_seconds / story.seconds) if timed and story.cpu_seconds > 0 else NOT_KNOWN
    if story.retried:
        yield "retried", _count(story.retried)
    if story.workers_lost:
        yield "workers lost", _count(story.workers_lost)


def _notes(story: Story) -> Iterable[str]:
    if story.recorded:
        yield (
            f"{many(story.recorded, 'item')} of these were not executed in this run: their outcomes were known. "
            "Times and rates are those of this run."
        )
    if story.probe_seconds > 0 and 0 < story.busy_seconds < math.inf:
        share = percent(story.probe_seconds / story.busy_seconds, 1)
        yield f"Measuring used {duration(story.probe_seconds)} of CPU, {share} of the items' time."


def _lines(marks: list[Mark], *, kind: bool) -> Iterable[tuple[str, ...]]:
    for mark in marks:
        text = clean(mark.text, _SENTENCE)
        yield (duration(mark.at), clean(mark.kind, 20), text) if kind else (duration(mark.at), text)


def _events_caption(count: int) -> str:
    return "Events by time" if count <= MOST_ROWS else f"Events by time: the first {MOST_ROWS:,} of {count:,}"


def _example(failed: FailureClass) -> str:
    key = clean(failed.key)
    return f"{clean(failed.example)}\nkey: {key}" if key else clean(failed.example)


def _host_fact(name: str, value: Any) -> tuple[str, str]:
    if name.endswith("_bytes") and isinstance(value, int | float):
        return clean(name.removesuffix("_bytes").replace("_", " ")), size(value)
    return clean(name.replace("_", " ")), _fact(value)


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**30 else "a very large number"
    if value is None:
        return NOT_KNOWN
    if isinstance(value, Mapping):
        return clean(", ".join(f"{name}: {_fact(each)}" for name, each in value.items()))
    if isinstance(value, list | tuple):
        return clean(", ".join(map(_fact, value)))
    return clean(value)
