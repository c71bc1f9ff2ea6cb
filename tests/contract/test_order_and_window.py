"""Design 4, "Window", and order: lazy, bounded in items and in bytes, input advanced only by the consumer."""

from __future__ import annotations

import functools
import itertools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from zoo import items
from zoo.marks import lines, wait_until
from zoo.ways import Way, not_inline, with_several_lanes


class Intake:
    """An input that counts what was taken and not yet yielded, and notes the threads that take."""

    def __init__(self, values: Any) -> None:
        self.values = iter(values)
        self.taken = self.yielded = self.peak = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        value = next(self.values)
        self.taken += 1
        self.peak = max(self.peak, self.taken - self.yielded)
        self.threads.add(threading.get_ident())
        return value

    def count(self, results: Any) -> Iterator[Any]:
        """Pass results on, counting them."""
        for result in results:
            self.yielded += 1
            yield result


def test_ordered_run(way: Way) -> None:
    """`run(ordered=True)` gives outcomes in input order."""
    outcomes = list(way.run(way.fn(items.double), range(40), ordered=True))
    assert [(o.index, o.value) for o in outcomes] == [(x, 2 * x) for x in range(40)]


def test_unordered_map(way: Way) -> None:
    """`map(ordered=False)` gives every value once."""
    assert sorted(way.map(way.fn(items.double), range(40), ordered=False)) == list(range(0, 80, 2))


@with_several_lanes
def test_lanes_run_at_once(way: Way, tmp_path: Path) -> None:
    """As many items run at once as there are lanes."""
    fn = way.steps(items.meet, tmp_path, way.total)
    assert list(way.map(fn, range(way.total))) == list(range(way.total))
    pids = {line for x in range(way.total) for line in lines(tmp_path / f"met-{x}")}
    assert len(pids) == way.workers


@with_several_lanes
@pytest.mark.parametrize("call", ["map", "run"])
def test_unordered_gives_what_is_ready(way: Way, tmp_path: Path, call: str) -> None:
    """Unordered, a straggler holds nobody up: the others arrive while it still runs."""
    fn = way.steps(items.wait_for_one, tmp_path, "go", 0)
    got = []
    for result in getattr(way, call)(fn, range(20), ordered=False):
        got.append(result if call == "map" else result.value)
        if len(got) == 10:
            assert 0 not in got
            (tmp_path / "go").touch()
    assert sorted(got) == list(range(20))


@with_several_lanes
def test_straggler_does_not_idle_the_others(way: Way, tmp_path: Path) -> None:
    """Ordered, the other lanes go on while the consumer waits for a straggler, far beyond 4 items a lane."""
    fn = way.steps(items.wait_for_one, tmp_path, "go", 0)
    results = way.map(fn, range(200))

    def release() -> None:
        wait_until(lambda: len(lines(tmp_path / "calls")) >= 100, "100 items ran beside the straggler")
        (tmp_path / "go").touch()

    thread = threading.Thread(target=release)
    thread.start()
    try:
        assert list(results) == list(range(200))
    finally:
        thread.join()
    assert len(lines(tmp_path / "calls")) == 200


def test_infinite_input(way: Way) -> None:
    """An infinite generator works, and leaving early ends it."""
    with way.map(way.fn(items.double), itertools.count()) as results:
        assert [next(results) for _ in range(30)] == list(range(0, 60, 2))


def test_consumption_before_the_first_result_is_bounded(way: Way) -> None:
    """When the first of endless 2 ms items arrives, only a window full of them has been taken."""
    intake = Intake(itertools.count())
    with way.map(way.fn(functools.partial(items.slowly, 0.002)), intake) as results:
        assert next(results) == 0
        assert intake.taken <= 500


