"""The fault matrix: one item in thirty misbehaves. It alone fails, everyone else arrives once, nothing stays."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolwise
from zoo.faults import COUNT, GUILTY, ROWS, Row, right, work
from zoo.marks import lines, wait_gone

shapes = pytest.mark.parametrize("shape", ["2x1", "2x4"])


def _check_guilty(row: Row, outcome: Any) -> None:
    if row.error is None:
        assert outcome.error is None
        assert outcome.value == right(GUILTY)
        return
    error = outcome.error
    assert type(error).__name__ == row.error, repr(error)
    assert row.says in f"{error}"
    assert outcome.attempts == 1
    if row.cause is not None:
        assert type(error.__cause__) is row.cause
    if row.error == "TaskLost":
        assert (error.exitcode, error.signal) == (row.exitcode, row.signal)


def _check_all(row: Row, outcomes: list[Any]) -> None:
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(COUNT))
    wrong = [o for o in outcomes if o.index != GUILTY and (not o.ok or o.value != right(o.index))]
    assert wrong == []
    _check_guilty(row, next(o for o in outcomes if o.index == GUILTY))


def _check_processes(folder: Path) -> None:
    wait_gone(sorted({int(pid) for pid in lines(folder / "pids")}))


def _folders(folder: Path, times: int) -> Any:
    for number in range(times):
        inner = folder / str(number)
        inner.mkdir()
        yield inner


@shapes
@pytest.mark.parametrize("name", ROWS)
def test_only_the_guilty_item_fails(name: str, shape: str, scale: int, tmp_path: Path) -> None:
    """`run`: the guilty item's outcome names what happened, all others are right and arrive once, nothing stays."""
    row = ROWS[name]
    for folder in _folders(tmp_path, scale):
        outcomes = list(poolwise.run(row.function(folder), range(COUNT), shape=shape, timeout=row.timeout))
        _check_all(row, outcomes)
        _check_processes(folder)


@shapes
@pytest.mark.parametrize("name", ["raises", "result-unpicklable", "exit-0", "sigkill", "segfault", "forks-returner"])
def test_with_functions_by_value(name: str, shape: str, scale: int, tmp_path: Path) -> None:
    """The same with a lambda, which travels by value."""
    row = ROWS[name]
    for folder in _folders(tmp_path, scale):
        fault: Callable[[Path, int], Any] = row.fault
        fn: Callable[[int], Any] = lambda x, fault=fault, folder=folder: work(fault, folder, x)  # noqa: E731
        _check_all(row, list(poolwise.run(fn, range(COUNT), shape=shape, timeout=row.timeout)))
        _check_processes(folder)


@shapes
def test_argument_that_cannot_be_pickled(shape: str, scale: int, tmp_path: Path) -> None:
    """An item that is a lock fails alone, and says so."""
    items: list[Any] = list(range(COUNT))
    items[GUILTY] = threading.Lock()
    row = Row(right, "TaskFailed", "lock")
    for folder in _folders(tmp_path, scale):
        outcomes = list(poolwise.run(Row(right).function(folder), items, shape=shape))
        _check_all(row, outcomes)
        _check_processes(folder)


@shapes
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.error is not None])
def test_map_raises_in_its_place(name: str, shape: str, tmp_path: Path) -> None:
    """`map`: every earlier value arrives, then the exception; nothing stays."""
    row = ROWS[name]
    got: list[Any] = []
    plain_cause = row.cause is not None and issubclass(row.cause, Exception)
    expected = row.cause if plain_cause else getattr(poolwise, str(row.error))
    with pytest.raises(expected) as caught:
        got.extend(poolwise.map(row.function(tmp_path), range(COUNT), shape=shape, timeout=row.timeout))
    assert type(caught.value) is expected
    assert got == [right(x) for x in range(GUILTY)]
    _check_processes(tmp_path)


@shapes
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.kills])
def test_on_lost_fail_repeats_nothing(name: str, shape: str, tmp_path: Path) -> None:
    """`on_lost="fail"`: no item is executed twice; who is lost was being unpacked, running, or unsent at the death."""
    row = ROWS[name]
    outcomes = list(
        poolwise.run(row.function(tmp_path), range(COUNT), shape=shape, timeout=row.timeout, on_lost="fail")
    )
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(COUNT))
    for outcome in outcomes:
        runs = len(lines(tmp_path / f"ran-{outcome.index}"))
        assert runs == 1 or (runs == 0 and not outcome.ok), "only one that was just being unpacked may not have run"
        if outcome.ok:
            assert outcome.value == right(outcome.index)
        elif outcome.index != GUILTY:
            assert type(outcome.error) is poolwise.TaskLost
    _check_processes(tmp_path)


@shapes
@pytest.mark.parametrize("name", ["exit-3", "sigkill", "segfault", "result-ununpicklable", "hangs-in-c"])
def test_all_are_guilty(name: str, shape: str, tmp_path: Path) -> None:
    """Where every item misbehaves, every item has its own outcome that says so."""
    row = ROWS[name]
    fault, folder = row.fault, tmp_path
    count = 4 if row.timeout else 12
    outcomes = list(poolwise.run(lambda x: fault(folder, x), range(count), shape=shape, timeout=row.timeout))
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(count))
    assert {type(o.error).__name__ for o in outcomes} == {row.error}
    assert all(row.says in str(o.error) for o in outcomes)


@shapes
@pytest.mark.parametrize("name", ["raises", "exit-3", "sigkill", "sys-exit"])
def test_retries_of_faults(name: str, shape: str, tmp_path: Path) -> None:
    """Retried where named: three executions of the guilty item, one of every other that no death touched."""
    row = ROWS[name]
    on = (ValueError, SystemExit, poolwise.TaskLost)
    retry = poolwise.Retry(3, on=on, backoff=0.01)
    outcomes = list(poolwise.run(row.function(tmp_path), range(COUNT), shape=shape, retry=retry))
    guilty = next(o for o in outcomes if o.index == GUILTY)
    assert type(guilty.error).__name__ == row.error
    assert guilty.attempts == guilty.error.attempts == 3
    assert {o.attempts for o in outcomes if o.index != GUILTY} == {1}
    assert [o.value for o in sorted(outcomes, key=lambda o: o.index) if o.ok] == [
        right(x) for x in range(COUNT) if x != GUILTY
    ]
    if not row.kills:
        assert len(lines(tmp_path / f"ran-{GUILTY}")) == 3
        assert {len(lines(tmp_path / f"ran-{x}")) for x in range(COUNT) if x != GUILTY} == {1}


@shapes
@pytest.mark.parametrize("name", ["forks-sleeper", "program", "daemon"])
def test_grandchildren_of_a_dead_worker(name: str, shape: str, tmp_path: Path) -> None:
    """What an item left behind ends with its worker, also where another item kills that worker."""
    row = ROWS[name]
    leave, folder = row.fault, tmp_path

    def fn(x: int) -> int:
        import os
        import signal

        if x < 4:
            leave(folder, x)
        if x >= 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    outcomes = list(poolwise.run(fn, range(24), shape=shape, ordered=True))
    assert [o.index for o in outcomes if not o.ok] == [20, 21, 22, 23]
    assert len(lines(tmp_path / "pids")) >= 4
    _check_processes(tmp_path)
