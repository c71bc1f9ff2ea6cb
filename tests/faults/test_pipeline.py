"""A pipeline with a journal survives SIGKILL at any moment, in any stage: nothing is lost, nothing made up."""

from __future__ import annotations

import collections
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poolwise._runtime.journal_reader import Reader
from zoo.marks import lines

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SCRIPT = """
import functools, os, sys, time
import poolwise

def work(folder, name, seconds, bad, number):
    descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{number}\\n".encode())
    os.close(descriptor)
    time.sleep(seconds)
    if number % 10 == bad:
        raise ValueError(number)
    return number

folder, first, second = sys.argv[1:]
stages = [
    poolwise.Stage(functools.partial(work, folder, "one", 0.001, 3), shape=first, name="one"),
    poolwise.Stage(functools.partial(work, folder, "two", 0.002, 7), shape=second, name="two"),
]
with poolwise.pipeline(range(600), *stages, journal=os.path.join(folder, "run.db")) as run:
    for outcome in run:
        os.write(1, f"{outcome.key} {outcome.stage} {outcome.value}\\n".encode())
"""

SHAPES = [("1x1", "1x1"), ("1x8", "2x1"), ("2x1", "1x4"), ("auto", "auto")]


def started(folder: Path, shapes: tuple[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(folder), *shapes]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("number", range(80 if os.environ.get("POOLWISE_SOAK") else 8))
def test_killed_at_any_moment(number: int, tmp_path: Path) -> None:
    """After three kills, a run to its end gives each item its one outcome; what was recorded is not executed again."""
    shapes = SHAPES[number % len(SHAPES)]
    draw = random.Random(number)
    known: set[int] = set()
    for _ in range(3):
        before = {name: len(lines(tmp_path / name)) for name in ("one", "two")}
        with started(tmp_path, shapes) as process:
            wanted = before["two"] + draw.randrange(1, 150)
            while len(lines(tmp_path / "two")) < wanted and process.poll() is None:
                time.sleep(0.002)
            process.kill()  # It may have ended.
            process.wait()
        again = {int(line) for name in before for line in lines(tmp_path / name)[before[name] :]}
        assert not again & known
        if (tmp_path / "run.db").exists():
            with Reader(str(tmp_path / "run.db")) as reader:
                known = {each.key for each in reader.outcomes()}  # type: ignore[union-attr]
    with started(tmp_path, shapes) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    ended = dict(line.split(" ", 1) for line in out.decode().splitlines())
    assert len(out.splitlines()) == 600
    assert ended == {
        str(x): "one None" if x % 10 == 3 else "two None" if x % 10 == 7 else f"two {x}" for x in range(600)
    }
    for name in ("one", "two"):
        assert collections.Counter(lines(tmp_path / name)).most_common(1)[0][1] <= 4  # Runs.
