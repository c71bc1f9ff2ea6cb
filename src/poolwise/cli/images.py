"""`poolwise images`: the photographs of a folder, through operations, into another folder."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolwise.cli.consume import consume, explain, trace_options
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.manifest import check_manifest, write_manifest
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed, claim_stdout, keep_apart
from poolwise.cli.terminal import DONE, FAILED, CommandError, Tally, expect_bar, one_line, say, say_error

if TYPE_CHECKING:
    from poolwise.jobs.images.job import Prepared

GOOD_DECIBELS = 45.0
"""From here on nobody sees a difference; below, `--fast` says so."""


@dataclass(frozen=True, slots=True)
class ImagesCommand:
    """What the user asked for.

    Args:
        source, destination: folders; no destination where files are rewritten in place.
        operations: names and what was written after them (True for a switch), in the order of the command line.
        listing: only say what would be done.
        manifest: a file for it, "-" for stdout, or None.
        trace: a file for what happened when, or None.
        options: of `poolwise.jobs.images`.
    """

    source: str
    destination: str | None
    operations: dict[str, Any]
    listing: bool = False
    manifest: str | None = None
    trace: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def images_command(command: ImagesCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise import PoolwiseError
    from poolwise.jobs._records import journal_path
    from poolwise.jobs.images import SUFFIXES
    from poolwise.jobs.images.job import prepare
    from poolwise.jobs.images.manifest import MANIFEST

    folder = command.source if command.destination is None else command.destination
    journal = journal_path(command.options.get("journal"), folder)
    keep_apart((journal, "the journal"), (command.trace, "the trace"), (command.manifest, "the manifest"))
    open_stdout = claim_stdout() if command.manifest == "-" else None
    tally = ImagesTally("images", loud=True)
    quiet_pillow()
    try:
        options = {**read_operations(command.operations), **command.options, **trace_options(command.trace)}
        options["setup"] = quiet_pillow
        prepared = prepare(command.source, command.destination, options)
        if not prepared.paths:
            names = ", ".join(SUFFIXES)
            say(f"no images in {command.source!r} (files are taken for images by name: {names})")
            return DONE
        if command.listing:
            return _list(prepared)
        _check_outputs(command, prepared)
        run = prepared.run()
    except PoolwiseError as error:
        return explain(error)
    if command.options.get("progress"):
        expect_bar()
    with Interrupts() as interrupts:
        code = consume(run, interrupts, tally.report, tally, trace=command.trace)
    for line in tally.details():
        say(line)
    if command.manifest is not None:
        code = write_manifest(MANIFEST, journal, command.manifest, open_stdout) or code
    return code


def _check_outputs(command: ImagesCommand, prepared: Prepared) -> None:
    """Refuse what cannot be written, and what would be written over an image, before anything is done.

    Raises:
        UsageError, CommandError: saying why.
    """
    from poolwise.jobs._names import folded
    from poolwise.jobs.images.names import result_name

    if command.manifest is not None:
        check_manifest(command.manifest, os.path.realpath(prepared.destination))
    for path, use in ((command.manifest, "manifest"), (command.trace, "trace")):
        if path is None or path == "-":
            continue
        sources, results = _names_within(prepared.source, path), _names_within(prepared.destination, path)
        if sources and not sources.isdisjoint(map(folded, prepared.paths)):
            whose = "is an image"
        elif results and not results.isdisjoint(
            folded(result_name(key, prepared.convert.settings.format)) for key in prepared.paths
        ):
            whose = "is what a result will be called"
        else:
            continue
        raise CommandError(f"{path!r} is named as the {use}, and {whose}; give another path")


def _names_within(folder: str, path: str) -> set[str]:
    """Return what a path is called within a folder, as it is written and where links lead; none outside of it."""
    from poolwise.jobs._names import folded

    root = os.path.join(os.path.realpath(folder), "")
    written = os.path.join(os.path.realpath(os.path.dirname(path) or os.curdir), os.path.basename(path))
    return {folded(each[len(root) :]) for each in (written, os.path.realpath(path)) if each.startswith(root)}


def quiet_pillow() -> None:
    """Have Pillow not warn of damaged metadata, in this process: what it means is in notes, and errors."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_operations(written: dict[str, Any]) -> dict[str, Any]:
    """Return operations with their values, of what was written after each (True for a switch).

    Raises:
        UsageError: one cannot be read.
        CommandError: a function cannot be loaded.
    """
    return {name: _value(name, text) for name, text in written.items()}


def _value(name: str, text: Any) -> Any:
    """Read what was written after an operation."""
    from poolwise.cli.target import load_function
    from poolwise.jobs.images import read_value

    if text is True:
        return True
    return load_function(text) if name == "apply" else read_value(name, text)


def _list(prepared: Prepared) -> int:
    """Write what would be done: a line for each file on stdout, and the counts on stderr."""
    counts: Counter[bool] = Counter()
    try:
        with LineWriter(claim_stdout()(), "stdout") as writer:
            for planned in prepared.preview():
                counts[planned.todo] += 1
                mark = "process" if planned.todo else "skip   "
                line = f"{mark} {one_line(planned.key)} -> {one_line(planned.path)} ({planned.why})\n"
                writer.write(line.encode("utf-8", "backslashreplace"))
    except OutputClosed:
        return FAILED
    except OutputFailed as error:
        say_error(str(error))
        return FAILED
    say(f"{counts[True]:,} to process, {counts[False]:,} to skip")
    return DONE


@dataclass(slots=True)
class ImagesTally(Tally):
    """Counts outcomes, and what is told of images beside that."""

    actions: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    decibels: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def report(self, outcome: Any) -> None:
        """Count one outcome, and name a failure."""
        from poolwise.jobs.images import ImageError
        from poolwise.jobs.images.manifest import cause_of

        if outcome.error is not None:
            cause = cause_of(outcome.error)
            kind = "" if isinstance(cause, ImageError) else f"{type(cause).__name__}: "
            say(f"failed: {one_line(outcome.key)}: {kind}{one_line(str(cause))}")
            return
        self.actions["up to date" if outcome.started < self.began else outcome.value.action] += 1
        self.notes.update(outcome.value.notes)
        if outcome.value.psnr is not None:
            self.decibels.append(outcome.value.psnr)

    def details(self) -> list[str]:
        """Return the lines below the summary, where there is more to say than that all were converted."""
        lines = []
        if self.actions.keys() - {"converted"}:
            said = [f"{self.actions[name]:,} {name}" for name in ("converted", "copied", "up to date")]
            lines.append(", ".join(said))
        lines += [
            f"{count:,} {'image' if count == 1 else 'images'}: {note}" for note, count in self.notes.most_common()
        ]
        if self.decibels:
            worst = min(self.decibels)
            count = len(self.decibels)
            sample = f"a sample of {count}" if count > 1 else "one sample"
            lines.append(f"--fast: PSNR {worst:.1f} dB, measured on {sample} (the lowest)")
            if worst < GOOD_DECIBELS:
                lines.append(f"that is below {GOOD_DECIBELS:g} dB, where a difference can be seen: go without --fast")
        return lines


def required(destination: str | None, *, in_place: bool) -> None:
    """Check that there is one place for the results.

    Raises:
        CommandError: there is none.
    """
    if destination is None and not in_place:
        raise CommandError("missing argument 'DST'", hint="name a folder for the results, or give --in-place")
