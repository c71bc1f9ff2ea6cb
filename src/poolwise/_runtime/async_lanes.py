"""Lanes of coroutine functions: asyncio tasks on a loop of their own. A module apart, as asyncio is slow to import.

With a timeout each loop has a heart, and each item a watch, which stands still while somebody else blocks the loop:

    heart   beats on the loop; how late its beats come says for how long the loop was blocked
    watch   drives the coroutine step by step, and notes in the slot when that has the loop (EXECUTING)
    outside a pulse that stopped: whoever has the loop answers for it, and its neighbours run again on another
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Generator
from typing import Any

from poolwise._core.errors import no_thread
from poolwise._core.model import Batch, Event, Failure, Lost, Running, Spec
from poolwise._runtime.lanes import (
    EXECUTING,
    PHASE,
    POSITION,
    RUNNING,
    STARTED,
    TICK_SECONDS,
    Emit,
    Lane,
    LaneGroup,
    _clock,
    _Run,
    answerable,
    in_lane,
    join_briefly,
    milliseconds,
)

_CLEAN_UP_SECONDS = 0.5
_BEAT_SECONDS = 0.05


class _Heart:
    """Beats on a loop, and so knows for how long the loop was kept from going round.

    Args:
        loop: where it beats.
        note: called at each beat with the clock reading.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, note: Callable[[float], None]) -> None:
        self._loop = loop
        self._note = note
        self._late = 0.0
        self._due = self.pulse = _clock()

    def beat(self) -> None:
        """Note that the loop goes round, and do so again."""
        now = _clock()
        self._late = self.late(now)
        self._due = now + _BEAT_SECONDS
        self.pulse = now
        self._note(now)
        self._loop.call_later(_BEAT_SECONDS, self.beat)

    def late(self, now: float) -> float:
        """Return the seconds for which the loop was blocked up to now, all told."""
        return self._late + max(0.0, now - self._due)


class _Watch:
    """The clock of one item. It runs while the item has the loop, or waits on a loop that nobody blocks.

    Args:
        heart: of the loop.
        lane: the item's; its slot says when the item has the loop.
    """

    __slots__ = ("_before", "_heart", "_lane", "_own", "_started", "over")

    def __init__(self, heart: _Heart, lane: Lane) -> None:
        self._heart = heart
        self._lane = lane
        self._own = 0.0  # Of the time for which the loop was blocked: by this item.
        self.over = False  # The item was given up; the slot is another's.
        self.start()

    def start(self) -> None:
        """Count from here."""
        self._started = _clock()
        self._before = self._heart.late(self._started)

    def spent(self, now: float) -> float:
        """Return how long the item ran, without the time for which others blocked the loop."""
        return now - self._started - (self._heart.late(now) - self._before - self._own)

    @types.coroutine
    def drive(self, awaitable: Awaitable[Any]) -> Generator[Any, None, tuple[Any, BaseException | None]]:
        """Await. Errors are values, as SystemExit raised in a task would end the loop."""
        steps: Generator[Any, None, Any] = awaitable.__await__()
        thrown: BaseException | None = None
        self.start()
        while True:
            late = self._enter()
            try:
                waited_for = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as stop:
                return stop.value, None
            except BaseException as error:
                return None, error
            finally:
                self._leave(late)
            thrown = None
            try:
                yield waited_for
            except BaseException as error:
                thrown = error

    def _enter(self) -> float:
        now = _clock()
        if not self.over:
            slot = self._lane.slot
            slot[STARTED] = milliseconds(now - self.spent(now))
            slot[PHASE] = EXECUTING
        return self._heart.late(now)

    def _leave(self, late: float) -> None:
        if not self.over:
            self._lane.slot[PHASE] = RUNNING
        self._own += self._heart.late(_clock()) - late


