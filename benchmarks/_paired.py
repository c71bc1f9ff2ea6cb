"""Statistics and processes for comparing two sides of a benchmark fairly. Knows nothing of any pool.

Two sides are run in turn A B B A, never both at once: a block gives two pairs, one in each order, so a drift of the
machine (heat, a neighbour) falls on both sides alike. What is compared is the ratio (or the difference) inside each
pair; reported are its median over all pairs and its range.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

T = TypeVar("T")


class BrokenRun(Exception):
    """A measured process failed, hung, or gave a wrong result: there is no figure to report."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of some figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))

    def text(self, unit: str, sign: str = "") -> str:
        """Write it as `1.05x (0.98-1.12)`, with the digits that its size deserves."""
        digits = 2 if abs(self.median) < 10 else 1 if abs(self.median) < 100 else 0
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:{sign}.{digits}f}{unit} ({low}{' to ' if self.low < 0 else '-'}{high})"


def pairs_of(first: Callable[[], T], second: Callable[[], T], blocks: int) -> list[tuple[T, T]]:
    """Run two sides in turn A B B A, `blocks` times; return 2 x `blocks` pairs (A's, B's)."""
    pairs: list[tuple[T, T]] = []
    for _ in range(blocks):
        before = first()
        after = second()
        pairs.append((before, after))
        after = second()
        before = first()
        pairs.append((before, after))
    return pairs


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well: what it wrote to stdout and how long it took, start and end included."""

    stdout: str
    seconds: float


def run_python(arguments: Sequence[str], path: str | None = None, limit_seconds: float = 180.0) -> Ended:
    """Run a fresh interpreter to its end: `run_command` with what follows the interpreter on the command line."""
    return run_command([sys.executable, *arguments], path, limit_seconds)


def run_command(command: Sequence[str], path: str | None = None, limit_seconds: float = 180.0) -> Ended:
    """Run a program to its end.

    Output goes to files, not pipes: a helper process that outlives its parent (a resource tracker) would hold a pipe
    open and be timed too. A run over `limit_seconds` is killed with everything it started.

    Args:
        command: The program and its arguments.
        path: A folder to put on its PYTHONPATH.
        limit_seconds: When to give up, in seconds.

    Returns:
        Its stdout and wall time.

    Raises:
        BrokenRun: it failed, or took longer than `limit_seconds`.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # Installed packages have bytecode; a checkout must get some too.
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [path, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit_seconds, end)
        timer.daemon = True
        timer.start()
        try:
            process.wait()  # never with a timeout: it would poll with sleeps of up to 50 ms, and time those
            seconds = time.perf_counter() - started
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            timer.cancel()
        if late.is_set():
            raise BrokenRun(f"took over {limit_seconds:.0f} s\n{_read(stderr)}")
        if process.returncode:
            raise BrokenRun(f"ended with {process.returncode}\n{_read(stderr)}")
        stdout.seek(0)
        return Ended(stdout.read(), seconds)


def _read(stderr: IO[str]) -> str:
    stderr.seek(0)
    return "\n".join(stderr.read().strip().splitlines()[-6:])
