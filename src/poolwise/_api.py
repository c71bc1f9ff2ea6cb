"""map, run, pipeline and profile: the public front of the engine. What they do is in `_prepare.py` and `_drivers.py`.

Little is imported here at first: where child processes are wanted, the forkserver starts meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

if TYPE_CHECKING:
    from poolwise._core.job import Job
    from poolwise._core.journal import Journal
    from poolwise._core.model import Limits, Retry, Shape
    from poolwise._core.stage import JobStage, Stage
    from poolwise._drivers import Results, Run
    from poolwise._policy.profile import Profile

__all__ = ["map", "pipeline", "profile", "run"]

R = TypeVar("R")


class Options(TypedDict, total=False):
    """The options of `map` and `run`, for type checkers; `map` says what they mean."""

    shape: str | Shape
    backend: str
    ordered: bool
    hint: Literal["io", "cpu"] | None
    retry: int | Retry
    timeout: float | None
    isolate: bool
    on_lost: Literal["rerun", "fail"]
    setup: Callable[[], object] | None
    limits: Limits | None
    key: Callable[[Any], Any] | None
    progress: bool
    total: int | None
    journal: str | os.PathLike[str] | Journal | None
    timeline: bool


class PipelineOptions(TypedDict, total=False):
    """The options of `pipeline`, for type checkers; `pipeline` says what they mean."""

    shape: str | Shape
    backend: str
    hint: Literal["io", "cpu"] | None
    retry: int | Retry
    timeout: float | None
    isolate: bool
    on_lost: Literal["rerun", "fail"]
    setup: Callable[[], object] | None
    ordered: bool
    limits: Limits | None
    key: Callable[[Any], Any] | None
    progress: bool
    total: int | None
    journal: str | os.PathLike[str] | Journal | None
    timeline: bool


@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, R]], *iterables: Iterable[Any], **options: Unpack[Options]
) -> Results[R]: ...
@overload
def map(fn: Callable[..., R], *iterables: Iterable[Any], **options: Unpack[Options]) -> Results[R]: ...
def map(
    fn: Callable[..., Any],
    *iterables: Iterable[Any],
    shape: str | Shape = "auto",
    backend: str = "local",
    ordered: bool = True,
    hint: Literal["io", "cpu"] | None = None,
    retry: int | Retry = 0,
    timeout: float | None = None,
    isolate: bool = False,
    on_lost: Literal["rerun", "fail"] = "rerun",
    setup: Callable[[], object] | None = None,
    limits: Limits | None = None,
    key: Callable[[Any], Any] | None = None,
    progress: bool = False,
    total: int | None = None,
    journal: str | os.PathLike[str] | Journal | None = None,
    timeline: bool = False,
) -> Results[Any]:
    """Apply a function to every item and iterate over the values, in input order; raise at the first failed item.

    The input may be endless: it is taken lazily, in the thread that iterates, and only as far ahead as `limits` allow.

    Args:
        fn: the function; a lambda, closure, bound method, partial or coroutine function will do. It is called
            `fn(item)`, or `fn(*items)` where there are several iterables. If it is not thread-safe, say `isolate=True`.
        *iterables: the input; several are zipped, and end with the shortest.
        shape: "auto", "serial", "workers x lanes" such as "2x1" or "1x8", or a `Shape`.
        backend: where workers live; "local".
        ordered: False yields values as they come.
        hint: what the function is expected to be bound by, "io" or "cpu"; still checked.
        retry: further attempts on any Exception, or a `Retry`.
        timeout: seconds that one execution may take; then it is ended. Under "auto" plain functions run in child
            processes for that, and coroutines are cancelled.
        isolate: run every call in a child process, one at a time in each.
        on_lost: what happens to items that were running beside one that killed their worker: "rerun" or "fail".
        setup: called once in each worker before its first item.
        limits: bounds on workers, memory, items in flight, starts a second; see `Limits`.
        key: gives an item's key, by which errors and outcomes name it.
        progress: show how far the run is, on stderr.
        total: number of items, where `len` does not tell.
        journal: the path of a file, or a `Journal`: outcomes are recorded there, and a run with the same journal
            executes only what is missing. Items must be strings, ints, paths or tuples of these, or `key` gives such.
        timeline: keep up to 100,000 executions instead of 2,000 for `report().to_trace("run.json")`.

    Returns:
        An iterator of values that is also a context manager.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
        Exception: while iterating, the function's own exception, at its place in the input order; its `__cause__` is
            the traceback of the worker. `TaskFailed` where that exception cannot be raised here; `TaskTimeout`;
            `TaskLost`.
        BackendError: while iterating, where the workers as a whole fail.
        JournalError: before work starts, where the journal is another's, damaged, or in use; while iterating, where
            nothing more can be written.
    """
    _start_early(shape, isolate)
    from poolwise._drivers import Results
    from poolwise._prepare import Choices, prepare

    choices = Choices(
        shape, backend, ordered, hint, retry, timeout, isolate, on_lost, setup, limits, key, progress, total, journal,
        timeline,
    )  # fmt: skip
    return Results.over(prepare(fn, iterables, choices, raises=True))


@overload
def run(fn: Callable[..., Coroutine[Any, Any, R]], *iterables: Iterable[Any], **options: Unpack[Options]) -> Run[R]: ...
@overload
def run(fn: Callable[..., R], *iterables: Iterable[Any], **options: Unpack[Options]) -> Run[R]: ...
def run(
    fn: Callable[..., Any],
    *iterables: Iterable[Any],
    shape: str | Shape = "auto",
    backend: str = "local",
    ordered: bool = False,
    hint: Literal["io", "cpu"] | None = None,
    retry: int | Retry = 0,
    timeout: float | None = None,
    isolate: bool = False,
    on_lost: Literal["rerun", "fail"] = "rerun",
    setup: Callable[[], object] | None = None,
    limits: Limits | None = None,
    key: Callable[[Any], Any] | None = None,
    progress: bool = False,
    total: int | None = None,
    journal: str | os.PathLike[str] | Journal | None = None,
    timeline: bool = False,
) -> Run[Any]:
    """Apply a function to every item and iterate over Outcomes as they complete; a failed item never raises.

    Args:
        fn: the function; see `map`, whose options these are.
        *iterables: the input.
        shape: "auto", "serial", "workers x lanes", or a `Shape`.
        backend: where workers live.
        ordered: True yields Outcomes in input order.
        hint: "io", "cpu" or None.
        retry: further attempts on any Exception, or a `Retry`.
        timeout: seconds that one execution may take.
        isolate: run every call in a child process, one at a time in each.
        on_lost: "rerun" or "fail".
        setup: called once in each worker before its first item.
        limits: see `Limits`.
        key: gives an item's key.
        progress: show how far the run is, on stderr.
        total: number of items, where `len` does not tell.
        journal: a path or a `Journal`; see `map`.
        timeline: keep more for `report().to_trace("run.json")`; see `map`.

    Returns:
        An iterator of `Outcome`, exactly one for each item, that is also a context manager.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
        BackendError: while iterating, where the workers as a whole fail.
        JournalError: before work starts, where the journal is another's, damaged, or in use; while iterating, where
            nothing more can be written.
    """
    _start_early(shape, isolate)
    from poolwise._drivers import Run
    from poolwise._prepare import Choices, prepare

    choices = Choices(
        shape, backend, ordered, hint, retry, timeout, isolate, on_lost, setup, limits, key, progress, total, journal,
        timeline,
    )  # fmt: skip
    return Run.over(prepare(fn, iterables, choices, raises=False))


def pipeline(
    items: Iterable[Any], *stages: Callable[..., Any] | Stage | JobStage, **options: Unpack[PipelineOptions]
) -> Run[Any]:
    """Apply one function after another to every item, all of them at a time; iterate over Outcomes as they complete.

    Each stage has a shape of its own, which `auto` measures and chooses as for `run`, over the same cores. A stage is
    given what the one before it returned, as soon as it has room; a slow stage holds back those before it. A stage
    of shape 1x1 runs in a thread of its own. An item that fails goes no further: its outcome is that failure, and
    `Outcome.stage` names the stage. No item failure raises.

    Args:
        items: the input; taken lazily, in the thread that iterates.
        *stages: functions; built-in jobs, such as `poolwise.jobs.fetch.fetch_stage("photos")`; or `Stage(fn, ...)`, a
            function with options of its own.
        **options: `shape`, `backend`, `hint`, `retry`, `timeout`, `isolate`, `on_lost` and `setup` are those of every
            stage that does not say otherwise. `ordered`, `key`, `progress`, `total` and `timeline` are as for `run`.
            `limits` may bound `in_flight`, items taken and not yet yielded, and `buffered_bytes`, both in all stages
            together. `journal` records how an item ended, at its last stage or where it failed; an item that was under
            way when a run was killed begins at the first stage again.

    Returns:
        An iterator of `Outcome`, exactly one for each item, that is also a context manager. Its `plan` is that of the
        slowest stage; its `report().stages` has one for each.

    Raises:
        UsageError: before work starts, where a stage or an option cannot be meant.
        BackendError: while iterating, where the workers of a stage as a whole fail.
        JournalError: as for `run`.
    """
    from poolwise._stages import prepare_pipeline

    return prepare_pipeline(items, stages, options)


def profile(
    fn: Callable[..., Any], *iterables: Iterable[Any], seconds: float = 1.0, **options: Unpack[Options]
) -> Profile:
    """Run the first items for a while, then say what they cost and what to do with the rest.

    The items run for real, each once, as under `shape="auto"`, and their values are dropped; shapes are chosen as for a
    run without end. An item that fails is counted.

    Args:
        fn: the function; see `map`, whose options these are.
        *iterables: the input; only the first items are taken.
        seconds: how long to take items, in wall seconds; what was taken then is finished.
        **options: those of `run`.

    Returns:
        The profile: `.kind`, `.demands`, `.roofs`, `.shape`, `.predicted`, `.reasons`, `.explain()`.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
        BackendError: where the workers as a whole fail.
    """
    from poolwise._core.model import check_number
    from poolwise._drivers import profile_of

    check_number("seconds", seconds)
    return profile_of(profiled_run(fn, *iterables, **options), seconds)


def profiled_run(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[Options]) -> Run[Any]:
    """Return the run that `profile` takes outcomes from; not begun."""
    from poolwise._drivers import Run
    from poolwise._prepare import Choices, prepare

    return Run.over(prepare(fn, iterables, Choices(**options), raises=False, long=True))


def get_ready() -> None:
    """Import what every run needs, which `import poolwise` leaves for later: for whoever will run something soon."""
    from poolwise import _prepare, _recorder  # noqa: F401
    from poolwise._policy import explain, pilot, profile  # noqa: F401
    from poolwise._runtime import async_lanes, blas, host, identity, journal, sites  # noqa: F401
    from poolwise.backends import local  # noqa: F401
    from poolwise.report import live  # noqa: F401

    host.facts()


def run_job(fn: Callable[..., Any], items: Iterable[Any], job: Job, **options: Unpack[Options]) -> Run[Any]:
    """Return a run as `run` does, of a function whose engine is told more: for jobs, in `poolwise.jobs`.

    Args:
        fn: the function, as for `run`.
        items: the input.
        job: groups, weights, order, and what an outcome means.
        **options: those of `run`.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
    """
    _start_early(options.get("shape", "auto"), options.get("isolate", False))
    from poolwise._drivers import Run
    from poolwise._prepare import Choices, prepare

    return Run.over(prepare(fn, (items,), Choices(**options), raises=False, job=job))


def _start_early(shape: str | Shape, isolate: bool) -> None:
    """Where child processes are asked for, have the forkserver start while this process imports the rest."""
    worker = sys.modules.get("poolwise._runtime.worker")
    if worker is not None and worker.in_worker:
        return
    workers = shape.partition("x")[0] if isinstance(shape, str) else getattr(shape, "workers", 1)
    if isolate or str(workers) not in ("auto", "serial", "1"):
        from poolwise._runtime.server import prestart

        prestart()
