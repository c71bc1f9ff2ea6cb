"""`poolwise fetch`: URLs into files of one folder."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from poolwise.cli.consume import consume, explain, trace_options
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.manifest import check_manifest, write_manifest
from poolwise.cli.streams import claim_stdout, keep_apart, stdin_closed
from poolwise.cli.terminal import CommandError, Tally, expect_bar, failure, one_line, say, shorten

if TYPE_CHECKING:
    from poolwise import Run
    from poolwise._core.journal import Recorded
    from poolwise._runtime.progress import Progress, Snapshot
    from poolwise.jobs.fetch import BadLine
    from poolwise.jobs.images.stage import OfPath

_FAILURES_SHOWN = 20
_HOSTS_SHOWN = 3
_NOT_MODIFIED = 304
_LONG_BYTES = 30_000  # Some 500 URLs.


@dataclass(frozen=True, slots=True)
class FetchCommand:
    """What the user asked for.

    Args:
        urls: a file, or "-" for stdin.
        destination: a folder.
        kind: of the file: "lines", "csv" or "jsonl".
        column: of CSV, or the field of JSON objects.
        manifest: a file for it, "-" for stdout, or None.
        trace: a file for what happened when, or None.
        progress: show how far it is.
        options: of `poolwise.jobs.fetch`.
        then: operations on each image that is fetched, in order, or None.
        then_to: the folder for what they give; None: `processed` in `destination`.
    """

    urls: str
    destination: str
    kind: str = "lines"
    column: str | None = None
    manifest: str | None = None
    trace: str | None = None
    progress: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    then: dict[str, Any] | None = None
    then_to: str | None = None


def fetch_command(command: FetchCommand) -> int:
    """Run the command and return the exit code."""
    _start_early(command)
    from poolwise import PoolwiseError
    from poolwise.jobs._records import journal_path
    from poolwise.jobs.fetch import fetch
    from poolwise.jobs.fetch.manifest import MANIFEST

    if command.kind == "csv" and command.column is None:
        raise CommandError("--csv needs --column NAME")
    if command.kind == "lines" and command.column is not None:
        raise CommandError("--column is for --csv and --jsonl")
    journal = journal_path(command.options.get("journal"), command.destination)
    keep_apart(
        (command.urls, "the list of URLs"),
        (journal, "the journal"),
        (command.trace, "the trace"),
        (command.manifest, "the manifest"),
    )
    open_stdout = claim_stdout() if command.manifest == "-" else None
    tally: FetchTally = FetchTally("URLs", loud=True) if command.then is None else ThenTally("URLs", loud=True)
    try:
        with _opened(command.urls) as file:
            lines = list(_read(command, file))
        _check_outputs(command, lines, journal)
        options: Any = {**command.options, **trace_options(command.trace)}
        run = fetch(lines, command.destination, **options) if command.then is None else _pipeline(command, lines)
    except PoolwiseError as error:
        return explain(error)
    if not lines:
        say(f"no URLs in {_name_of(command)}")
    number = len(lines)
    del lines
    progress = _progress(run, tally, number) if command.progress else None
    with Interrupts() as interrupts:
        try:
            code = consume(run, interrupts, tally.report, tally, trace=command.trace)
        finally:
            if progress is not None:
                progress.stop()
    for line in tally.details(run):
        say(line)
    if command.manifest is not None:
        code = write_manifest(MANIFEST, journal, command.manifest, open_stdout) or code
    return code


def _start_early(command: FetchCommand) -> None:
    """Where worker processes are likely, have them get ready while this process imports what it needs itself.

    A shorter list is over before others are of use (`FILE_CPU_SECONDS` of the job).
    """
    from poolwise import BackendError
    from poolwise._runtime.server import prestart

    shape = str(command.options.get("shape", "auto"))
    try:
        long = command.urls != "-" and os.path.getsize(command.urls) > _LONG_BYTES
    except OSError:
        long = False
    if shape.startswith(("1x", "serial")) or not (long or shape != "auto"):
        return
    with suppress(BackendError, OSError):  # Whoever wants them in the end learns why there are none.
        prestart(["poolwise.jobs.fetch"])


def _check_outputs(command: FetchCommand, lines: list[str | BadLine], journal: str) -> None:
    """Refuse what cannot be written, and what would be written over a fetched file, before anything is fetched.

    Raises:
        UsageError, CommandError: saying why.
    """
    from poolwise.jobs.fetch import names
    from poolwise.jobs.fetch.earlier import Earlier
    from poolwise.jobs.fetch.job import GoodUrls

    destination = os.path.realpath(command.destination)
    if command.manifest is not None:
        check_manifest(command.manifest, destination)
    for path, use in ((command.manifest, "manifest"), (command.trace, "trace")):
        if path is None or path == "-":
            continue
        folder, name = os.path.split(os.path.realpath(path))
        if folder != destination:
            continue
        earlier = Earlier(journal)
        try:
            taken = os.path.exists(journal) and earlier.is_recorded(name)
        finally:
            earlier.close()
        if taken or names.could_be(name, GoodUrls(lines)):
            whose = "is a file that was fetched" if taken else "may be what a fetched file will be called"
            raise CommandError(f"{path!r} is named as the {use}, and {whose}; give another path")


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        if stdin_closed():
            raise CommandError("cannot read stdin: it is closed")
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  # Stays open.
    except OSError as error:
        raise CommandError(f"cannot read {path!r}: {error.strerror}") from error
    with file:
        yield file


def _name_of(command: FetchCommand) -> str:
    """Return what messages call the list."""
    return "stdin" if command.urls == "-" else command.urls


def _read(command: FetchCommand, file: BinaryIO) -> Iterator[str | BadLine]:
    from poolwise.jobs.fetch import urls

    name = _name_of(command)
    try:
        if command.kind == "csv":
            yield from urls.read_csv(file, name, str(command.column))
        elif command.kind == "jsonl":
            yield from urls.read_jsonl(file, name, command.column)
        else:
            yield from urls.read_lines(file, name)
    except OSError as error:
        raise CommandError(f"cannot read {name!r}: {error.strerror}") from error


@dataclass(slots=True)
class _Host:
    """What is counted of a host."""

    urls: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class FetchTally(Tally):
    """Counts outcomes, and what is told of downloads beside that."""

    bytes: int = 0
    already: int = 0
    failed_earlier: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    hosts: dict[str, _Host] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    began_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    def report(self, outcome: Any) -> None:
        """Count one outcome, and name a failure."""
        from poolwise.jobs.fetch import BadUrl
        from poolwise.jobs.fetch.manifest import cause_of

        self.ended = time.perf_counter()
        cause = None if outcome.ok else cause_of(outcome.error)
        earlier, key = outcome.finished < self.began_at, hash(outcome.key)
        if not earlier and key not in self.seen and not isinstance(cause, BadUrl):
            host = self.hosts.setdefault(outcome.key.partition("//")[2].partition("/")[0], _Host())
            host.urls += 1
            host.seconds += outcome.seconds
        if cause is not None:
            self._count_failure(type(cause).__name__, "failed", f"{shorten(outcome.key)}: {cause}", earlier=earlier)
        elif earlier or key in self.seen or outcome.value.status == _NOT_MODIFIED:
            self.already += 1
        else:
            self.bytes += outcome.value.bytes
        self.seen.add(key)

    def _count_failure(self, name: str, how: str, what: str, *, earlier: bool) -> None:
        self.classes[name] += 1
        self.failed_earlier += earlier
        if self.failed <= _FAILURES_SHOWN:
            say(f"{how}{' in an earlier run' if earlier else ''}: {one_line(what)}")
        elif self.failed == _FAILURES_SHOWN + 1:
            say("further failures are not shown here; --manifest FILE names all of them")

    def counts(self) -> str:
        """Say how many were fetched now, were there already, and failed."""
        already = f", {self.already:,} {'was' if self.already == 1 else 'were'} there already" if self.already else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done - self.already:,} done{already}{failed}"

    def snapshot(self, run: Run[Any], total: int) -> Snapshot:
        """Return how far the run is, for a progress bar."""
        from poolwise._runtime.progress import Snapshot

        seconds = time.perf_counter() - self.began
        parts = [f"{size(self.bytes / seconds if seconds else 0.0)}/s"]
        parts += [f"{count:,} {name}" for name, count in self.classes.most_common(2)]
        slowest = self.slowest()
        if slowest and len(self.hosts) > 1:
            parts.append(f"slowest {slowest[0][0]}")
        return Snapshot(self.done + self.failed, self.failed, total, str(run.plan.shape), seconds, ", ".join(parts))

    def slowest(self) -> list[tuple[str, float]]:
        """Return the hosts that took longest for a URL, with the mean of their seconds."""
        known = list(self.hosts.items())  # In one step: the progress thread asks, too.
        means = [(name, host.seconds / host.urls) for name, host in known if name]
        return sorted(means, key=lambda pair: -pair[1])[:_HOSTS_SHOWN]

    def details(self, run: Run[Any]) -> list[str]:  # noqa: ARG002
        """Return the lines below the summary."""
        seconds = max(self.ended - self.began, 1e-9)
        fetched = self.done - self.already
        lines = [f"{size(self.bytes)} received, {size(self.bytes / seconds)}/s"] if fetched else []
        lines += self._failures()
        if len(self.hosts) > 1:
            lines.append(f"slowest hosts: {', '.join(f'{name} ({mean:.2f} s)' for name, mean in self.slowest())}")
        return lines

    def _failures(self) -> list[str]:
        lines = []
        if self.classes:
            lines.append(f"failures: {', '.join(f'{count:,} {name}' for name, count in self.classes.most_common())}")
        if self.failed_earlier:
            lines.append(f"{self.failed_earlier:,} failed in an earlier run; --retry-failed tries again")
        return lines


@dataclass(slots=True)
class ThenTally(FetchTally):
    """Counts the outcomes of both stages, and what is told of them."""

    def report(self, outcome: Any) -> None:
        """Count one outcome, and name a failure."""
        from poolwise.jobs.fetch.manifest import cause_of

        earlier = outcome.finished < self.began_at
        if outcome.ok:
            self.already += earlier
            return
        name, message = failure(outcome.error)
        what = cause_of(outcome.error) if outcome.stage == "fetch" else message
        self._count_failure(name, f"failed at {outcome.stage}", f"{shorten(outcome.key)}: {what}", earlier=earlier)

    def details(self, run: Run[Any]) -> list[str]:
        """Return a line for each stage, and one of failures."""
        lines = []
        for stage in run.report().stages:
            failed = f", {stage.failed:,} failed" if stage.failed else ""
            known = f", {stage.recorded:,} of them earlier" if stage.recorded else ""
            lines.append(f"{stage.stage}: {stage.done:,} done{failed}{known} (shape {stage.plan.shape})")
        return lines + self._failures()


def _pipeline(command: FetchCommand, lines: list[str | BadLine]) -> Run[str]:
    """Return the run that fetches, and processes what it has fetched."""
    import poolwise
    from poolwise.cli.images import quiet_pillow
    from poolwise.jobs._records import journal_path
    from poolwise.jobs.fetch import fetch_stage
    from poolwise.jobs.fetch.job import may_pass
    from poolwise.jobs.images import ImageError, images_stage

    options = dict(command.options)
    results = command.then_to or os.path.join(command.destination, "processed")
    shape = options.pop("shape", "auto")
    began = time.time()

    assert command.then is not None
    quiet_pillow()
    process = images_stage(command.destination, results, setup=quiet_pillow, **command.then)
    recipe = cast("OfPath", process.fn).recipe
    stages = [fetch_stage(command.destination, **options), process]

    def again(recorded: Recorded) -> bool:
        """Say whether a URL begins at the first stage again.

        Its result is gone, may have changed, or is another's; or it failed by other operations, or by what may be
        otherwise now.
        """
        if recorded.error is not None:
            cause = recorded.error.__cause__
            other = isinstance(cause, ImageError) and (cause.may_pass or cause.recipe != recipe)
            return (other or may_pass(recorded.error)) and recorded.started < began
        changed = bool(options.get("update")) and recorded.started < began
        return changed or recorded.value.recipe != recipe or not os.path.isfile(recorded.value)

    os.makedirs(results, exist_ok=True)
    given: Any = options.get("journal")
    journal = poolwise.Journal(
        journal_path(None, results),
        durable=bool(options.get("durable")),
        retry_failed=bool(options.get("retry_failed")),
        force=given is not None and given.force,
        again=again,
    )
    return poolwise.pipeline(lines, *stages, shape=shape, journal=journal, **trace_options(command.trace))


def size(number: float) -> str:
    """Write bytes for a reader: "512 B", "81.2 kB", "3.40 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def _progress(run: Run[Any], tally: FetchTally, total: int) -> Progress:
    from poolwise._runtime.progress import Progress

    expect_bar()
    progress = Progress(lambda: tally.snapshot(run, total), label="fetch")
    progress.start()
    return progress
