"""What crosses between processes: things that cannot be pickled, large captures, values of odd classes, log records."""

from __future__ import annotations

import collections
import functools
import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolwise
from zoo import items
from zoo.marks import lines
from zoo.ways import Way, in_children, plain, plain_in_children, with_several_lanes


def _with_lock() -> Any:
    guard = threading.Lock()

    def work(x: int) -> tuple[int, int]:
        with guard:
            return x, os.getpid()

    return work


@plain_in_children
def test_captured_lock_is_named(way: Way) -> None:
    """A captured lock is NotPicklableError that names the variable, before any item is taken."""
    taken: list[int] = []
    with pytest.raises(poolwise.NotPicklableError, match="guard"):
        list(way.map(_with_lock(), (taken.append(x) for x in range(3))))
    assert taken == []


@plain_in_children
def test_captured_open_file_is_named(way: Way, tmp_path: Path) -> None:
    """So is a captured open file."""
    with open(tmp_path / "log.txt", "w") as logbook:

        def work(x: int) -> int:
            return logbook.write(str(x))

        with pytest.raises(poolwise.NotPicklableError, match="logbook"):
            list(way.map(work, range(3)))


@plain_in_children
def test_lock_in_a_partial_or_an_object(way: Way) -> None:
    """A lock as an argument of a partial, or as an attribute of a method's object, is found as well."""

    class Job:
        def __init__(self) -> None:
            self.turnstile = threading.Lock()

        def method(self, x: int) -> int:
            return x

    with pytest.raises(poolwise.NotPicklableError):
        list(way.map(functools.partial(items.add, threading.Lock()), range(3)))
    with pytest.raises(poolwise.NotPicklableError, match="turnstile"):
        list(way.map(Job().method, range(3)))


@pytest.mark.parametrize("hint", [None, "cpu"])
def test_auto_stays_on_threads_for_a_captured_lock(hint: Any) -> None:
    """`auto` runs a function that cannot travel on threads of the calling process."""
    assert list(poolwise.map(_with_lock(), range(20), hint=hint)) == [(x, os.getpid()) for x in range(20)]


def test_isolate_that_cannot_leave_says_so() -> None:
    """Where `isolate` demands a child, a function that cannot travel is an error, not a silent thread."""
    with pytest.raises(poolwise.NotPicklableError, match="guard"):
        list(poolwise.map(_with_lock(), range(3), isolate=True))


def test_timeout_of_a_function_that_cannot_leave() -> None:
    """With a timeout `auto` stays on threads too, where an item can at least be reported."""
    assert list(poolwise.map(_with_lock(), range(3), timeout=20.0)) == [(x, os.getpid()) for x in range(3)]


@in_children
def test_argument_that_cannot_travel(way: Way) -> None:
    """An item that cannot be pickled fails alone."""
    values: list[Any] = list(range(12))
    values[5] = threading.Lock()
    outcomes = list(way.run(way.fn(items.same), values, ordered=True))
    assert [o.value for o in outcomes] == [0, 1, 2, 3, 4, None, 6, 7, 8, 9, 10, 11]
    assert type(outcomes[5].error) is poolwise.TaskFailed
    assert "lock" in str(outcomes[5].error)


@plain_in_children
def test_file_open_for_reading(way: Way, tmp_path: Path) -> None:
    """A text file open for reading is refused as well, captured by name, and as an item or value alone."""
    path = tmp_path / "log.txt"
    path.write_text("line")
    with open(path) as logbook:
        with pytest.raises(poolwise.NotPicklableError, match="logbook"):
            list(way.map(lambda x: logbook.read(x), range(3)))
        outcomes = list(way.run(items.same, [0, logbook, 2], ordered=True))
    assert [o.ok for o in outcomes] == [True, False, True]
    assert "open file" in str(outcomes[1].error)
    outcomes = list(way.run(lambda x: path.open() if x == 1 else x, range(3), ordered=True))
    assert [o.ok for o in outcomes] == [True, False, True]
    assert "open file" in str(outcomes[1].error)


class _Hostile:
    """Raises when it is pickled, or when it is unpickled."""

    def __init__(self, error: type[BaseException], *, loading: bool) -> None:
        self.error, self.loading = error, loading

    def __reduce__(self) -> Any:
        if self.loading:
            return _raise, (self.error,)
        raise self.error("hostile")


def _raise(error: type[BaseException]) -> Any:
    raise error("hostile")


class _Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@plain_in_children
@pytest.mark.parametrize("loading", [False, True], ids=["pickled", "unpickled"])
@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt, _Speechless])
def test_value_that_raises_when_it_travels(way: Way, error: type[BaseException], loading: bool) -> None:
    """An argument or a result whose pickling or unpickling raises anything at all fails alone."""
    values: list[Any] = list(range(6))
    values[3] = _Hostile(error, loading=loading)
    what = "be unpickled" if loading else "be pickled"
    for fn, sent, where in (
        (items.same, values, "argument"),
        (lambda x: _Hostile(error, loading=loading) if x == 3 else x, range(6), "result"),
    ):
        outcomes = list(way.run(fn, sent, ordered=True))
        assert [o.ok for o in outcomes] == [x != 3 for x in range(6)]
        assert type(outcomes[3].error) is poolwise.TaskFailed
        assert f"its {where} cannot {what}: {error.__name__}" in str(outcomes[3].error)


