"""The values that everything else passes around: shapes, options, batches, events, outcomes.

No behaviour beyond checking and naming lives here. Tasks travel as *columns* (indexes, items) rather than as one
object an item: at 1,000,000 tiny items one object each would cost more than the work (see design, section 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from poolwise._core.errors import PoolwiseError, ShapeError, TaskError, UsageError
from poolwise._core.journal import Recorded

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Shape:
    """Workers x lanes, written `4x8`.

    `1x1` runs in the caller's thread and `1xT` on threads of the calling process; with two workers or more, and
    always under `isolate`, every worker is a child process.

    Args:
        workers: processes (one GIL each), at least 1.
        lanes: tasks that each worker runs at a time, at least 1.

    Raises:
        ShapeError: where a number is not a positive integer.
    """

    workers: int = 1
    lanes: int = 1

    def __post_init__(self) -> None:
        for name, number in (("workers", self.workers), ("lanes", self.lanes)):
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65_536:
                raise ShapeError(f"{name} is {number!r}; it must be a whole number from 1 to 65,536")

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read `"serial"` (1x1) or `"WORKERSxLANES"`.

        Raises:
            ShapeError: where the text is neither.
        """
        if text == "serial":
            return cls(1, 1)
        match = re.fullmatch(r"\s*(\d{1,9})\s*[xX]\s*(\d{1,9})\s*", text)
        if match is None:
            raise ShapeError(
                f'shape {text!r} is not understood; write "auto", "serial", or workers x lanes such as "2x1" or "1x8"'
            )
        return cls(int(match[1]), int(match[2]))

    @property
    def total(self) -> int:
        """All lanes of all workers."""
        return self.workers * self.lanes

    def __str__(self) -> str:
        return f"{self.workers}x{self.lanes}"


def check_number(name: str, value: Any, *, whole: bool = False, zero: bool = False) -> None:
    """Check that an option is a finite number above zero.

    Args:
        name: the option, for the message.
        value: what was given.
        whole: it must be an int.
        zero: zero will do as well.

    Raises:
        UsageError: naming the option.
    """
    fine = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fine or not (value > 0 or (zero and value == 0)) or value == float("inf"):
        kind = "whole number" if whole else "finite number"
        raise UsageError(f"{name} is {value!r}; it must be a {kind} {'of at least' if zero else 'above'} 0")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a run never crosses. None leaves a bound to poolwise.

    Args:
        workers: most worker processes.
        lanes: most lanes in each worker.
        memory: bytes that all worker processes together may hold resident; workers are added only while they fit.
        buffered_bytes: bytes of items and results held between the input and the consumer (default: a quarter of
            the available memory). Serialised size across processes, shallow size plus `nbytes` inside one.
        in_flight: most items taken from the input and not yet yielded, the reorder buffer included.
        per_second: most executions started a second, retries included.
        items_per_worker: a worker process is replaced after this many items.

    Raises:
        UsageError: where a bound is not a positive number.
    """

    workers: int | None = None
    lanes: int | None = None
    memory: int | None = None
    buffered_bytes: int | None = None
    in_flight: int | None = None
    per_second: float | None = None
    items_per_worker: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "lanes", "memory", "buffered_bytes", "in_flight", "items_per_worker"):
            value = getattr(self, name)
            if value is not None:
                check_number(f"limits.{name}", value, whole=True)
        if self.per_second is not None:
            check_number("limits.per_second", self.per_second)


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed item is executed again, and after how long.

    Args:
        attempts: all executions of one item, the first included.
        on: exception classes that are retried. `TaskTimeout` and `TaskLost` are retried only where they are named
            here themselves (or as `TaskError`, `PoolwiseError`); `Exception` alone does not mean them.
        backoff: seconds before the second execution; it doubles for each further one, up to 60 s, and half of it is
            random ("equal jitter", Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Or a
            function of the number of executions so far that returns seconds. No lane waits meanwhile.

    Raises:
        UsageError: where an argument cannot be meant.
    """

    attempts: int = 3
    on: type[BaseException] | tuple[type[BaseException], ...] = Exception
    backoff: float | Callable[[int], float] = 0.1

    def __post_init__(self) -> None:
        check_number("retry.attempts", self.attempts, whole=True)
        classes = self.on if isinstance(self.on, tuple) else (self.on,)
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, BaseException)):
                raise UsageError(f"retry.on holds {cls!r}; it must hold exception classes")
        object.__setattr__(self, "on", classes)
        if not callable(self.backoff):
            check_number("retry.backoff", self.backoff, zero=True)

    def wants(self, class_names: Sequence[str], error: BaseException | None) -> bool:
        """Say whether a failure is one of `on`.

        Args:
            class_names: the qualified names of the exception's classes, for one that could not travel.
            error: the exception, where it could.
        """
        for cls in cast("tuple[type[BaseException], ...]", self.on):
            if isinstance(error, TaskError):
                if issubclass(cls, PoolwiseError) and isinstance(error, cls):
                    return True
            elif isinstance(error, cls) if error is not None else class_name(cls) in class_names:
                return True
        return False


