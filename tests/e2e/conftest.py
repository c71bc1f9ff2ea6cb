"""Drives the command line as a user does: as a process, in a folder, through pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

from zoo.guards import watchdog as watchdog  # noqa: E402
from zoo.scripts import environment, processes, wait_all_gone  # noqa: E402

SECONDS = 90

FUNCTIONS = '''
"""What the tests call by MODULE:FUNCTION."""

import ctypes
import fcntl
import os
import subprocess
import sys
import time


def same(item):
    return item


def number(item):
    return int(item)


def pid(item):
    return os.getpid()


def add(first, second=10, *, third=0):
    return first + second + third


async def add_later(first, second=10):
    return first + second


def shout(item):
    print(f"print {item}", flush=True)
    ctypes.CDLL(None).puts(f"from C {item}".encode())
    ctypes.CDLL(None).fflush(None)
    subprocess.run([sys.executable, "-c", f"print('child {item}')"], check=True)
    return item


def odd_value(item):
    return {
        "tuple": (1, 2), "nan": float("nan"), "infinity": [float("inf")], "bytes": b"b", "set": {1}, "keys": {1: 2},
        "huge": 10**5000, "plain": {"a": [1, 2.5, None, True, "x"]}, "none": None, "surrogate": "\\udcff",
        "lines": "a\\u2028b\\x85c\\nd",
    }[item]


def fail_odd(item):
    if int(item) % 2:
        raise ValueError(f"{item} is odd")
    return int(item)


def fail_twice(item):
    """Fail at the first two attempts, counted in a file."""
    with open(f"attempts-{item}", "a+") as file:
        file.write("x")
        file.seek(0)
        if len(file.read()) < 3:
            raise OSError("not yet")
    return item


def die(item):
    if item == "1":
        os._exit(7)
    return item


def hang(item):
    while item == "1":
        time.sleep(0.05)
    return item


def wait_at_gate(item):
    """Say so, then wait until the test lets go of its lock on the file `gate`."""
    os.write(2, f"begun {item}\\n".encode())
    with open("gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
    return item


def note_and_sleep(item):
    os.write(2, b"called\\n")
    time.sleep(0.002)


def read_stdin(item):
    return sys.stdin.read() + item


class Text:
    @staticmethod
    def upper(item):
        return item.upper()


not_a_function = 3
'''


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """The outcomes on stdout, by a strict reading of JSON."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.out.decode().split("\n") if line]

    @property
    def values(self) -> list[Any]:
        """The values in input order; all items must have one."""
        assert all(outcome["ok"] for outcome in self.outcomes), self
        return [outcome["value"] for outcome in sorted(self.outcomes, key=lambda outcome: int(outcome["index"]))]


class Terminal:
    """A folder in which commands are run. Whatever they leave running fails the test.

    Args:
        folder: the working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.environment = environment(self.mark)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `poolwise WORDS` with pipes, in a process group of its own as a shell does."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-m", "poolwise", *words],
            env=self.environment,
            start_new_session=True,
            **{"cwd": self.folder, "preexec_fn": _heed_interrupts, **pipes, **options},
        )
        self.started.append(process)
        return process

    def __call__(self, *words: str, stdin: str | bytes | None = None, **options: Any) -> Ended:
        """Run `poolwise WORDS` to its end."""
        text = stdin.encode() if isinstance(stdin, str) else stdin
        if text is not None:
            options["stdin"] = subprocess.PIPE
        return self.end(self.start(*words, **options), text)

    def end(self, process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Ended:
        """Wait for the end of a command."""
        out, err = process.communicate(stdin, timeout=SECONDS)
        return Ended(process.returncode, out or b"", (err or b"").decode())

    def write(self, name: str, text: str | bytes) -> str:
        """Write a file and return its name."""
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def close(self) -> None:
        """Check that nothing was left running."""
        hanging = [process for process in self.started if process.poll() is None]
        for process in processes(self.mark) if hanging else ():
            process.kill()
        for process in self.started:
            process.communicate()
        wait_all_gone(self.mark)


def _heed_interrupts() -> None:
    """Undo what a test run in the background hands down: a shell starts background jobs with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def poolwise(tmp_path: Path) -> Iterator[Terminal]:
    """The command line, in a folder that holds the module `functions`."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "functions.py").write_text(FUNCTIONS)
    terminal = Terminal(folder)
    yield terminal
    terminal.close()


@pytest.fixture
def lines(poolwise: Terminal) -> Callable[[Sequence[object]], str]:
    """Write items into a file of lines and return its name."""
    return lambda items: poolwise.write("items.txt", "".join(f"{item}\n" for item in items))