async def _driven(watch: _Watch, awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    return await watch.drive(awaitable)


class AsyncGroup(LaneGroup):
    """Lanes of a coroutine function: asyncio tasks on one loop, which has a thread of its own.

    A batch is one lane's work here too. A timeout cancels the coroutine; one that does not end within a second of
    that is reported all the same and left behind. A loop that is itself blocked is the engine's to notice: `abandon`
    gives it up and starts another.
    """

    GRACE_SECONDS = 1.0

    def __init__(self, spec: Spec, emit: Emit, **options: Any) -> None:
        super().__init__(spec, self._post, **options)
        self._deliver = emit
        self.note_pulse: Callable[[float], None] = lambda _: None
        self._waiting: deque[Batch | None] = deque()
        self._suspects: deque[Batch] = deque()
        self._quiet = False  # A suspect runs, and nothing else may.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heart: _Heart | None = None
        self._idle: deque[asyncio.Future[None]] = deque()  # What lanes with nothing to do wait for.
        self._nudged = False  # The loop will look for idle lanes.
        self._outbox: deque[Event] = deque()
        self._outbox_lock = threading.Lock()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.AbstractEventLoop] = []
        self._given_up: set[asyncio.AbstractEventLoop] = set()
        self._thread: threading.Thread | None = None
        self._context = contextvars.copy_context()

    def _post(self, event: Event, *, more: bool = False) -> None:  # noqa: ARG002  # `_empty_outbox` knows that.
        """Emit an event, after those before it: what happens in one round of the loop is told of once."""
        self._outbox.append(event)
        loop = self._loop
        if loop is not None and self._thread is threading.current_thread():
            if len(self._outbox) == 1:
                loop.call_soon(self._empty_outbox)
                self.tick_while_busy()  # Before that an item may block the loop.
        else:
            self._empty_outbox()

    def _empty_outbox(self) -> None:
        with self._outbox_lock:
            while self._outbox:
                event = self._outbox.popleft()
                self._deliver(event, more=bool(self._outbox))

    def tick(self, now: float) -> bool:
        """See `LaneGroup.tick`; what a loop that is blocked would have told is told here."""
        self._empty_outbox()
        return super().tick(now)

    def _tick_seconds(self) -> float:
        return TICK_SECONDS  # Those tellings do not wait for a batch, however long it may be.

    def put(self, batch: Batch) -> None:
        """Queue a batch."""
        (self._suspects if batch.alone else self._waiting).append(batch)
        self._nudge()
        if self.worker and all(lane.run is not None for lane in tuple(self.lanes)):
            self.tick_while_busy()

    def idle_queue(self) -> bool:
        """Say whether no batch waits for a lane."""
        return not (self._waiting or self._suspects)

    def take_back(self) -> list[Batch]:
        """Empty the queue: batches that no lane has taken."""
        taken: list[Batch | None] = []
        try:
            while self._suspects:
                taken.append(self._suspects.popleft())
            while True:
                taken.append(self._waiting.popleft())
        except IndexError:
            self._waiting.extend(token for token in taken if token is None)
            return [batch for batch in taken if batch is not None]

    def resize(self, count: int) -> None:
        """Move toward that many lanes; running tasks are finished."""
        if self._loop is None:
            self._start_loop()
        grow, self.count = count - self.count, count
        loop = self._loop
        assert loop is not None
        if grow > 0:
            loop.call_soon_threadsafe(self._add_lanes, grow)
        for _ in range(-grow):
            self._waiting.append(None)
        self._nudge()

    def _start_loop(self) -> None:
        self._ready.clear()
        self._thread = threading.Thread(
            target=self._context.copy().run, args=(self.serve,), name="poolwise-loop", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            raise no_thread(error) from error
        self._ready.wait()

    def serve(self) -> None:
        """Run a loop in this thread until the group is closed, or gives the loop up."""
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._loops.append(loop)
        self._idle, self._nudged = deque(), False
        asyncio.set_event_loop(loop)
        if self.spec.timeout is not None:
            self._heart = _Heart(loop, self.note_pulse)
            self._heart.beat()
        loop.call_soon(self._ready.set)
        while not (self._closed or loop in self._given_up or loop.is_closed()):
            try:
                loop.run_forever()  # It returns where an item stops the loop, which is not an item's to stop.
            except BaseException:  # SystemExit, out of a callback that an item left.
                continue
        self._end_loop(loop)

    def _end_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        pending = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in pending:
            task.cancel()
        try:
            if pending:
                loop.run_until_complete(asyncio.wait(pending, timeout=self.GRACE_SECONDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException:  # What is cancelled may stop the loop, or exit. It ends here in any case.
            pass
        for task in pending:
            _let_go(task)
        asyncio.set_event_loop(None)
        loop.close()

    def _add_lanes(self, count: int) -> None:
        assert self._loop is not None
        for _ in range(count):
            free = {lane.number for lane in self.lanes}
            number = next(place for place in range(len(free) + 1) if place not in free)
            lane = Lane(number, self.slots(number))
            self.lanes.append(lane)
            task = self._loop.create_task(self._lane(lane, self._idle, self._heart))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None and not self._nudged:
            self._nudged = True
            try:
                loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # The loop was closed meanwhile.
                pass

    def _wake(self) -> None:
        """Wake as many idle lanes as there is something for."""
        self._nudged = False  # Before looking: whoever adds something after that nudges again.
        wanted = len(self._waiting) + len(self._suspects)
        while wanted > 0 and self._idle:
            idle = self._idle.popleft()
            if not idle.done():  # Else an item has cancelled it, and its lane waits for another.
                idle.set_result(None)
                wanted -= 1

    async def _lane(self, lane: Lane, idle: deque[asyncio.Future[None]], heart: _Heart | None) -> None:
        in_lane.set(True)
        while not (lane.abandoned or lane.retired):
            try:
                batch = self._next()
            except IndexError:
                idle.append(asyncio.get_running_loop().create_future())
                await self._unless_ended(lane, idle[-1])
                continue
            if batch is None:
                break
            if len(batch) > 1:
                self.tick_while_busy()
            with lane.lock:
                if lane.retired:  # Just now: this loop was blocked, and another took its place.
                    (self._suspects if batch.alone else self._waiting).appendleft(batch)
                    self._nudge()
                    break
                self._quiet = batch.alone
                run = self.begin(lane, batch)
            await self._execute(lane, run, heart)
            self.finish(lane, run)
            if (batch.alone or self._suspects) and not lane.retired:
                self._quiet = False
                self._wake()
        if lane in self.lanes:
            self.lanes.remove(lane)

    def _next(self) -> Batch | None:
        """Take the next batch, None for a lane that shall end. A suspect has the loop for itself.

        Raises:
            IndexError: where there is nothing to do now.
        """
        if self._quiet or (self._suspects and any(lane.run is not None for lane in self.lanes)):
            raise IndexError
        return self._suspects.popleft() if self._suspects else self._waiting.popleft()

    async def _unless_ended(self, lane: Lane, awaitable: Awaitable[Any]) -> None:
        """Await; an item that cancels all tasks of the loop, this one too, does not end the lane."""
        try:
            await awaitable
        except asyncio.CancelledError:
            if self._ends(lane):
                raise

    async def _settled(self, lane: Lane, task: asyncio.Task[Any]) -> None:
        """Take the cancellation of a lane that an item asked for, or it would hit the next item."""
        await self._unless_ended(lane, asyncio.sleep(0))
        while task.cancelling():
            task.uncancel()

    def _ends(self, lane: Lane) -> bool:
        return self._closed or lane.abandoned or lane.retired

    async def _execute(self, lane: Lane, run: _Run, heart: _Heart | None) -> None:
        slot, clocks, task = lane.slot, run.clocks, asyncio.current_task()
        while not lane.abandoned:
            try:
                item = run.queue.popleft()
            except IndexError:
                return
            started = _clock()
            slot[STARTED] = milliseconds(started)
            slot[POSITION] = len(run.values)
            slot[PHASE] = RUNNING
            value = None
            try:
                if heart is None:
                    value = await self.call(item)
                else:
                    value, error = await self._limited(self.call(item), _Watch(heart, lane))
                    if error is not None:
                        self.fail(run, error)
            except asyncio.CancelledError as error:
                if self._ends(lane):
                    raise
                self.fail(run, error)
            except BaseException as error:
                self.fail(run, error)
            if task is not None and task.cancelling():
                await self._settled(lane, task)
            if clocks is not None:
                clocks.append((started, _clock() - started, None))
            with lane.lock:
                if not lane.abandoned:
                    run.values.append(value)

    async def _limited(self, awaitable: Awaitable[Any], watch: _Watch) -> tuple[Any, BaseException | None]:
        """Await for as long as `timeout` allows; return the value and the error, LaneTimeout where it is that."""
        timeout = self.spec.timeout or 0.0
        task = asyncio.ensure_future(_driven(watch, awaitable))
        try:
            # A timer that was due while somebody else blocked the loop leaves some time still to spend.
            while not task.done() and (left := timeout - watch.spent(_clock())) > 0:
                await asyncio.wait({task}, timeout=left)
            if task.done() and watch.spent(_clock()) <= timeout:
                return (None, asyncio.CancelledError()) if task.cancelled() else task.result()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=self.GRACE_SECONDS)
            return None, LaneTimeout()
        finally:
            watch.over = True
            if not task.done():
                task.cancel()
                _let_go(task)

    def fail(self, run: _Run, error: BaseException, *, skip: int = 1) -> None:
        """Record what an item raised; a timeout of ours is not an exception of the function."""
        if isinstance(error, LaneTimeout):
            run.failures[len(run.values)] = Failure("", timed_out=True)
            return
        super().fail(run, error, skip=skip)

    def abandon(self, tasks: Collection[Running]) -> None:
        """Give up a loop that an item blocks: report what ran on it as lost, and start another loop."""
        wanted = {(task.batch_id, task.position) for task in tasks}
        if not any((found.batch_id, found.position) in wanted for found in super().running()):
            return
        lost = [found for lane in tuple(self.lanes) if (found := self._give_up(lane)) is not None]
        loop, self._loop = self._loop, None
        self._quiet = False
        if loop is not None:
            self._given_up.add(loop)
            self._end_soon(loop)
        count, self.count = self.count, 0
        self.resize(count)
        if lost:
            self.emit(Lost(self.worker, [task.batch_id for task in lost], lost, stopped=True))

    def _give_up(self, lane: Lane) -> Running | None:
        """Take everything from a lane whose loop is blocked, and say what it ran."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        with lane.lock:
            lane.retired = True
            run = lane.run
            if run is None or run.over:
                return None
            self._recall(run)
            position = len(run.values)
            self._emit_part(lane, run, final=position >= run.end)
            run.over = lane.abandoned = True
            if position >= run.end:
                return None
            return Running(run.batch.id, position, run.started, self.worker, lane.number)

    def threads(self) -> list[int]:
        """Name the thread of the loop."""
        thread = self._thread
        return [] if thread is None or thread.native_id is None else [thread.native_id]

    def running(self) -> list[Running]:
        """Say what lanes execute now and since when; where the loop is blocked, only who does that."""
        found = super().running()
        return found if self._heart is None else answerable(found, self._heart.pulse)

    def close(self) -> None:
        """Cancel what runs and end the loop."""
        super().close()
        self._waiting.clear()
        self._suspects.clear()
        for loop in self._loops:
            self._end_soon(loop)
        if self._thread is not None:
            join_briefly([self._thread], _CLEAN_UP_SECONDS)

    @staticmethod
    def _end_soon(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(loop.stop)
        except RuntimeError:  # It has ended.
            pass


class LaneTimeout(Exception):
    """A coroutine was cancelled because it ran longer than `timeout`, or never let itself be."""


def _let_go(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from complaining that a task is destroyed while it is pending: we know, and reported its item."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # As run_until_complete does.