def class_name(cls: type) -> str:
    """Name a class by module and qualified name, as failures from other processes are named."""
    return f"{cls.__module__}.{cls.__qualname__}"


Clocked = Literal["item", "batch"]


@dataclass(slots=True, eq=False)
class OutcomeDraft(Generic[R]):
    """The fields of an Outcome, before it is sealed."""

    index: int
    key: Any
    ok: bool
    value: R | None
    error: TaskError | None
    attempts: int
    started: float
    finished: float
    seconds: float
    cpu_seconds: float | None
    clocked: Clocked
    worker: int
    lane: int
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """How one item ended. Immutable.

    Attributes:
        index: the item's place in the input, from 0.
        key: `key(item)` where a key function was given; else the item where it is a str, an int or a path (or a
            tuple of these), else the index.
        ok: True where there is a value.
        value: what the function returned, or None.
        error: a `TaskError`, or None. Its `__cause__` is the function's own exception where that can travel.
        attempts: how many times the item was executed.
        started, finished: Unix time of the last execution, in seconds.
        seconds: wall time of the last execution.
        cpu_seconds: CPU time of its thread; None where one item's CPU cannot be told from another's (coroutines).
        clocked: "item" where this item was timed itself, "batch" where tiny items were timed together and these
            are the batch's means.
        worker: 0 for the calling process, else the number of the worker process.
        lane: the lane in that worker.
        stage: of a pipeline: the name of the stage at which the item ended, the last one where it is `ok`; `attempts`
            and what follows it are of that stage. None outside of pipelines.
    """

    index: int
    key: Any
    ok: bool
    value: R | None
    error: TaskError | None
    attempts: int
    started: float
    finished: float
    seconds: float
    cpu_seconds: float | None
    clocked: Clocked
    worker: int
    lane: int
    stage: str | None = None

    def unwrap(self) -> R:
        """Return the value, or raise what `map` would raise: the function's own exception, or the TaskError."""
        if self.error is None:
            return cast("R", self.value)
        raise exception_to_raise(self.error)


def seal(drafts: list[OutcomeDraft[R]]) -> list[Outcome[R]]:
    """Turn drafts into Outcomes, in a quarter of the time that making Outcomes takes.

    A frozen dataclass sets each field through `object.__setattr__` (1.1 us for these 13); the same slots in an
    ordinary dataclass take 0.2 us, and the two classes have one layout.
    """
    for draft in drafts:
        draft.__class__ = Outcome  # type: ignore[assignment]
    return cast("list[Outcome[R]]", drafts)


_NEVER_RAISED = {"StopIteration", "StopAsyncIteration", "CancelledError"}


