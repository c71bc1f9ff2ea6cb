"""`poolwise report`: a page, pictures, or a trace of a run, out of its journal."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise import PoolwiseError
from poolwise.cli.consume import explain
from poolwise.cli.streams import claim_stdout, keep_apart
from poolwise.cli.terminal import DONE, CommandError


@dataclass(frozen=True, slots=True)
class ReportCommand:
    """What the user asked for.

    Args:
        journal: the file that is read.
        page: a file for the page, "-" for stdout, or None.
        plot: a file for the pictures, or None.
        trace: a file for the trace, or None.
    """

    journal: str
    page: str | None = None
    plot: str | None = None
    trace: str | None = None


def report_command(command: ReportCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise._runtime.journal_reader import Reader
    from poolwise.report.recorded import story_of

    keep_apart(
        (command.journal, "the journal"),
        (command.page, "the page"),
        (command.plot, "the pictures"),
        (command.trace, "the trace"),
    )
    try:
        with Reader(command.journal) as reader:
            if command.page is command.plot is command.trace is None:
                raise CommandError("nothing to write is named; give -o FILE, --plot FILE, or --trace FILE")
            story = story_of(reader)
        if command.page == "-":
            from poolwise.report.page import html

            with claim_stdout()() as stdout:
                stdout.write(html(story).encode())
        elif command.page is not None:
            from poolwise.report.page import write_html

            write_html(story, command.page)
        if command.plot is not None:
            from poolwise.report.plot import write_plot

            write_plot(story, command.plot)
        if command.trace is not None:
            from poolwise.report.trace import write_trace

            write_trace(story, command.trace)
    except PoolwiseError as error:
        return explain(error)
    return DONE
