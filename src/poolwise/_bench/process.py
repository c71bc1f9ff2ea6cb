"""One program run to its end in a process of its own, with a limit; whatever it started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from poolwise._core.errors import signal_name

_LAST_LINES = 6


class BrokenRun(Exception):
    """A measured process failed, hung, or gave a wrong result: there is no figure to report."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well: what it wrote to stdout and how long it took in seconds, start and end included."""

    stdout: str
    seconds: float


def run_program(
    command: Sequence[str], environment: Mapping[str, str] | None = None, limit_seconds: float = 180.0
) -> Ended:
    """Run a program to its end.

    Output goes to files, not pipes: a helper process that outlives its parent (a resource tracker) would hold a pipe
    open and be timed too. A run over its limit is killed with everything it started.

    Args:
        command: the program and its arguments.
        environment: its environment, or None for this process's own.
        limit_seconds: when to give up, in seconds.

    Returns:
        Its stdout and wall time.

    Raises:
        BrokenRun: it failed, or took longer; the message ends with the last lines of its stderr.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as stdout,
        tempfile.TemporaryFile("w+b") as stderr,
        ThreadPoolExecutor(1) as starter,
    ):
        processes: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            processes.append(
                subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                )
            )

        late = threading.Event()

        def give_up() -> None:
            late.set()
            starting.result()
            _kill(processes[0])

        timer = threading.Timer(limit_seconds, give_up)
        timer.daemon = True
        starter.submit(int).result()  # Its thread is there from now on: to start one may be interrupted as well.
        started = time.perf_counter()
        try:
            starting = starter.submit(start)  # The main thread could be interrupted before it knows the process.
            timer.start()
            starting.result()
            processes[0].wait()  # never with a timeout: it would poll with sleeps of up to 50 ms, and time those
            seconds = time.perf_counter() - started
        except BaseException:
            starter.shutdown()  # By now it has been started, or never is.
            for process in processes:
                _kill(process)
                process.wait()
            raise
        finally:
            timer.cancel()
        if late.is_set():
            raise BrokenRun(_with_lines(f"took over {limit_seconds:.0f} s, and was ended", stderr))
        if processes[0].returncode:
            raise BrokenRun(_with_lines(_ended(processes[0].returncode), stderr))
        stdout.seek(0)
        return Ended(stdout.read(), seconds)


def _ended(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by {signal_name(-code)}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return
    import psutil

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


def _with_lines(sentence: str, stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    return "\n".join([sentence, *lines])
