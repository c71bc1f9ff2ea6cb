"""`poolwise bench`: shapes and pools compared on a function's, or a job's, own items."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from poolwise.cli.consume import explain
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.sources import InputError, Source, open_source
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed, claim_stdout, keep_apart
from poolwise.cli.target import load_function, spread
from poolwise.cli.terminal import (
    DONE,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    CommandError,
    one_line,
    say,
    say_error,
)

if TYPE_CHECKING:
    from poolwise import Comparison
    from poolwise._bench.compare import Bench, Wishes

JOBS = {"fetch": ("any", "allow_private"), "images": ("blur", "fit")}
"""Jobs that can be compared, and the options of theirs that the command has."""


@dataclass(frozen=True, slots=True)
class BenchCommand:
    """What the user asked for.

    Args:
        target: MODULE:FUNCTION, "fetch", "images", or None with `show`.
        source: where items come from; of `images` the folder.
        starred: spread lists and objects over arguments.
        shapes: texts, or None.
        show: a saved comparison to be analysed again, or None.
        plot: a file for the picture, or None.
        form: what is printed: "text", "json" or "markdown".
        job: options of the job.
        wishes: repeats, peers, save, seconds, seed and limit.
    """

    target: str | None
    source: Source
    starred: bool = False
    shapes: tuple[str, ...] | None = None
    show: str | None = None
    plot: str | None = None
    form: str = "text"
    job: dict[str, Any] = field(default_factory=dict)
    wishes: dict[str, Any] = field(default_factory=dict)


def job_options(target: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Check the options that are about a job.

    Args:
        target: of the command.
        given: by the names that the jobs know.

    Raises:
        CommandError: one is about another target, or missing.
    """
    for name in given:
        if name not in JOBS.get(str(target), ()):
            about = next(job for job, options in JOBS.items() if name in options)
            raise CommandError(f"--{name.replace('_', '-')} is about the job {about}: poolwise bench {about} ...")
    if target == "images" and not given:
        raise CommandError("there is nothing to do to the images", hint="give --blur RADIUS, --fit SIZE, or both")
    if target == "images":
        from poolwise.cli.images import read_operations

        return read_operations(given)
    return given


def bench_command(command: BenchCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise import PoolwiseError

    if (command.target is None) == (command.show is None):
        raise CommandError(
            "name what to compare, MODULE:FUNCTION and ITEMS, or a saved comparison with --show FILE; one of the two"
        )
    keep_apart(
        (command.source.path, "the input"),
        (command.wishes["save"], "the file for the runs"),
        (command.plot, "the picture"),
        (command.show, "the saved comparison"),
    )
    open_stdout = claim_stdout()
    try:
        if command.plot is not None:
            _check_plot(command.plot)
        if command.show is not None:
            from poolwise._bench.compare import shown

            return _print(command, shown(command.show, command.wishes["seed"]), open_stdout)
        return _compare(command, open_stdout)
    except PoolwiseError as error:
        return explain(error)
    except OutputClosed:
        return FAILED
    except (InputError, OutputFailed) as error:
        say_error(str(error))
        return FAILED


def _check_plot(path: str) -> None:
    """Refuse, before anything is measured, a picture that could not be written."""
    from poolwise.report.files import check_writable
    from poolwise.report.plot import check_plot

    check_plot(path)
    check_writable(path)


def _compare(command: BenchCommand, open_stdout: Callable[[], BinaryIO]) -> int:
    from poolwise._bench.compare import Wishes
    from poolwise._bench.schedule import parse_shapes

    shapes = None if command.shapes is None else parse_shapes(command.shapes)
    bench = _opened(command, Wishes(shapes=shapes, **command.wishes))
    if bench is None:
        return INTERRUPTED
    code = DONE
    with bench:
        try:
            say("the items are run again and again: this is for functions that are safe to repeat")
            _measure(bench, command.wishes["repeats"])
        except KeyboardInterrupt:
            code = INTERRUPTED
            if not bench.prepared:
                say("interrupted before anything was measured")
                return code
            say("interrupted: what was measured follows")
        comparison = bench.comparison()
    printed = _print(command, comparison, open_stdout)
    return code or printed


def _opened(command: BenchCommand, wishes: Wishes) -> Bench | None:
    """Take the items; None where Ctrl-C came meanwhile."""
    from poolwise._bench.compare import bench_of_calls, bench_of_job

    target = str(command.target)
    if target == "images":
        if command.source.items is None:
            raise CommandError("no folder is given", hint="write: poolwise bench images SRC --fit 1200")
        return bench_of_job("images", command.source.items, command.job, wishes)
    command.source.check()
    if command.starred and not command.source.jsonl:
        raise CommandError("--starred spreads lists and objects over arguments, and only --jsonl gives such items")
    with Interrupts() as interrupts:
        fn = None if target == "fetch" else load_function(target)
        items: Iterable[Any] = open_source(command.source, interrupts, count=False)
        if fn is None:
            bench = bench_of_job("fetch", (str(item) for item in items), command.job, wishes)
        else:
            bench = bench_of_calls(spread(fn) if command.starred else fn, items, wishes)
    if interrupts.count:
        bench.__exit__()
        return None
    return bench


def _measure(bench: Bench, repeats: int) -> None:
    """Measure, and say how far it is."""
    from poolwise._bench.words import items_in_words
    from poolwise.report.words import duration, many

    bench.prepare()
    design = bench.design
    sides = ", ".join(design.sides)
    runs = f"{many(repeats, 'block')} of {2 * (len(design.sides) + 1)} runs"
    about = "" if bench.estimate_seconds is None else f", about {duration(bench.estimate_seconds)}"
    _say_wrapped(f"{items_in_words(design)} in each run; {sides}; {runs}{about}")
    if bench.trials:
        say(f"blocks that are measured already: {len({trial.block for trial in bench.trials})}")
    started = time.perf_counter()
    for block in bench.blocks():
        figures = ", ".join(_figures(bench, block))
        _say_wrapped(f"block {block + 1} of {repeats}, after {duration(time.perf_counter() - started)}: {figures}")


def _figures(bench: Bench, block: int) -> Iterator[str]:
    """Give the mean seconds of each side in a block."""
    from poolwise._bench.words import seconds_text

    for side in bench.design.sides:
        own = [trial for trial in bench.trials if (trial.block, trial.side, trial.twin) == (block, side, False)]
        times = [trial.measured.seconds for trial in own if trial.measured is not None]
        if own:
            yield f"{side} {seconds_text(sum(times) / len(times))} s" if len(times) == len(own) else f"{side} broke"


def _say_wrapped(text: str) -> None:
    import textwrap

    for line in textwrap.wrap(text, 79, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        say(line)


def _print(command: BenchCommand, comparison: Comparison, open_stdout: Callable[[], BinaryIO]) -> int:
    """Print the comparison and draw it; return the exit code."""
    if command.form == "json":
        text = json.dumps(comparison.to_dict(), indent=2)
    else:
        text = comparison.to_markdown().rstrip() if command.form == "markdown" else str(comparison)
    with LineWriter(open_stdout(), "stdout") as writer:
        writer.write(text.encode(errors="backslashreplace") + b"\n")
    if command.plot is not None:
        comparison.to_plot(command.plot)
        say(f"drawn: {one_line(command.plot)}")
    if comparison.winner is None:
        return FAILED
    return SOME_FAILED if any(warning.kind == "failed items" for warning in comparison.warnings) else DONE
