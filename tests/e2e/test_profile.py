"""`poolwise profile`: what it says, to people and to machines, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest

Lines = Callable[[Sequence[object]], str]


def test_for_a_person(poolwise: Any, lines: Lines) -> None:
    """One sentence first, then the roofs, and how many items ran."""
    ended = poolwise("profile", "time:sleep", lines([0.002] * 400), "--jsonl", "--seconds", "0.3")
    assert (ended.code, ended.err) == (0, "")
    text = ended.out.decode()
    assert text.startswith("Waiting work (io): ")
    assert "roof" in text
    assert "items ran in" in text


def test_for_a_machine(poolwise: Any, lines: Lines) -> None:
    """--json is one JSON object and nothing else; what the function prints goes to stderr."""
    ended = poolwise("profile", "functions:shout", lines(range(4)), "--json")
    assert ended.code == 0
    said = json.loads(ended.out)
    assert said["items"] == 4
    assert said["failed"] == 0
    assert said["kind"] in ("io", "gil", "cpu", "mixed", "tiny", "transfer", "unknown")
    assert said["shape"]
    assert "print 3" in ended.err


def test_few_items(poolwise: Any, lines: Lines) -> None:
    """They end before shapes could be compared; what they were like is told."""
    ended = poolwise("profile", "functions:same", lines(range(3)), "--json")
    assert ended.code == 0
    said = json.loads(ended.out)
    assert (said["items"], said["shape"]) == (3, "1x1")
    assert said["demands"]["response_seconds"]["value"] > 0
    assert "too few items ran to compare shapes" in said["reasons"]


def test_each_item_once_and_no_more_than_needed(poolwise: Any) -> None:
    """Endless input is profiled for about the time asked for, and then left."""
    ended = poolwise("profile", "functions:same", "-", "--seconds", "0.2", "--json", stdin=b"x\n" * 3_000_000)
    assert ended.code == 0
    assert json.loads(ended.out)["items"] > 0


def test_failed_items(poolwise: Any, lines: Lines) -> None:
    """Items that fail are counted by class, and the exit code says so."""
    ended = poolwise("profile", "functions:fail_odd", lines(range(10)))
    assert ended.code == 3
    assert "5 failed: 5 ValueError" in ended.out.decode()


def test_isolate(poolwise: Any, lines: Lines) -> None:
    """With --isolate only child processes run items, and the plan says so."""
    ended = poolwise("profile", "functions:pid", lines(range(20)), "--isolate", "--json")
    assert ended.code == 0
    assert any("isolate" in reason for reason in json.loads(ended.out)["reasons"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["functions:same"],
        ["functions:nothing_there", "-"],
        ["functions:same", "missing.txt"],
        ["functions:same", "-", "--seconds", "0"],
        ["functions:same", "-", "--seconds", "nan"],
        ["functions:same", "-", "--hint", "disk"],
        ["functions:same", "-", "--starred"],
        ["functions:same", "-"],
    ],
    ids=" ".join,
)
def test_usage(poolwise: Any, arguments: list[str]) -> None:
    """What cannot be meant is one sentence and exit code 2; without an item there is nothing to say."""
    ended = poolwise("profile", *arguments, stdin=b"")
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert ended.out == b""


def test_interrupted(poolwise: Any) -> None:
    """Ctrl-C finishes what was taken, says what is known by then, and ends with 130."""
    feeder = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    assert feeder.stdout is not None
    try:
        process = poolwise.start("profile", "functions:note_and_sleep", "-", "--seconds", "60", stdin=feeder.stdout)
        feeder.stdout.close()
        process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        ended = poolwise.end(process)
    finally:
        feeder.kill()
        feeder.wait()
    assert ended.code == 130
    assert b"ran in" in ended.out
    assert "Traceback" not in ended.err
