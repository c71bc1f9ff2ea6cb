"""The site of child processes: starting and retiring workers, handing out batches, and reading a dead worker's slots.

submit ─> backlog ─> least loaded ready worker ─> socket ─> its lanes
suspects ─> a worker that runs nothing else          │
emit <── Done <──────────────────────────────────────┘
     <── Lost <── the launcher's word that it died, and its slots: what it was running, unpacking, packing
"""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from poolwise._core.errors import BackendError, signal_name
from poolwise._core.model import Batch, Done, Failure, Lost, Running, Shape, Spec
from poolwise._runtime import wire
from poolwise._runtime.channel import Channel, Segments, create_memory, write_parcel
from poolwise._runtime.lanes import (
    BATCH,
    BEGUN,
    LOADING,
    NO_PULSE_SECONDS,
    PHASE,
    POSITION,
    SENDING,
    STARTED,
    answerable,
    reading_of,
    running_in,
)
from poolwise._runtime.launcher import open_launcher
from poolwise._runtime.sites import Host, Site
from poolwise._runtime.slots import SlotMemory
from poolwise._runtime.worker import unpack_failure

_CLOSE_SECONDS = 2.0
_MOST_START_DEATHS = 3
_numbers = count(1)


_WITHOUT_A_FILE = getattr(selectors, "PollSelector", selectors.SelectSelector)  # There may be too many open ones.


class _Worker:
    """The parent's view of a child process."""

    __slots__ = ("assigned", "batches", "channel", "classes", "coroutine", "lanes", "number", "peak_lanes",
                 "ready", "retiring", "segments", "slots", "stopped", "stuck", "suspect")  # fmt: skip

    def __init__(self, number: int, channel: Channel, slots: SlotMemory, lanes: int, *, coroutine: bool) -> None:
        self.number = number
        self.coroutine = coroutine  # Its pulse is that of a loop.
        self.channel = channel
        self.slots = slots
        self.lanes = self.peak_lanes = lanes
        self.segments = Segments(channel, parity=0)
        self.batches: dict[int, Batch] = {}
        self.classes: set[str] = set()  # Identities of the dynamic classes that it knows.
        self.assigned = 0  # Items it was ever given.
        self.ready = False
        self.retiring = False
        self.stopped = False  # We killed it on purpose.
        self.stuck = False  # It gave batches back; no more until it has finished something.
        self.suspect = False  # It runs a suspect, and nothing else.

    def running(self) -> list[Running]:
        """Say what its lanes execute."""
        found = [
            task for lane in range(self.peak_lanes) if (task := running_in(self.slots.slot(lane), self.number, lane))
        ]
        if self.coroutine:
            return answerable(found, self.slots.pulse)
        if len(found) > 1 and time.perf_counter() - self.slots.pulse > NO_PULSE_SECONDS:
            found = [replace(task, responsive=False) for task in found]
        return found