def test_paused_consumer_pauses_the_intake(way: Way, tmp_path: Path) -> None:
    """While nobody asks for results nothing is taken, and only what was taken runs."""
    intake = Intake(itertools.count())
    fn = way.fn(functools.partial(items.note_slowly, tmp_path, 0.002))
    with way.map(fn, intake) as results:
        for _ in range(3):
            next(results)
        taken = intake.taken
        if not way.inline:
            wait_until(lambda: len(lines(tmp_path / "calls")) == taken, "what was taken ran, and no more")
        assert intake.taken == taken <= 500
        assert next(results) == 3


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("bound", [1, 3, 10])
def test_in_flight_is_a_hard_bound(way: Way, bound: int, ordered: bool) -> None:
    """Taken and not yet yielded never exceeds `limits.in_flight`, the reorder buffer included."""
    intake = Intake(range(150))
    results = way.map(way.fn(items.double), intake, ordered=ordered, limits=poolwise.Limits(in_flight=bound))
    got = list(intake.count(results))
    assert sorted(got) == list(range(0, 300, 2))
    assert 1 <= intake.peak <= bound


@with_several_lanes
def test_in_flight_holds_behind_a_straggler(way: Way, tmp_path: Path) -> None:
    """Even while the consumer waits for a straggler, `in_flight` holds; the lanes use all of it."""
    fn = way.steps(items.wait_for_one, tmp_path, "go", 0)
    intake = Intake(range(40))
    results = way.map(fn, intake, limits=poolwise.Limits(in_flight=8))

    def release() -> None:
        wait_until(lambda: len(lines(tmp_path / "calls")) == 8, "eight items ran or run")
        (tmp_path / "go").touch()

    thread = threading.Thread(target=release)
    thread.start()
    try:
        assert list(intake.count(results)) == list(range(40))
    finally:
        thread.join()
    assert intake.peak == 8


def test_in_flight_with_a_paused_consumer(way: Way) -> None:
    """A consumer that pauses between results sees the same bound, exactly."""
    intake = Intake(range(60))
    with way.map(way.fn(items.double), intake, limits=poolwise.Limits(in_flight=5)) as results:
        for x in range(60):
            assert next(results) == 2 * x
            intake.yielded += 1
            assert intake.taken - intake.yielded <= 5
    assert intake.peak <= 5


@pytest.mark.parametrize("size", [1, 4])
def test_in_flight_below_and_above_the_lanes(way: Way, size: int) -> None:
    """A bound smaller than the number of lanes only makes it slower."""
    limits = poolwise.Limits(in_flight=size)
    assert list(way.map(way.fn(items.double), range(20), limits=limits)) == list(range(0, 40, 2))


@with_several_lanes
def test_buffered_bytes_bound_results(way: Way) -> None:
    """Behind a straggler, results of a megabyte pile up only as far as `limits.buffered_bytes` lets them."""
    intake = Intake(range(300))
    fn = way.fn(functools.partial(items.megabyte, 0.004, 0.6))
    results = way.map(fn, intake, limits=poolwise.Limits(buffered_bytes=8 << 20))
    assert sum(len(value) for value in intake.count(results)) == 300 << 20
    assert intake.peak <= 100


def test_buffered_bytes_bound_items(way: Way) -> None:
    """Items of a megabyte are taken only as far as `limits.buffered_bytes` lets them."""
    intake = Intake(bytes(1 << 20) for _ in range(100))
    results = way.map(way.fn(len), intake, limits=poolwise.Limits(buffered_bytes=8 << 20))
    assert list(intake.count(results)) == [1 << 20] * 100
    assert intake.peak <= 8 + 4 * way.total


def test_one_item_larger_than_the_byte_bound(way: Way) -> None:
    """An item larger than the whole bound still runs, alone."""
    limits = poolwise.Limits(buffered_bytes=1000)
    assert list(way.map(way.fn(len), [bytes(5000)] * 5, limits=limits)) == [5000] * 5


def test_input_is_advanced_in_the_consuming_thread(way: Way) -> None:
    """Only the thread that asks for results touches the input."""
    intake = Intake(range(300))
    assert len(list(way.map(way.fn(items.double), intake))) == 300
    assert intake.threads == {threading.get_ident()}


