"""Messages between two processes over one stream socket, and the segments that carry large buffers beside them.

A frame is a 12-byte header (body length, number of file descriptors) and a pickled tuple. The parent's side never
blocks: it queues frames and writes what the socket takes. The worker's side blocks, under a lock.

Large buffers go through *segments*: anonymous shared memory (memfd on Linux, an unlinked temporary file elsewhere)
whose descriptor is passed once over the socket, so that nothing has a name and nothing can be left behind. Writer and
reader copy with pwrite and preadv, which release the GIL; who holds a segment may write it, and it changes hands with
the message that names it. Where descriptors cannot be passed the buffers travel in the frame.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from poolwise._runtime.wire import Parcel, Unparcel

_HEADER = struct.Struct("<QI")
_MOST_DESCRIPTORS = 16
_READ_BYTES = 256 * 1024
_KEEP_SEGMENT_BYTES = 32 * 1024 * 1024
_ALIGN = 64
_MOST_VIEWS = 512  # Written at once; systems take 1,024 (IOV_MAX).

Frame = tuple[list[memoryview], list[int]]


def can_pass_descriptors(sock: socket.socket) -> bool:
    """Say whether file descriptors can be passed over this socket."""
    unix = getattr(socket, "AF_UNIX", None)
    return unix is not None and sock.family == unix and hasattr(socket, "send_fds") and hasattr(os, "preadv")


class Channel:
    """One end of the socket.

    Attributes:
        sock: the socket.
        closed: the other end is gone.
        passes_descriptors: whether segments can be used.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self.passes_descriptors = can_pass_descriptors(sock)
        self.received_descriptors: deque[int] = deque()
        self._outgoing: deque[Frame] = deque()
        self._incoming = bytearray()
        self._body: bytearray | None = None
        self._filled = 0
        self._send_lock = threading.Lock()

    def fileno(self) -> int:
        """Descriptor number, for a selector."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close the socket and any descriptor that nobody took."""
        self.closed = True
        self.sock.close()
        while self.received_descriptors:
            os.close(self.received_descriptors.popleft())

    # -- sending

    @staticmethod
    def frame(message: tuple[Any, ...], descriptors: Sequence[int] = ()) -> Frame:
        """Encode a message."""
        body = pickle.dumps(message, 5)
        return [memoryview(_HEADER.pack(len(body), len(descriptors))), memoryview(body)], list(descriptors)

    def send(self, message: tuple[Any, ...], descriptors: Sequence[int] = (), *, more: bool = False) -> None:
        """Send a whole message, blocking; from any thread.

        Args:
            message: what the other end gets.
            descriptors: passed along.
            more: another one follows at once, and takes this one along.

        Raises:
            OSError: where the other end is gone.
        """
        frame = self.frame(message, descriptors)
        with self._send_lock:
            self._outgoing.append(frame)
            while self._outgoing and not more:
                self._write_some()

    def queue(self, message: tuple[Any, ...], descriptors: Sequence[int] = (), *, more: bool = False) -> None:
        """Put a message in the queue and write what the socket takes now; with `more`, when `flush` is called.

        Never blocks.
        """
        self._outgoing.append(self.frame(message, descriptors))
        if not more:
            self.flush()

    def flush(self) -> bool:
        """Write queued frames without blocking; returns whether any remain."""
        try:
            while self._outgoing:
                self._write_some()
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:  # The other end died; its death is reported elsewhere.
            self._outgoing.clear()
        return False

    @property
    def pending(self) -> bool:
        """Whether frames wait to be written."""
        return bool(self._outgoing)

    def _write_some(self) -> None:
        """Write the first frame, and those after it that pass no descriptors, as far as the socket takes them."""
        views, descriptors = self._outgoing[0]
        while len(self._outgoing) > 1 and len(views) < _MOST_VIEWS and not self._outgoing[1][1]:
            views += self._outgoing[1][0]
            del self._outgoing[1]
        if descriptors:
            sent = socket.send_fds(self.sock, views, descriptors)
            descriptors.clear()
        elif hasattr(self.sock, "sendmsg"):
            sent = self.sock.sendmsg(views)
        else:
            sent = self.sock.send(views[0])
        done = 0
        while done < len(views) and sent >= len(views[done]):
            sent -= len(views[done])
            done += 1
        del views[:done]
        if not views:
            self._outgoing.popleft()
        elif sent:
            views[0] = views[0][sent:]

    # -- receiving

    def receive(self) -> tuple[Any, ...]:
        """Wait for one message.

        Raises:
            EOFError: where the other end is gone.
        """
        while True:
            body = self._take_frame()
            if body is not None:
                return pickle.loads(body)  # type: ignore[no-any-return]  # Sent as one.
            try:
                self._read_some()
            except ConnectionError as error:
                raise EOFError from error
            if self.closed:
                raise EOFError

    def receive_ready(self) -> list[tuple[Any, ...]]:
        """Return all messages that have arrived, without blocking. Sets `closed` at the end of the stream."""
        messages: list[tuple[Any, ...]] = []
        try:
            while not self.closed:
                self._read_some()
                while (body := self._take_frame()) is not None:
                    messages.append(pickle.loads(body))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.closed = True
        return messages

    def _read_some(self) -> None:
        if self._body is not None and len(self._body) - self._filled > _READ_BYTES:
            count = self.sock.recv_into(memoryview(self._body)[self._filled :])
            self._filled += count
            self.closed = count == 0
            return
        if self.passes_descriptors:
            data, descriptors, _, _ = socket.recv_fds(self.sock, _READ_BYTES, _MOST_DESCRIPTORS)
            self.received_descriptors.extend(descriptors)
        else:
            data = self.sock.recv(_READ_BYTES)
        if not data:
            self.closed = True
        self._incoming += data

    def _take_frame(self) -> bytearray | None:
        if self._body is None:
            if len(self._incoming) < _HEADER.size:
                return None
            length, _ = _HEADER.unpack_from(self._incoming)
            self._body = bytearray(length)
            self._filled = 0
            del self._incoming[: _HEADER.size]
        if self._filled < len(self._body) and self._incoming:
            take = min(len(self._incoming), len(self._body) - self._filled)
            self._body[self._filled : self._filled + take] = self._incoming[:take]
            self._filled += take
            del self._incoming[:take]
        if self._filled < len(self._body):
            return None
        body, self._body = self._body, None
        return body


