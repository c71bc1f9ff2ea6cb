"""The forkserver: a small process that forks workers and buries them.

It runs no code of the user, so it always answers; it has one thread, so forking is safe; it is the parent of all
workers, so it learns of a death at once (a pipe would stay open while a grandchild holds it) and no process id can be
reused behind its back. As a subreaper (Linux) it inherits what a dead worker leaves behind and ends that too.

    calling process ──control──> ("pool",) + socket         one a run
                    ──control──> ("import", files of modules, environment)   at most once for each
                    ──pool─────> ("start", worker) + worker's socket, slot memory;  ("kill", worker)
                    <─pool────── ("ended", worker, exit code, signal);  ("refused", worker, reason)

When a pool's socket closes its workers are killed; when the calling process dies, all are.

Where the calling process has numpy, or a job of poolwise, that is imported here, so that workers have it at once and
share what it takes (decision 0011).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import sys
from typing import Any

from poolwise._runtime import blas
from poolwise._runtime.channel import Channel

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.5


def _prctl(option: int, value: int) -> bool:
    """Call Linux's prctl; False where there is none."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def end_with_parent(parent: int) -> bool:
    """Have Linux kill this process when the thread that started it ends, whatever ends it.

    Args:
        parent: the id of its process.

    Returns:
        Whether that was still there.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


class _Server:
    def __init__(self, control: socket.socket, parent: int) -> None:
        self.parent = parent
        self.control = Channel(control)
        self.pools: dict[int, Channel] = {}
        self.workers: dict[int, tuple[int, int]] = {}  # process id -> (pool's descriptor, worker)
        self.wake_read, wake_write = os.pipe()
        for descriptor in (self.wake_read, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.wake_write = wake_write
        self.subreaper = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self.parent_watch = self._watch_parent()

    def _watch_parent(self) -> int:
        try:
            return os.pidfd_open(self.parent)
        except (AttributeError, OSError):
            return -1

    def serve(self) -> None:
        """Answer until the calling process is gone."""
        while True:
            channels = [self.control, *self.pools.values()]
            watched: list[Any] = [*channels, self.wake_read]
            if self.parent_watch >= 0:
                watched.append(self.parent_watch)
            writing = [channel for channel in channels if channel.pending]
            readable, writable, _ = select.select(watched, writing, [], _POLL_SECONDS)
            if self.parent_watch in readable or os.getppid() != self.parent:
                return
            for channel in writable:
                channel.flush()
            if self.wake_read in readable:
                try:
                    os.read(self.wake_read, 4096)
                except BlockingIOError:
                    pass
            self.bury()
            if self.control in readable and not self._accept_pools():
                return
            for descriptor, pool in tuple(self.pools.items()):
                if pool in readable:
                    self._answer(descriptor, pool)

    def _accept_pools(self) -> bool:
        for kind, *settings in self.control.receive_ready():
            if kind == "import":
                _preload(*settings)
                continue
            sock = socket.socket(fileno=self.control.received_descriptors.popleft())
            sock.setblocking(False)
            self.pools[sock.fileno()] = Channel(sock)
        return not self.control.closed

    def _answer(self, descriptor: int, pool: Channel) -> None:
        for message in pool.receive_ready():
            if message[0] == "start":
                self._start(descriptor, pool, message[1])
            elif message[0] == "kill":
                self._kill(descriptor, message[1])
        if pool.closed:
            self._kill(descriptor)
            del self.pools[descriptor]
            pool.close()

    def _kill(self, descriptor: int, worker: int | None = None) -> None:
        for process, owner in self.workers.items():
            if owner[0] == descriptor and worker in (None, owner[1]):
                _end(process, group=not self.subreaper)

    def _start(self, descriptor: int, pool: Channel, worker: int) -> None:
        sock, slots = pool.received_descriptors.popleft(), pool.received_descriptors.popleft()
        try:
            process = os.fork()
        except OSError as error:
            pool.queue(("refused", worker, str(error)))
        else:
            if process == 0:
                self._become_worker(worker, sock, slots)
            self.workers[process] = (descriptor, worker)
        os.close(sock)
        os.close(slots)

    def _become_worker(self, worker: int, sock: int, slots: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self.wake_read, self.wake_write, self.parent_watch):
                if descriptor >= 0:
                    os.close(descriptor)
            self.control.close()
            for pool in self.pools.values():
                pool.close()
            if not self.subreaper:
                os.setpgid(0, 0)
            server = os.getppid()
            if end_with_parent(server):
                from poolwise._runtime import worker as worker_process

                _seed_anew()
                worker_process.serve(socket.socket(fileno=sock), f"descriptor:{slots}", worker)
                status = 0
        finally:
            os._exit(status)

    def bury(self) -> None:
        """Reap the dead, end what they left behind, and report them."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            owner = self.workers.pop(process, None)
            if owner is None:
                continue
            if self.subreaper:
                self._end_orphans()
            else:
                _end(process, group=True, alone=False)
            pool = self.pools.get(owner[0])
            if pool is not None:
                code = os.waitstatus_to_exitcode(status)
                pool.queue(("ended", owner[1], code if code >= 0 else None, -code if code < 0 else None))

    def _end_orphans(self) -> None:
        while orphans := _children() - self.workers.keys():
            for process in orphans:
                _end(process, group=False)
                try:
                    os.waitpid(process, 0)
                except ChildProcessError:
                    continue

    def end_all(self) -> None:
        """Kill every worker and what it left behind."""
        for process in self.workers:
            _end(process, group=not self.subreaper)
        for process in self.workers:
            try:
                os.waitpid(process, 0)
            except ChildProcessError:
                continue
        self.workers.clear()
        if self.subreaper:
            self._end_orphans()


