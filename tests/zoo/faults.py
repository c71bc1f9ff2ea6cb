"""The rows of the fault matrix: what one item in thirty does to its worker, and what must be said of it.

Each fault is a function of (folder, item). The other twenty-nine items return `right(item)`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.marks import add_line

COUNT = 30
GUILTY = 11


def right(x: int) -> tuple[int, str]:
    """The right result of an item."""
    return x * x, f"item {x}"


def work(fault: Callable[[Path, int], Any], folder: Path, x: int) -> Any:
    """Write down who runs what, and run the item: the guilty one does its worst."""
    add_line(folder / "pids", os.getpid())
    add_line(folder / f"ran-{x}", os.getpid())
    return fault(folder, x) if x == GUILTY else right(x)


# -- exceptions and values


class HoldsALock(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class NeedsTwo(Exception):
    """Pickles, but its pickle cannot be read."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one}, {two}")


class Poisoned:
    """Pickles, and raises where it is unpickled."""

    def __reduce__(self) -> Any:
        return explode, ("unpickling this raises",)


def explode(text: str) -> None:
    """What unpickling Poisoned calls."""
    raise ArithmeticError(text)


def raises(folder: Path, x: int) -> None:
    """The plain case."""
    raise ValueError("item is bad")


def raises_unpicklable(folder: Path, x: int) -> None:
    """Its exception holds a lock."""
    raise HoldsALock("holds a lock")


def raises_ununpicklable(folder: Path, x: int) -> None:
    """Its exception can be pickled only."""
    raise NeedsTwo("left", "right")


def returns_unpicklable(folder: Path, x: int) -> Any:
    """Its result is a lock."""
    return threading.Lock()


def returns_poison(folder: Path, x: int) -> Any:
    """Its result raises where it is unpickled."""
    return Poisoned()


def exits(folder: Path, x: int) -> None:
    """sys.exit, which ends nothing but the item."""
    sys.exit(3)


def interrupts(folder: Path, x: int) -> None:
    """KeyboardInterrupt, raised by the item."""
    raise KeyboardInterrupt


# -- deaths


def leaves_with_0(folder: Path, x: int) -> None:
    """The worker ends as if all were well."""
    os._exit(0)


def leaves_with_3(folder: Path, x: int) -> None:
    """The worker ends with a code."""
    os._exit(3)


def kills_itself(folder: Path, x: int) -> None:
    """As the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults(folder: Path, x: int) -> None:
    """Reads address 0; leaves no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def exhausts_memory(folder: Path, x: int) -> None:
    """Fills its address space up to a limit; 32 MB are left for its lane-mates."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (544 << 20), before[1]))
    hoard = []
    try:
        while True:
            hoard.append(bytearray(64 << 20))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def hangs(folder: Path, x: int) -> None:
    """Never returns, in Python."""
    while True:
        pass


def hangs_in_c(folder: Path, x: int) -> None:
    """Never returns, in C, holding the GIL."""
    ctypes.PyDLL(None).usleep(600_000_000)


def recurses(folder: Path, x: int) -> Any:
    """Calls itself without end."""
    return recurses(folder, x)


# -- what survives, but should not be noticed


def forks_a_sleeper(folder: Path, x: int) -> Any:
    """Leaves a child that sleeps on, holding every pipe."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    add_line(folder / "pids", pid)
    return right(x)


def forks_and_returns(folder: Path, x: int) -> Any:
    """Leaves a child that returns into the worker's loop as if it were the worker."""
    pid = os.fork()
    if pid:
        add_line(folder / "pids", pid)
    return right(x)


def _leave_running(folder: Path, **options: Any) -> None:
    import subprocess

    process = subprocess.Popen(["sleep", "600"], **options)
    add_line(folder / "pids", process.pid)
    process.returncode = 0  # so that Popen does not complain that it still runs


def starts_a_program(folder: Path, x: int) -> Any:
    """Leaves a program running."""
    _leave_running(folder)
    return right(x)


def starts_a_daemon(folder: Path, x: int) -> Any:
    """Leaves a program running in a session of its own."""
    _leave_running(folder, start_new_session=True)
    return right(x)


def closes_streams(folder: Path, x: int) -> Any:
    """Closes stdin, stdout and stderr."""
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return right(x)


def prints_a_megabyte(folder: Path, x: int) -> Any:
    """Fills stdout and stderr."""
    for _ in range(1000):
        print("x" * 999)
    sys.stderr.write("y" * 1_000_000)
    return right(x)


def leaves_a_thread(folder: Path, x: int) -> Any:
    """Leaves a thread that would keep its process alive."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return right(x)


def changes_its_process(folder: Path, x: int) -> Any:
    """setsid, signal handlers, recursion limit."""
    with contextlib.suppress(OSError):
        os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.SIG_IGN)
    sys.setrecursionlimit(200)
    return right(x)


@dataclass(frozen=True)
class Row:
    """One row: the fault, and what the guilty item's outcome must say.

    Args:
        fault: what the guilty item does.
        error: name of the TaskError class, or None where the item succeeds.
        says: what the error's text contains.
        cause: the class of `__cause__`.
        exitcode: of a lost worker.
        signal: that ended it.
        timeout: option of the run.
    """

    fault: Callable[[Path, int], Any]
    error: str | None = None
    says: str = ""
    cause: type[BaseException] | None = None
    exitcode: int | None = None
    signal: str | None = None
    timeout: float | None = None

    @property
    def kills(self) -> bool:
        """Whether the worker dies of it."""
        return self.error in ("TaskLost", "TaskTimeout")

    def function(self, folder: Path) -> Callable[[int], Any]:
        """The function to map, picklable by reference."""
        return functools.partial(work, self.fault, folder)


ROWS = {
    "raises": Row(raises, "TaskFailed", "ValueError: item is bad", ValueError),
    "exception-unpicklable": Row(raises_unpicklable, "TaskFailed", "HoldsALock"),
    "exception-ununpicklable": Row(raises_ununpicklable, "TaskFailed", "NeedsTwo"),
    "result-unpicklable": Row(returns_unpicklable, "TaskFailed", "lock"),
    "result-ununpicklable": Row(returns_poison, "TaskFailed", "unpickling this raises"),
    "sys-exit": Row(exits, "TaskFailed", "SystemExit", SystemExit),
    "keyboard-interrupt": Row(interrupts, "TaskFailed", "KeyboardInterrupt", KeyboardInterrupt),
    "exit-0": Row(leaves_with_0, "TaskLost", "0", exitcode=0),
    "exit-3": Row(leaves_with_3, "TaskLost", "3", exitcode=3),
    "sigkill": Row(kills_itself, "TaskLost", "SIGKILL", signal="SIGKILL"),
    "segfault": Row(segfaults, "TaskLost", "SIGSEGV", signal="SIGSEGV"),
    "memory": Row(exhausts_memory, "TaskFailed", "MemoryError", MemoryError),
    "hangs": Row(hangs, "TaskTimeout", "1", timeout=1),
    "hangs-in-c": Row(hangs_in_c, "TaskTimeout", "1", timeout=1),
    "recursion": Row(recurses, "TaskFailed", "RecursionError", RecursionError),
    "forks-sleeper": Row(forks_a_sleeper),
    "forks-returner": Row(forks_and_returns),
    "program": Row(starts_a_program),
    "daemon": Row(starts_a_daemon),
    "closes-streams": Row(closes_streams),
    "prints-megabyte": Row(prints_a_megabyte),
    "leaves-thread": Row(leaves_a_thread),
    "changes-process": Row(changes_its_process),
}
