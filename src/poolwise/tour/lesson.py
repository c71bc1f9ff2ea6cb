"""What a lesson is, and what a program that ran was seen to do. Pure: nothing runs here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

Needs = Literal["seconds", "urls", "busy urls", "photographs"]
"""What a program's argument is: the length of a second; a file of URLs; one of a server that serves
eight at a time; a folder."""

LESSONS = 27
PROGRAMS = Path(__file__).parent / "programs"

_EDGE = re.compile(r"(.+) (starts|ends)")
_RANGE = re.compile(r"(.+) ran from (-?[\d.]+) to (-?[\d.]+) s")
_FIGURE = re.compile(r"(.+): ([-+]?\d[\d.]*)(?: (\S+))?")
_TEXT = re.compile(r"(shape|verdict|kind)((?: of .+?)?): (.+)")
_RESULT = re.compile(r"result (.+)")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work: its name, and when it began and ended, in seconds since the first one began."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a program printed, with its unit."""

    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one execution of a program was seen to do.

    Attributes:
        lines: what it wrote to stdout, each with the second at which it came.
        errors: what it wrote to stderr.
        code: its exit code.
        spans: pieces of work, by start.
        figures: numbers that it measured and printed, by name.
        texts: the shape and the verdict of poolwise, where it printed these.
        results: what it printed as results, in that order, each with the second at which it came.
    """

    lines: Sequence[tuple[float, str]] = ()
    errors: str = ""
    code: int = 0
    spans: Sequence[Span] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    results: Sequence[tuple[float, str]] = ()

    def __getitem__(self, name: str) -> float:
        """Return a number by its name.

        Raises:
            KeyError: the program did not print it.
        """
        return self.figures[name].value


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of one unit, a label each."""

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]


def no_charts(ran: Ran) -> list[Chart]:  # noqa: ARG001
    """Return no chart: the timeline shows it."""
    return []


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson.

    Attributes:
        number: from 1.
        part: "Threads", "Processes" or "Questions".
        title: what is done.
        about: what it is for, before anything was measured: so it claims no numbers.
        shows: says what the program's run shows.
        beside: says what the run of the same with poolwise shows, given both.
        needs: what the programs are given.
        charts: what is drawn beside the timeline.
        pycurl: the program with poolwise needs it.
    """

    number: int
    part: Literal["Threads", "Processes", "Questions"]
    title: str
    about: str
    shows: Callable[[Ran], list[str]]
    beside: Callable[[Ran, Ran], list[str]]
    needs: Needs = "seconds"
    charts: Callable[[Ran], list[Chart]] = no_charts
    pycurl: bool = False

    @property
    def program(self) -> Path:
        """The file of the program."""
        return PROGRAMS / f"lesson_{self.number:02}.py"

    @property
    def with_poolwise(self) -> Path:
        """The file of the same with poolwise."""
        return PROGRAMS / f"lesson_{self.number:02}_poolwise.py"


@dataclass(frozen=True, slots=True)
class Told:
    """A lesson that was run: what was seen, and what that shows.

    Attributes:
        lesson: which.
        ran, ours: of its program, and of the same with poolwise; `ours` is None where that could not run.
        shows, beside: sentences on them.
    """

    lesson: Lesson
    ran: Ran
    ours: Ran | None
    shows: Sequence[str]
    beside: Sequence[str]


def lesson(number: int) -> Lesson:
    """Return a lesson by its number, from 1 to `LESSONS`."""
    found: Lesson = import_module(f"poolwise.tour.lesson_{number:02}").LESSON
    return found


def read(lines: Sequence[tuple[float, str]], errors: str = "", code: int = 0) -> Ran:
    """Make out what a program did from what it wrote.

    "NAME starts" and "NAME ends" bound a piece of work by the times at which the lines came; "NAME ran from 0.1 to
    0.3 s" is one that the program timed itself; "NAME: 0.25 s" is a number; "result X" is a result.

    Args:
        lines: pairs of second and line.
        errors: what it wrote to stderr.
        code: its exit code.
    """
    spans: list[Span] = []
    begun: dict[str, float] = {}
    figures: dict[str, Figure] = {}
    texts: dict[str, str] = {}
    results: list[tuple[float, str]] = []
    for at, line in lines:
        if edge := _EDGE.fullmatch(line):
            if edge[2] == "starts":
                begun[edge[1]] = at
            elif edge[1] in begun:
                spans.append(Span(edge[1], begun.pop(edge[1]), at))
        elif itself := _RANGE.fullmatch(line):
            spans.append(Span(itself[1], float(itself[2]), float(itself[3])))
        elif text := _TEXT.fullmatch(line):
            texts[text[1] + text[2]] = text[3]
        elif figure := _FIGURE.fullmatch(line):
            figures[figure[1]] = Figure(float(figure[2]), figure[3] or "")
        elif result := _RESULT.fullmatch(line):
            results.append((at, result[1]))
    spans.sort(key=lambda span: span.start)
    first = spans[0].start if spans else 0.0
    moved = [Span(span.name, span.start - first, span.end - first) for span in spans]
    return Ran(lines, errors, code, moved, figures, texts, [(at - first, text) for at, text in results])


def tell(lesson: Lesson, ran: Ran, ours: Ran | str) -> Told:
    """Put what was seen into words; of a program that failed they say so, and nothing else.

    Args:
        lesson: which.
        ran: of its program.
        ours: of the same with poolwise, or a sentence on why that was not run.
    """
    shows = _words("the program", ran, lambda: lesson.shows(ran))
    if isinstance(ours, str):
        return Told(lesson, ran, None, shows, [ours])
    if ran.code != 0:
        beside = _words("it", ours, lambda: ["There is nothing to compare it with, as the program above failed."])
    else:
        beside = _words("it", ours, lambda: lesson.beside(ran, ours))
    return Told(lesson, ran, ours, shows, beside)


def _words(who: str, ran: Ran, say: Callable[[], list[str]]) -> list[str]:
    if ran.code != 0:
        last = (ran.errors.strip().splitlines() or ["it did not say why"])[-1]
        return [f"Nothing, as {who} failed with exit code {ran.code}: {last}"]
    try:
        return say()
    except KeyError as missing:
        return [f"Nothing, as {who} did not print {missing.args[0]}."]