def exception_to_raise(error: TaskError) -> BaseException:
    """Return the exception that `map` and `Outcome.unwrap` raise for a TaskError.

    It is the function's own exception where there is one that may cross a generator frame; StopIteration,
    StopAsyncIteration, CancelledError and what is not an Exception would be taken for something else there.
    """
    from poolwise._core.errors import RemoteError, TaskFailed

    cause = error.__cause__
    if type(error) is not TaskFailed or not isinstance(cause, Exception) or isinstance(cause, RemoteError):
        return error
    if any(cls.__name__ in _NEVER_RAISED for cls in type(cause).__mro__):
        return error
    return cause


@dataclass(frozen=True, slots=True)
class Failure:
    """How a function failed, in a form that always travels.

    Attributes:
        sentence: what happened, as one sentence.
        class_names: qualified names of the exception's classes, its own first; empty where nothing was raised.
        traceback_text: the formatted traceback with its chain, or "".
        error: the exception itself, where it can travel.
        retryable: whether `Retry.on` is asked at all (a result that cannot be pickled will not change).
        timed_out: the lane itself ended the execution because it took longer than `timeout`.
    """

    sentence: str
    class_names: tuple[str, ...] = ()
    traceback_text: str = ""
    error: BaseException | None = None
    retryable: bool = True
    timed_out: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """Tasks that are sent together, as columns of equal length.

    Attributes:
        id: unique in its run.
        indexes: places in the input; a `range` wherever they follow one another.
        items: the input values.
        attempt: 1 where these are first executions.
        alone: run it on a worker that runs nothing else (a suspect of having killed a worker).
        clocked: read the clocks for each item.
        flush_seconds: after which what is finished of it is sent.
    """

    id: int
    indexes: Sequence[int]
    items: list[Any]
    attempt: int = 1
    alone: bool = False
    clocked: bool = True
    flush_seconds: float = 0.025

    def __len__(self) -> int:
        return len(self.indexes)


@dataclass(slots=True, eq=False)
class Done:
    """Event: consecutive tasks of a batch were executed.

    Attributes:
        batch_id: the batch.
        first: position in the batch of the first of them.
        values: what was returned; None where `failures` holds the position.
        failures: by position in the batch.
        worker, lane: where they ran.
        started: clock reading at the start of the first.
        seconds, cpu_seconds: of all of them together; cpu_seconds is None for coroutines.
        clocks: for each a tuple (started, seconds, cpu_seconds), or None where only the batch was timed.
        returned: positions that were not started and are given back, to be run elsewhere.
        final: nothing more will come of this batch.
        bytes: size of the items and values (see `Limits.buffered_bytes`), 0 where not known.
        resident_bytes: of the worker process, 0 where not known.
        process_cpu_seconds: CPU that the worker process has used since it began, in all its threads; 0 where not known.
        waits: how often the thread of a lane of this process waited for something (a lock, the GIL, a file) since the
            batch began, told when it is over; 0 where not known.
    """

    batch_id: int
    first: int
    values: list[Any]
    failures: Mapping[int, Failure]
    worker: int
    lane: int
    started: float
    seconds: float
    cpu_seconds: float | None
    clocks: Sequence[tuple[float, float, float | None]] | None = None
    returned: Sequence[int] = ()
    final: bool = True
    bytes: int = 0
    resident_bytes: int = 0
    process_cpu_seconds: float = 0.0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """One task that a lane executes now.

    Attributes:
        batch_id, position: the task.
        started: clock reading at its start.
        worker, lane: where.
        responsive: other threads of its process get to run; where not, something in it holds the GIL, and tasks
            that seem to take long may only be waiting for that.
        executing: a coroutine that has its loop at this moment.
    """

    batch_id: int
    position: int
    started: float
    worker: int = 0
    lane: int = 0
    responsive: bool = True
    executing: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Event: a worker died, or a lane was abandoned.

    Attributes:
        worker: its number.
        batch_ids: every batch it still held.
        running: the tasks that its lanes were executing.
        loading: ids of batches that the worker was unpacking: not started, and yet perhaps what killed it.
        sending: ids of batches that it was packing: executed, and perhaps what killed it.
        exitcode, signal: how it ended; both None where that is not known.
        stopped: it was ended on purpose (a timeout), so that nobody is to blame but who was to be stopped.
    """

    worker: int
    batch_ids: Sequence[int]
    running: Sequence[Running] = ()
    loading: Sequence[int] = ()
    sending: Sequence[int] = ()
    exitcode: int | None = None
    signal: str | None = None
    stopped: bool = False


Event = Done | Lost


@dataclass(frozen=True, slots=True)
class Spec:
    """What a backend must know to open: the function and how its lanes are to call it.

    Attributes:
        fn: the user's function.
        starred: items are tuples of arguments.
        coroutine: `fn` is a coroutine function; lanes are asyncio tasks.
        setup: called once in each worker before its first item, or None.
        isolate: never run in the calling process, even where there is a single worker.
        timeout: seconds an execution may take, or None. Coroutines are cancelled by their lane; everything else is
            stopped by the engine, for which lanes record when each item started.
        items_per_worker: replace a worker process after this many items, or None.
        cores: usable ones, fractional, which lanes share.
        threads_per_lane: native threads (BLAS, OpenMP) that each lane may use; a backend sets it for its shape.
        fail_fast: a lane stops its batch at the first failure: nothing after it will be wanted.
        fed: tasks are offered by another thread than the one that steps, so `wait` waits for them even where it
            executes them itself.
    """

    fn: Callable[..., Any]
    starred: bool = False
    coroutine: bool = False
    setup: Callable[[], object] | None = None
    isolate: bool = False
    timeout: float | None = None
    items_per_worker: int | None = None
    cores: float = 1.0
    threads_per_lane: int = 1
    fail_fast: bool = False
    fed: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of a run, as the engine needs them."""

    spec: Spec
    limits: Limits
    buffered_bytes: Callable[[], int]
    retry: Retry | None = None
    on_lost: Literal["rerun", "fail"] = "rerun"
    total: int | None = None


