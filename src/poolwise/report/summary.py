"""The report of a run: a value that prints itself, and from which files are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from poolwise._core.errors import UsageError
from poolwise._core.story import Story
from poolwise._policy.demands import Estimate
from poolwise._policy.plan import Plan


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has done so far.

    Attributes:
        plan: what it set out to do.
        done, failed: items that ended with a value, and without one.
        retried: executions beyond an item's first.
        workers_lost: worker processes that died.
        seconds: wall seconds since work started.
        busy_seconds, cpu_seconds: sums over all executions, of wall and CPU seconds.
        failures: number of failed items by the class of their error.
        probe_seconds: CPU seconds that measuring used.
        recorded: items of `done` and `failed` that were not executed: their outcomes are those of the journal, or of
            an item with the same key.
        stages: of a pipeline: the report of each stage, whose `recorded` are the items that its own journal knew.
        stage: of a stage of a pipeline: its name.
        held: share of the time that the GIL of this process was held, once the shape was decided; None where not known.
    """

    plan: Plan
    done: int
    failed: int
    retried: int
    workers_lost: int
    seconds: float
    busy_seconds: float
    cpu_seconds: float
    failures: Mapping[str, int]
    probe_seconds: float = 0.0
    held: Estimate | None = None
    recorded: int = 0
    stages: tuple[Report, ...] = ()
    stage: str = ""
    _tell: Callable[[], Story] | None = field(default=None, repr=False, compare=False)

    @property
    def story(self) -> Story:
        """All that there is to tell of the run, up to the moment when this is read.

        Raises:
            UsageError: the report was not made by a run.
        """
        if self._tell is None:
            raise UsageError("this report was not made by a run, so there is nothing more to tell than it holds")
        return self._tell()

    def to_trace(self, path: str | os.PathLike[str]) -> None:
        """Write what happened when as a trace that https://ui.perfetto.dev and chrome://tracing open.

        There is a track for each lane of each worker. With `timeline=True` up to 100,000 executions are in it,
        otherwise 2,000; where there were more, these are a sample.

        Args:
            path: the file, which is replaced where it exists.

        Raises:
            UsageError: the file cannot be written.
        """
        from poolwise.report.trace import write_trace

        write_trace(self.story, path)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write it as one page of HTML that loads nothing: verdict, roofline, lanes, latency, failures, decisions.

        Args:
            path: the file, which is replaced where it exists.

        Raises:
            UsageError: the file cannot be written.
            BackendUnavailable: jinja2 is not installed.
        """
        import_module("poolwise.report.page").write_html(self.story, path)

    def to_plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the pictures of the page with matplotlib, one above the other.

        Args:
            path: the file, which is replaced where it exists; its suffix says the format: .png, .svg or .pdf.

        Raises:
            UsageError: the suffix is another one, or the file cannot be written.
            BackendUnavailable: matplotlib is not installed.
        """
        import_module("poolwise.report.plot").write_plot(self.story, path)

    def __str__(self) -> str:
        items = self.done + self.failed
        rate = f", {items / self.seconds:,.1f} items/s" if self.seconds > 0 else ""
        where = f"through {len(self.stages)} stages" if self.stages else f"on {self.plan.shape}"
        lines = [f"{items:,} items in {self.seconds:.2f} s {where}{rate}"]
        if self.failed:
            classes = ", ".join(f"{count:,} {name}" for name, count in self.failures.items())
            lines.append(f"{self.failed:,} failed: {classes}")
        if self.recorded:
            lines.append(f"{self.recorded:,} of them were not executed: their outcomes were recorded already")
        if self.retried:
            lines.append(f"{self.retried:,} retried")
        if self.workers_lost:
            lines.append(f"{self.workers_lost:,} worker{'s' if self.workers_lost > 1 else ''} died")
        if self.seconds > 0 and self.busy_seconds > 0:
            lanes = self.busy_seconds / self.seconds
            lines.append(
                f"{lanes:.2f} lanes busy on average; the items used {self.cpu_seconds / self.seconds:.2f} cores"
            )
        if self.held is not None:
            lines.append(f"the GIL was held for {self.held.value:.0%} ({self.held.low:.0%} to {self.held.high:.0%})")
        if self.probe_seconds > 0 and self.busy_seconds > 0:
            share = self.probe_seconds / self.busy_seconds
            lines.append(f"measuring used {self.probe_seconds * 1e3:.1f} ms of CPU, {share:.1%} of the items' time")
        for stage in self.stages:
            lines.append(f"stage {stage.stage}: {str(stage).replace(chr(10), chr(10) + '  ')}")
            lines.append(f"  {stage.plan.explain().partition(chr(10))[0]}")
        return "\n".join(lines)
