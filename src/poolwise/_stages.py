"""Between a call of `pipeline` and its first item: check the stages, and build an engine for each."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from poolwise._core.clock import Clock, SystemClock
from poolwise._core.errors import UsageError
from poolwise._core.journal import Journal, Owner
from poolwise._core.model import Limits, check_number
from poolwise._core.stage import JobStage, Stage, check_stage_options
from poolwise._drivers import Run, Stream
from poolwise._engine import Engine
from poolwise._helm import Company
from poolwise._pipeline import Part, Pipeline, is_ahead, others_are_quiet, others_cpu, workers_share
from poolwise._prepare import Choices, check_iterable, length_of, make_engine, name_of_function, progress_of

if TYPE_CHECKING:
    from poolwise._recorder import Recorder

_OF_THE_WHOLE = ("in_flight", "buffered_bytes")


@dataclass(frozen=True, slots=True)
class Whole:
    """The options of a pipeline that are not its stages'; `pipeline` says what they mean."""

    ordered: bool = False
    limits: Limits | None = None
    key: Callable[[Any], Any] | None = None
    progress: bool = False
    total: int | None = None
    journal: str | os.PathLike[str] | Journal | None = None
    timeline: bool = False


def prepare_pipeline(items: Iterable[Any], stages: Sequence[Any], options: Mapping[str, Any]) -> Run[Any]:
    """Check everything that can be wrong before work starts; return the run.

    Args:
        items: the input.
        stages: as they were given.
        options: as they were given.

    Raises:
        UsageError: naming what is wrong.
        JournalError: a journal cannot be used.
    """
    check_iterable(items, "the input of a pipeline")
    names = {each.name for each in fields(Whole)}
    whole = Whole(**{name: value for name, value in options.items() if name in names})
    defaults = {name: value for name, value in options.items() if name not in names}
    _check(whole)
    check_stage_options(defaults, "a pipeline", more=sorted(names))
    jobs = [_job_of(stage, place) for place, stage in enumerate(stages, 1)]
    if not jobs:
        raise UsageError("a pipeline has no stage; give functions, jobs or Stage(...) after its items")
    for place, job in enumerate(jobs[1:], 2):
        if job.items is not None:
            raise UsageError(f"stage {place} ({job.name}) must be the first: it needs all its items before work starts")
    first, limits = jobs[0], _limits_of(whole)
    key = whole.key or first.key
    if first.items is not None:
        items = first.items(items)
    total = whole.total if whole.total is not None else length_of((items,))
    clock, parts = SystemClock(), list[Part]()

    def company(engine: Engine) -> Company:
        cores = engine.rules.spec.cores
        return Company(
            cpu_seconds=lambda: others_cpu(parts, engine),
            workers=lambda: workers_share(parts, engine, cores),
            quiet=lambda: others_are_quiet(parts, engine),
            ahead=lambda: is_ahead(parts, engine),
        )

    for name, job in zip(_names(jobs), jobs):
        choices = replace(_choices(job, name, defaults, limits, len(jobs)), timeline=whole.timeline)
        try:
            engine = make_engine(job.fn, choices, job.job, total=total, company=company, stages=len(jobs))
        except UsageError as error:
            raise type(error)(f"stage {name}: {error}") from error
        parts.append(Part(name, engine))
    recorder: Recorder | None = None
    with ExitStack() as opened:  # What was opened is let go of where the rest cannot be.
        pipeline = Pipeline(parts, clock, in_flight=limits.in_flight, total=total, key=key)
        for part, job in zip(parts, jobs):
            if job.journal is not None:
                part.recorder = part.engine.keeper = _recorder(job.journal, _owner([job]), job.key, clock)
                opened.callback(part.recorder.store.close)
            if job.close is not None:
                opened.callback(job.close)
        if whole.journal is not None:
            recorder = _recorder(Journal.of(whole.journal), _owner(jobs), key, clock)
            pipeline.keeper = recorder
        opened.pop_all()
    stream = Stream(pipeline, iter(items), ordered=whole.ordered, key=key, recorder=recorder)
    if whole.progress:
        stream.show(progress_of(" | ".join(part.name for part in parts), stream))
    run: Run[Any] = Run.over(stream)
    for job in jobs:
        if job.close is not None:
            weakref.finalize(run, job.close)
    return run