def _preload(origins: dict[str, str], environ: dict[str, str]) -> None:
    """Import modules before the first fork that may need them.

    Args:
        origins: their names, and where the calling process has them from; others are left alone.
        environ: of the calling process: what numpy's native libraries are told as they are loaded. They get one
            thread, as there must be only one when workers are forked; a worker sets how many it may have.
    """
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environ)
        blas.limit_by_environment(1)
        for name, origin in origins.items():
            with contextlib.suppress(Exception):  # A worker that needs it will say what is wrong with it.
                _import(name, origin)
    finally:
        os.environ.clear()
        os.environ.update(before)
    gc.collect()
    gc.freeze()


def _import(name: str, origin: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin == origin:
        importlib.import_module(name)
        if name == "numpy":
            import threadpoolctl  # noqa: F401  # By which a worker sets its threads.


def _seed_anew() -> None:
    """In a new worker: numpy's global generator was made before the fork, and is the same in all of them.

    Python's own `random` sees to that itself.
    """
    generator = sys.modules.get("numpy.random")
    if generator is not None:
        generator.seed()


def _end(process: int, *, group: bool, alone: bool = True) -> None:
    if group:
        try:
            os.killpg(process, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    if alone:
        try:
            os.kill(process, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _children() -> set[int]:
    """Process ids of the children of this process (Linux)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return {int(word) for word in file.read().split()}
    except (OSError, ValueError):
        pass
    children = set()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == os.getpid():
                children.add(int(name))
    return children


def main(descriptor: int, parent: int) -> None:
    """Run the forkserver.

    Args:
        descriptor: its end of the control socket.
        parent: process id of the calling process.
    """
    for standard in (0, 1, 2):  # A daemon has closed them; what is opened later must not take their place.
        try:
            os.fstat(standard)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    from poolwise._runtime import worker  # noqa: F401  # Imported before the first fork: each worker has it at once.

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    control = socket.socket(fileno=descriptor)
    control.setblocking(False)
    server = _Server(control, parent)
    gc.collect()
    gc.freeze()
    try:
        server.serve()
    finally:
        server.end_all()
        os._exit(0)
