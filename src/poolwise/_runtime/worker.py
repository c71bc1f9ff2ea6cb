"""A worker process: what runs between the forkserver's fork (or a fresh interpreter) and the end.

    reader thread:  spec, then batches, "lanes", "stop"        <── parent
    lanes:          unpack, call, pack, send "done"            ──> parent
    One lane runs in the main thread, as functions may set signal handlers; several are threads; coroutines have a loop.

The parent's end closing ends the worker at once, whatever its lanes do.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from poolwise._core.model import Batch, Done, Failure, Lost, Spec
from poolwise._runtime import blas, host, wire
from poolwise._runtime.channel import Channel, Segments
from poolwise._runtime.lanes import LaneGroup, ThreadGroup, describe, set_up
from poolwise._runtime.slots import SlotMemory

if TYPE_CHECKING:
    import logging

in_worker = False
"""True in a worker process: a run started here stays in this process."""

_RESIDENT_SECONDS = 0.1
_PULSE_SECONDS = 0.05


def serve(sock: socket.socket, slots_address: str, worker: int) -> None:
    """Be a worker until the parent says stop or is gone.

    Args:
        sock: the worker's end of its channel.
        slots_address: where its slot memory is (see `SlotMemory`).
        worker: its number.
    """
    global in_worker
    in_worker = True
    signal.signal(signal.SIGINT, _ignore)
    sock.setblocking(True)
    _Worker(Channel(sock), slots_address, worker).run()


def _ignore(*_: Any) -> None:
    """Do nothing on Ctrl-C: it is the parent's. Unlike SIG_IGN, commands that items start do not inherit this."""


def main(port: int, slots_address: str, worker: int) -> None:
    """Be a worker in a fresh interpreter: connect to the parent over loopback, then serve."""
    token = sys.stdin.buffer.read()
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(token)
    serve(sock, slots_address, worker)


class _Worker:
    def __init__(self, channel: Channel, slots_address: str, number: int) -> None:
        self.channel = channel
        self.number = number
        self.segments = Segments(channel, parity=1)
        self.slots_address = slots_address
        self.known_classes: set[str] = set()
        self.resident_bytes = 0
        self.resident_read = 0.0
        self.group: LaneGroup | None = None
        self.first = True

    def run(self) -> NoReturn:
        """Load the function, set up, and serve."""
        pid = os.getpid()
        try:
            message = self.channel.receive()
        except EOFError:
            os._exit(0)
        try:
            spec, lanes = self._load(message[1])
        except BaseException as error:
            self._fail(f"the function cannot be loaded in a child process: {describe(error).sentence}", error)
        try:
            set_up(spec.setup)
        except BaseException as error:
            if os.getpid() != pid:
                os._exit(1)
            self._fail(f"setup failed: {describe(error).sentence}", error)
        blas.limit(spec.threads_per_lane)
        self.known_classes |= _tracked_by_cloudpickle()
        try:
            own = self._open(spec, lanes)
        except BaseException as error:
            self._fail(f"the lanes of a child process cannot be started: {describe(error).sentence}", error)
        self.channel.send(("ready", host.resident_bytes()))
        if own is not None:
            own()
        while True:
            threading.Event().wait()

    def _fail(self, sentence: str, error: BaseException) -> NoReturn:
        import traceback

        self.channel.send(("failed", sentence, "".join(traceback.format_exception(error))))
        _leave()

    def _load(self, settings: dict[str, Any]) -> tuple[Spec, int]:
        os.environ.clear()
        os.environ.update(settings["environ"])
        try:
            os.chdir(settings["cwd"])
        except OSError:  # It was removed; a relative path fails in the parent as well.
            pass
        sys.path[:] = settings["path"]
        sys.argv[:] = settings["argv"]
        spec: Spec = settings["spec"]
        blas.limit_by_environment(spec.threads_per_lane)
        if settings["levels"] is not None:
            _forward_logging(self, settings["levels"])
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        wire.add_definitions(settings["definitions"])
        lengths, inline = settings["lengths"], settings["inline"]
        if lengths and not inline:
            segments = Segments(self.channel, parity=1)
            unparcel = segments.receive((-2, True, lengths, [], []))
            fn, setup = wire.loads(settings["function"], unparcel)
            segments.close()
        else:
            fn, setup = wire.loads(settings["function"], self.segments.receive((None, False, lengths, inline, [])))
        return replace(spec, fn=fn, setup=setup), settings["lanes"]

    def _open(self, spec: Spec, lanes: int) -> Callable[[], None] | None:
        """Start lanes, and what reads; returns what serves the only lane, where that is this thread."""
        group: Any
        if spec.coroutine:
            from poolwise._runtime.async_lanes import AsyncGroup

            group = AsyncGroup(spec, self.emit, worker=self.number, load=self.load)
        else:
            group = ThreadGroup(spec, self.emit, worker=self.number, load=self.load)
        slots = SlotMemory(lanes, self.slots_address)
        group.slots = slots.slot
        if spec.coroutine:
            group.note_pulse = slots.note_pulse
        elif spec.timeout is not None:
            threading.Thread(target=_beat, args=(slots,), name="poolwise-pulse", daemon=True).start()
        self.group = group
        own = group.add_lane() if lanes == 1 and not spec.coroutine else None
        if own is None:
            group.resize(lanes)
        threading.Thread(target=self._read, args=(group,), name="poolwise-reader", daemon=True).start()
        return None if own is None else partial(group.serve, own)

    def _read(self, group: Any) -> NoReturn:
        pid = os.getpid()
        try:
            while True:
                message = self.channel.receive()
                kind = message[0]
                if kind == "batch":
                    _, identity, count, (clocked, flush_seconds), column, label, definitions = message
                    if definitions:
                        wire.add_definitions(definitions)
                        self.known_classes |= definitions.keys()
                    packed: Any = (column, self.segments.receive(label), label)
                    group.put(Batch(identity, range(count), packed, clocked=clocked, flush_seconds=flush_seconds))
                elif kind == "lanes":
                    group.resize(message[1])
                elif kind == "back":
                    for batch in group.take_back():
                        group.give_back(batch)
                elif kind == "stop":
                    break
        except EOFError:
            pass
        except BaseException:
            if os.getpid() == pid:
                import traceback

                traceback.print_exc()
        _leave()

    def load(self, batch: Batch) -> tuple[list[Any], dict[int, str]]:
        """Unpack the items of a batch."""
        packed: Any = batch.items
        column, unparcel, label = packed
        values, refusals = wire.unpack(column, unparcel, in_worker=True)
        self.segments.done(label)
        batch.items = []
        return values, refusals

    def emit(self, event: Done | Lost, *, more: bool = False) -> None:
        """Send what a lane did; with `more`, together with what follows at once."""
        try:
            if isinstance(event, Done):
                self._send_done(event, more=more)
            else:
                self.channel.send(("lost", event), more=more)
        except (OSError, MemoryError) as error:  # The parent is gone, or this process cannot even report.
            os._exit(1 if isinstance(error, OSError) else 137)
        if self.first:
            self.first = False
            blas.limit(self.group.spec.threads_per_lane if self.group else 1)  # The first item may have loaded a BLAS.

    def _send_done(self, done: Done, *, more: bool) -> None:
        parcel = wire.Parcel()
        column, refusals = wire.pack(done.values, parcel, in_worker=True)
        failures = {position: self._travel(failure, parcel) for position, failure in done.failures.items()}
        for place, sentence in refusals.items():
            position = done.first + place
            failures.setdefault(position, (Failure(f"its result {sentence}", retryable=False), None))
        definitions = {
            identity: wire.definition(identity) for identity in sorted(parcel.class_ids - self.known_classes)
        }
        self.known_classes |= definitions.keys()
        label, descriptors = self.segments.send(parcel, give_all=True)
        times = (done.started, done.seconds, done.cpu_seconds, done.clocks)
        place_of = (done.batch_id, done.first, done.lane, tuple(done.returned), done.final)
        self.channel.send(
            ("done", place_of, times, column, failures, label, definitions, self._resident(), time.process_time()),
            descriptors,
            more=more,
        )

    def _resident(self) -> int:
        now = time.perf_counter()
        if now - self.resident_read > _RESIDENT_SECONDS:
            self.resident_read = now
            self.resident_bytes = host.resident_bytes()
        return self.resident_bytes

    @staticmethod
    def _travel(failure: Failure, parcel: wire.Parcel) -> tuple[Failure, bytes | None]:
        """Split a failure into what always travels and its exception, if that survives the journey."""
        error = failure.error
        if error is None:
            return failure, None
        beside = wire.Parcel(inline=True)
        described = replace(failure, error=None)
        try:
            blob = wire.dumps(error, beside)
            if type(wire.loads(blob)) is not type(error):
                return described, None
        except BaseException:  # Whatever an exception's own pickling does, it is only described then.
            return described, None
        parcel.class_ids |= beside.class_ids
        return described, blob


