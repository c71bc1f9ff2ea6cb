"""Lanes: what calls the function, one task at a time each. The same code runs in the calling process and in workers.

    queue of batches ──> lane (a thread, or an asyncio task) ──> Done events through `emit`
                            │  slot: batch, position, phase, started   (read by the engine, and by the parent
                            │                                           of a process that died)
                         ticker: after `Batch.flush_seconds` what is finished is sent, after 100 ms or three times
                                   that what is not started is given back

A lane takes the items of its batch from a deque with `popleft`; the ticker takes back from the other end with `pop`.
Both are atomic, so an item is either started or given back, and no lock is taken for an item.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import threading
import time
import types
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Collection, MutableSequence, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from poolwise._core.errors import MORE_THREADS, no_thread, sentence_of
from poolwise._core.model import Batch, Done, Failure, Lost, Running, Spec, class_name
from poolwise._runtime import allocator
from poolwise._runtime.host import switch_counter

BATCH, POSITION, PHASE, STARTED = range(4)
SLOT_WORDS = 4
IDLE, LOADING, RUNNING, SENDING, EXECUTING = range(5)  # EXECUTING: a coroutine that runs, and has its loop now.
BEGUN = (RUNNING, EXECUTING)
_WORD = 0x7FFF_FFFF  # Slot words have 32 bits: memoryview writes those five times as fast as 64.

RECALL_SECONDS = 0.1
TICK_SECONDS = 0.025  # Where no batch says otherwise.
_LEAVE_SECONDS = 0.02
_FLUSHES_BEFORE_RECALL = 3
_AT_ONCE = 4
NO_PULSE_SECONDS = 0.5

_clock = time.perf_counter
_cpu_clock = time.thread_time
_waits = switch_counter() or (lambda: 0)

in_lane: contextvars.ContextVar[bool] = contextvars.ContextVar("poolwise_in_lane", default=False)
"""Whether this code runs in one of several lanes: a run started here must not multiply them."""


class Emit(Protocol):
    """Takes what a lane did, from any thread. With `more` another event follows at once."""

    def __call__(self, event: Done | Lost, *, more: bool = False) -> None: ...


Slot = MutableSequence[int]


def describe(error: BaseException, skip: int = 1) -> Failure:
    """Turn what the function raised into a Failure.

    Args:
        error: the exception.
        skip: frames of our own at the start of its traceback, to be left out.
    """
    trace = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace is not None else None
    error.__traceback__ = trace
    from poolwise._runtime.tracebacks import text_of  # Slow to import, and most runs never need it.

    try:
        text = text_of(error)
    except Exception:  # An exception whose own __str__ raises.
        text = f"{type(error).__name__}: <its text cannot be made>\n"
    return Failure(
        sentence=sentence_of(error),
        class_names=tuple(class_name(cls) for cls in type(error).__mro__),
        traceback_text=text,
        error=error,
    )


_FINE_TYPES: set[type] = {int, float, str, bytes, bool, type(None), tuple, list, dict}
_LAZY_TYPES = (types.GeneratorType, types.AsyncGeneratorType)


def refuse_lazy_values(values: list[Any], failures: dict[int, Failure], first: int) -> None:
    """Turn awaitables and generators among the values into failures: nobody could iterate them where they arrive.

    Args:
        values: consecutive values of a batch, changed in place.
        failures: by position in the batch, added to.
        first: position of the first value.
    """
    if set(map(type, values)) <= _FINE_TYPES:
        return
    for place, value in enumerate(values):
        kind = type(value)
        lazy = isinstance(value, _LAZY_TYPES)
        if not lazy and not (hasattr(kind, "__await__") or isinstance(value, types.CoroutineType)):
            if kind.__hash__ is not None and kind.__module__ in ("numpy", "builtins"):
                _FINE_TYPES.add(kind)
            continue
        if isinstance(value, types.CoroutineType):
            value.close()
        what = "a generator" if lazy else f"an awaitable ({kind.__qualname__})"
        remedy = "return a list" if lazy else "make it a coroutine function (async def), or await it inside"
        failures[first + place] = Failure(f"the function returned {what}; {remedy}", retryable=False)
        values[place] = None


def set_up(setup: Callable[[], object] | None) -> None:
    """Call `setup`, if there is one.

    Raises:
        BaseException: whatever it raises; TypeError where it gives an awaitable, which has not done anything yet.
    """
    value = setup() if setup is not None else None
    if isinstance(value, types.CoroutineType):
        value.close()
    if hasattr(type(value), "__await__"):
        raise TypeError(f"it returned an awaitable ({type(value).__qualname__}), which nothing awaits")


class Load(Protocol):
    """Unpacks the items of a batch in the lane that runs it."""

    def __call__(self, batch: Batch) -> tuple[list[Any], dict[int, str]]:
        """Return the items, and for each position that could not be unpacked a sentence."""


def as_they_are(batch: Batch) -> tuple[list[Any], dict[int, str]]:
    """Items that never left this process."""
    return batch.items, {}


class _Run:
    """A batch while a lane executes it."""

    __slots__ = (
        "batch", "begun", "clocks", "cpu_started", "end", "failures", "flushed", "over", "queue", "recalled", "started",
        "values", "waits_before",
    )  # fmt: skip

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.queue: deque[Any] = deque()
        self.values: list[Any] = []
        self.failures: dict[int, Failure] = {}
        self.clocks: list[tuple[float, float, float | None]] | None = [] if batch.clocked else None
        self.end = len(batch)
        self.flushed = 0
        self.begun = self.started = _clock()  # `started` moves on with each part that is sent.
        self.cpu_started: float | None = None
        self.waits_before = 0
        self.over = False
        self.recalled = False


class Lane:
    """One slot that runs one task at a time."""

    __slots__ = ("abandoned", "lock", "number", "retired", "run", "slot", "thread")

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self.slot = slot
        self.lock = threading.Lock()
        self.run: _Run | None = None
        self.thread: threading.Thread | None = None  # Of its own.
        self.abandoned = False
        self.retired = False


class LaneGroup:
    """Lanes that share a queue. Subclasses say what a lane is: the caller's thread, a thread, an asyncio task.

    Args:
        spec: the function and how to call it.
        emit: takes events; may be called from any lane.
        worker: the number that events carry.
        load: unpacks the items of a batch.
    """

    recalls_itself = False  # A batch that is timed item by item is watched by its lane, and not by the ticker.

    def __init__(self, spec: Spec, emit: Emit, *, worker: int = 0, load: Load = as_they_are) -> None:
        self.spec = spec
        self.emit = emit
        self.worker = worker
        self.load = load
        self.call: Callable[[Any], Any] = _starred(spec.fn) if spec.starred else spec.fn
        self.lanes: list[Lane] = []
        self.slots: Callable[[int], Slot] = lambda _: [0] * SLOT_WORDS
        self.queue: SimpleQueue[Batch | None] = SimpleQueue()
        self.count = 0
        self._numbers = 0
        self._ticking = False
        self._ticks = threading.Event()
        self._closed = False
        self._pid = os.getpid()
        allocator.keep_what_is_freed()
        _groups.add(self)

    # -- what all groups do

    def put(self, batch: Batch) -> None:
        """Queue a batch."""
        self.queue.put(batch)
        if self.worker and all(lane.run is not None for lane in tuple(self.lanes)):
            self.tick_while_busy()

    def running(self) -> list[Running]:
        """Say what lanes execute now and since when."""
        return [found for lane in tuple(self.lanes) if (found := running_in(lane.slot, self.worker, lane.number))]

    def threads(self) -> list[int]:
        """Say which threads the lanes are, by their native numbers."""
        return []

    def take_back(self) -> list[Batch]:
        """Empty the queue: batches that no lane has taken."""
        batches: list[Batch] = []
        tokens = 0
        while True:
            try:
                batch = self.queue.get_nowait()  # A lane may be quicker.
            except Empty:
                break
            if batch is None:
                tokens += 1
            else:
                batches.append(batch)
        for _ in range(tokens):
            self.queue.put(None)
        return batches

    def tick(self, now: float) -> bool:
        """Send what is finished and give back what waits too long; returns whether there may be more to do."""
        busy = self._give_back_queue(now)
        for lane in tuple(self.lanes):
            run = lane.run
            if run is None or len(run.batch) == 1:
                continue
            busy = True
            age = now - run.begun
            if age >= run.batch.flush_seconds:
                self._flush(lane, run, recall=age >= self._recall_seconds(run.batch))
        return busy

    def _recall_seconds(self, batch: Batch) -> float:
        """Return after how long what is not started of a batch is given back."""
        return max(RECALL_SECONDS, _FLUSHES_BEFORE_RECALL * batch.flush_seconds)

    def _tick_seconds(self) -> float:
        runs = [lane.run for lane in tuple(self.lanes)]
        return min((run.batch.flush_seconds for run in runs if run is not None), default=TICK_SECONDS)

    def _give_back_queue(self, now: float) -> bool:
        """In a worker whose lanes are all stuck: batches behind them can run elsewhere. Says whether any wait."""
        if not self.worker or self.idle_queue():
            return False
        runs = [lane.run for lane in tuple(self.lanes)]
        if runs and all(run is not None and now - run.begun >= self._recall_seconds(run.batch) for run in runs):
            for batch in self.take_back():
                self.give_back(batch)
            return False
        return True

    def idle_queue(self) -> bool:
        """Say whether no batch waits for a lane."""
        return self.queue.empty()

    def give_back(self, batch: Batch) -> None:
        """Report a batch as not started."""
        self.emit(Done(batch.id, 0, [], {}, self.worker, 0, _clock(), 0.0, 0.0, None, range(len(batch))))

    def _flush(self, lane: Lane, run: _Run, *, recall: bool) -> None:
        with lane.lock:
            if lane.run is not run or run.over:
                return
            if recall:
                self._recall(run)
            self._emit_part(lane, run, final=False)

    @staticmethod
    def _recall(run: _Run) -> None:
        taken = 0
        try:
            while True:
                run.queue.pop()
                taken += 1
        except IndexError:
            run.end -= taken
            run.recalled = run.recalled or taken > 0

    def _emit_part(self, lane: Lane, run: _Run, *, final: bool, end: int | None = None) -> None:
        """Send what was not sent yet. The lane's lock is held."""
        first, count = run.flushed, len(run.values) if end is None else end
        returned = range(run.end, len(run.batch)) if run.recalled else ()
        if not (final or returned or count > first):
            return
        values = run.values[first:count]
        failures = {position: run.failures[position] for position in tuple(run.failures) if first <= position < count}
        refuse_lazy_values(values, failures, first)
        now = _clock()
        seconds, cpu_seconds, clocks, waits = now - run.started, None, None, 0
        if run.clocks is not None:
            clocks = run.clocks[first:count]
            seconds = sum(clock[1] for clock in clocks)
        if run.cpu_started is not None:
            if clocks is not None:
                cpu_seconds = sum(clock[2] or 0.0 for clock in clocks)
            else:  # The lane's thread alone can read its CPU clock: what the ticker sends says 0, the last part all.
                cpu_seconds = _cpu_clock() - run.cpu_started if final else 0.0
            waits = _waits() - run.waits_before if final else 0
        self.emit(
            Done(
                run.batch.id, first, values, failures, self.worker, lane.number, run.started,
                seconds, cpu_seconds, clocks, returned, final, waits=waits,
            )
        )  # fmt: skip
        run.flushed, run.started, run.recalled = count, now, False

    def begin(self, lane: Lane, batch: Batch) -> _Run:
        """Unpack a batch into the lane."""
        slot = lane.slot
        slot[PHASE] = IDLE
        slot[BATCH] = batch.id
        slot[POSITION] = 0
        slot[PHASE] = LOADING
        run = _Run(batch)
        items, refusals = self.load(batch)
        if refusals and len(batch) > 1:  # Each alone, so that one that cannot be unpacked is the only one to fail.
            good = min(refusals)
            items = items[:good] if good else items[:1]
            run.end = max(good, 1)
            run.recalled = True
        if 0 in refusals:
            run.failures[0] = Failure(f"its argument {refusals[0]}", retryable=False)
            run.values.append(None)
            if run.clocks is not None:
                run.clocks.append((run.started, 0.0, 0.0))
            items = []
        run.queue = deque(items)
        run.begun = run.started = _clock()
        lane.run = run
        if self.worker and not self.idle_queue():  # `put` may not have seen that this lane is busy.
            self.tick_while_busy()
        if lane.abandoned:  # Closed just now; `close` did not see this batch.
            run.queue.clear()
        return run

    def finish(self, lane: Lane, run: _Run) -> None:
        """Send the rest of a batch."""
        if os.getpid() != self._pid:  # A child that an item forked must not answer for its parent.
            os._exit(0)
        with lane.lock:
            run.over = True
            lane.run = None
            if lane.abandoned:
                return
            lane.slot[PHASE] = SENDING
            self._emit_part(lane, run, final=True)
            lane.slot[PHASE] = IDLE

    def fail(self, run: _Run, error: BaseException, *, skip: int = 1) -> None:
        """Record what an item raised; with fail_fast nothing after it is started."""
        if os.getpid() != self._pid:
            os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
        run.failures[len(run.values)] = describe(error, skip)
        if self.spec.fail_fast:
            self._recall(run)

    def execute(self, lane: Lane, batch: Batch) -> None:
        """Run a batch in this thread."""
        run = self.begin(lane, batch)
        run.cpu_started, run.waits_before = _cpu_clock(), _waits()
        lane.slot[POSITION] = 0
        if run.clocks is None:
            self._unclocked(lane.slot, run)
        else:
            self._clocked(lane.slot, run, run.clocks)
        self.finish(lane, run)

    def _unclocked(self, slot: Slot, run: _Run) -> None:
        call, take, keep = self.call, run.queue.popleft, run.values.append
        position = len(run.values)
        slot[PHASE] = RUNNING
        while True:
            try:
                item = take()
            except IndexError:
                return
            slot[POSITION] = position
            position += 1
            try:
                keep(call(item))
            except BaseException as error:
                self.fail(run, error)
                keep(None)

    def _clocked(self, slot: Slot, run: _Run, clocks: list[tuple[float, float, float | None]]) -> None:
        call, take, keep = self.call, run.queue.popleft, run.values.append
        position = len(run.values)
        started, cpu_started = run.started, run.cpu_started or 0.0
        slot[STARTED] = milliseconds(started)
        while True:
            try:
                item = take()
            except IndexError:
                return
            slot[POSITION] = position
            slot[PHASE] = RUNNING
            position += 1
            value = None
            try:
                value = call(item)
            except BaseException as error:
                self.fail(run, error)
            del item
            now, cpu = _clock(), _cpu_clock()
            clocks.append((started, now - started, cpu - cpu_started))
            # The start of the next is written before its position: a reader never sees it overdue.
            slot[STARTED] = milliseconds(now)
            keep(value)
            del value
            started, cpu_started = now, cpu
            if self.recalls_itself and now - run.begun >= run.batch.flush_seconds:
                self._recall(run)

    # -- the ticker, a thread that exists while batches of more than one item run

    def tick_while_busy(self) -> None:
        """Have the ticker run."""
        if not self._ticking:
            self._ticking = True
            self._ticking = start_unattended(self._tick_on)  # Without one, results come at the end of their batch.
        self._ticks.set()

    def _tick_on(self) -> None:
        pause = threading.Event()
        while True:
            self._ticks.wait()
            self._ticks.clear()  # Before it looks: `close` says that it is closed, and sets it then.
            if self._closed:
                return
            quiet = 0
            while quiet < 4 and not self._closed:
                pause.wait(self._tick_seconds())
                quiet = 0 if self.tick(_clock()) else quiet + 1

    def close(self) -> None:
        """Let go of the lanes: idle ones end, busy ones end with the item they run."""
        self._closed = True
        self._ticks.set()
        self.take_back()
        for lane in tuple(self.lanes):
            lane.abandoned = True
            run = lane.run
            if run is not None:
                run.queue.clear()
        self._send_home()

    def _send_home(self) -> None:
        for _ in tuple(self.lanes):
            self.queue.put(None)


