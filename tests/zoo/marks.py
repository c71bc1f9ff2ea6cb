"""Files as memory and as signals between processes: who ran what, how often, and waiting until something is so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

GUARD_SECONDS = 10.0


def add_line(path: Path, text: object) -> None:
    """Append one line in one write, which no other process can split."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


def lines(path: Path) -> list[str]:
    """Return the lines written so far; none where there is no file yet."""
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def wait_until(true: Callable[[], bool], what: str, seconds: float = GUARD_SECONDS) -> None:
    """Wait until something is so; fail naming `what` where it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"after {seconds:g} s still not so: {what}"
        time.sleep(0.005)


def alive(pids: list[int]) -> list[int]:
    """Return those of the processes that still live (a zombie does not)."""
    living = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                living.append(pid)
        except psutil.NoSuchProcess:
            pass
    return living


def wait_gone(pids: list[int], seconds: float = 10.0) -> None:
    """Wait until all of the processes have ended."""
    wait_until(lambda: not alive(pids), f"processes {alive(pids)} of {pids} have ended", seconds)
