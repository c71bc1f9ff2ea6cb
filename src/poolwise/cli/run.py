"""`poolwise run`: one function over many items, outcomes as lines of JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from poolwise.cli.consume import consume, explain, trace_options
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.records import outcome_line
from poolwise.cli.sources import InputError, Items, Source, open_source
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed, claim_stdout, keep_apart
from poolwise.cli.target import load_function, spread
from poolwise.cli.terminal import CLEAR_LINE, FAILED, INTERRUPTED, CommandError, Tally, expect_bar, say_error, say_hint

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Names of standard output; the last three would lead to stderr once `claim_stdout` was called."""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """What the user asked for.

    Args:
        function: MODULE:FUNCTION.
        source: where items come from.
        output: a file for the outcomes, or "-" for stdout.
        starred: spread lists and objects over arguments.
        progress: show a bar.
        trace: a file for what happened when, or None.
        options: further options of `poolwise.run`.
    """

    function: str
    source: Source
    output: str = "-"
    starred: bool = False
    progress: bool = False
    trace: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Field:
    """The key of an item that is a JSON object.

    Args:
        name: of the field that holds it.
    """

    name: str

    def __call__(self, item: Any) -> Any:
        """Return the key; what is no object, or has no such field, has none."""
        if not isinstance(item, dict) or self.name not in item:
            from poolwise import UsageError

            raise UsageError(f"an item has no field {self.name!r}, which --key names: {str(item)[:80]}")
        return item[self.name]


def run_command(command: RunCommand) -> int:
    """Run the command and return the exit code."""
    command.source.check()
    if command.starred and not command.source.jsonl:
        raise CommandError("--starred spreads lists and objects over arguments, and only --jsonl gives such items")
    journal = command.options.get("journal")
    keep_apart(
        (command.source.path, "the input"),
        (journal and journal.path, "the journal"),
        (command.output, "the file for outcomes"),
        (command.trace, "the trace"),
    )
    open_stdout = claim_stdout()
    fn = load_function(command.function)
    with Interrupts() as interrupts:
        try:
            items = open_source(command.source, interrupts, count=command.progress)
            return _stream(command, fn, items, interrupts, open_stdout)
        except CommandError:
            if interrupts.count:  # the input did not end too early, it was ended
                return INTERRUPTED
            raise
        except OutputClosed:
            return FAILED
        except (InputError, OutputFailed) as error:
            say_error(str(error))
            return FAILED


def _stream(
    command: RunCommand,
    fn: Callable[..., Any],
    items: Items | list[str],
    interrupts: Interrupts,
    open_stdout: Callable[[], BinaryIO],
) -> int:
    import poolwise

    called = spread(fn) if command.starred else fn
    total = items.total if isinstance(items, Items) else len(items)
    try:
        options = {**command.options, **trace_options(command.trace)}
        run = poolwise.run(called, items, progress=command.progress, total=total, **options)
    except poolwise.PoolwiseError as error:
        return explain(error)
    to_stdout = command.output in _STDOUT
    file = open_stdout() if to_stdout else open_file(command.output)
    # A bar and outcomes on one terminal: each line takes the place of the bar, which is drawn again below it.
    mixed = command.progress and expect_bar() and file.isatty()
    name, prefix = "stdout" if to_stdout else command.output, CLEAR_LINE.encode() if mixed else b""
    with LineWriter(file, name, prefix) as writer:
        tally = Tally()
        code = consume(run, interrupts, lambda outcome: writer.write(outcome_line(outcome)), tally, trace=command.trace)
    if not tally.done and tally.failed_types == {"TypeError"} and not command.source.jsonl:
        say_hint("items are str as they are read; --jsonl decodes each line, so that 4 is a number")
    return code


def open_file(path: str) -> BinaryIO:
    """Open a file for outcomes.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        return open(path, "wb")
    except OSError as error:
        raise CommandError(f"cannot write {path!r}: {error.strerror}") from error