def _check(whole: Whole) -> None:
    for name in ("ordered", "progress", "timeline"):
        if not isinstance(getattr(whole, name), bool):
            raise UsageError(f"{name} is {getattr(whole, name)!r}; it must be True or False")
    if whole.key is not None and not callable(whole.key):
        raise UsageError(f"key is {whole.key!r}; it must be a function")
    if whole.total is not None:
        check_number("total", whole.total, whole=True, zero=True)


def _job_of(stage: Any, place: int) -> JobStage:
    """Return a stage in the one form in which it is run.

    Raises:
        UsageError: it is none.
    """
    if isinstance(stage, JobStage):
        return stage
    if isinstance(stage, Stage):
        return JobStage(stage.fn, stage.name or "", stage.options)
    if callable(stage):
        return JobStage(stage, "")
    raise UsageError(
        f"stage {place} is {stage!r}; it must be a function, a job such as poolwise.jobs.fetch.fetch_stage(...), "
        "or Stage(function, ...)"
    )


def _names(jobs: Sequence[JobStage]) -> Iterator[str]:
    """Name the stages: as they were called, or by their functions; several of one name by number.

    Raises:
        UsageError: two were given one name.
    """
    for name, count in Counter(job.name for job in jobs if job.name).items():
        if count > 1:
            raise UsageError(f"{count} stages are called {name!r}; give each a name of its own: Stage(fn, name=...)")
    taken = {job.name for job in jobs}
    for job in jobs:
        name = plain = job.name or name_of_function(job.fn).rpartition(".")[2]
        number = 1
        while not job.name and name in taken:
            number += 1
            name = f"{plain} {number}"
        taken.add(name)
        yield name


def _limits_of(whole: Whole) -> Limits:
    limits = whole.limits if whole.limits is not None else Limits()
    if not isinstance(limits, Limits):
        raise UsageError(f"limits is {limits!r}; it must be a Limits")
    for name in Limits.__slots__:
        if getattr(limits, name) is not None and name not in _OF_THE_WHOLE:
            raise UsageError(
                f"limits.{name} is for a stage: write Stage(fn, limits=Limits({name}=...)); those of a pipeline are "
                f"{' and '.join(_OF_THE_WHOLE)}"
            )
    return limits


def _choices(job: JobStage, name: str, defaults: Mapping[str, Any], limits: Limits, stages: int) -> Choices:
    """Return the options of a stage: its own before those of the pipeline; and its share of what bounds the whole.

    Raises:
        UsageError: naming the stage.
    """
    given = {**defaults, **job.options}
    own = given.pop("limits", None) or Limits()
    if not isinstance(own, Limits):
        raise UsageError(f"limits of stage {name} is {own!r}; it must be a Limits")
    if limits.in_flight is not None:
        own = replace(own, in_flight=min(limits.in_flight, own.in_flight or limits.in_flight))
    if limits.buffered_bytes is not None:
        share = max(1, limits.buffered_bytes // stages)
        own = replace(own, buffered_bytes=min(share, own.buffered_bytes or share))
    return Choices(**given, limits=own)


def _recorder(journal: Journal, owner: Owner, key: Callable[[Any], Any] | None, clock: Clock) -> Recorder:
    """Open a journal."""
    from poolwise._recorder import Recorder
    from poolwise._runtime.journal import Store

    return Recorder(Store(journal, owner), key, clock.epoch)


def _owner(jobs: Sequence[JobStage]) -> Owner:
    """Return the owner of what these stages, one after the other, give."""
    from poolwise._runtime.identity import chain_of, owner_of

    return chain_of([Owner(job.job.owner) if job.job.owner else owner_of(job.fn) for job in jobs])