def create_memory(size: int) -> int:
    """Return the descriptor of fresh shared memory that has no name.

    Args:
        size: bytes.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("poolwise", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


# A parcel as it travels: (segment id or None, it is new here, lengths, buffers in the frame, segment ids handed over)
Label = tuple[int | None, bool, list[int], list[bytes], list[int]]


class Segments:
    """The segments that this end of a channel knows, and those it holds now.

    Args:
        channel: the channel whose messages name them.
        parity: 0 or 1; ids made at this end are congruent to it modulo 2, so that both ends can make some.
    """

    def __init__(self, channel: Channel, parity: int) -> None:
        self._channel = channel
        self._descriptors: dict[int, int] = {}
        self._free: list[int] = []
        self._next_id = parity
        self._lock = threading.Lock()

    def send(self, parcel: Parcel, *, give_all: bool) -> tuple[Label, list[int]]:
        """Write the buffers; returns the label for the message, and the descriptors to pass with it.

        Args:
            parcel: the buffers.
            give_all: hand over every free segment (a worker returns what it was lent); otherwise one.
        """
        lengths = [view.nbytes for view in parcel.views]
        if lengths and not self._channel.passes_descriptors:
            return (None, False, lengths, [bytes(view) for view in parcel.views], []), []
        with self._lock:
            if not lengths:
                given, self._free = (self._free, []) if give_all else (self._free[:1], self._free[1:])
                return (None, False, [], [], given), []
            new = not self._free
            identity = self._create() if new else self._free.pop()
            given, self._free = (self._free, []) if give_all else ([], self._free)
        descriptor = self._descriptors[identity]
        write_parcel(descriptor, parcel)
        return (identity, new, lengths, [], given), [descriptor] if new else []

    def receive(self, label: Label) -> Unparcel:
        """Take over what the label names. Call it in the order of arrival; `done` when the values are loaded."""
        identity, new, lengths, inline, given = label
        if inline:

            def fill_inline(index: int, view: memoryview) -> None:
                view[:] = inline[index]

            return Unparcel(lengths, fill_inline)
        with self._lock:
            self._free += given
            if new and identity is not None:
                self._descriptors[identity] = self._channel.received_descriptors.popleft()
        if identity is None:
            return Unparcel([], lambda *_: None)
        descriptor = self._descriptors[identity]
        offsets = [0]
        for length in lengths:
            offsets.append(offsets[-1] + _aligned(length))

        def fill(index: int, view: memoryview) -> None:
            _read_all(descriptor, view, offsets[index])

        return Unparcel(lengths, fill)

    def done(self, label: Label) -> None:
        """The values of this label are loaded: its segment is free to be used from here."""
        identity, _, lengths, _, _ = label
        if identity is None:
            return
        if sum(lengths) > _KEEP_SEGMENT_BYTES:
            os.ftruncate(self._descriptors[identity], 0)
        with self._lock:
            self._free.append(identity)

    def close(self) -> None:
        """Close every descriptor; the memory goes when the other end has closed its own."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        self._free.clear()

    def _create(self) -> int:
        identity = self._next_id
        self._next_id += 2
        self._descriptors[identity] = create_memory(0)
        return identity


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def write_parcel(descriptor: int, parcel: Parcel) -> None:
    """Write the buffers of a parcel into shared memory, one after the other."""
    offset = 0
    for view in parcel.views:
        _write_all(descriptor, view, offset)
        offset += _aligned(view.nbytes)


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view.nbytes:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count


def _read_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view.nbytes:
        count = os.preadv(descriptor, [view], offset)
        if count == 0:
            raise EOFError("a shared segment is shorter than its label says")
        view = view[count:]
        offset += count
