"""This process's end of the forkserver: it is started once, reached through a socket, and stopped at exit.

Little is imported here, so that the forkserver can start while the calling process imports the rest.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable

from poolwise._core.errors import BackendError, no_descriptor


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected pair of sockets; never as stdin, stdout or stderr, even where those are closed.

    Raises:
        BackendError: there are too many open files.
    """
    try:
        return tuple(map(_above_standard, socket.socketpair()))  # type: ignore[return-value]  # They are two.
    except OSError as error:
        raise no_descriptor(error) from error


def _above_standard(sock: socket.socket) -> socket.socket:
    if sock.fileno() > 2 or os.name != "posix":
        return sock
    import fcntl

    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def interpreter() -> list[str]:
    """Return the command that starts this interpreter with this process's flags, importing nothing from the cwd.

    Raises:
        BackendError: where the interpreter does not know its own executable (it is embedded).
    """
    if not sys.executable:
        raise BackendError("sys.executable is empty, so child processes cannot be started; use threads (shape='1xT')")
    import subprocess  # Here and below, as a run without child processes does without.

    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # As multiprocessing does.
    return [sys.executable, *flags, *([] if "-P" in flags else ["-P"])]


def program(call: str, package: str = "poolwise._runtime") -> str:
    """Return the text for `python -c`: make poolwise importable, then call `main` of a module of a package."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    module, _, rest = call.partition(":")
    return f"import sys; sys.path.append({root!r}); from {package}.{module} import main; main({rest})"


class _ForkServer:
    """This process's end of the forkserver."""

    _asked_for: set[str] = set()  # Modules, in the life of this process.

    def __init__(self) -> None:
        import subprocess

        self.control, theirs = open_pair()
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [*interpreter(), "-c", program(f"forkserver:{theirs.fileno()}, {os.getpid()}")],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                self.control.close()
                raise BackendError(f"no process can be started: {error}; use threads (shape='1xT')") from error

    def pool(self) -> socket.socket:
        """Open a pool; returns our end of its socket."""
        from poolwise._runtime.channel import Channel

        self.preload()
        ours, theirs = open_pair()
        with theirs:
            try:
                Channel(self.control).send(("pool",), [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def preload(self, modules: Iterable[str] = ()) -> None:
        """Have the forkserver import what workers may need, and what is imported here: numpy, and our own jobs.

        Each once in the life of this process: one that did not live through that must not cost the next one its life.

        Args:
            modules: to be imported in any case; this process has them, or will soon.
        """
        wanted = [name for name in (*_preloaded(), *modules) if name not in self._asked_for]
        found = {name: origin for name in wanted if (origin := _origin_of(name))}
        if found:
            from poolwise._runtime.channel import Channel

            self._asked_for.update(found)
            Channel(self.control).send(("import", found, dict(os.environ)))

    def stop(self) -> None:
        import subprocess

        self.control.close()
        try:
            self.process.wait(5)
        except BaseException as error:  # It takes too long, or somebody presses Ctrl-C again.
            self.process.kill()
            self.process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _preloaded() -> list[str]:
    """Return what the forkserver imports because this process has it."""
    jobs = (name for name in tuple(sys.modules) if name.startswith("poolwise.jobs.") and name.count(".") == 2)
    return [name for name in ("numpy", *jobs) if name in sys.modules]


def _origin_of(name: str) -> str | None:
    if sys.platform != "linux":  # Elsewhere native libraries may not survive a fork.
        return None
    module = sys.modules.get(name)
    origin = getattr(importlib.util.find_spec(name) if module is None else module.__spec__, "origin", None)
    return origin if isinstance(origin, str) else None


_server: _ForkServer | None = None
_server_lock = threading.Lock()


def open_pool() -> socket.socket:
    """Return this end of a new pool's socket, starting the forkserver where there is none.

    Raises:
        BackendError: where it cannot be started, or does not stay.
    """
    global _server
    with _server_lock:
        for _ in range(2):
            if _server is None:
                _server = _ForkServer()
            try:
                return _server.pool()
            except OSError:  # It was killed; another takes its place.
                _server.stop()
                _server = None
    raise BackendError("the forkserver ends as soon as it starts; use threads (shape='1xT')")


def prestart(modules: Iterable[str] = ()) -> None:
    """Start the forkserver now, so that it is ready when the caller has imported and pickled what it needs.

    Args:
        modules: for it to import meanwhile, beside what this process has.

    Raises:
        BackendError: where that cannot be done.
    """
    global _server
    if not can_fork():
        return
    with _server_lock:
        if _server is None:
            _server = _ForkServer()
        try:
            _server.preload(modules)
        except OSError:  # It was killed; `open_pool` starts another.
            pass


def can_fork() -> bool:
    """Say whether this system has what the forkserver needs."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds") and hasattr(signal, "set_wakeup_fd")


@atexit.register
def _stop_server() -> None:
    global _server
    with _server_lock:
        server, _server = _server, None
    if server is not None:
        with contextlib.suppress(KeyboardInterrupt):  # This process ends anyway.
            server.stop()


def _forget_server() -> None:
    """In a forked child: the forkserver belongs to the parent."""
    global _server, _server_lock
    _server_lock = threading.Lock()
    _ForkServer._asked_for = set()
    if _server is not None:
        _server.process.returncode = 0  # Not ours to wait for.
        _server.control.close()
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_server)
