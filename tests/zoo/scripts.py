"""Whole programs in processes of their own, each marked so that everything it starts can be found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil

from zoo.marks import wait_until

MARK = "POOLWISE_TEST_MARK"
SCRIPT_SECONDS = 60
TESTS = Path(__file__).resolve().parents[1]


def environment(mark: str) -> dict[str, str]:
    """The environment of a script: the parent's path, the mark, and no core files to be found later."""
    path = [str(TESTS), *(entry for entry in sys.path if entry)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), MARK: mark, "PYTHONWARNINGS": "error"}


def processes(mark: str) -> list[psutil.Process]:
    """Find every living process that carries the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return found


def wait_all_gone(mark: str, seconds: float = 5.0) -> None:
    """Wait until nothing that a script started lives; where something does, end it and fail."""
    try:
        wait_until(lambda: not processes(mark), "no process of the script is left", seconds)
    except AssertionError as error:
        left = processes(mark)
        names = [(process.pid, process.cmdline()) for process in left]
        for process in left:
            process.kill()
        raise AssertionError(f"{error}: {names}") from None


class Script:
    """A program that runs; a context manager that leaves nothing behind.

    Args:
        arguments: of the interpreter.
        stdin: text for its standard input.
        folder: its working directory.
    """

    def __init__(self, arguments: Sequence[str], *, folder: Path, stdin: str | None = None) -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(self.mark),
            start_new_session=True,
        )
        self.stdin = stdin
        self.out = self.err = ""

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        for process in processes(self.mark):
            process.kill()
        self.process.kill()
        self.process.communicate()

    def wait_for_line(self, line: str) -> None:
        """Read the output until a line."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.out += text
            if text.strip() == line:
                return
        raise AssertionError(f"the script ended without {line!r}: {self.out}{self.end()[2]}")

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the script, or to its whole process group as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end: exit code (minus the signal), output, errors."""
        try:
            out, err = self.process.communicate(self.stdin, timeout=SCRIPT_SECONDS)
        except subprocess.TimeoutExpired:
            for process in processes(self.mark):
                process.send_signal(signal.SIGKILL)
            out, err = self.process.communicate()
            raise AssertionError(f"the script did not end within {SCRIPT_SECONDS} s: {out}{err}") from None
        self.out += out
        self.err = err
        return self.process.returncode, self.out, err


def script_file(folder: Path, text: str, name: str = "script.py") -> Path:
    """Write a script."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def run_file(folder: Path, text: str) -> tuple[int, str, str]:
    """Run a script to its end; nothing it started may be left then."""
    with Script([str(script_file(folder, text))], folder=folder) as script:
        ended = script.end()
        wait_all_gone(script.mark)
    return ended
