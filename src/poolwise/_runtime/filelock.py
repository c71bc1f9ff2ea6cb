"""A lock that a process holds on a path, and that ends with the process, however that ends."""

from __future__ import annotations

import os
import threading
from types import ModuleType

try:
    import fcntl as _fcntl

    fcntl: ModuleType | None = _fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt as _msvcrt

    msvcrt: ModuleType | None = _msvcrt
except ImportError:
    msvcrt = None

_held: set[str] = set()
_guard = threading.Lock()


class Held(Exception):
    """Somebody else holds it; the argument is who, as far as that is known."""


class FileLock:
    """Holds `path` until it is released; the file beside it that stands for the lock goes away then.

    Record locks are those of the process: a forked child does not hold them on, and two holders in one process are told
    apart by a table.

    Args:
        path: of the lock's own file.

    Raises:
        Held: somebody holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._pid = os.getpid()
        with _guard:
            if self.path in _held:
                raise Held("this process")
            _held.add(self.path)
        try:
            self._descriptor = self._acquire()
        except BaseException:
            with _guard:
                _held.discard(self.path)
            raise

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                _lock(descriptor)
            except OSError:
                holder = _text_of(descriptor)
                os.close(descriptor)
                raise Held(f"process {holder}" if holder else "another process") from None
            if _is_at(self.path, descriptor):  # Else its last holder removed it while we waited at the door.
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
            os.close(descriptor)

    def release(self) -> None:
        """Let go. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0 or os.getpid() != self._pid:  # A forked child holds nothing, and must not take it away.
            return
        try:
            if fcntl is None:  # Windows does not remove what is open.
                os.close(descriptor)
                os.unlink(self.path)
            else:
                os.unlink(self.path)
                os.close(descriptor)
        except OSError:
            pass
        with _guard:
            _held.discard(self.path)


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(descriptor, 0x40000000, os.SEEK_SET)  # Beyond the text, which others may read.
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)


def _text_of(descriptor: int) -> str:
    try:
        return os.read(descriptor, 32).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _is_at(path: str, descriptor: int) -> bool:
    try:
        there, mine = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
