"""Faults that come from outside: somebody kills workers, or everything that the library started."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import signal
from pathlib import Path

import psutil
import pytest

import poolwise
from poolwise import Limits
from zoo import items
from zoo.marks import lines, wait_gone, wait_until

shapes = pytest.mark.parametrize("shape", ["2x1", "2x4"])


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _kill(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_gone(sorted(pids))


@shapes
def test_everything_killed_between_two_runs(shape: str, scale: int) -> None:
    """Whatever a run left waiting for the next one may be killed meanwhile: the next one works."""
    for _ in range(scale):
        assert list(poolwise.map(items.double, range(10), shape=shape)) == list(range(0, 20, 2))
        for child in _children():
            child.kill()
        assert list(poolwise.map(items.double, range(10), shape=shape)) == list(range(0, 20, 2))


@shapes
def test_everything_killed_in_the_middle(shape: str, scale: int, tmp_path: Path) -> None:
    """Every child killed at once, whatever it was: the run ends, with each index at most once and no wrong value."""
    for number in range(scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcomes = poolwise.run(functools.partial(items.note_slowly, folder, 0.01), range(60), shape=shape)
        got = [next(outcomes) for _ in range(5)]
        for child in _children():
            child.kill()
        try:
            got.extend(outcomes)
        except poolwise.BackendError:
            pass
        else:
            assert {o.index for o in got} == set(range(60))
        assert max(collections.Counter(o.index for o in got).values()) == 1
        for outcome in got:
            assert outcome.value == outcome.index if outcome.ok else type(outcome.error) is poolwise.TaskLost
        assert list(poolwise.map(items.double, range(4), shape=shape)) == [0, 2, 4, 6]


@shapes
def test_idle_workers_killed(shape: str, scale: int, tmp_path: Path) -> None:
    """Workers killed while they wait for work cost nothing: no item is lost or blamed."""
    for number in range(scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        fn = functools.partial(items.note_slowly, folder, 0.001)
        with poolwise.run(fn, range(40), shape=shape, limits=Limits(in_flight=8)) as outcomes:
            got = [next(outcomes)]
            wait_until(lambda folder=folder: len(lines(folder / "calls")) >= 8, "what was taken ran")
            got += [next(outcomes) for _ in range(6)]  # so that (almost) nothing runs or is on its way
            pids = {int(line.split()[2]) for line in lines(folder / "calls")}
            _kill(pids)
            got.extend(outcomes)
        assert collections.Counter(o.index for o in got) == collections.Counter(range(40))
        lost = [o for o in got if not o.ok]
        assert len(lost) <= 8, "only what ran at that moment may be lost"
        assert {type(o.error) for o in lost} <= {poolwise.TaskLost}


@shapes
def test_a_busy_worker_killed(shape: str, scale: int, tmp_path: Path) -> None:
    """A worker killed from outside, as the kernel does when memory is short, is replaced; the run goes on."""
    for number in range(scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        fn = functools.partial(items.note_slowly, folder, 0.01)
        outcomes = poolwise.run(fn, itertools.count(), shape=shape)
        got = [next(outcomes) for _ in range(10)]
        before = {int(line.split()[2]) for line in lines(folder / "calls")}
        _kill({min(before)})
        for outcome in outcomes:
            got.append(outcome)
            if len({int(line.split()[2]) for line in lines(folder / "calls")}) >= 3:  # Another took its place.
                outcomes.drain()
        assert collections.Counter(o.index for o in got) == collections.Counter(range(len(got)))
        lost = [o for o in got if not o.ok]
        assert len(lost) <= 1
        assert all(o.error.signal == "SIGKILL" for o in lost)
