"""Ctrl-C: the first finishes what was taken, the second stops; both exit with 130."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import IO, Any

import psutil
import pytest

from zoo.marks import wait_until
from zoo.scripts import processes

FINISHING = "interrupted: finishing the items already taken; press Ctrl-C again to stop at once"


@pytest.fixture
def gate(poolwise: Any) -> Iterator[IO[str]]:
    """The file that holds up `functions:wait_at_gate` until it is closed."""
    with open(poolwise.folder / "gate", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def read_until(stream: IO[bytes], start: str) -> str:
    """Read lines until one starts with some text, and return it."""
    seen = []
    for line in stream:
        seen.append(line.decode().rstrip("\n"))
        if seen[-1].startswith(start):
            return seen[-1]
    raise AssertionError(f"it ended without {start!r}: {seen}")


@contextlib.contextmanager
def endless(poolwise: Any, *words: str) -> Iterator[Any]:
    """Start a run over endless stdin in one process group with nothing else; yield it when an item waits."""
    feeder = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    assert feeder.stdout is not None
    try:
        process = poolwise.start("run", "functions:wait_at_gate", "-", *words, stdin=feeder.stdout)
        feeder.stdout.close()
        read_until(process.stderr, "begun y")
        # A signal between the last line of Python before the gate and the wait there would be heard after the wait.
        main = psutil.Process(process.pid)
        wait_until(lambda: main.status() == psutil.STATUS_SLEEPING, "its main thread waits")
        yield process
    finally:
        feeder.kill()
        feeder.wait()


@pytest.mark.parametrize("shape", ["1x1", "1x2", "2x1", "2x2"])
def test_the_first_finishes_what_was_taken(poolwise: Any, gate: IO[str], shape: str) -> None:
    """After one Ctrl-C nothing new is read; what was taken ends and is written."""
    with endless(poolwise, "--shape", shape) as process:
        os.killpg(process.pid, signal.SIGINT)
        read_until(process.stderr, FINISHING)
        gate.close()
        ended = poolwise.end(process)
    assert ended.code == 130
    assert ended.values == ["y"] * len(ended.outcomes)
    assert ended.outcomes
    assert f"interrupted after {len(ended.outcomes):,} item" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("shape", ["1x1", "1x2", "2x1", "2x2"])
def test_the_second_stops(poolwise: Any, gate: IO[str], shape: str) -> None:
    """After two Ctrl-C the command ends although what was begun never will."""
    with endless(poolwise, "--shape", shape) as process:
        os.killpg(process.pid, signal.SIGINT)
        read_until(process.stderr, FINISHING)
        os.killpg(process.pid, signal.SIGINT)
        ended = poolwise.end(process)
    assert ended.code == 130
    assert ended.outcomes == []
    assert "interrupted after 0 items" in ended.err
    assert "Traceback" not in ended.err


def test_while_waiting_for_input(poolwise: Any) -> None:
    """Ctrl-C ends a command that waits for the next line of stdin."""
    process = poolwise.start("run", "functions:same", "-", "--shape", "1x1", stdin=subprocess.PIPE)
    process.stdin.write(b"a\n")
    process.stdin.flush()
    assert b'"value": "a"' in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    ended = poolwise.end(process)
    assert ended.code == 130
    assert ended.err.splitlines()[0] == FINISHING
    assert "interrupted after 1 item: 1 done" in ended.err


def test_while_it_starts(poolwise: Any) -> None:
    """Ctrl-C in the middle of an import says nothing and exits with 130."""
    poolwise.write("typer.py", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = poolwise("run", "functions:same", "-")
    assert (ended.code, ended.out, ended.err) == (130, b"", "")


def test_an_ignored_interrupt_stays_ignored(poolwise: Any) -> None:
    """A background job of a script, which starts with SIGINT ignored, does not die of a Ctrl-C for others."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    words = ("run", "functions:same", "-", "--shape", "1x1")
    process = poolwise.start(*words, stdin=subprocess.PIPE, preexec_fn=ignore)
    process.stdin.write(b"a\n")
    process.stdin.flush()
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    ended = poolwise.end(process, b"b\n")
    assert (ended.code, ended.err) == (0, "")
    assert ended.values == ["b"]


def test_sigterm_ends_it_at_once(poolwise: Any, gate: IO[str]) -> None:
    """SIGTERM has its default effect, and takes the workers along."""
    with endless(poolwise, "--shape", "2x1") as process:
        process.terminate()
        ended = poolwise.end(process)
    assert ended.code == -signal.SIGTERM


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    "words",
    [("bench", "functions:hang", "items.txt"), ("tour", "3", "--scale", "10"), ("demo",)],
    ids=lambda words: words[0],
)
def test_what_ends_a_command_leaves_no_temporary_folder(poolwise: Any, words: tuple[str, ...], name: str) -> None:
    """A service, a container, `timeout` and a terminal that is closed end programs so."""
    if words[0] == "demo":
        pytest.importorskip("PIL.Image")
    poolwise.write("items.txt", "1\n2\n")
    temporary = poolwise.folder / "temporary"
    temporary.mkdir()
    poolwise.environment["TMPDIR"] = str(temporary)
    process = poolwise.start(*words)
    if words[0] == "demo":
        read_until(process.stderr, "images:")
    else:
        wait_until(lambda: len(processes(poolwise.mark)) > 1, "a program that is measured runs")
    assert list(temporary.glob("poolwise-*"))
    os.kill(process.pid, getattr(signal, name))
    ended = poolwise.end(process)
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert not list(temporary.glob("poolwise-*"))
