"""Design 4, "drain() ... cancel()", and the ends of an iterator inside one process."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import poolwise
from poolwise import BackendError
from poolwise._core.model import Settled
from poolwise._engine import Engine
from zoo import items
from zoo.marks import lines, wait_gone, wait_until
from zoo.ways import Way, in_children, not_inline


class Source:
    """An endless input that counts."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for x in itertools.count():
            self.taken += 1
            yield x


def test_drain_by_the_consumer(way: Way) -> None:
    """`drain()` takes no more, finishes what was taken, and then iteration stops."""
    source = Source()
    results = way.map(way.fn(functools.partial(items.slowly, 0.002)), source)
    got = [next(results) for _ in range(3)]
    taken = source.taken
    results.drain()
    got.extend(results)
    assert source.taken == taken
    assert got == list(range(taken))


def test_drain_a_run(way: Way) -> None:
    """A drained `run` gives the outcome of everything that was taken."""
    source = Source()
    outcomes = way.run(way.fn(functools.partial(items.slowly, 0.002)), source)
    got = [next(outcomes) for _ in range(3)]
    outcomes.drain()
    got.extend(outcomes)
    assert sorted(o.index for o in got) == list(range(source.taken))


def test_drain_from_another_thread(way: Way) -> None:
    """`drain()` may come from any thread, while the consumer waits."""
    source, ten = Source(), threading.Event()
    results = way.map(way.fn(functools.partial(items.slowly, 0.002)), source)

    def drain() -> None:
        ten.wait(60)
        results.drain()

    thread = threading.Thread(target=drain)
    thread.start()
    got = []
    for value in results:
        got.append(value)
        if len(got) == 10:
            ten.set()
    thread.join()
    assert got == list(range(source.taken))


@not_inline
def test_drain_while_quick_input_is_taken(way: Way) -> None:
    """No more of the input is taken, however much room there is."""
    taken = itertools.count()

    def source() -> Iterator[int]:
        for x in itertools.count():
            next(taken)
            if x == 5:
                results.drain()
            yield x

    results = way.map(way.fn(items.double), source())
    got = sorted(results)
    assert got == [2 * x for x in range(len(got))]
    assert len(got) == next(taken)
    assert len(got) < 100  # As many as are taken between two looks, and no more.


def test_drain_before_the_start(way: Way) -> None:
    """Drained before it began, a map takes nothing and gives nothing."""
    source = Source()
    results = way.map(way.fn(items.double), source)
    results.drain()
    assert (list(results), source.taken) == ([], 0)


@not_inline
def test_drain_while_an_item_runs(way: Way, tmp_path: Path) -> None:
    """What runs when `drain()` comes is finished, not killed."""
    fn = way.steps(items.wait_for, tmp_path, 0)
    with way.map(fn, range(4)) as results:
        wait_until(lambda: lines(tmp_path / "calls") != [], "an item runs")
        results.drain()
        (tmp_path / "go").touch()
        got = list(results)
    assert got == list(range(len(got)))
    assert len(got) >= 1


def test_cancel_by_the_consumer(way: Way) -> None:
    """After `cancel()` iteration stops."""
    source = Source()
    results = way.map(way.fn(functools.partial(items.slowly, 0.002)), source)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    taken = source.taken
    results.cancel()
    assert list(results) == []
    assert source.taken == taken


@not_inline
def test_cancel_from_another_thread_ends_a_hanging_run(way: Way, tmp_path: Path) -> None:
    """`cancel()` from another thread ends the wait for items that would never end."""
    fn = way.steps(items.wait_for, tmp_path, 0)
    results = way.map(fn, range(20))

    def cancel() -> None:
        wait_until(lambda: lines(tmp_path / "calls") != [], "an item runs")
        results.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        assert list(results) == []
    finally:
        (tmp_path / "go").touch()
        thread.join()


@not_inline
def test_cancel_while_the_input_blocks(way: Way) -> None:
    """Lanes and workers that wait for the first item end at once, and not when it comes."""
    assert list(way.map(way.fn(items.double), range(2))) == [0, 2]  # What stays for the process is there now.
    threads, children = set(threading.enumerate()), set(psutil.Process().children(recursive=True))
    blocked, go_on = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        blocked.set()
        assert go_on.wait(60)
        yield 0

    results = way.map(way.fn(items.double), source())

    def consume() -> None:
        with results:
            assert list(results) == []

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert blocked.wait(60)
    results.cancel()
    wait_until(lambda: set(threading.enumerate()) <= threads | {consumer}, "no thread of the run is left")
    wait_until(lambda: set(psutil.Process().children(recursive=True)) <= children, "no worker is left")
    go_on.set()
    consumer.join(60)
    assert not consumer.is_alive()


