"""Lanes of coroutine functions: asyncio tasks on a loop of their own. A module apart, as asyncio is slow to import."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Collection
from typing import Any

from poolwise._core.model import Batch, Failure, Lost, Running, Spec
from poolwise._runtime.lanes import (
    PHASE,
    POSITION,
    RUNNING,
    STARTED,
    Emit,
    Lane,
    LaneGroup,
    _clock,
    _Run,
    in_lane,
    join_briefly,
    milliseconds,
    running_in,
)

_CLEAN_UP_SECONDS = 0.5


class AsyncGroup(LaneGroup):
    """Lanes of a coroutine function: asyncio tasks on one loop, which has a thread of its own.

    A batch is one lane's work here too. A timeout cancels the coroutine; one that does not end within a second of
    that is reported all the same and left behind. A loop that is itself blocked is the engine's to notice: `abandon`
    gives it up and starts another.
    """

    GRACE_SECONDS = 1.0

    def __init__(self, spec: Spec, emit: Emit, **options: Any) -> None:
        super().__init__(spec, emit, **options)
        self._waiting: deque[Batch | None] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: asyncio.Event | None = None
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.AbstractEventLoop] = []
        self._stuck: list[Lane] = []
        self._thread: threading.Thread | None = None
        self._context = contextvars.copy_context()

    def put(self, batch: Batch) -> None:
        """Queue a batch."""
        self._waiting.append(batch)
        self._nudge()
        if self.worker and all(lane.run is not None for lane in tuple(self.lanes)):
            self.tick_while_busy()

    def idle_queue(self) -> bool:
        """Say whether no batch waits for a lane."""
        return not self._waiting

    def take_back(self) -> list[Batch]:
        """Empty the queue: batches that no lane has taken."""
        taken: list[Batch | None] = []
        try:
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
        self._thread.start()
        self._ready.wait()

    def serve(self) -> None:
        """Run the loop in this thread until the group is closed."""
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._loops.append(loop)
        self._arrived = asyncio.Event()
        asyncio.set_event_loop(loop)
        loop.call_soon(self._ready.set)
        try:
            loop.run_forever()
        finally:
            self._end_loop(loop)

    def _end_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        pending = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.wait(pending, timeout=self.GRACE_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()

    def _add_lanes(self, count: int) -> None:
        assert self._loop is not None
        for _ in range(count):
            free = {lane.number for lane in self.lanes}
            number = next(place for place in range(len(free) + 1) if place not in free)
            lane = Lane(number, self.slots(number))
            self.lanes.append(lane)
            task = self._loop.create_task(self._lane(lane, self._arrived))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _nudge(self) -> None:
        loop, arrived = self._loop, self._arrived
        if loop is not None and arrived is not None:
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # The loop was closed meanwhile.
                pass

    async def _lane(self, lane: Lane, arrived: asyncio.Event | None) -> None:
        assert arrived is not None
        in_lane.set(True)
        while not (lane.abandoned or lane.retired):
            try:
                batch = self._waiting.popleft()
            except IndexError:
                arrived.clear()
                if not self._waiting:
                    await arrived.wait()
                continue
            if batch is None:
                break
            if len(batch) > 1:
                self.tick_while_busy()
            run = self.begin(lane, batch)
            await self._execute(lane, run)
            self.finish(lane, run)
        if lane in self.lanes:
            self.lanes.remove(lane)

    async def _execute(self, lane: Lane, run: _Run) -> None:
        slot, clocks = lane.slot, run.clocks
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
                value = await self._limited(self.call(item))
            except asyncio.CancelledError as error:
                if self._closed or lane.abandoned:
                    raise
                self.fail(run, error)
            except BaseException as error:
                self.fail(run, error)
            if clocks is not None:
                clocks.append((started, _clock() - started, None))
            with lane.lock:
                if not lane.abandoned:
                    run.values.append(value)

    async def _limited(self, awaitable: Awaitable[Any]) -> Any:
        timeout = self.spec.timeout
        if timeout is None:
            return await awaitable
        task = asyncio.ensure_future(_captured(awaitable))
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=self.GRACE_SECONDS)
            raise LaneTimeout
        value, error = task.result()
        if error is not None:
            raise error
        return value

    def fail(self, run: _Run, error: BaseException, *, skip: int = 1) -> None:
        """Record what an item raised; a timeout of ours is not an exception of the function."""
        if isinstance(error, LaneTimeout):
            run.failures[len(run.values)] = Failure("", timed_out=True)
            return
        super().fail(run, error, skip=skip)

    def abandon(self, tasks: Collection[Running]) -> None:
        """Give up a loop that an item blocks: report the overdue tasks, and start another loop for the others."""
        wanted = {(task.batch_id, task.position) for task in tasks}
        blocked = any(self._overdue(lane, wanted) for lane in self.lanes)
        for lane in [*self._stuck, *(self.lanes if blocked else ())]:
            self._give_up(lane, wanted)
        if blocked:
            count, self.count = self.count, 0
            self._loop = None
            self.resize(count)

    def _overdue(self, lane: Lane, wanted: Collection[tuple[int, int]]) -> Running | None:
        found = running_in(lane.slot, self.worker, lane.number)
        return found if found is not None and (found.batch_id, found.position) in wanted else None

    def _give_up(self, lane: Lane, wanted: Collection[tuple[int, int]]) -> None:
        lane.retired = True  # It finishes its batch if its loop ever goes on, and takes no other.
        if lane in self.lanes:
            self.lanes.remove(lane)
            self._stuck.append(lane)
        overdue = self._overdue(lane, wanted)
        with lane.lock:
            run = lane.run
            if run is None or run.over:
                return
            self._recall(run)
            self._emit_part(lane, run, final=False, end=overdue.position if overdue else None)
            run.over = lane.abandoned = overdue is not None
        if overdue:
            self.emit(Lost(self.worker, [overdue.batch_id], [overdue], stopped=True))

    def running(self) -> list[Running]:
        """Say what lanes execute now and since when, those of a loop that was given up included."""
        self._stuck = [lane for lane in self._stuck if lane.run is not None and not lane.run.over]
        return super().running() + [
            found for lane in self._stuck if (found := running_in(lane.slot, self.worker, lane.number))
        ]

    def close(self) -> None:
        """Cancel what runs and end the loop."""
        super().close()
        self._waiting.clear()
        for loop in self._loops:
            try:
                loop.call_soon_threadsafe(loop.stop)
            except RuntimeError:  # It has ended.
                pass
        if self._thread is not None:
            join_briefly([self._thread], _CLEAN_UP_SECONDS)


class LaneTimeout(Exception):
    """A coroutine was cancelled because it ran longer than `timeout`."""


async def _captured(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Await; errors are values, as SystemExit raised in a task would end the loop."""
    try:
        return await awaitable, None
    except BaseException as error:
        return None, error
