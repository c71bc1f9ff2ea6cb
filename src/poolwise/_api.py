"""map and run: check the options, make the plan, hand over to a driver. The public front of the engine."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from poolwise import backends
from poolwise._core.clock import SystemClock
from poolwise._core.errors import NotPicklableError, UnknownNameError, UsageError
from poolwise._core.model import Limits, Retry, Rules, Shape, Spec, check_number
from poolwise._drivers import Results, Run, Stream
from poolwise._engine import Engine
from poolwise._policy.plan import Circumstances, Plan, choose, needs_children
from poolwise._policy.report import Report
from poolwise._runtime import host, lanes

if TYPE_CHECKING:
    from poolwise._runtime.progress import Progress

__all__ = ["Plan", "Report", "Results", "Run", "map", "run"]

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

    Returns:
        An iterator of values that is also a context manager.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
        Exception: while iterating, the function's own exception, at its place in the input order; its `__cause__` is
            the traceback of the worker. `TaskFailed` where that exception cannot be raised here; `TaskTimeout`;
            `TaskLost`.
        BackendError: while iterating, where the workers as a whole fail.
    """
    options = _Options(
        shape, backend, ordered, hint, retry, timeout, isolate, on_lost, setup, limits or Limits(), key, progress, total
    )
    stream, plan = _prepare(fn, iterables, options, raises=True)
    return Results.over(stream, plan, key)


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

    Returns:
        An iterator of `Outcome`, exactly one for each item, that is also a context manager.

    Raises:
        UsageError: before work starts, where the options cannot be meant.
        BackendError: while iterating, where the workers as a whole fail.
    """
    options = _Options(
        shape, backend, ordered, hint, retry, timeout, isolate, on_lost, setup, limits or Limits(), key, progress, total
    )
    stream, plan = _prepare(fn, iterables, options, raises=False)
    return Run.over(stream, plan, key)


@dataclass(frozen=True, slots=True)
class _Options:
    shape: str | Shape
    backend: str
    ordered: bool
    hint: str | None
    retry: int | Retry
    timeout: float | None
    isolate: bool
    on_lost: str
    setup: Callable[[], object] | None
    limits: Limits
    key: Callable[[Any], Any] | None
    progress: bool
    total: int | None


def _prepare(
    fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], options: _Options, *, raises: bool
) -> tuple[Stream, Plan]:
    """Check everything that can be wrong before work starts, and make the plan and the stream."""
    retry = _check(fn, iterables, options)
    coroutine = is_coroutine_function(fn)
    cores = host.usable_cores()
    plan = _plan(fn, options, coroutine=coroutine, cores=cores)
    total = options.total if options.total is not None else _length(iterables)
    spec = Spec(
        fn,
        starred=len(iterables) > 1,
        coroutine=coroutine,
        setup=options.setup,
        isolate=plan.isolate,
        timeout=options.timeout,
        items_per_worker=options.limits.items_per_worker,
        threads_per_lane=max(1, math.floor(cores / plan.shape.total)),
        fail_fast=raises and retry is None,
    )
    rules = Rules(
        spec,
        plan.shape,
        options.limits,
        _budget(options.limits),
        retry,
        "fail" if options.on_lost == "fail" else "rerun",
        total,
    )
    engine = Engine(backends.load(options.backend)(), rules, SystemClock())
    source: Iterator[Any] = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables)
    stream = Stream(engine, source, ordered=options.ordered)
    if options.progress:
        stream.show(_progress(fn, stream))
    return stream, plan


def _plan(fn: Callable[..., Any], options: _Options, *, coroutine: bool, cores: float) -> Plan:
    import sys

    worker = sys.modules.get("poolwise._runtime.worker")
    given = Circumstances(
        options.shape,
        cores,
        options.limits,
        coroutine=coroutine,
        timeout=options.timeout is not None,
        isolate=options.isolate,
        hint=options.hint,
        in_worker=worker is not None and worker.in_worker,
        in_lane=lanes.in_lane.get(),
    )
    plan = choose(given)
    if plan.shape.workers == 1 and not plan.isolate:
        return plan
    from dataclasses import replace

    from poolwise._runtime import wire

    try:
        wire.dump_function((fn, options.setup), _name(fn))
    except NotPicklableError:
        if options.shape != "auto" or options.isolate or not needs_children(given):
            raise
        return choose(replace(given, picklable=False))
    return plan


def _check(fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], options: _Options) -> Retry | None:
    """Check the options.

    Raises:
        UsageError: naming the one that is wrong.
    """
    if not callable(fn):
        raise UsageError(f"the first argument must be a function, not {type(fn).__qualname__}")
    if not iterables:
        raise UsageError(f"there is nothing to apply {_name(fn)} to; give an iterable after it")
    for place, iterable in enumerate(iterables, 1):
        if not hasattr(type(iterable), "__iter__") and not hasattr(type(iterable), "__getitem__"):
            raise UsageError(f"iterable {place} is a {type(iterable).__qualname__}, which cannot be iterated")
    if not isinstance(options.shape, (str, Shape)):
        raise UsageError(f'shape is {options.shape!r}; it must be a Shape or text such as "auto" or "2x1"')
    if options.hint not in (None, "io", "cpu"):
        raise UnknownNameError(f'hint is {options.hint!r}; it must be "io", "cpu" or None')
    if options.on_lost not in ("rerun", "fail"):
        raise UnknownNameError(f'on_lost is {options.on_lost!r}; it must be "rerun" or "fail"')
    if not isinstance(options.limits, Limits):
        raise UsageError(f"limits is {options.limits!r}; it must be a Limits")
    for name in ("setup", "key"):
        value = getattr(options, name)
        if value is not None and not callable(value):
            raise UsageError(f"{name} is {value!r}; it must be a function")
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


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
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


def _budget(limits: Limits) -> Callable[[], int]:
    def budget() -> int:
        return limits.buffered_bytes or host.available_memory_bytes() // 4

    return budget


def _name(fn: Any) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def _progress(fn: Any, stream: Stream) -> Progress:
    from poolwise._runtime.progress import Progress

    return Progress(stream.snapshot, label=_name(fn))
