"""Runs a program of the tour in a fresh process, and notes when each of its lines came.

That is the whole recorder: a program says on stdout what it begins and ends, and the time is that at which this process
read the line. Nothing is put into the program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from poolwise.tour.lesson import Ran, read

PATIENCE_SECONDS = 600.0


def run_program(program: Path, arguments: Sequence[str], *, patience: float = PATIENCE_SECONDS) -> Ran:
    """Run a program with Python in an empty folder of its own, and return what it was seen to do.

    Whatever ends this, an exception such as KeyboardInterrupt included, ends the program and what it started.

    Args:
        program: its file.
        arguments: its arguments.
        patience: seconds after which it is ended.
    """
    with (
        tempfile.TemporaryDirectory(prefix="poolwise-tour-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(1) as starter,
    ):
        # Not started by the main thread: a signal could interrupt that before it knows the process.
        began = time.perf_counter()
        starting = starter.submit(
            subprocess.Popen[bytes],
            [sys.executable, str(program), *arguments],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=os.name == "posix",  # A Ctrl-C is for us, and we end what is in its group.
        )
        late = threading.Timer(patience, lambda: _end(starting.result()))
        late.daemon = True
        readers: list[threading.Thread] = []
        try:
            late.start()
            return _listen(starting.result(), began, readers)
        finally:
            late.cancel()
            process = starting.result()
            _end(process)
            for pipe in (process.stdout, None if readers else process.stderr):
                if pipe is not None:
                    pipe.close()


def _environment() -> dict[str, str]:
    """Return ours, with stdout of the program unbuffered, and poolwise, wherever it is, to be found."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    loopback = ",".join(filter(None, [os.environ.get("no_proxy", ""), "127.0.0.1"]))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "no_proxy": loopback,
        "NO_PROXY": loopback,
    }


def _listen(process: subprocess.Popen[bytes], began: float, readers: list[threading.Thread]) -> Ran:
    """Read what the program writes; who reads stderr, and closes it, is added to `readers`."""
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    stderr = process.stderr

    def read_errors() -> None:
        with stderr:
            errors.append(stderr.read())

    reader = threading.Thread(target=read_errors, daemon=True)
    readers.append(reader)
    reader.start()
    lines: list[tuple[float, str]] = []
    with process.stdout:
        for line in process.stdout:
            at = time.perf_counter() - began
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            if text:
                lines.append((at, text))
    code = process.wait()
    reader.join()
    return read(lines, b"".join(errors).decode("utf-8", "backslashreplace"), code)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        _end_tree(process.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def _end_tree(pid: int) -> None:
    """End a process and its descendants, where there are no process groups."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        for one in (*top.children(recursive=True), top):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
