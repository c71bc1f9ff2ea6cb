"""Between a call of `map` or `run` and its first item: check the options, make the plan, build engine and stream."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poolwise import backends
from poolwise._core.clock import Clock, SystemClock
from poolwise._core.errors import NotPicklableError, UnknownNameError, UsageError
from poolwise._core.job import NO_JOB, Job
from poolwise._core.journal import Journal
from poolwise._core.model import Limits, Retry, Rules, Shape, Spec, check_number
from poolwise._drivers import Stream
from poolwise._engine import Engine
from poolwise._helm import Company, FixedHelm, Helm, PilotHelm, Scout
from poolwise._policy.groups import GroupLanes, Groups
from poolwise._policy.meter import Meter
from poolwise._policy.order import reordered
from poolwise._policy.pending import Pending
from poolwise._policy.pilot import Pilot
from poolwise._policy.plan import Circumstances, Plan, choose, ground, needs_children
from poolwise._policy.timeline import LARGE, SMALL, Timeline
from poolwise._runtime import host, lanes
from poolwise._runtime.probe import has_gil

if TYPE_CHECKING:
    from poolwise._recorder import Recorder
    from poolwise._runtime.progress import Progress


_IN_MEMORY = {list, tuple, range, set, frozenset, dict, str, bytes}  # Whatever has a length may still read, or wait.
_CORES_SECONDS = 1.0
_MUCH_BYTES = 1 << 30  # Copies of this process that hold less than this together fit everywhere.
_WRITE_SECONDS_PER_BYTE = 0.1e-9  # Into shared memory, beside the copy out of it.


@dataclass(frozen=True, slots=True)
class Choices:
    """The options as they were given; `map` says what they mean."""

    shape: str | Shape = "auto"
    backend: str = "local"
    ordered: bool = False
    hint: str | None = None
    retry: int | Retry = 0
    timeout: float | None = None
    isolate: bool = False
    on_lost: str = "rerun"
    setup: Callable[[], object] | None = None
    limits: Limits | None = None
    key: Callable[[Any], Any] | None = None
    progress: bool = False
    total: int | None = None
    journal: str | os.PathLike[str] | Journal | None = None
    timeline: bool = False


def prepare(
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    options: Choices,
    *,
    raises: bool,
    long: bool = False,
    job: Job = NO_JOB,
) -> Stream:
    """Check everything that can be wrong before work starts, and make the plan and the stream.

    Args:
        fn: the function.
        iterables: the input.
        options: as they were given.
        raises: the first failed item ends the run (`map`).
        long: choose the shape as for a run without end (`profile`).
        job: what a built-in job tells the engine.
    """
    if not callable(fn):
        raise UsageError(f"the first argument must be a function, not {type(fn).__qualname__}")
    if not iterables:
        raise UsageError(f"there is nothing to apply {name_of_function(fn)} to; give an iterable after it")
    for place, iterable in enumerate(iterables, 1):
        check_iterable(iterable, f"iterable {place}")
    total = options.total if options.total is not None else length_of(iterables)
    engine = make_engine(fn, options, job, total=total, starred=len(iterables) > 1, raises=raises, long=long)
    source: Iterator[Any] = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables)
    if job.order is not None:
        source = reordered(job.order, source)
    engine.keeper = recorder = _recorder(fn, options, engine.clock, job.owner)
    placed = job.order is not None
    at_once = _IN_MEMORY.issuperset(map(type, iterables))
    stream = Stream(
        engine, source, ordered=options.ordered, key=options.key, recorder=recorder, placed=placed, at_once=at_once
    )
    if options.progress:
        stream.show(progress_of(name_of_function(fn), stream))
    return stream


def make_engine(
    fn: Callable[..., Any],
    options: Choices,
    job: Job,
    *,
    total: int | None,
    starred: bool = False,
    raises: bool = False,
    long: bool = False,
    company: Callable[[Engine], Company] | None = None,
    stages: int = 1,
) -> Engine:
    """Check the options of a function, make its plan and its engine.

    Args:
        fn: the function.
        options: as they were given.
        job: what a built-in job tells the engine. One with groups waits, for all that anybody knows: that is the hint
            where there is none.
        total: items, where that is known.
        starred: items are tuples of arguments.
        raises: the first failed item ends the run.
        long: choose the shape as for a run without end.
        company: gives the other stages of a pipeline; then this engine is one of its stages.
        stages: of that pipeline, which share the memory.
    """
    if job.group is not None and options.hint is None:
        options = replace(options, hint="io")
    retry = _check(options)
    limits = options.limits or Limits()
    given = _circumstances(fn, options, limits, total)
    plan, given = _plan(fn, options, given)
    spec = Spec(
        fn,
        starred=starred,
        coroutine=given.coroutine,
        setup=options.setup,
        isolate=plan.isolate or (limits.memory is not None and plan.shape.workers > 1),  # Begins with one child.
        timeout=options.timeout,
        items_per_worker=limits.items_per_worker,
        cores=given.cores,
        fail_fast=raises and retry is None and job.settle is None,
        fed=company is not None,
    )
    rules = Rules(
        spec,
        limits,
        _budget(limits, stages),
        retry,
        "fail" if options.on_lost == "fail" else "rerun",
        total,
    )
    backend, clock, meter = backends.load(options.backend)(), SystemClock(), Meter()
    room = ground(given if given.picklable else replace(given, limits=replace(limits, workers=1)))
    helm: Helm = FixedHelm(plan, backend, meter, limits.memory)
    pending, control = Pending(), None
    if job.group is not None or job.weight is not None:
        most = room.most_total if options.shape == "auto" else plan.shape.total
        pending = groups = Groups(job.group, job.group_limits, job.weight, most, rules.buffered_bytes)
        control = GroupLanes(groups) if job.group is not None else None
    timeline = Timeline(LARGE if options.timeline else SMALL)
    engine = Engine(backend, rules, clock, helm, meter, None, timeline, pending, job.settle)
    if options.shape == "auto" and not (given.in_worker or given.in_lane):
        eager = given.coroutine or (options.hint == "io" and plan.shape.workers == 1 and not plan.isolate)
        pilot = Pilot(
            plan,
            room,
            coroutine=given.coroutine,
            isolate=plan.isolate,
            eager=eager,
            long=long,
            control=control,
            expected=job.cpu_seconds,
        )
        others = None if company is None else company(engine)
        engine.helm = PilotHelm(pilot, backend, clock, meter, _scout(fn, options.setup), limits.memory, others)
    return engine


def _recorder(fn: Callable[..., Any], options: Choices, clock: Clock, owner: str) -> Recorder | None:
    """Open the journal."""
    if options.journal is None:
        return None
    from poolwise._core.journal import Owner
    from poolwise._recorder import Recorder
    from poolwise._runtime.identity import owner_of
    from poolwise._runtime.journal import Store

    whose = Owner(owner) if owner else owner_of(fn)
    return Recorder(Store(Journal.of(options.journal), whose), options.key, clock.epoch)


def _circumstances(fn: Callable[..., Any], options: Choices, limits: Limits, total: int | None) -> Circumstances:
    worker = sys.modules.get("poolwise._runtime.worker")
    cores = _usable_cores()
    resident = _resident_bytes(cores, limits) if options.shape == "auto" else 0
    return Circumstances(
        options.shape,
        cores,
        limits,
        coroutine=is_coroutine_function(fn),
        timeout=options.timeout is not None,
        isolate=options.isolate,
        hint=options.hint,
        in_worker=worker is not None and worker.in_worker,
        in_lane=lanes.in_lane.get(),
        total=total,
        gil=has_gil(),
        open_files=host.open_files_limit(),
        resident_bytes=resident,
        available_bytes=host.available_memory_bytes() if resident * cores > _MUCH_BYTES else None,
    )


def _resident_bytes(cores: float, limits: Limits) -> int:
    """Return what a worker may hold, at a guess; 0 where that is no matter, as reading it takes a while."""
    peak = host.peak_resident_bytes()
    if limits.memory is None and peak is not None and peak * cores <= _MUCH_BYTES:
        return 0
    return host.resident_bytes()


_cores_read: tuple[float, str | None, float] = (-math.inf, None, 0.0)


def _usable_cores() -> float:
    """Return the usable cores, read anew every second: the files that tell them cost half a millisecond."""
    global _cores_read
    now, wanted = time.monotonic(), os.environ.get(host.CORES_VARIABLE)
    read, variable, cores = _cores_read
    if now - read > _CORES_SECONDS or variable != wanted:
        cores = host.usable_cores()
        _cores_read = (now, wanted, cores)
    return cores


def _plan(fn: Callable[..., Any], options: Choices, given: Circumstances) -> tuple[Plan, Circumstances]:
    """Choose the shape; where the function cannot be sent to a child process, one without."""
    plan = choose(given)
    if plan.shape.workers == 1 and not plan.isolate:
        return plan, given
    from poolwise._runtime import wire

    try:
        wire.dump_function((fn, options.setup), name_of_function(fn))
    except NotPicklableError:
        if options.shape != "auto" or options.isolate or not needs_children(given):
            raise
        given = replace(given, picklable=False)
        return choose(given), given
    return plan, given


def _scout(fn: Callable[..., Any], setup: Callable[[], object] | None) -> Scout:
    """Return what finds out whether the function, its items and its values can be sent, and what that costs."""

    def scout(items: Sequence[Any], values: Sequence[Any]) -> tuple[float, str | None]:
        """Send them to nobody, and fetch them back."""
        from poolwise._runtime import wire

        try:
            wire.dump_function((fn, setup), name_of_function(fn))
        except NotPicklableError as error:
            return 0.0, str(error).partition(";")[0]
        spent = 0.0
        for what, column in (("argument", items), ("result", values)):
            started = time.perf_counter()
            parcel = wire.Parcel()
            packed, refusals = wire.pack(list(column), parcel)
            if not refusals:
                _, refusals = wire.unpack(packed, wire.Unparcel([view.nbytes for view in parcel.views], _copy(parcel)))
            spent += (time.perf_counter() - started) / max(1, len(column))
            if refusals:
                return spent, f"an {what} {next(iter(refusals.values()))}".replace("an result", "a result")
            spent += parcel.bytes * _WRITE_SECONDS_PER_BYTE / max(1, len(column))
        return spent, None

    return scout


def _copy(parcel: Any) -> Callable[[int, memoryview], None]:
    def fill(index: int, view: memoryview) -> None:
        view[:] = parcel.views[index].cast("B")

    return fill


def _check(options: Choices) -> Retry | None:
    """Check the options.

    Raises:
        UsageError: naming the one that is wrong.
    """
    if not isinstance(options.shape, (str, Shape)):
        raise UsageError(f'shape is {options.shape!r}; it must be a Shape or text such as "auto" or "2x1"')
    if options.hint not in (None, "io", "cpu"):
        raise UnknownNameError(f'hint is {options.hint!r}; it must be "io", "cpu" or None')
    if options.on_lost not in ("rerun", "fail"):
        raise UnknownNameError(f'on_lost is {options.on_lost!r}; it must be "rerun" or "fail"')
    if not isinstance(options.limits, Limits | None):
        raise UsageError(f"limits is {options.limits!r}; it must be a Limits")
    for name in ("setup", "key"):
        value = getattr(options, name)
        if value is not None and not callable(value):
            raise UsageError(f"{name} is {value!r}; it must be a function")
        if name == "setup" and is_coroutine_function(value):
            raise UsageError(f"setup is {value!r}, a coroutine function, which nothing would await; give a plain one")
    if not isinstance(options.timeline, bool):
        raise UsageError(f"timeline is {options.timeline!r}; it must be True or False")
    if options.timeout is not None:
        check_number("timeout", options.timeout)
    if options.total is not None:
        check_number("total", options.total, whole=True, zero=True)
    if isinstance(options.retry, Retry):
        return options.retry
    check_number("retry", options.retry, whole=True, zero=True)
    return Retry(attempts=options.retry + 1) if options.retry else None


def is_coroutine_function(fn: Any) -> bool:
    """Say whether calling `fn` gives a coroutine: it, what its partial wraps, or its `__call__` is an `async def`."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def check_iterable(iterable: Any, what: str) -> None:
    """Check that something can be iterated over.

    Raises:
        UsageError: calling it what `what` says.
    """
    if not hasattr(type(iterable), "__iter__") and not hasattr(type(iterable), "__getitem__"):
        raise UsageError(f"{what} is a {type(iterable).__qualname__}, which cannot be iterated")


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return how many items there will be; None where one of the iterables does not know."""
    lengths = []
    for iterable in iterables:
        try:
            lengths.append(len(iterable))  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            hint = operator.length_hint(iterable, -1) if isinstance(iterable, Iterator) else -1
            if hint < 0:
                return None
            lengths.append(hint)
    return min(lengths)


def _budget(limits: Limits, stages: int) -> Callable[[], int]:
    def budget() -> int:
        return limits.buffered_bytes or host.available_memory_bytes() // (4 * stages)

    return budget


def name_of_function(fn: Any) -> str:
    """Return what a function is called, without its module."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def progress_of(label: str, stream: Stream) -> Progress:
    """Return what shows how far a run is."""
    from poolwise._runtime.progress import Progress

    return Progress(stream.snapshot, label=label)