class ProcessSite(Site):
    """Child processes."""

    def __init__(self, backend: Host, spec: Spec, shape: Shape) -> None:
        self._backend = backend
        self._spec = spec
        self._shape = shape
        self._pid = os.getpid()
        self._backlog: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._workers: dict[int, _Worker] = {}
        self._unsent: set[_Worker] = set()  # With batches that wait for `work`.
        self._start_deaths = 0
        self._last_start_death = ""
        self._retired = False  # Another site has taken its place: it finishes what it has.
        self._closing = False
        name = getattr(spec.fn, "__qualname__", None) or type(spec.fn).__qualname__
        self._function, self._parcel = wire.dump_function((spec.fn, spec.setup), name)
        self._function_memory = -1
        self._launcher = open_launcher()
        try:
            self._backend.watch(self._launcher, selectors.EVENT_READ, self._deaths)
            self._adjust()
        except BaseException:  # Nobody else knows of the workers that there are by now.
            self.close(drain=False)
            raise

    # -- workers come and go

    def _adjust(self) -> None:
        """Start or retire workers until there are as many as the shape has."""
        staying = [worker for worker in self._workers.values() if not worker.retiring]
        for _ in range(self._shape.workers - len(staying)):
            self._start()
        surplus = len(staying) - self._shape.workers
        for worker in sorted(staying, key=lambda worker: len(worker.batches))[: max(0, surplus)]:
            self._retire(worker)

    def _start(self) -> None:
        if self._launcher.broken:
            self._reopen_launcher()
        number = next(_numbers)
        try:
            slots = SlotMemory(self._shape.lanes)
            try:
                channel = self._launcher.start(number, slots)
            except BaseException:
                slots.close()
                raise
        except OSError as error:
            raise BackendError(f"no worker process can be started: {error}") from error
        worker = _Worker(number, channel, slots, self._shape.lanes, coroutine=self._spec.coroutine)
        self._workers[number] = worker
        settings = {
            "spec": replace(self._spec, fn=len, setup=None),  # The function itself travels as bytes.
            "lanes": self._shape.lanes,
            "function": self._function,
            "lengths": [view.nbytes for view in self._parcel.views],
            "inline": [],
            "definitions": {},
            "environ": dict(os.environ),
            "cwd": _working_folder(),
            "path": list(sys.path),
            "argv": list(sys.argv),
            "levels": _logging_levels(),
        }
        descriptors = self._function_descriptors(channel, settings)
        channel.queue(("spec", settings), descriptors)
        self._watch(worker)

    def _function_descriptors(self, channel: Channel, settings: dict[str, Any]) -> list[int]:
        """Write what the function captures into shared memory, once for all workers."""
        if not self._parcel.views:
            return []
        if not channel.passes_descriptors:
            settings["inline"] = [bytes(view) for view in self._parcel.views]
            return []
        if self._function_memory < 0:
            self._function_memory = create_memory(0)
            write_parcel(self._function_memory, self._parcel)
        return [self._function_memory]

    def _reopen_launcher(self) -> None:
        self._backend.unwatch(self._launcher)
        self._launcher.close()
        self._launcher = open_launcher()
        self._backend.watch(self._launcher, selectors.EVENT_READ, self._deaths)

    def _watch(self, worker: _Worker) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.channel.pending else 0)
        self._backend.watch(worker.channel, events, lambda: self._exchange(worker))

    def _retire(self, worker: _Worker) -> None:
        worker.retiring = True
        if worker.ready:
            self._send(worker, ("back",))
        self._dismiss_idle(worker)

    def _dismiss_idle(self, worker: _Worker) -> None:
        if worker.retiring and not worker.batches and worker.ready:
            self._send(worker, ("stop",))

    def _send(self, worker: _Worker, message: tuple[Any, ...], descriptors: Sequence[int] = ()) -> None:
        worker.channel.queue(message, descriptors)
        if worker.channel.pending:
            self._watch(worker)

    # -- batches go out

    def submit(self, batch: Batch) -> None:
        (self._suspects if batch.alone else self._backlog).append(batch)
        self._assign()

    def work(self) -> bool:
        """Send what was submitted since the last time, to each worker at once."""
        while self._unsent:
            worker = self._unsent.pop()
            if worker.channel.flush():
                self._watch(worker)
        return False

    def _assign(self) -> None:
        """Give what waits to the least loaded workers; `work` sends it. A suspect gets a worker for itself."""
        while self._suspects and (worker := self._worker_for_suspect()) is not None:
            worker.suspect = True
            self._give(worker, self._suspects.popleft())
        while self._backlog:
            ready = [worker for worker in self._workers.values() if self._open_for_work(worker)]
            if not ready:
                return
            held = len(self._backlog) + sum(len(worker.batches) for worker in ready)
            worker = min(ready, key=lambda worker: len(worker.batches) / worker.lanes)
            if len(worker.batches) >= worker.lanes * -(-held // max(self._shape.total, 1)):
                return
            most = self._spec.items_per_worker
            if most is not None and worker.assigned and worker.assigned + len(self._backlog[0]) > most:
                worker.retiring = True  # It finishes what it was given; another takes its place.
                self._dismiss_idle(worker)
                self._adjust()
                continue
            self._give(worker, self._backlog.popleft())

    @staticmethod
    def _open_for_work(worker: _Worker) -> bool:
        return worker.ready and not (worker.retiring or worker.suspect or worker.stopped or worker.stuck)

    def _worker_for_suspect(self) -> _Worker | None:
        """Return an idle worker; where there is none, keep one from getting more until it is idle."""
        candidates = [
            worker for worker in self._workers.values() if worker.ready and not (worker.retiring or worker.stopped)
        ]
        for worker in candidates:
            if not worker.batches:
                return worker
        if candidates and not any(worker.suspect for worker in candidates):
            min(candidates, key=lambda worker: len(worker.batches)).suspect = True
        return None

    def _give(self, worker: _Worker, batch: Batch) -> None:
        parcel = wire.Parcel()
        column, refusals = wire.pack(batch.items, parcel)
        if refusals:
            end = min(refusals)
            self._refuse(batch, end, refusals[end])
            if end == 0:
                return
            parcel = wire.Parcel()
            column, _ = wire.pack(batch.items[:end], parcel)
        definitions = {identity: wire.definition(identity) for identity in sorted(parcel.class_ids - worker.classes)}
        worker.classes |= definitions.keys()
        label, descriptors = worker.segments.send(parcel, give_all=False)
        worker.batches[batch.id] = batch
        worker.assigned += len(batch)
        how = (batch.clocked, batch.flush_seconds)
        message = ("batch", batch.id, len(column[1]), how, column, label, definitions)
        worker.channel.queue(message, descriptors, more=True)
        self._unsent.add(worker)

    def _refuse(self, batch: Batch, position: int, sentence: str) -> None:
        """Give back the tasks from the first argument on that cannot be pickled; one that is first of all fails."""
        now = time.perf_counter()
        values: list[Any] = []
        failures = {}
        if position == 0:
            values, failures = [None], {0: Failure(f"its argument {sentence}", retryable=False)}
        returned = range(position or 1, len(batch))
        self._backend.emit(
            Done(batch.id, 0, values, failures, 0, 0, now, 0.0, 0.0, None, returned, final=position == 0)
        )

    # -- events come in

    def _exchange(self, worker: _Worker) -> None:
        if worker.channel.pending and not worker.channel.flush():
            self._watch(worker)
        for message in worker.channel.receive_ready():
            self._take(worker, message)
        if worker.channel.closed:
            self._backend.unwatch(worker.channel)
        self._assign()
        self.work()

    def _take(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == "done":
            self._done(worker, message)
        elif kind == "log":
            _log(message[1])
        elif kind == "ready":
            worker.ready = True
            self._start_deaths = 0
            self._dismiss_idle(worker)
        elif kind == "failed":
            raise BackendError(f"{message[1]}\n\nIn the worker:\n{message[2]}")

    def _done(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        _, place, times, column, packed_failures, label, definitions, resident, cpu = message
        batch_id, first, lane, returned, final = place
        if definitions:
            wire.add_definitions(definitions)
            worker.classes |= definitions.keys()
        values, refusals = wire.unpack(column, worker.segments.receive(label))
        worker.segments.done(label)
        failures = {position: unpack_failure(packed) for position, packed in packed_failures.items()}
        for offset, sentence in refusals.items():
            failures[first + offset] = Failure(f"its result {sentence}", retryable=False)
        started, seconds, cpu_seconds, clocks = times
        size = sum(label[2]) + wire.column_bytes(column)
        self._backend.emit(
            Done(
                batch_id, first, values, failures, worker.number, lane, started, seconds, cpu_seconds, clocks,
                returned, final, size, resident, cpu,
            )
        )  # fmt: skip
        if final:
            worker.batches.pop(batch_id, None)
        # Whoever holds nothing has given back because we asked for it, and is free.
        worker.stuck = bool(returned and worker.batches) and (not final or not values)
        if final:
            worker.suspect = worker.suspect and bool(worker.batches)
            self._dismiss_idle(worker)

    def _deaths(self) -> None:
        """Bury the dead, all of them, before anything is said about one."""
        failure: BackendError | None = None
        for ended in self._launcher.ended():
            worker = self._workers.pop(ended.worker, None)
            if worker is None:
                continue
            try:
                for message in worker.channel.receive_ready():  # What it sent before it died.
                    self._take(worker, message)
            except BackendError as error:
                failure = error
            finally:
                self._bury(worker, ended.exitcode, ended.signal)
        if failure is not None:
            raise failure
        if self._start_deaths >= _MOST_START_DEATHS and not self._closing:
            when = "in setup" if self._spec.setup is not None else "while they load the function"
            raise BackendError(f"workers die {when} ({self._last_start_death})")
        if not (self._closing or self._retired):
            self._adjust()
            self._assign()
            self.work()

    def _bury(self, worker: _Worker, exitcode: int | None, signal_number: int | None) -> None:
        self._backend.unwatch(worker.channel)
        self._unsent.discard(worker)
        running, loading, sending = _last_words(worker)
        if worker.batches:
            signal = None if signal_number is None else signal_name(signal_number)
            self._backend.emit(
                Lost(worker.number, list(worker.batches), running, loading, sending, exitcode, signal, worker.stopped)
            )
        elif not worker.ready and not self._closing:
            self._start_deaths += 1
            self._last_start_death = (
                f"exit code {exitcode}" if exitcode is not None else f"signal {signal_name(signal_number or 0)}"
            )
        _let_go(worker)

    def running(self) -> list[Running]:
        return [found for worker in self._workers.values() if worker.batches for found in worker.running()]

    def stop(self, tasks: Collection[Running]) -> None:
        for number in {task.worker for task in tasks}:
            worker = self._workers.get(number)
            if worker is not None and not worker.stopped:
                worker.stopped = True
                self._launcher.kill(number)

    def resize(self, shape: Shape) -> bool:
        """Move toward the shape: workers get or lose lanes, and who has no room for so many is replaced."""
        if shape.workers == 1 and not self._spec.isolate:
            return False
        if shape.lanes != self._shape.lanes:
            for worker in self._workers.values():
                if shape.lanes > worker.slots.lanes:
                    self._retire(worker)
                elif not worker.retiring:
                    worker.lanes = shape.lanes
                    worker.peak_lanes = max(worker.peak_lanes, shape.lanes)
                    self._send(worker, ("lanes", shape.lanes))
        self._shape = shape
        self._adjust()
        self._assign()
        self.work()
        return True

    def take_back(self) -> list[Batch]:
        batches = [*self._suspects, *self._backlog]
        self._suspects.clear()
        self._backlog.clear()
        self._retired = True
        for worker in self._workers.values():
            self._send(worker, ("back",))
        return batches

    def ready(self, shape: Shape) -> bool:
        """Say whether as many workers as the shape has can take work."""
        return sum(worker.ready and not worker.retiring for worker in self._workers.values()) >= shape.workers

    def resume(self, shape: Shape) -> None:
        """Take work again, after `take_back`."""
        self._retired = False
        self.resize(shape)

    @property
    def idle(self) -> bool:
        return not (self._backlog or self._suspects or any(worker.batches for worker in self._workers.values()))

    def close(self, *, drain: bool) -> None:
        if os.getpid() != self._pid:  # A forked child: the workers are not ours.
            return
        self._closing = True
        if drain:
            for worker in self._workers.values():
                worker.channel.queue(("stop",))
        else:
            for worker in self._workers.values():
                self._launcher.kill(worker.number)
        self._await_ends(time.perf_counter() + _CLOSE_SECONDS)
        if self._workers:
            for number in tuple(self._workers):
                self._launcher.kill(number)
            self._await_ends(time.perf_counter() + _CLOSE_SECONDS)
        for worker in self._workers.values():  # Unheard of: the system does not end them.
            _let_go(worker)
        self._workers.clear()
        self._backend.unwatch(self._launcher)
        self._launcher.close()
        if self._function_memory >= 0:
            os.close(self._function_memory)
            self._function_memory = -1

    def _await_ends(self, deadline: float) -> None:
        """Wait until all workers are gone; what they still say is read, so that none blocks while it says it."""
        with _WITHOUT_A_FILE() as selector:
            selector.register(self._launcher, selectors.EVENT_READ)
            for worker in self._workers.values():
                if not worker.channel.closed:
                    selector.register(worker.channel, selectors.EVENT_READ, worker)
            while self._workers and (left := deadline - time.perf_counter()) > 0:
                for key, _ in selector.select(left):
                    if key.data is None:
                        self._bury_ended(selector)
                    elif not key.data.channel.closed:
                        for message in key.data.channel.receive_ready():
                            if message[0] == "log":
                                _log(message[1])
                        if key.data.channel.closed:
                            selector.unregister(key.data.channel)
                for worker in self._workers.values():
                    worker.channel.flush()

    def _bury_ended(self, selector: selectors.BaseSelector) -> None:
        for ended in self._launcher.ended():
            worker = self._workers.pop(ended.worker, None)
            if worker is not None:
                if worker.channel.sock.fileno() >= 0 and worker.channel.fileno() in selector.get_map():
                    selector.unregister(worker.channel)
                worker.batches.clear()
                self._bury(worker, ended.exitcode, ended.signal)
        if self._launcher.broken:
            self._workers.clear()


def _working_folder() -> str:
    """Return the working folder, or "" where it was removed; workers stay where they are then."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _let_go(worker: _Worker) -> None:
    worker.channel.close()
    worker.segments.close()
    worker.slots.close()


def _last_words(worker: _Worker) -> tuple[list[Running], list[int], list[int]]:
    """Read from the slots of a dead worker what it was doing: running tasks, batches it unpacked, batches it packed."""
    running: list[Running] = []
    doubtful: dict[int, list[int]] = {LOADING: [], SENDING: []}
    for lane in range(worker.peak_lanes):
        slot = worker.slots.slot(lane)
        batch = worker.batches.get(slot[BATCH])
        if batch is None:
            continue
        if slot[PHASE] in BEGUN:
            running.append(Running(batch.id, slot[POSITION], reading_of(slot[STARTED]), worker.number, lane))
        elif slot[PHASE] in doubtful:
            doubtful[slot[PHASE]].append(batch.id)
    return running, doubtful[LOADING], doubtful[SENDING]


def _logging_levels() -> dict[str, int] | None:
    """Return the level of the root logger (as "") and of every logger that has one of its own; None without logging."""
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    levels = {"": logging.getLogger().getEffectiveLevel()}
    for name, logger in tuple(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            levels[name] = logger.level
    return levels


def _log(fields: dict[str, Any]) -> None:
    import logging

    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
