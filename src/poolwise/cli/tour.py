"""`poolwise tour`: the lessons, in the terminal and on a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolwise.cli.consume import explain
from poolwise.cli.terminal import DONE, FAILED, CommandError, is_terminal, say, say_error

if TYPE_CHECKING:
    from poolwise.tour.drawing import Line
    from poolwise.tour.guide import Guide
    from poolwise.tour.lesson import Told


@dataclass(frozen=True, slots=True)
class TourCommand:
    """What the user asked for.

    Args:
        numbers: of lessons.
        all: every lesson.
        page: a file for the page, or None.
        scale: what seconds are multiplied by.
        urls: a file of URLs, or None.
        photographs: a folder, or None.
    """

    numbers: Sequence[int]
    all: bool = False
    page: str | None = None
    scale: float | None = None
    urls: str | None = None
    photographs: str | None = None


def tour_command(command: TourCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise import PoolwiseError
    from poolwise.report.files import check_writable
    from poolwise.tour.drawing import list_lines
    from poolwise.tour.guide import SCALE, Guide, Wishes
    from poolwise.tour.lesson import LESSONS, PROGRAMS
    from poolwise.tour.photographs import find_photographs

    numbers = range(1, LESSONS + 1) if command.all else command.numbers
    wrong = [number for number in numbers if not 1 <= number <= LESSONS]
    if wrong:
        raise CommandError(f"there is no lesson {wrong[0]}", hint=f"lessons are numbered 1 to {LESSONS}")
    if not numbers:
        if command.page is not None:
            raise CommandError("--html is for lessons that are run", hint="poolwise tour --all --html tour.html")
        _write(list_lines())
        say("poolwise tour 7 runs one; poolwise tour --all --html tour.html runs all, and makes a page of them")
        say(f"their programs are in {PROGRAMS}")
        return DONE
    if command.urls is not None:
        _check_urls(command.urls)
    wishes = Wishes(SCALE if command.scale is None else command.scale, command.urls, command.photographs)
    try:
        if command.page is not None:
            check_writable(command.page)
        if command.photographs is not None:
            find_photographs(command.photographs)
        with Guide(wishes) as guide:
            told, failed = _take(guide, numbers)
        if command.page is not None:
            from poolwise.tour.page import write_page

            write_page(told, command.page, wishes.scale)
            say(f"the page is in {os.path.abspath(command.page)}")
    except PoolwiseError as error:
        return explain(error)
    return FAILED if failed else DONE


def _take(guide: Guide, numbers: Iterable[int]) -> tuple[list[Told], int]:
    """Take the lessons, print each, and return them with the number of those that could not be run to the end."""
    from poolwise import BackendUnavailable
    from poolwise.tour.drawing import program_lines, told_lines
    from poolwise.tour.lesson import lesson

    taken: list[Told] = []
    failed = 0
    for place, number in enumerate(numbers):
        one = lesson(number)
        if place:
            _write(_rule())
        _write(program_lines(one))
        if is_terminal():
            say("running it, and the same with poolwise ...")
        try:
            told = guide.take(one)
        except BackendUnavailable as error:
            say_error(str(error))
            failed += 1
            continue
        _write(told_lines(told, bar=_bar()))
        failed += told.ran.code != 0 or (told.ours is not None and told.ours.code != 0)
        taken.append(told)
    return taken, failed


def _check_urls(path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            urls = file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error
    wrong = [url for url in urls if not url.startswith(("http://", "https://"))]
    if wrong or not urls:
        what = f"{wrong[0]!r} in {path!r} is not a URL" if wrong else f"there are no URLs in {path!r}"
        raise CommandError(what, hint="give a file with one URL a line, each beginning with http:// or https://")


def _rule() -> list[Line]:
    from poolwise.tour.drawing import WIDTH, Line

    return [Line(""), Line("-" * WIDTH), Line("")]


def _bar() -> str:
    """Return what bars are made of: what this terminal can write."""
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return "█"


def _write(lines: Iterable[Line]) -> None:
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = sys.stdout.encoding or "ascii"
    for line in lines:
        text = f"\x1b[1m{line.text}\x1b[0m" if line.heading and bold else line.text
        print(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
