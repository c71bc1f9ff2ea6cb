"""The engine: the one state machine that knows what happens to an item.

    offer ─> pending ──pack──> batch ──submit──> backend ──wait──> Done ──settle──> Settled ─> the driver
               ^  ^                                            └─> Lost ─┐
               │  └── given back, unstarted, rerun <───────────────────┤
               └───── retries, when their time has come <── retry? ────┴──> TaskFailed, TaskTimeout, TaskLost

It has no thread of its own. A driver offers tasks (from the thread that owns the input) and calls `step` (from one
thread at a time) until `finished`. Every item that was offered is in exactly one place: pending, in a flight (a batch
that a backend holds), waiting for a retry, or settled; it leaves by `Settled`, once.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from poolwise._core.clock import Clock
from poolwise._core.errors import (
    RemoteError,
    TaskError,
    TaskFailed,
    TaskLost,
    TaskTimeout,
    WorkersLost,
)
from poolwise._core.model import Batch, Done, Event, Failure, Limits, Lost, Retry, Running, Shape, Spec
from poolwise._policy.meter import Meter
from poolwise._policy.pack import Packer, PackLimits, clock_each, depth
from poolwise._policy.rate import TokenBucket
from poolwise._policy.retry import delay_seconds, wants_retry
from poolwise._policy.window import Window, window
from poolwise._runtime.wire import sampled_bytes
from poolwise.backends import Backend

_COROUTINE_GRACE_SECONDS = 2.5  # Their lane cancels them first; see `AsyncGroup.GRACE_SECONDS`.
_LONGEST_WAIT_SECONDS = 60.0
_BLAMELESS_DEATHS = 8
_SMALL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of a run, as the engine needs them."""

    spec: Spec
    shape: Shape
    limits: Limits
    buffered_bytes: Callable[[], int]
    retry: Retry | None = None
    on_lost: Literal["rerun", "fail"] = "rerun"
    total: int | None = None


@dataclass(slots=True)
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