def start_unattended(target: Callable[[], object]) -> bool:
    """Start a daemon thread without waiting until it runs, as `Thread.start` does: that costs a short run dearly.

    Returns:
        Whether the system starts a further thread.
    """
    try:
        _thread.start_new_thread(target, ())
    except RuntimeError:
        return False
    return True


def join_briefly(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Wait for threads that are about to end; those that run an item are left to it."""
    deadline = _clock() + seconds
    for thread in threads:
        if thread is not threading.current_thread() and thread.is_alive():  # Which one that is being started is not.
            thread.join(max(0.0, deadline - _clock()))


def milliseconds(reading: float) -> int:
    """Fold a clock reading, in seconds, into a slot word; `reading_of` unfolds it."""
    return int(reading * 1e3) + 1 & _WORD


def reading_of(word: int) -> float:
    """Return the latest clock reading, in seconds, that folds into this word (they repeat after 24 days)."""
    now = _clock()
    return now - (int(now * 1e3) + 1 - word & _WORD) / 1e3


def running_in(slot: Sequence[int], worker: int, lane: int) -> Running | None:
    """Read a slot that its lane may be writing: consistent, or None."""
    for _ in range(8):
        batch, position, phase, started = slot[BATCH], slot[POSITION], slot[PHASE], slot[STARTED]
        if phase not in BEGUN:
            return None
        if (batch, position, phase) == (slot[BATCH], slot[POSITION], slot[PHASE]):
            return Running(batch, position, reading_of(started), worker, lane, executing=phase == EXECUTING)
    return None


def answerable(found: list[Running], pulse: float) -> list[Running]:
    """Say which coroutines may be blamed for not ending, by whoever is outside their loop.

    A loop that goes round sees to its timeouts itself. Where it is blocked, that is the one that has it; the others
    wait for that one, and their time stopped at the last pulse. Where a task that an item made has the loop, or a
    callback, nobody knows whose that is: all are suspects.

    Args:
        found: what runs on the loop.
        pulse: when the loop last went round.
    """
    if _clock() - pulse > NO_PULSE_SECONDS:
        holding = [task for task in found if task.executing]
        if holding:
            return holding
        certain = len(found) == 1
        return [replace(task, started=max(task.started, pulse), responsive=certain) for task in found]
    return [replace(task, started=max(task.started, pulse)) for task in found]


def _starred(fn: Callable[..., Any]) -> Callable[[Any], Any]:
    def call(item: Any) -> Any:
        return fn(*item)

    return call


_groups: weakref.WeakSet[LaneGroup] = weakref.WeakSet()


def _forget_after_fork() -> None:
    """In a child that an item forks, nothing more of the batch may run once the item returns there."""
    for group in tuple(_groups):
        for lane in group.lanes:
            lane.slot = [0] * SLOT_WORDS
            if lane.run is not None:
                lane.run.queue.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class InlineGroup(LaneGroup):
    """`1x1`: one lane, in the thread that calls `run_next`."""

    recalls_itself = True  # Whoever would take the results meanwhile is the one who executes the items.

    def __init__(self, spec: Spec, emit: Emit) -> None:
        super().__init__(spec, emit)
        self.lanes = [Lane(0, [0] * SLOT_WORDS)]
        self.count = 1

    def _recall_seconds(self, batch: Batch) -> float:
        return batch.flush_seconds  # Who waits for these results is the one who executes the rest.

    def threads(self) -> list[int]:
        """Name the thread that calls this, as it is the one that calls `run_next`."""
        return [threading.get_native_id()]

    def run_next(self) -> bool:
        """Execute one queued batch; False where there is none."""
        if self.queue.empty():
            return False
        batch = self.queue.get()
        if batch is None:
            return False
        if len(batch) > 1 and not batch.clocked:
            self.tick_while_busy()
        self.execute(self.lanes[0], batch)
        return True

    def fail(self, run: _Run, error: BaseException, *, skip: int = 1) -> None:
        """Record what an item raised; KeyboardInterrupt is the user's, and ends the run."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        super().fail(run, error, skip=skip)


class ThreadGroup(LaneGroup):
    """`1xT`, and the lanes of a worker: threads that take batches from the queue."""

    def __init__(self, spec: Spec, emit: Emit, **options: Any) -> None:
        super().__init__(spec, emit, **options)
        self._context = contextvars.copy_context()
        self._wanted = 0
        self._resizing = threading.Lock()

    def resize(self, count: int) -> None:
        """Move toward that many lanes; running tasks are finished.

        Many new lanes come one after the other while those that there are work on: to start a thread takes a
        while, and a millisecond and more where a hundred others want the GIL.

        Raises:
            BackendError: where there is no lane, and the system starts no thread.
        """
        many = count - self.count > _AT_ONCE
        if many and not self.count:  # Whoever opens this hears if there can be none.
            self._wanted = 1
            self._approach()
        self._wanted = count
        if not (many and start_unattended(self._approach)):
            self._approach()

    def _approach(self) -> None:
        with self._resizing:
            while self.count < self._wanted and not self._closed and self._start_lane():
                pass
            while self.count > self._wanted:
                self.count -= 1
                self.queue.put(None)
            if self._closed:  # `close` may not have seen the last one.
                self._send_home()

    def threads(self) -> list[int]:
        """Say which threads the lanes are, by their native numbers."""
        threads = [lane.thread for lane in tuple(self.lanes)]
        return [thread.native_id for thread in threads if thread is not None and thread.native_id is not None]

    def add_lane(self) -> Lane:
        """Make a lane, which somebody must `serve`."""
        free = {lane.number for lane in self.lanes}
        number = next(place for place in range(len(free) + 1) if place not in free)
        lane = Lane(number, self.slots(number))
        self.lanes.append(lane)
        self.count += 1
        return lane

    def _start_lane(self) -> bool:
        """Start one; where the system starts no further thread, those that there are do the work."""
        lane = self.add_lane()
        context = self._context.copy()
        thread = threading.Thread(
            target=context.run, args=(self.serve, lane), name=f"poolwise-lane-{lane.number}", daemon=True
        )
        lane.thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            self._leave(lane)
            self.count -= 1
            self._tell(error)
            return False
        return True

    def _leave(self, lane: Lane) -> None:
        try:
            self.lanes.remove(lane)
        except ValueError:  # It was abandoned in the moment in which its thread ended.
            pass

    def _tell(self, error: RuntimeError) -> None:
        if not self.count:
            raise no_thread(error) from error
        few = f"{self.count} lane{'s' if self.count > 1 else ''}"
        told = f"the system starts no further thread ({error}): {few} work; {MORE_THREADS}"
        warnings.warn(told, RuntimeWarning, stacklevel=2)

    def serve(self, lane: Lane) -> None:
        """Take batches and execute them, until told to end."""
        in_lane.set(True)
        while not lane.abandoned:
            batch = self.queue.get()
            if batch is None:
                break
            if len(batch) > 1:
                self.tick_while_busy()
            self.execute(lane, batch)
        self._leave(lane)

    def close(self) -> None:
        """Let go of the lanes; those that are between two items have ended when this returns."""
        threads = [lane.thread for lane in tuple(self.lanes) if lane.thread is not None]
        super().close()
        join_briefly(threads, _LEAVE_SECONDS)

    def abandon(self, tasks: Collection[Running]) -> None:
        """Report these tasks as stopped. Their threads cannot be ended: they take no more items; others do."""
        wanted = {(task.batch_id, task.position): task for task in tasks}
        for lane in tuple(self.lanes):
            found = running_in(lane.slot, self.worker, lane.number)
            if found is not None and (found.batch_id, found.position) in wanted:
                self._abandon(lane, found)

    def _abandon(self, lane: Lane, task: Running) -> None:
        with lane.lock:
            run = lane.run
            if run is None or run.over or len(run.values) != task.position:
                return
            self._recall(run)
            self._emit_part(lane, run, final=False, end=task.position)
            run.over = True
            lane.abandoned = True
        self._leave(lane)
        with self._resizing:
            self.count -= 1
        self.emit(Lost(self.worker, [task.batch_id], [task], stopped=True))
        self._approach()