@dataclass(slots=True, eq=False)
class Span:
    """Tasks that wait, as columns; `attempt` is the number of their next execution."""

    indexes: Sequence[int]
    items: list[Any]
    attempt: int = 1
    alone: bool = False

    def take(self, size: int) -> Span:
        """Split off the first `size` tasks."""
        taken = Span(self.indexes[:size], self.items[:size], self.attempt, self.alone)
        self.indexes, self.items = self.indexes[size:], self.items[size:]
        return taken

    def follows(self, other: Span, index: int) -> bool:
        """Say whether it may be one with `other`, of which `index` would be the next place in the input."""
        return not self.alone and self.attempt == other.attempt and self.indexes[0] == index


@dataclass(slots=True, eq=False)
class Settled:
    """Tasks with their final outcomes, as columns.

    Attributes:
        indexes: places in the input, consecutive.
        items, values: what went in and what came out; None for a task with an error.
        errors: by position in these columns.
        done: the event that told it, for its clocks and its place; None where a task never ran to its end.
        offset: position of the first of them in `done.values`.
        attempt: number of their last execution.
        at: the task and the clock reading when it was given up, where `done` is None.
        keys: of the items, where they are known already.
        recorded: the outcomes as a journal holds them, where they were not executed in this run for these positions.
        stage: of a pipeline: where those with values ended. Errors say it themselves.
    """

    indexes: Sequence[int]
    items: list[Any]
    values: list[Any]
    errors: Mapping[int, TaskError] = field(default_factory=dict)
    done: Done | None = None
    offset: int = 0
    attempt: int = 1
    at: tuple[Running, float] | None = None
    keys: Sequence[Any] | None = None
    recorded: Sequence[Recorded] | None = None
    stage: str | None = None


class Keeper(Protocol):
    """Makes outcomes durable before anybody sees them."""

    def keep(self, parts: list[Settled]) -> list[Settled]:
        """Record what was executed; returns all parts, and those of positions that waited for the same keys."""


@dataclass(slots=True, eq=False)
class Flight:
    """A batch that the backend holds; positions from `next` up to `end` are not accounted for yet."""

    batch: Batch
    next: int
    end: int
