"""Statistics and processes for comparing two sides of a benchmark fairly. Runs no pool itself.

Two sides are run in turn A B B A, never both at once: a block gives two pairs, one in each order, so a drift of the
machine (heat, a neighbour) falls on both sides alike. What is compared is the ratio (or the difference) inside each
pair; reported are its median over all pairs and its range.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from poolwise._bench.process import BrokenRun, Ended, run_program

__all__ = ["BrokenRun", "Ended", "Spread", "pairs_of", "run_command", "run_python"]

T = TypeVar("T")


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


def run_python(arguments: Sequence[str], path: str | None = None, limit_seconds: float = 180.0) -> Ended:
    """Run a fresh interpreter to its end: `run_command` with what follows the interpreter on the command line."""
    return run_command([sys.executable, *arguments], path, limit_seconds)


def run_command(command: Sequence[str], path: str | None = None, limit_seconds: float = 180.0) -> Ended:
    """Run a program to its end, as `run_program` does.

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
    return run_program(command, environment, limit_seconds)