def test_input_may_be_a_database_cursor(way: Way) -> None:
    """A sqlite cursor, which refuses other threads, works as the input."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", [(x,) for x in range(50)])
        rows = (x for (x,) in connection.execute("select x from t order by x"))
        assert list(way.map(way.fn(items.double), rows)) == list(range(0, 100, 2))
    finally:
        connection.close()


@not_inline
def test_execution_goes_on_while_the_input_blocks(way: Way, tmp_path: Path) -> None:
    """While the input blocks, what was taken runs."""
    fn = way.fn(functools.partial(items.note, tmp_path))

    def blocking() -> Iterator[int]:
        yield 0
        wait_until(lambda: lines(tmp_path / "calls") == ["0"], "the first item ran while the input blocks")
        yield 1

    assert list(way.map(fn, blocking())) == [0, 1]


@not_inline
def test_execution_goes_on_while_the_input_blocks_between_pages(way: Way, tmp_path: Path) -> None:
    """Most of what came quickly before the input blocks runs meanwhile."""
    fn = way.fn(functools.partial(items.note, tmp_path))

    def pages() -> Iterator[int]:
        yield from range(6)
        wait_until(lambda: {"0", "1", "2"} <= set(lines(tmp_path / "calls")), "half of the page ran")
        yield from range(6, 12)

    assert sorted(way.map(fn, pages())) == list(range(12))


@pytest.mark.parametrize("call", ["map", "run"])
def test_exception_of_the_input(way: Way, call: str) -> None:
    """An exception from the input comes after the results of everything taken before it, as it was raised."""
    error = LookupError("the cursor was closed")

    def broken() -> Iterator[int]:
        yield from range(7)
        raise error

    got: list[Any] = []
    results = getattr(way, call)(way.fn(items.double), broken())
    with pytest.raises(LookupError) as caught:
        got.extend(results)
    assert caught.value is error
    assert sorted(x if call == "map" else x.value for x in got) == list(range(0, 14, 2))
    with pytest.raises(StopIteration):
        next(results)


def test_input_is_let_go(way: Way) -> None:
    """A generator that was not used up is closed once the results are dropped."""
    closed = []

    def endless() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    results = way.map(way.fn(items.double), endless())
    assert next(results) == 0
    del results
    wait_until(lambda: closed == [True], "the generator was closed")


@pytest.mark.parametrize("shape", ["serial", "auto"])
def test_slow_items_are_not_packed_blindly(shape: str) -> None:
    """Where nothing is known a few items are packed at once; of slow ones the first is handed over before the next."""
    slow = threading.Event()
    started: list[int] = []

    def item(number: int) -> int:
        started.append(number)
        slow.wait(0.01)  # Longer than the first batch may take.
        return number

    results = iter(poolwise.map(item, range(8), shape=shape))
    assert next(results) == 0
    assert started == [0]
    assert list(results) == list(range(1, 8))
    assert sorted(started) == list(range(8))


def test_quick_items_after_one_that_fails_are_not_started() -> None:
    """Also where they were packed with it before anything was known."""
    started: list[int] = []

    def item(number: int) -> int:
        started.append(number)
        return 1 // (2 - number)

    with pytest.raises(ZeroDivisionError):
        list(poolwise.map(item, range(8)))
    assert started == [0, 1, 2]


@pytest.mark.parametrize("total", [None, 2])
@pytest.mark.parametrize("shape", ["serial", "auto"])
def test_the_first_item_of_a_generator_does_not_wait_for_the_second(shape: str, total: int | None) -> None:
    """It may be the only one for a long time, however many there will be; a list has them all."""
    executed: list[int] = []

    def source() -> Iterator[int]:
        yield 0
        assert executed == [0]
        yield 1

    results = poolwise.map(executed.append, source(), shape=shape, total=total)
    assert next(results) is None
    assert executed == [0]
    assert list(results) == [None]
