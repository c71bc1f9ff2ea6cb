"""The engine: the one state machine that knows what happens to an item.

    offer ─> pending ──pack──> batch ──submit──> backend ──wait──> Done ──decide──> Settled ─> the driver
               ^  ^                                           ├──> Lost ──judge──┘ │
               │  └── given back, unstarted, rerun <──────────┴────────────┘       │
               └───── retries, when their time has come <── RetryAfter ────────────┘

It has no thread of its own. A driver offers tasks (from the thread that owns the input) and calls `step` (from one
thread at a time) until `finished`. Every item that was offered is in exactly one place: pending, in a flight (a batch
that a backend holds), waiting for a retry, or settled; it leaves by `Settled`, once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from poolwise._core.clock import Clock
from poolwise._core.errors import TaskError, TaskLost, WorkersLost
from poolwise._core.job import Ended, Final, RetryAfter, Settle
from poolwise._core.model import Batch, Done, Event, Flight, Keeper, Lost, Rules, Running, Settled, Span
from poolwise._core.sizes import sampled_bytes
from poolwise._helm import Helm
from poolwise._policy.meter import Meter
from poolwise._policy.pack import Packer, PackLimits, clock_each, depth
from poolwise._policy.pending import Pending, Refusal
from poolwise._policy.rate import TokenBucket
from poolwise._policy.settle import decide, settlers
from poolwise._policy.timeline import Timeline
from poolwise._policy.verdict import (
    Verdict,
    class_of,
    decided_error,
    failed_error,
    how,
    judge,
    lost_error,
    suspects_of,
    timeout_error,
)
from poolwise._policy.window import LOOK_AHEAD, Window, window
from poolwise.backends import Backend

if TYPE_CHECKING:
    from poolwise._policy.plan import Plan
    from poolwise._recorder import Share

_COROUTINE_GRACE_SECONDS = 0.5  # Their loop cancels them first, unless it is blocked; see `lanes.answerable`.
_LONGEST_WAIT_SECONDS = 60.0
_BLAMELESS_DEATHS = 8
_FED = 0.75  # Share of the lanes that must have something to do for their throughput to mean something.
_SMALL_BYTES = 16 * 1024 * 1024


class Engine:
    """See the module's docstring.

    Args:
        backend: opened by `start`.
        rules: what to do.
        clock: what time it is.
        helm: chooses the shape while the run lasts.
        meter: measures what is executed.
        keeper: makes outcomes durable, or None.
        timeline: keeps what happened when.
        pending: what keeps tasks until they are started.
        settle: the job's, see `Job.settle`.
    """

    def __init__(
        self,
        backend: Backend,
        rules: Rules,
        clock: Clock,
        helm: Helm,
        meter: Meter,
        keeper: Keeper | None = None,
        timeline: Timeline | None = None,
        pending: Pending | None = None,
        settle: Settle | None = None,
    ) -> None:
        self.backend = backend
        self.rules = rules
        self.clock = clock
        self.helm = helm
        self.shape = helm.plan.shape
        self.meter = meter
        self.keeper = keeper
        self.timeline = timeline or Timeline()
        self.taken = 0  # Offered, and not dropped.
        self.settled = 0  # With a final outcome.
        self.recorded = 0  # Of those, the ones that were not executed for their place.
        self.failed = 0
        self.retried = 0
        self.workers_lost = 0
        self.abandoned = 0
        self.failures: dict[str, int] = {}
        self.active_seconds = 0.0  # While the backend held something.
        self.started = clock.now()
        self._known = 0  # Taken last, in a row, with their outcomes.
        self._inbox: deque[Span | Settled] = deque()
        self._pending = pending or Pending()
        self._surplus = 0
        self.looks_further = False  # Since the last step there is room for more input, though nothing settled.
        self._flights: dict[int, Flight] = {}
        self._stopping: dict[tuple[int, int], Running] = {}
        self._next_deadline = 0.0
        self._ids = count()
        self._moved_at, self._lanes_before = 0, 0  # Flights of a smaller number are in lanes of another kind.
        self._packer = Packer()
        self._bucket = TokenBucket(rules.limits.per_second) if rules.limits.per_second else None
        self._settlers = settlers(settle, rules.retry, random.Random)
        self._judges_values = settle is not None or self._pending.singly
        self._blameless = 0
        self._buffered_bytes: int | None = None
        self._input_over = False
        self._draining = False
        self._drops = False  # What waits when the run is drained was dropped, and what comes later will be.
        self._keeps_order = False  # What is dropped may only be what comes after everything that is not.
        self._last_started = -1
        self.dropped = 0  # Offered, and not started when the run was drained.
        self._cancelled = False
        self.opened = False
        self.paused = False  # Nothing is started; another stage of a pipeline is being measured.
        self.stages: tuple[()] = ()  # A pipeline has them.

    # -- the driver's side; any thread

    def start(self) -> None:
        """Open the backend."""
        self.shape = self.helm.start()
        self.started = self.clock.now()
        self.timeline.begin(self.started)
        self.opened = True
        self.backend.open(self.rules.spec, self.shape)

    def offer(self, items: list[Any], first: int) -> None:
        """Take further items of the input, consecutive from place `first` on."""
        self.meter.item_bytes.add(len(items), sampled_bytes(items))
        self._known = 0
        self._inbox.append(Span(range(first, first + len(items)), items))
        self.taken += len(items)
        self.backend.wake()

    def offer_known(self, part: Settled) -> None:
        """Take further items of the input with their outcomes: there is nothing to execute."""
        number = len(part.indexes)
        self.meter.item_bytes.add(number, sampled_bytes(part.items))
        self.meter.value_bytes.add(number, sampled_bytes(part.values))
        self._known += number
        self._inbox.append(part)
        self.taken += number
        self.backend.wake()

    def expect(self, number: int) -> None:
        """Take further items of the input; their outcomes are those of items taken before."""
        self.taken += number

    def offer_shares(self, shares: Iterable[Share], first: int) -> None:
        """Take further items of the input, consecutive from place `first` on, as a recorder has told them apart."""
        for share in shares:
            if share.items:
                self.offer(share.items, first)
            elif share.known is not None:
                self.offer_known(share.known)
            else:
                self.expect(share.count)
            first += share.count

    def end_input(self) -> None:
        """There will be no more offers: finish what was taken."""
        self._input_over = True
        self.backend.wake()

    def drain(self, *, ordered: bool) -> None:
        """The input ends early. Where tasks start one by one, those that no lane holds are dropped, retries too.

        They have no outcome. `end_input` has to follow. May be called by a signal handler.

        Args:
            ordered: drop only what comes after the last one that was started, in input order; finish the others.
        """
        self._keeps_order = ordered
        self._draining = self._pending.singly
        self.backend.wake()

    def wake(self) -> None:
        """End a `step` that waits."""
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
        """Everything that was offered is settled or dropped and nothing more will come, or the run is cancelled."""
        return self._cancelled or (self._input_over and self.settled >= self.taken)

    @property
    def total(self) -> int | None:
        """Items of the whole run, where that is known."""
        return self.rules.total

    @property
    def plan(self) -> Plan:
        """The plan as it stands."""
        return self.helm.plan

    @property
    def deciding(self) -> bool:
        """Whether shapes are being compared."""
        return self.helm.deciding

    @property
    def busy(self) -> bool:
        """Whether something runs, or could be started."""
        return bool(self._flights) or bool(self._inbox) or self._pending.ready > 0

    @property
    def executes(self) -> bool:
        """Whether something runs, or was handed to the lanes."""
        return bool(self._flights)

    @property
    def inline(self) -> bool:
        """Whether `step` executes items itself, in the thread that calls it."""
        return self.backend.inline

    def room(self, in_hand: int, *, waiting: bool) -> int:
        """Return how many further items may be offered now, or none.

        Args:
            in_hand: items taken and not yet yielded.
            waiting: the consumer waits, perhaps for a straggler.
        """
        window = self.window()
        room = window.near - in_hand
        if waiting:
            room = min(window.far - in_hand, window.near - (self.taken - self.settled))
        return room if room >= window.least else 0

    def window(self) -> Window:
        """Return how many items may be between input and consumer."""
        lanes, per_item = self.shape.total, self.meter.mean_seconds
        executed = self.settled - self.recorded
        if per_item is not None and executed > 100:
            per_item = max(per_item, lanes * self.active_seconds / executed)
        limits, surplus = self.rules.limits, self._pending.surplus
        return window(
            lanes,
            per_item,
            self.meter.mean_bytes,
            self._budget(),
            limits.in_flight,
            known=self._known,
            surplus=surplus,
            held_seconds=self._held_seconds,
            inline=self.backend.inline,
        )

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
        settled = self._admit()
        self._submit()
        starved = (self.paused or not self._pending.ready) and len(self._flights) < _FED * self.shape.total
        began, busy = self.clock.now(), bool(self._flights)
        self.helm.before_wait()
        for event in self.backend.wait(0.0 if settled else self._patience(timeout)):
            self._settle(event, settled)
        if self.keeper is not None and settled:
            settled = self.keeper.keep(settled)
        if busy:
            self.active_seconds += self.clock.now() - began
        for part in settled:
            self._record(part)
        self._enforce_timeout()
        self._steer(starved=starved)
        self.timeline.tick(self.clock.now(), self.settled, self.shape, self.helm)
        self._submit()
        if self._drained:
            self.dropped += self.taken - self.settled
            self.taken = self.settled
        return settled

    def _steer(self, *, starved: bool) -> None:
        before, inline = self.shape, self.backend.inline
        self.shape = self.helm.steer(before, self.remaining, starved=starved)
        if self.shape.workers != before.workers or self.backend.inline is not inline:
            self._moved_at, self._lanes_before = next(self._ids), before.total

    def close(self, *, drain: bool) -> None:
        """Let go of everything; nobody steps any more. With `drain`, what was submitted is finished first."""
        self.helm.close()
        if self.opened:
            self.backend.close(drain=drain)

    @property
    def remaining(self) -> int | None:
        """How many items are not settled yet; None while that is not known."""
        if self._draining:
            return len(self._flights) + self._pending.count
        if self._input_over:
            return self.taken - self.settled
        return None if self.rules.total is None else max(0, self.rules.total - self.settled)

    def _admit(self) -> list[Settled]:
        """Move offers to the pending tasks; returns what is settled already."""
        known = []
        while self._inbox:
            offer = self._inbox.popleft()
            if isinstance(offer, Settled):
                known.append(offer)
                continue
            at = (Running(-1, 0, self.clock.now()), self.clock.now())
            for index, item, error in self._pending.add(offer):
                known.append(Settled([index], [item], [None], {0: decided_error(index, 0, error)}, None, 0, 0, at))
        surplus = min(self._pending.surplus, LOOK_AHEAD)
        self.looks_further, self._surplus = surplus > self._surplus, surplus
        return known

    def _submit(self) -> None:
        """Pack pending tasks and give them to the backend, as many batches as its lanes should hold."""
        self._pending.advance(self.clock.now())
        if self._draining and not self._drops:
            self._drops = True
            self._pending.drop_after(self._last_started if self._keeps_order else -1)
        bounds = self._bounds()
        while self._pending.ready and not (self._cancelled or self.paused):
            size = min(self._batch_size(bounds), self._allowed_starts())
            if size < 1 or len(self._flights) >= self._most_flights(size):
                return
            self._launch(self._pending.take(size), bounds.flush_seconds)

    @property
    def _held_seconds(self) -> float:
        return self.clock.now() - max(self.started, self.helm.held_from)

    def _bounds(self) -> PackLimits:
        limits = self.rules.limits
        first, held_seconds = self.meter.mean_seconds is None, self._held_seconds
        return PackLimits(
            self.shape.total, self.backend.inline, held_seconds, first, limits.in_flight, limits.items_per_worker
        )

    def _launch(self, span: Span, flush_seconds: float) -> None:
        timeout = self.rules.spec.timeout is not None
        clocked = clock_each(self.meter.mean_seconds, len(span.items), timeout=timeout)
        batch = Batch(next(self._ids), span.indexes, span.items, span.attempt, span.alone, clocked, flush_seconds)
        if self._bucket is not None:
            self._bucket.take(len(batch))
        self._last_started = max(self._last_started, batch.indexes[-1])
        self._flights[batch.id] = Flight(batch, 0, len(batch))
        self.backend.submit(batch)

    @property
    def _drained(self) -> bool:
        """Whether a run that drops tasks has executed the last one: what a step leaves unsettled then was dropped."""
        over = self._draining and self._input_over
        return over and not (self._flights or self._inbox) and self._pending.empty

    def _batch_size(self, bounds: PackLimits) -> int:
        if self._pending.singly:
            return 1
        remaining: int | None = None
        if self._input_over:
            remaining = self._pending.count
        elif self.rules.total is not None:
            remaining = max(0, self.rules.total - self.taken) + self._pending.count
        return self._packer.size(bounds, self.meter.mean_seconds, self.meter.mean_bytes, remaining)

    def _most_flights(self, size: int) -> int:
        deep = 1 if self._bucket is not None or self._pending.singly else depth(self.meter.mean_seconds, size)
        most = 1 if self.backend.inline else self.shape.total * deep
        # Lanes that were left behind may be long in ending (a lock, a slow answer): those that followed need not wait.
        return max(most, min(most + self._left_behind, self._lanes_before))

    @property
    def _left_behind(self) -> int:
        """Flights that were launched before the lanes became those of another kind."""
        if next(iter(self._flights), self._moved_at) >= self._moved_at:
            return 0
        return sum(number < self._moved_at for number in self._flights)

    def _allowed_starts(self) -> int:
        return 1 << 30 if self._bucket is None else self._bucket.available(self.clock.now())

    def _patience(self, timeout: float) -> float:
        """Return how long the backend may be waited for: until the next retry, start or deadline."""
        if self._inbox or self._cancelled or self.looks_further or self._drained:
            return 0.0
        now = self.clock.now()
        until = now + min(timeout, _LONGEST_WAIT_SECONDS, self.helm.patience)
        until = min(until, self._pending.next_at)
        if self._bucket is not None and self._pending.ready:
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
        self.meter.add(number, done.seconds, done.cpu_seconds, done.resident_bytes, own=done.worker == 0)
        self.meter.value_bytes.add(number, done.bytes or sampled_bytes(done.values))
        self.helm.observe(done, batch.items[done.first : done.first + number], len(done.failures))
        self.timeline.add(done, batch.indexes)
        self._blameless = 0 if number else self._blameless
        begin = done.first
        for position in range(begin, begin + number) if self._judges_values else sorted(done.failures):
            self._settle_values(batch, done, begin, position, settled)
            self._settle_one(batch, done, position, settled)
            begin = position + 1
        self._settle_values(batch, done, begin, done.first + number, settled)
        flight.next = max(flight.next, done.first + number)
        if done.final or flight.next >= flight.end:
            if flight.next < flight.end:  # Unheard of; but an item must never vanish.
                self._give_back(flight, flight.next)
            del self._flights[done.batch_id]

    def _give_back(self, flight: Flight, position: int) -> None:
        """Tasks of a flight, from this position on, were not started: they are pending again."""
        batch = flight.batch
        if position < flight.end:
            span = Span(batch.indexes[position : flight.end], batch.items[position : flight.end], batch.attempt)
            self._pending.release(span.indexes, started=False)
            self._pending.add(span, front=True)
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

    def _settle_one(self, batch: Batch, done: Done, position: int, settled: list[Settled]) -> None:
        """Decide about one execution that a backend tells of: a failure; every one, where a job judges values."""
        index, offset = batch.indexes[position], position - done.first
        error: TaskError | None = None
        failure = done.failures.get(position)
        class_names: Sequence[str] = ()
        if failure is not None and failure.timed_out:
            error = self._timeout_error(index, batch.attempt)
        elif failure is not None:
            error = failed_error(index, batch.attempt, failure)
            class_names = failure.class_names if failure.retryable else ()
        started, seconds = done.started, done.seconds / len(done.values)
        if done.clocks is not None:
            started, seconds, _ = done.clocks[offset]
        errors = {} if error is None else {0: error}
        part = Settled([index], [batch.items[position]], [done.values[offset]], errors, done, offset, batch.attempt)
        self._decide(part, started, seconds, class_names, settled)

    def _decide(
        self, part: Settled, started: float, seconds: float, class_names: Sequence[str], settled: list[Settled]
    ) -> None:
        """Settle one task whose execution has ended, or have it executed again: this is the only place that does."""
        index, item, error, now = part.indexes[0], part.items[0], part.errors.get(0), self.clock.now()
        decision = decide(self._settlers, Ended(item, part.values[0], error, part.attempt, seconds, class_names))
        if isinstance(decision, RetryAfter):
            due = now + decision.seconds
            parked_until = due if decision.park_group else None
            throttled = decision.throttled or decision.park_group
            self._pending.end(index, now, started, seconds, Refusal(throttled, parked_until))
            self._pending.add_retry(due, Span([index], [item], part.attempt + 1))
            self.retried += 1
            self.timeline.retry(now, error or f"item {index} is not done", part.attempt + 1)
            return
        refused = error is not None and not isinstance(error, TaskLost)
        if isinstance(decision, Final):
            failed = decision.error
            refused, part.values = decision.refused, [decision.value if failed is None else None]
            part.errors = {} if failed is None else {0: decided_error(index, part.attempt, failed)}
        self._pending.end(index, now, started, seconds, Refusal() if refused else None)
        settled.append(part)

    def _settle_lost(self, lost: Lost, settled: list[Settled]) -> None:
        """Count a death, and do with each task that the worker held as `judge` says."""
        if lost.stopped and lost.worker == 0:  # A thread of this process, which cannot die.
            self.abandoned += 1
        else:
            self.workers_lost += 1
        self.timeline.lost(self.clock.now(), lost)
        flights = [flight for batch_id in lost.batch_ids if (flight := self._flights.pop(batch_id, None)) is not None]
        if not lost.stopped and not suspects_of(lost, flights):
            self._blameless += 1
            if self._blameless >= _BLAMELESS_DEATHS:
                raise WorkersLost(f"{self._blameless} workers in a row died without running an item ({how(lost)})")
        running = {(task.batch_id, task.position): task for task in lost.running}
        for flight, position, verdict in tuple(judge(lost, flights, self._stopping, self.rules.on_lost)):
            identity = (flight.batch.id, position)
            stopped = self._stopping.pop(identity, None)
            if verdict is Verdict.TIMEOUT:
                self._given_up(flight.batch, position, stopped, None, settled)
            elif verdict is Verdict.LOST:
                self._given_up(flight.batch, position, running.get(identity), lost, settled)
            else:
                self._again(flight.batch, position, alone=verdict is Verdict.ALONE)

    def _again(self, batch: Batch, position: int, *, alone: bool) -> None:
        """Run a task again, not counted as an attempt: it was not its fault, or that is to be found out."""
        span = Span([batch.indexes[position]], [batch.items[position]], batch.attempt, alone)
        self._pending.release(span.indexes, started=True)
        self._pending.add(span, front=True)

    def _given_up(
        self, batch: Batch, position: int, task: Running | None, lost: Lost | None, settled: list[Settled]
    ) -> None:
        index, now = batch.indexes[position], self.clock.now()
        error: TaskError = self._timeout_error(index, batch.attempt)
        if task is not None:
            self.timeline.gave_up(task, index, now)
        if lost is not None:
            error = lost_error(index, batch.attempt, lost)
        at = (task or Running(batch.id, position, now, 0 if lost is None else lost.worker), now)
        part = Settled([index], [batch.items[position]], [None], {0: error}, None, 0, batch.attempt, at)
        started = at[0].started or now
        self._decide(part, started, now - started, (), settled)

    def _timeout_error(self, index: int, attempt: int) -> TaskError:
        return timeout_error(index, attempt, self.rules.spec.timeout or 0.0)

    def _record(self, part: Settled) -> None:
        """Count what is final."""
        number = len(part.indexes)
        self.settled += number
        self._pending.forget(part.indexes)
        self.recorded += number if part.recorded is not None else 0
        for error in part.errors.values():
            self.failed += 1
            name = class_of(error)
            self.failures[name] = self.failures.get(name, 0) + 1
        if part.errors and self.rules.spec.fail_fast:  # `map` will raise here: nothing after it is started.
            self._pending.drop_after(part.indexes[min(part.errors)])

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
