"""Runs all lessons of `poolwise tour`, and writes what they showed here as pages of the documentation.

    python benchmarks/tour_page.py docs/tour        # `make tour` does it; a few minutes on an idle machine

One page for each part of the tour, and an index that names the machine. The numbers are those of this run; nothing
else should run meanwhile. Needs `pip install poolwise[fetch,images]`. The exit code is 1 where a lesson could not be
run to its end, and then nothing is written.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from poolwise._runtime.host import facts
from poolwise.report.words import duration
from poolwise.tour.drawing import chart_lines, charts_of, output_lines, timeline_lines
from poolwise.tour.guide import SCALE, Guide, Wishes
from poolwise.tour.lesson import LESSONS, Ran, Told, lesson

MADE = "<!-- Made by `python benchmarks/tour_page.py docs/tour` (`make tour`); do not edit. -->"
_MARKUP = re.compile(r"([\\`*_<>\[\]#|])")
_ALL = "poolwise tour --all --html tour.html     # all, and a page of them"
_INTRODUCTIONS = {
    "Threads": "One process, one GIL, several threads.",
    "Processes": "Several processes, each with a GIL of its own.",
    "Questions": "What one asks after the first twenty-one lessons, answered by measuring.",
}


def main() -> int:
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the pages")
    parser.add_argument("--scale", type=float, default=SCALE, help="what the original seconds are multiplied by")
    given = parser.parse_args()
    began = datetime.now(UTC)
    told: list[Told] = []
    with Guide(Wishes(given.scale)) as guide:
        for number in range(1, LESSONS + 1):
            one = lesson(number)
            print(f"lesson {number} of {LESSONS}: {one.title}", file=sys.stderr)
            told.append(guide.take(one))
    failed = [each.lesson.number for each in told if each.ran.code or each.ours is None or each.ours.code]
    if failed:
        print(f"not run to the end: lessons {', '.join(map(str, failed))}; nothing was written", file=sys.stderr)
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(told, given.scale, began).items():
        (given.folder / name).write_text(text, encoding="utf-8")
    return 0


def pages(told: Sequence[Told], scale: float, began: datetime) -> dict[str, str]:
    """Return the text of each page, by the name of its file."""
    parts: dict[str, list[Told]] = {}
    for each in told:
        parts.setdefault(each.lesson.part, []).append(each)
    machine = _machine(began)
    found = {"index.md": "\n".join(_index(parts, machine, scale)) + "\n"}
    for part, lessons in parts.items():
        lines = [MADE, "", f"# The tour: {part.lower()}", "", _INTRODUCTIONS[part], "", machine, ""]
        for each in lessons:
            lines += _lesson(each)
        found[f"{part.lower()}.md"] = "\n".join(lines).rstrip("\n") + "\n"
    return found


def _machine(began: datetime) -> str:
    known = facts()
    return (
        f"Run on {began:%Y-%m-%d} with poolwise {known['poolwise']} and {known['python']}, on "
        f"{known['system'].partition('-')[0]} ({known['machine']}) with {known['cores']:g} usable cores."
    )


def _index(parts: dict[str, list[Told]], machine: str, scale: float) -> Iterator[str]:
    yield from (MADE, "", "# The tour", "")
    yield (
        f"{LESSONS} lessons on threads, processes and what decides between them. Each is a short program for the "
        "standard library (lessons 20 to 23 need Pillow), which was run and measured; the same with poolwise stands "
        "beside it."
    )
    yield from ("", machine, "")
    yield (
        f"A second of the original programs took {duration(scale)} here. Images came from a server on loopback that "
        "answers as slowly as one far away; photographs were generated. What is said of a program is what this run of "
        "it showed. To see what they show on your machine:"
    )
    yield ""
    yield from _fenced("sh", "poolwise tour 7                          # one of them\n" + _ALL)
    for part, lessons in parts.items():
        yield from (f"## {part}", "")
        for each in lessons:
            yield f"{each.lesson.number}. [{_plain(each.lesson.title)}]({part.lower()}.md#lesson-{each.lesson.number})"
        yield ""


def _lesson(told: Told) -> Iterator[str]:
    one = told.lesson
    yield from (f"## {one.number}. {_plain(one.title)} {{ #lesson-{one.number} }}", "", _plain(one.about), "")
    yield from _fenced("python", one.program.read_text("utf-8"))
    yield from _measured(told.ran)
    for chart in charts_of(told):
        yield from (f"{_plain(chart.title)}:", "")
        yield from _fenced("text", "\n".join(chart_lines(chart)))
    yield from ("**What this shows.**", "")
    yield from (f"* {_plain(sentence)}" for sentence in told.shows)
    yield from ("", '??? example "The same with poolwise"', "")
    assert told.ours is not None
    inside = [*_fenced("python", one.with_poolwise.read_text("utf-8")), *_measured(told.ours)]
    yield from (textwrap.indent(line, "    ") for line in "\n".join(inside).split("\n"))
    yield ""
    yield from (f"* {_plain(sentence)}" for sentence in told.beside)
    yield ""


def _measured(ran: Ran) -> Iterator[str]:
    yield from ("What it wrote, and at which second:", "")
    yield from _fenced("text", "\n".join(output_lines(ran)))
    if ran.spans:
        yield from ("What ran when:", "")
        yield from _fenced("text", "\n".join(timeline_lines(ran.spans)))


def _fenced(language: str, text: str) -> Iterator[str]:
    yield from (f"```{language}", text.rstrip("\n"), "```", "")


def _plain(text: str) -> str:
    """Return text of which Markdown makes nothing else."""
    return _MARKUP.sub(r"\\\1", text)


if __name__ == "__main__":
    sys.exit(main())