@dataclass(slots=True)
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
    """

    indexes: Sequence[int]
    items: list[Any]
    values: list[Any]
    errors: Mapping[int, TaskError] = field(default_factory=dict)
    done: Done | None = None
    offset: int = 0
    attempt: int = 1
    at: tuple[Running, float] | None = None


@dataclass(slots=True)
class _Flight:
    """A batch that the backend holds; positions from `next` up to `end` are not accounted for yet."""

    batch: Batch
    next: int
    end: int


class Engine:
    """See the module's docstring.

    Args:
        backend: opened by `start`.
        rules: what to do.
        clock: what time it is.
    """

    def __init__(self, backend: Backend, rules: Rules, clock: Clock) -> None:
        self.backend = backend
        self.rules = rules
        self.clock = clock
        self.shape = rules.shape
        self.meter = Meter()
        self.taken = 0  # Offered.
        self.settled = 0  # With a final outcome.
        self.failed = 0
        self.retried = 0
        self.workers_lost = 0
        self.abandoned = 0
        self.failures: dict[str, int] = {}
        self.active_seconds = 0.0  # While the backend held something.
        self.started = clock.now()
        self._inbox: deque[Span] = deque()
        self._pending: deque[Span] = deque()
        self._pending_count = 0
        self._retries: list[tuple[float, int, Span]] = []
        self._flights: dict[int, _Flight] = {}
        self._stopping: dict[tuple[int, int], Running] = {}
        self._next_deadline = 0.0
        self._ids = count()
        self._packer = Packer()
        self._bucket = TokenBucket(rules.limits.per_second) if rules.limits.per_second else None
        self._rng = random.Random()
        self._blameless = 0
        self._last_wanted: int | None = None  # With fail_fast: nothing after this index is wanted.
        self._buffered_bytes: int | None = None
        self._input_over = False
        self._cancelled = False
        self.opened = False

    # -- the driver's side; any thread

    def start(self) -> None:
        """Open the backend."""
        shape = self.rules.shape
        if self.rules.limits.memory is not None and shape.workers > 1:
            self.shape = Shape(1, shape.lanes)  # More are added when it is known what one holds.
        self.started = self.clock.now()
        self.opened = True
        self.backend.open(self.rules.spec, self.shape)

    def offer(self, items: list[Any]) -> None:
        """Take the next items of the input."""
        self.meter.item_bytes.add(len(items), sampled_bytes(items))
        self._inbox.append(Span(range(self.taken, self.taken + len(items)), items))
        self.taken += len(items)
        self.backend.wake()

    def end_input(self) -> None:
        """There will be no more offers: finish what was taken."""
        self._input_over = True
        self.backend.wake()

    def cancel(self) -> None:
        """Settle nothing more."""
        self._cancelled = True
        self.backend.wake()

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self._cancelled

    @property
    def finished(self) -> bool:
        """Everything that was offered is settled and nothing more will come, or the run is cancelled."""
        return self._cancelled or (self._input_over and self.settled >= self.taken)

    def window(self) -> Window:
        """Return how many items may be between input and consumer."""
        lanes, per_item = self.shape.total, self.meter.mean_seconds
        if per_item is not None and self.settled > 100:
            per_item = max(per_item, lanes * self.active_seconds / self.settled)
        return window(lanes, per_item, self.meter.mean_bytes, self._budget(), self.rules.limits.in_flight)

    def _budget(self) -> int:
        """Return how many bytes may be between input and consumer; asks the system only when it begins to matter."""
        if self._buffered_bytes is None:
            if self.rules.limits.buffered_bytes is None and self.taken * (self.meter.mean_bytes or 0.0) < _SMALL_BYTES:
                return 4 * _SMALL_BYTES
            self._buffered_bytes = self.rules.buffered_bytes()
        return self._buffered_bytes

    # -- the machine; one thread at a time

    def step(self, timeout: float) -> list[Settled]:
        """Move everything on that can move; wait up to `timeout` seconds for the backend.

        Raises:
            BackendError: where the workers as a whole cannot do the work.
        """
        self._admit()
        self._submit()
        settled: list[Settled] = []
        began, busy = self.clock.now(), bool(self._flights)
        for event in self.backend.wait(self._patience(timeout)):
            self._settle(event, settled)
        if busy:
            self.active_seconds += self.clock.now() - began
        for part in settled:
            self._record(part)
        self._enforce_timeout()
        self._adapt()
        self._submit()
        return settled

    def _admit(self) -> None:
        """Move offers, and retries whose time has come, to the pending tasks."""
        while self._inbox:
            self._wait_for_pack(self._inbox.popleft(), front=False)
        now = self.clock.now()
        while self._retries and self._retries[0][0] <= now:
            self._wait_for_pack(heapq.heappop(self._retries)[2], front=True)

    def _wait_for_pack(self, span: Span, *, front: bool) -> None:
        if self._last_wanted is not None and span.indexes[0] > self._last_wanted:
            return
        self._pending_count += len(span.items)
        (self._pending.appendleft if front else self._pending.append)(span)

    def _submit(self) -> None:
        """Pack pending tasks and give them to the backend, as many batches as its lanes should hold."""
        while self._pending and not self._cancelled:
            allowed = self._allowed_starts()
            size = min(self._batch_size(), allowed)
            if size < 1 or len(self._flights) >= self._most_flights(size):
                return
            span = self._pending[0]
            if span.alone or len(span.items) <= size:
                self._pending.popleft()
            else:
                span = span.take(size)
            self._launch(span)

    def _launch(self, span: Span) -> None:
        clocked = clock_each(self.meter.mean_seconds, timeout=self.rules.spec.timeout is not None)
        batch = Batch(next(self._ids), span.indexes, span.items, span.attempt, span.alone, clocked)
        self._pending_count -= len(batch)
        if self._bucket is not None:
            self._bucket.take(len(batch))
        self._flights[batch.id] = _Flight(batch, 0, len(batch))
        self.backend.submit(batch)

    def _batch_size(self) -> int:
        limits = self.rules.limits
        bounds = PackLimits(self.shape.total, self.backend.inline, limits.in_flight, limits.items_per_worker)
        remaining: int | None = None
        if self._input_over:
            remaining = self._pending_count
        elif self.rules.total is not None:
            remaining = max(0, self.rules.total - self.taken) + self._pending_count
        return self._packer.size(bounds, self.meter.mean_seconds, self.meter.mean_bytes, remaining)

    def _most_flights(self, size: int) -> int:
        if self.backend.inline:
            return 1
        deep = 1 if self._bucket is not None else depth(self.meter.mean_seconds, size)
        return self.shape.total * deep

    def _allowed_starts(self) -> int:
        return 1 << 30 if self._bucket is None else self._bucket.available(self.clock.now())

    def _patience(self, timeout: float) -> float:
        """Return how long the backend may be waited for: until the next retry, start or deadline."""
        if self._inbox or self._cancelled:
            return 0.0
        now = self.clock.now()
        until = now + min(timeout, _LONGEST_WAIT_SECONDS)
        if self._retries:
            until = min(until, self._retries[0][0])
        if self._bucket is not None and self._pending:
            until = min(until, max(self._bucket.next_at(now), now + 1e-4))
        if self.rules.spec.timeout is not None and self._flights:
            until = min(until, max(self._next_deadline, now))
        return max(0.0, until - now)

    # -- settle

    def _settle(self, event: Event, settled: list[Settled]) -> None:
        if isinstance(event, Done):
            self._settle_done(event, settled)
        else:
            self._settle_lost(event, settled)

    def _settle_done(self, done: Done, settled: list[Settled]) -> None:
        flight = self._flights.get(done.batch_id)
        if flight is None:
            return
        batch, number = flight.batch, len(done.values)
        if done.returned:
            self._give_back(flight, done.returned[0])
        self.meter.add(number, done.seconds, done.cpu_seconds, done.resident_bytes)
        self.meter.value_bytes.add(number, done.bytes or sampled_bytes(done.values))
        self._blameless = 0 if number else self._blameless
        begin = done.first
        for position in sorted(done.failures):
            self._settle_values(batch, done, begin, position, settled)
            self._settle_failure(batch, done, position, settled)
            begin = position + 1
        self._settle_values(batch, done, begin, done.first + number, settled)
        flight.next = max(flight.next, done.first + number)
        if done.final or flight.next >= flight.end:
            if flight.next < flight.end:  # Unheard of; but an item must never vanish.
                self._give_back(flight, flight.next)
            del self._flights[done.batch_id]

    def _give_back(self, flight: _Flight, position: int) -> None:
        """Tasks of a flight, from this position on, were not started: they are pending again."""
        batch = flight.batch
        if position < flight.end:
            span = Span(batch.indexes[position : flight.end], batch.items[position : flight.end], batch.attempt)
            self._wait_for_pack(span, front=True)
            if self._bucket is not None:
                self._bucket.take(-len(span.items))
            flight.end = position

    @staticmethod
    def _settle_values(batch: Batch, done: Done, begin: int, end: int, settled: list[Settled]) -> None:
        if begin >= end:
            return
        first = done.first
        whole = begin == first and end == first + len(done.values)
        values = done.values if whole else done.values[begin - first : end - first]
        whole = whole and len(values) == len(batch)
        indexes = batch.indexes if whole else batch.indexes[begin:end]
        items = batch.items if whole else batch.items[begin:end]
        settled.append(Settled(indexes, items, values, {}, done, begin - first, batch.attempt))

    def _settle_failure(self, batch: Batch, done: Done, position: int, settled: list[Settled]) -> None:
        failure = done.failures[position]
        index, item = batch.indexes[position], batch.items[position]
        if failure.timed_out:
            error: TaskError = self._timeout_error(index, batch.attempt)
            again = wants_retry(self.rules.retry, batch.attempt, None, error)
        else:
            error = _failed(index, batch.attempt, failure)
            again = failure.retryable and wants_retry(self.rules.retry, batch.attempt, failure)
        if again:
            self._retry_later(index, item, batch.attempt)
        else:
            offset = position - done.first
            settled.append(Settled([index], [item], [None], {0: error}, done, offset, batch.attempt))

    def _retry_later(self, index: int, item: Any, attempt: int) -> None:
        assert self.rules.retry is not None
        self.retried += 1
        due = self.clock.now() + delay_seconds(self.rules.retry, attempt, self._rng)
        heapq.heappush(self._retries, (due, next(self._ids), Span([index], [item], attempt + 1)))

    def _settle_lost(self, lost: Lost, settled: list[Settled]) -> None:
        """Say for each task of a dead worker whether it is to blame, in doubt, or only unlucky."""
        executing = {(task.batch_id, task.position): task for task in lost.running}
        if lost.stopped and lost.worker == 0:  # A thread of this process, which cannot die.
            self.abandoned += 1
        else:
            self.workers_lost += 1
        flights = [flight for batch_id in lost.batch_ids if (flight := self._flights.pop(batch_id, None)) is not None]
        doubtful = {*lost.loading, *lost.sending}
        suspects = set(executing)
        for flight in flights:
            if flight.batch.id in doubtful:
                suspects |= {(flight.batch.id, position) for position in range(flight.next, flight.end)}
        if not suspects and not lost.stopped:
            self._count_blameless(lost)
        unclear = not lost.stopped or any(not task.responsive for task in map(self._stopping.get, executing) if task)
        for flight in flights:
            batch = flight.batch
            reached = max((place for batch_id, place in suspects if batch_id == batch.id), default=-1)
            for position in range(flight.next, flight.end):
                identity = (batch.id, position)
                stopped = self._stopping.pop(identity, None)
                started = position <= reached and batch.id not in lost.loading
                if stopped is not None and stopped.responsive:
                    self._given_up(batch, position, stopped, None, settled)
                elif suspects == {identity} and not lost.stopped:
                    self._given_up(batch, position, executing.get(identity), lost, settled)
                elif started and self.rules.on_lost == "fail":
                    self._given_up(batch, position, executing.get(identity), lost, settled)
                else:
                    self._again(batch, position, alone=unclear and identity in suspects)

    def _count_blameless(self, lost: Lost) -> None:
        self._blameless += 1
        if self._blameless >= _BLAMELESS_DEATHS:
            raise WorkersLost(f"{self._blameless} workers in a row died without running an item ({_how(lost)})")

    def _again(self, batch: Batch, position: int, *, alone: bool) -> None:
        """Run a task again, not counted as an attempt: it was not its fault, or that is to be found out."""
        span = Span([batch.indexes[position]], [batch.items[position]], batch.attempt, alone)
        self._wait_for_pack(span, front=True)

    def _given_up(
        self, batch: Batch, position: int, task: Running | None, lost: Lost | None, settled: list[Settled]
    ) -> None:
        index, item = batch.indexes[position], batch.items[position]
        error = self._timeout_error(index, batch.attempt) if lost is None else _lost(index, batch.attempt, lost)
        if wants_retry(self.rules.retry, batch.attempt, None, error):
            self._retry_later(index, item, batch.attempt)
            return
        now = self.clock.now()
        at = (task or Running(batch.id, position, now, 0 if lost is None else lost.worker), now)
        settled.append(Settled([index], [item], [None], {0: error}, None, 0, batch.attempt, at))

    def _timeout_error(self, index: int, attempt: int) -> TaskTimeout:
        seconds = self.rules.spec.timeout or 0.0
        return TaskTimeout(f"item {index} ran longer than timeout={seconds:g} s", attempts=attempt)

    def _record(self, part: Settled) -> None:
        """Count what is final."""
        number = len(part.indexes)
        self.settled += number
        for error in part.errors.values():
            self.failed += 1
            name = _class_of(error)
            self.failures[name] = self.failures.get(name, 0) + 1
        if part.errors and self.rules.spec.fail_fast:
            self._want_nothing_after(part.indexes[min(part.errors)])

    def _want_nothing_after(self, index: int) -> None:
        """`map` will raise at this index: nothing after it is started."""
        self._last_wanted = index if self._last_wanted is None else min(index, self._last_wanted)
        spans, self._pending, self._pending_count = self._pending, deque(), 0
        for span in spans:
            if isinstance(span.indexes, range) and span.indexes[0] <= index < span.indexes[-1]:
                span = span.take(index - span.indexes[0] + 1)
            self._wait_for_pack(span, front=False)

    # -- deadlines and shape

    def _enforce_timeout(self) -> None:
        timeout = self.rules.spec.timeout
        now = self.clock.now()
        if timeout is None or now < self._next_deadline or not self._flights:
            return
        if self.rules.spec.coroutine:
            timeout += _COROUTINE_GRACE_SECONDS
        running = [task for task in self.backend.running() if (task.batch_id, task.position) not in self._stopping]
        overdue = [task for task in running if now - task.started > timeout and task.batch_id in self._flights]
        starts = [task.started for task in running if now - task.started <= timeout]
        self._next_deadline = min([now, *starts]) + timeout + 1e-3
        if overdue:
            self._stopping.update({(task.batch_id, task.position): task for task in overdue})
            self.backend.stop(overdue)

    def _adapt(self) -> None:
        """With a memory limit, add workers while they fit."""
        limit, wanted = self.rules.limits.memory, self.rules.shape
        if limit is None or self.meter.resident_bytes == 0 or wanted.workers == 1:
            return
        affordable = max(1, min(wanted.workers, limit // self.meter.resident_bytes))
        if affordable != self.shape.workers:
            self.shape = Shape(affordable, wanted.lanes)
            self.backend.resize(self.shape)


def _failed(index: int, attempt: int, failure: Failure) -> TaskFailed:
    error = TaskFailed(
        f"item {index} failed: {failure.sentence}", attempts=attempt, remote_traceback=failure.traceback_text
    )
    cause = failure.error
    if cause is None and failure.traceback_text:
        cause = RemoteError(failure.traceback_text)
    elif cause is not None and cause.__traceback__ is None and cause.__cause__ is None:
        cause.__cause__ = RemoteError(failure.traceback_text)  # It crossed a process boundary without its traceback.
    error.__cause__ = cause
    return error


def _lost(index: int, attempt: int, lost: Lost) -> TaskLost:
    return TaskLost(
        f"item {index} was lost: its worker died ({_how(lost)})",
        attempts=attempt,
        exitcode=lost.exitcode,
        signal=lost.signal,
    )


def _how(lost: Lost) -> str:
    if lost.signal is not None:
        return f"killed by {lost.signal}"
    if lost.exitcode is not None:
        return f"exit code {lost.exitcode}"
    return "how is not known"


def _class_of(error: TaskError) -> str:
    cause = error.__cause__
    if type(error) is TaskFailed and cause is not None and not isinstance(cause, RemoteError):
        return type(cause).__name__
    return type(error).__name__
