"""`--trace FILE`: what happened when, however a command ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zoo.marks import wait_until
from zoo.traces import Event, of_phase, read_trace

Lines = Callable[[Sequence[object]], str]


def trace(poolwise: Any, name: str = "run.json") -> list[Event]:
    """Read the trace that a command wrote into its folder."""
    return read_trace((poolwise.folder / name).read_text())


@pytest.mark.parametrize("shape", ["auto", "2x1"])
def test_run(poolwise: Any, lines: Lines, shape: str) -> None:
    """Each item is in it, also where some failed; the exit code is what it would have been."""
    ended = poolwise("run", "functions:fail_odd", lines(range(10)), "--shape", shape, "--trace", "run.json")
    assert ended.code == 3
    slices = of_phase(trace(poolwise), "X")
    assert sum(event["args"]["count"] for event in slices) == 10
    assert sum(event["args"]["failed"] for event in slices) == 5
    assert {event["name"] for event in slices} == {"fail_odd"}


def test_images(poolwise: Any) -> None:
    """The images command writes one too."""
    source = poolwise.folder / "photos"
    source.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(source / name)
    ended = poolwise("images", "photos", "small", "--fit", "20", "--trace", "run.json")
    assert ended.code == 0
    assert {event["name"] for event in of_phase(trace(poolwise), "X")} == {"images"}


def test_after_an_interrupt(poolwise: Any) -> None:
    """Two times Ctrl-C while an item waits: what was done until then is in it."""
    with open(poolwise.folder / "gate", "w") as gate:
        process = poolwise.start("run", "functions:wait_at_gate", "-", "--shape", "1x2", "--trace", "run.json",
                                 stdin=subprocess.PIPE)  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert process.stdout is not None
        assert b'"first"' in process.stdout.readline()
        fcntl.flock(gate, fcntl.LOCK_EX)
        process.stdin.write(b"second\n")
        process.stdin.flush()
        wait_until(lambda: b"begun second" in process.stderr.readline(), "the second item waits")
        os.kill(process.pid, signal.SIGINT)
        wait_until(lambda: b"interrupted" in process.stderr.readline(), "the first interrupt is heard")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    assert 0 in {event["args"]["index"] for event in of_phase(trace(poolwise), "X")}


def test_after_a_failure_of_the_input(poolwise: Any) -> None:
    """A line that is no JSON ends the run; what came before it is in the trace."""
    poolwise.write("items.txt", "1\n2\nthree\n")
    ended = poolwise("run", "functions:same", "items.txt", "--jsonl", "--trace", "run.json")
    assert ended.code == 1
    assert sum(event["args"]["count"] for event in of_phase(trace(poolwise), "X")) == 2


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("missing/run.json", "there is no folder 'missing'"),
        (".", "it is a folder"),
        ("items.txt", "'items.txt' is named as the input"),
        ("out.jsonl", "'out.jsonl' is named as the file for outcomes"),
    ],
)
def test_a_place_where_none_can_be(poolwise: Any, lines: Lines, place: str, why: str) -> None:
    """That is said before anything is executed."""
    ended = poolwise("run", "functions:note_and_sleep", lines([1]), "-o", "out.jsonl", "--trace", place)
    assert ended.code == 2
    assert why in ended.err
    assert "called" not in ended.err
    assert not Path(poolwise.folder, "out.jsonl").exists()
