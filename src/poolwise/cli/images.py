"""`poolwise images`: the photographs of a folder, through operations, into another folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolwise.cli.consume import consume, explain, trace_options
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.streams import keep_apart
from poolwise.cli.terminal import DONE, CommandError, Tally, expect_bar, failure, one_line, say

if TYPE_CHECKING:
    from poolwise import Outcome


@dataclass(frozen=True, slots=True)
class ImagesCommand:
    """What the user asked for.

    Args:
        source, destination: folders.
        operations: names and values, in the order of the command line.
        trace: a file for what happened when, or None.
        options: options of `poolwise.run`.
    """

    source: str
    destination: str
    operations: dict[str, Any]
    trace: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def images_command(command: ImagesCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise import PoolwiseError
    from poolwise.jobs.images import SUFFIXES, find_images, images

    journal = command.options.get("journal")
    keep_apart((journal and journal.path, "the journal"), (command.trace, "the trace"))
    try:
        options: Any = {**command.operations, **command.options, **trace_options(command.trace)}
        run = images(command.source, command.destination, **options)
        empty = not find_images(command.source, without=command.destination)
    except PoolwiseError as error:
        return explain(error)
    if empty:
        say(f"no images in {command.source!r} (files are taken for images by name: {', '.join(SUFFIXES)})")
        return DONE
    if command.options.get("progress"):
        expect_bar()
    with Interrupts() as interrupts:
        return consume(run, interrupts, _report, Tally("images", loud=True), trace=command.trace)


def _report(outcome: Outcome[str]) -> None:
    if outcome.error is not None:
        name, message = failure(outcome.error)
        say(f"failed: {one_line(outcome.key)}: {message if name == 'ImageError' else f'{name}: {message}'}")


def parse_size(text: str) -> tuple[int, int]:
    """Read `1200` (a square to fit in) or `1200x800`.

    Raises:
        CommandError: where it is neither.
    """
    match = re.fullmatch(r"\s*(\d{1,7})\s*(?:[xX]\s*(\d{1,7})\s*)?", text, re.ASCII)
    if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0:
        raise CommandError(f"--fit {text!r} is not a size", hint="write 1200, or 1200x800")
    return int(match[1]), int(match[2] or match[1])