@plain_in_children
def test_instance_of_a_class_that_cannot_travel(way: Way) -> None:
    """An instance of a local class that holds a lock fails alone, as argument and as result."""

    class Local:
        lock = threading.Lock()

    outcomes = list(way.run(items.same, [0, Local(), 2], ordered=True))
    assert [o.ok for o in outcomes] == [True, False, True]
    assert "lock" in str(outcomes[1].error)
    outcomes = list(way.run(items.instance_of_a_class_with_a_lock, range(3), ordered=True))
    assert [o.ok for o in outcomes] == [True, False, True]
    assert "lock" in str(outcomes[1].error)


@in_children
def test_captured_object_travels_once_a_worker(way: Way, tmp_path: Path) -> None:
    """What a function captured is unpickled once in each worker, however many items there are."""
    captured = items.Counted(tmp_path)

    def work(x: int) -> int:
        return x + len(captured.ballast)

    assert list(way.map(way.fn(work), range(300))) == [x + 1000 for x in range(300)]
    counts = collections.Counter(map(int, lines(tmp_path / "unpickled")))
    assert set(counts.values()) == {1}
    assert len(counts) <= way.workers


@in_children
def test_captured_hundred_megabytes(way: Way) -> None:
    """A captured array of 100 MB and 400 items: sent with every task these would be 40 GB."""
    table = np.arange(100_000_000 // 8)

    def work(x: int) -> int:
        return int(table[x])

    assert list(way.map(way.fn(work), range(400))) == list(range(400))


@in_children
def test_values_of_a_class_inside_a_function(way: Way) -> None:
    """Instances of a class made inside a function come back as instances of that same class."""

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    def work(value: Local) -> Local:
        assert type(value) is Local
        return Local(value.x + 1)

    results = list(way.map(way.fn(work), [Local(1), Local(2)]))
    assert [type(value) is Local for value in results] == [True, True]
    assert [value.x for value in results] == [2, 3]


@in_children
def test_lambdas_travel_as_items_and_results(way: Way) -> None:
    """Functions are values: lambdas go in and come out."""

    def work(f: Any) -> Any:
        return lambda x: f(x) + 1

    (result,) = way.map(way.fn(work), [lambda x: 10 * x])
    assert result(2) == 21


@in_children
def test_large_bytes_both_ways(way: Way) -> None:
    """Megabytes queued in both directions at once do not block one another."""
    payloads = [bytes([x]) * (8 << 20) for x in range(8)]
    for x, value in enumerate(way.map(way.fn(items.same), payloads)):
        assert value == payloads[x]


@pytest.mark.parametrize(
    "value", [items.Colour.RED, {"a": [1, {2}]}, "é\U0001f600", b"", 10**400, float("inf")], ids=str
)
def test_values_come_back_equal(way: Way, value: Any) -> None:
    """Ordinary values of all kinds survive."""
    assert list(way.map(way.fn(items.same), [value] * 3)) == [value] * 3


def test_identity_inside_this_process(way: Way) -> None:
    """In the calling process items and results are the very objects; enum members are everywhere."""
    item = [1]
    (result,) = way.map(way.fn(items.same), [item])
    assert (result is item) is not way.children
    (member,) = way.map(way.fn(items.same), [items.Colour.BLUE])
    assert member is items.Colour.BLUE


def test_log_records_reach_the_parent(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """What items log arrives at the parent's handlers, from the process that logged it, by the end of the run."""
    with caplog.at_level(logging.WARNING):
        assert list(way.map(way.fn(functools.partial(items.log_it, "zoo.log")), range(9))) == list(range(9))
    records = [record for record in caplog.records if record.name == "zoo.log"]
    assert sorted(record.getMessage()[:6] for record in records) == [f"item {x}" for x in range(9)]
    assert all("lock" in record.getMessage() for record in records)
    assert {record.levelno for record in records} == {logging.WARNING}
    assert {record.process == os.getpid() for record in records} == {not way.children}


@plain
@pytest.mark.parametrize("inner", ["auto", "serial", "1x2", "2x1", "2x2"])
def test_nested_map_runs_in_its_worker(way: Way, inner: str) -> None:
    """A map inside an item runs in that item's worker: no process is started by a child."""
    if inner in ("2x1", "2x2") and not way.children:
        pytest.skip("in the calling process an explicit inner shape is the caller's own word")
    for pid, pids in way.map(functools.partial(items.pids_of_a_nested_map, inner), range(4)):
        assert pids == [pid] * 6


@plain_in_children
def test_deeply_nested_map(way: Way) -> None:
    """Three levels of maps, each asking for processes, stay in the worker."""

    def leaf(x: int) -> int:
        return os.getpid()

    def middle(x: int) -> list[int]:
        return list(poolwise.map(leaf, range(2), shape="2x1"))

    def work(x: int) -> tuple[int, list[list[int]]]:
        return os.getpid(), list(poolwise.map(middle, range(2), shape="2x2"))

    for pid, found in way.map(work, range(3)):
        assert {p for part in found for p in part} == {pid}


@with_several_lanes
def test_blas_is_limited_to_its_share(way: Way) -> None:
    """All lanes together use no more BLAS threads than there are cores, even where the item itself imports numpy."""
    cores = len(os.sched_getaffinity(0))
    found = list(way.map(way.fn(items.blas_threads), range(12)))
    assert all(found)
    lanes = 1 if way.coroutine else way.total // way.workers  # coroutines share one thread
    assert {threads <= max(1, cores // (way.workers * lanes)) for pools in found for threads in pools} == {True}


def test_blas_is_restored(way: Way) -> None:
    """After the run the calling process has its own limits back."""
    before = items.blas_threads(0)
    list(way.map(way.fn(items.double), range(10)))
    assert items.blas_threads(0) == before