@not_inline
def test_a_run_that_failed_is_not_gone_on_with(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the consumer reads what settled before, nothing more is executed."""
    failed_after: list[int] = []
    step = Engine.step

    def failing(engine: Engine, timeout: float) -> list[Settled]:
        if engine.settled >= 20:
            failed_after.append(engine.settled)
            raise BackendError("broken")
        return step(engine, timeout)

    monkeypatch.setattr(Engine, "step", failing)
    got: list[int] = []
    with pytest.raises(BackendError, match="broken"):
        for outcome in way.run(way.fn(items.double), itertools.count()):
            got.append(outcome.index)
            wait_until(lambda: failed_after or len(got) < 20, "the engine has failed")
    assert len(failed_after) == 1
    assert len(got) >= 20


def test_cancel_twice_and_after_the_end(way: Way) -> None:
    """`cancel()` and `drain()` may come late, and twice."""
    results = way.map(way.fn(items.double), range(5))
    assert list(results) == [0, 2, 4, 6, 8]
    for _ in range(2):
        results.drain()
        results.cancel()
    assert list(results) == []


@in_children
def test_leaving_with_ends_the_workers(way: Way, tmp_path: Path) -> None:
    """Leaving `with` ends workers whose items would never end."""

    def hang(x: int) -> int:
        items.note_slowly(tmp_path, 60 if x else 0, x)
        return x

    with way.map(way.fn(hang), range(30)) as results:
        assert next(results) == 0
    pids = [int(line.split()[2]) for line in lines(tmp_path / "calls")]
    assert os.getpid() not in pids
    wait_gone(pids)


@in_children
def test_dropping_the_iterator_ends_the_workers(way: Way) -> None:
    """So does dropping the last reference half-way."""
    results = way.map(way.fn(functools.partial(items.pid_after, 0.002)), itertools.count())
    pids = {next(results) for _ in range(10)}
    del results
    wait_gone(list(pids))


@in_children
def test_an_exception_in_the_consumer_ends_the_workers(way: Way) -> None:
    """An exception in the body of `with` ends workers and passes through."""
    pids = set()
    results = way.map(way.fn(functools.partial(items.pid_after, 0.002)), itertools.count())
    with pytest.raises(ZeroDivisionError), results:
        for pid in results:
            pids.add(pid)
            if len(pids) == way.workers:
                raise ZeroDivisionError
    wait_gone(list(pids))


def test_no_threads_stay(way: Way) -> None:
    """After the last result no thread of the run stays."""
    before = set(threading.enumerate())
    assert len(list(way.map(way.fn(items.double), range(50)))) == 50
    with way.map(way.fn(items.double), itertools.count()) as results:
        next(results)
    del results
    wait_until(lambda: set(threading.enumerate()) <= before, "no thread of the run is left")


def test_no_descriptors_stay(way: Way) -> None:
    """Repeated runs leave no open files, pipes or sockets."""
    process = psutil.Process()

    def once() -> int:
        assert list(way.map(way.fn(items.double), range(10))) == list(range(0, 20, 2))
        return process.num_fds()

    once()
    first = once()
    for _ in range(3):
        once()
    wait_until(lambda: process.num_fds() <= first, f"no more than {first} descriptors are open")


@in_children
def test_consumer_in_another_thread(way: Way) -> None:
    """A map made in one thread may be consumed in another, which may end before the map does."""
    results = way.map(way.fn(items.double), range(200))
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(itertools.islice(results, 50)))
    thread.start()
    thread.join()
    got.extend(results)
    assert got == list(range(0, 400, 2))


def test_slow_consumer(way: Way) -> None:
    """A consumer slower than the workers gets everything."""
    got = []
    for value in way.map(way.fn(items.double), range(60)):
        time.sleep(0.002)
        got.append(value)
    assert got == list(range(0, 120, 2))


def test_runs_one_after_another(way: Way) -> None:
    """Many short runs in one process work like the first."""
    for n in range(8):
        assert list(way.map(way.fn(items.double), range(n))) == [2 * x for x in range(n)]


def test_shape_of_the_plan(way: Way) -> None:
    """`.plan` is there before iteration and names the shape."""
    results = way.map(way.fn(items.double), range(3))
    assert results.plan.shape == poolwise.Shape.parse(way.shape)
    results.cancel()


@pytest.mark.parametrize("ordered", [True, False])
def test_the_last_results_are_waited_for(ordered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """That all is settled does not mean that the consumer has it: the supervisor may still hold the last part."""
    from poolwise._helm import FixedHelm

    steer = FixedHelm.steer

    def slow(self: FixedHelm, *arguments: Any, **options: Any) -> Any:
        time.sleep(0.05)  # Between "settled" and "handed over".
        return steer(self, *arguments, **options)

    monkeypatch.setattr(FixedHelm, "steer", slow)
    for _ in range(5):
        assert sorted(poolwise.map(abs, range(20), shape="1x2", ordered=ordered)) == list(range(20))
