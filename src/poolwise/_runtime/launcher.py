"""Starting workers, ending them, and learning of their death. `open_launcher()` chooses the way that this system has.

* `ForkLauncher` (POSIX): asks the forkserver, which is started once a process and lives until it exits.
* `SpawnLauncher` (everywhere): starts each worker as a fresh interpreter that connects back over loopback.

Neither re-runs `__main__`: a worker begins with `poolwise._runtime.worker` and gets the function as bytes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from poolwise._core.errors import BackendError
from poolwise._runtime.channel import Channel
from poolwise._runtime.server import can_fork, interpreter, open_pair, open_pool, program
from poolwise._runtime.slots import SlotMemory

_CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker is gone: exit code, or the number of the signal that ended it, or neither where that is not known."""

    worker: int
    exitcode: int | None
    signal: int | None


class Launcher(Protocol):
    """Starts workers of one run and reports their deaths."""

    def fileno(self) -> int:
        """Descriptor that is readable when `ended` has something to say."""

    def start(self, worker: int, slots: SlotMemory) -> Channel:
        """Start a worker; returns the parent's end of its channel.

        Raises:
            BackendError: where no process can be started.
        """

    def kill(self, worker: int) -> None:
        """End a worker at once."""

    def ended(self) -> list[Ended]:
        """Return the deaths since the last call, each once."""

    def close(self) -> None:
        """Kill what is left."""


class ForkLauncher:
    """Workers forked by the forkserver."""

    def __init__(self) -> None:
        self._pool = self._connect()
        self._alive: set[int] = set()
        self._ended: list[Ended] = []

    @staticmethod
    def _connect() -> Channel:
        sock = open_pool()
        sock.setblocking(False)
        return Channel(sock)

    def fileno(self) -> int:
        return self._pool.fileno()

    def start(self, worker: int, slots: SlotMemory) -> Channel:
        """Have the forkserver fork one, which is sent its end of the channel and the memory of its slots."""
        ours, theirs = open_pair()
        with theirs:
            try:
                self._pool.queue(("start", worker), [theirs.fileno(), slots.descriptor])
                while self._pool.flush():
                    pass
            except BaseException:
                ours.close()
                raise
        self._alive.add(worker)
        ours.setblocking(False)
        return Channel(ours)

    def kill(self, worker: int) -> None:
        self._pool.queue(("kill", worker))

    def ended(self) -> list[Ended]:
        found: list[Ended] = []
        for message in self._pool.receive_ready():
            if message[0] == "refused":
                raise BackendError(f"no worker process can be started: {message[2]}")
            found.append(Ended(message[1], message[2], message[3]))
        self._alive -= {ended.worker for ended in found}
        if self._pool.closed:  # The forkserver was killed, and its workers with it.
            found += [Ended(worker, None, None) for worker in self._alive]
            self._alive.clear()
        return found

    @property
    def broken(self) -> bool:
        """Whether the forkserver is gone."""
        return self._pool.closed

    def close(self) -> None:
        self._pool.close()


# -- fresh interpreters ------------------------------------------------------------------------------------------------


class SpawnLauncher:
    """Workers that are fresh interpreters, connected over loopback. For systems without fork."""

    broken = False

    def __init__(self) -> None:
        self._token = os.urandom(32)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_CONNECT_SECONDS)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: deque[Ended] = deque()
        self._reader, self._writer = open_pair()
        self._reader.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def start(self, worker: int, slots: SlotMemory) -> Channel:
        """Start an interpreter, which connects to a port of this machine and names a secret."""
        port = self._listener.getsockname()[1]
        inherited: dict[str, Any] = {"pass_fds": [slots.descriptor]} if slots.descriptor >= 0 else {}
        process = subprocess.Popen(
            [*interpreter(), "-c", program(f"worker:{port}, {slots.address!r}, {worker}")],
            stdin=subprocess.PIPE,
            **inherited,
        )
        assert process.stdin is not None
        with process.stdin as stdin:  # Not on the command line, which others can read.
            stdin.write(self._token)
        self._processes[worker] = process
        threading.Thread(target=self._await_end, args=(worker, process), daemon=True).start()
        return Channel(self._accept())

    def _accept(self) -> socket.socket:
        while True:
            try:
                sock, _ = self._listener.accept()
            except TimeoutError as error:
                raise BackendError("a worker process did not connect within 30 s") from error
            sock.settimeout(_CONNECT_SECONDS)
            import hmac

            if hmac.compare_digest(_receive_exactly(sock, len(self._token)), self._token):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
            sock.close()

    def _await_end(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        self._ended.append(Ended(worker, code if code >= 0 else None, -code if code < 0 else None))
        try:
            self._writer.send(b"x")
        except OSError:  # Closed meanwhile.
            pass

    def kill(self, worker: int) -> None:
        """End it with all that it started, which nobody else would."""
        import psutil

        process = self._processes.get(worker)
        if process is None or process.poll() is not None:
            return
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            family = []
        process.kill()
        for child in family:
            try:
                child.kill()
            except psutil.Error:
                continue

    def ended(self) -> list[Ended]:
        try:
            self._reader.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def close(self) -> None:
        for worker, process in self._processes.items():
            self.kill(worker)
            process.wait()
        self._listener.close()
        self._reader.close()
        self._writer.close()


def _receive_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
    return data


def open_launcher() -> ForkLauncher | SpawnLauncher:
    """Open the launcher that fits this system."""
    return ForkLauncher() if can_fork() else SpawnLauncher()