def _beat(slots: SlotMemory) -> None:
    """Note now and then that threads of this process get to run, which they do not while an item holds the GIL."""
    pause = threading.Event()
    while True:
        slots.note_pulse(time.perf_counter())
        pause.wait(_PULSE_SECONDS)


def unpack_failure(packed: tuple[Failure, bytes | None]) -> Failure:
    """The counterpart of `_travel`, in the parent."""
    failure, blob = packed
    if blob is None:
        return failure
    try:
        error = pickle.loads(blob)
    except BaseException as problem:
        if wire.is_interrupt(problem):
            raise
        return failure
    return replace(failure, error=error) if isinstance(error, BaseException) else failure


def _tracked_by_cloudpickle() -> set[str]:
    module = sys.modules.get("cloudpickle.cloudpickle")
    return set() if module is None else set(module._DYNAMIC_CLASS_TRACKER_BY_ID.keys())


def _leave() -> NoReturn:
    """End this process now: threads that items left running do not hold it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            continue
    os._exit(0)


def _forward_logging(worker: _Worker, levels: dict[str, int]) -> None:
    """Send log records to the parent, whose levels apply here too."""
    import logging

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                worker.channel.send(("log", _portable(record)))
            except OSError:
                pass

    root = logging.getLogger()
    root.handlers[:] = [Forward()]
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def _portable(record: logging.LogRecord) -> dict[str, Any]:
    """Return the record's fields with its message formatted, as `logging.handlers.QueueHandler.prepare` does."""
    import logging

    text = logging.Formatter().format(record)
    fields = dict(record.__dict__, msg=record.getMessage(), args=None, exc_info=None, stack_info=None)
    if record.exc_info or record.exc_text or record.stack_info:
        fields["msg"] = text
    fields["exc_text"] = None
    simple = (str, int, float, bool, type(None))
    return {name: value for name, value in fields.items() if isinstance(value, simple)}
