"""Design 4, "Timeout": from the start of execution, per attempt; children, cancelled coroutines, abandoned threads."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
import warnings
from pathlib import Path

import pytest

import poolwise
from poolwise import Retry
from zoo.marks import add_line, alive, lines, wait_gone, wait_until
from zoo.ways import Way, plain_in_children, ways

coroutines = ways(lambda way: way.coroutine and way.shape != "1x1")
threads = ways(lambda way: not way.children and not way.coroutine and way.total > 1)


def test_auto_runs_plain_functions_in_children(tmp_path: Path) -> None:
    """Under `auto` a timeout means children: the hanging item's process is ended, nobody else's result is lost."""

    def hang(x: int) -> tuple[int, int]:
        add_line(tmp_path / str(x), os.getpid())
        while x == 3:
            time.sleep(0.01)
        return x, os.getpid()

    outcomes = list(poolwise.run(hang, range(8), timeout=1, ordered=True))
    assert type(outcomes[3].error) is poolwise.TaskTimeout
    assert [o.value[0] for o in outcomes if o.ok] == [0, 1, 2, 4, 5, 6, 7]
    assert os.getpid() not in {o.value[1] for o in outcomes if o.ok}
    wait_gone([int(pid) for pid in lines(tmp_path / "3")])


def test_auto_runs_coroutines_in_this_process(tmp_path: Path) -> None:
    """Under `auto` a coroutine with a timeout stays in the calling process, and is cancelled."""

    async def hang(x: int) -> int:
        try:
            while x == 3:
                await asyncio.sleep(0.01)
        finally:
            add_line(tmp_path / "ended", x)
        return os.getpid()

    outcomes = list(poolwise.run(hang, range(6), timeout=0.5, ordered=True))
    assert type(outcomes[3].error) is poolwise.TaskTimeout
    assert {o.value for o in outcomes if o.ok} == {os.getpid()}
    assert sorted(lines(tmp_path / "ended")) == ["0", "1", "2", "3", "4", "5"]


@plain_in_children
def test_children(way: Way, tmp_path: Path) -> None:
    """The item is TaskTimeout, its process is ended, and all others arrive once."""

    def hang(x: int) -> int:
        add_line(tmp_path / str(x), os.getpid())
        while x == 3:
            time.sleep(0.01)
        return x

    outcomes = list(way.run(hang, range(12), timeout=0.5))
    assert sorted(o.index for o in outcomes) == list(range(12))
    assert [o.index for o in outcomes if not o.ok] == [3]
    (error,) = [o.error for o in outcomes if not o.ok]
    assert type(error) is poolwise.TaskTimeout
    assert (error.key, error.attempts) == (3, 1)
    assert "0.5" in str(error)
    assert len(lines(tmp_path / "3")) == 1
    wait_gone([int(pid) for pid in lines(tmp_path / "3")])


@coroutines
def test_coroutines_are_cancelled(way: Way, tmp_path: Path) -> None:
    """A coroutine that runs out of time is cancelled, so that it can clean up; its worker lives on."""

    async def hang(x: int) -> int:
        try:
            while x == 3:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            add_line(tmp_path / "cancelled", x)
            raise
        add_line(tmp_path / "pids", os.getpid())
        return x

    outcomes = list(way.run(hang, range(12), timeout=0.5, ordered=True))
    assert [o.index for o in outcomes if not o.ok] == [3]
    assert type(outcomes[3].error) is poolwise.TaskTimeout
    assert lines(tmp_path / "cancelled") == ["3"]
    assert len(set(lines(tmp_path / "pids"))) <= way.workers


@coroutines
def test_map_raises_task_timeout(way: Way) -> None:
    """`map` raises TaskTimeout in the item's place."""

    async def hang(x: int) -> int:
        await asyncio.sleep(60 if x == 2 else 0)
        return x

    got: list[int] = []
    with pytest.raises(poolwise.TaskTimeout):
        got.extend(way.map(hang, range(6), timeout=0.4))
    assert got == [0, 1]


@threads
def test_threads_are_abandoned_with_one_warning(way: Way) -> None:
    """On explicit threads the item is reported, its thread abandoned and replaced; one warning says so."""
    release = threading.Event()

    def hang(x: int) -> int:
        if x in (2, 3, 9):
            release.wait(60)
        return x

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcomes = list(way.run(hang, range(40), timeout=0.4))
    finally:
        release.set()
    assert sorted(o.index for o in outcomes) == list(range(40))
    assert sorted(o.index for o in outcomes if not o.ok) == [2, 3, 9]
    assert {type(o.error) for o in outcomes if not o.ok} == {poolwise.TaskTimeout}
    assert sorted(o.value for o in outcomes if o.ok) == [x for x in range(40) if x not in (2, 3, 9)]
    assert len(caught) == 1
    assert "thread" in str(caught[0].message)


@threads
def test_an_abandoned_thread_takes_no_more_items(way: Way) -> None:
    """What an abandoned thread returns in the end is nobody's result, and it runs nothing more."""
    release, back, finished = threading.Event(), threading.Event(), threading.Event()
    seen: list[tuple[int, int]] = []

    def hang(x: int) -> int:
        seen.append((threading.get_ident(), x))
        if x == 0:
            release.wait(60)
            back.set()
        time.sleep(0.005)
        return x

    source = itertools.takewhile(lambda x: not finished.is_set(), itertools.count())
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for outcome in way.run(hang, source, timeout=0.5):
            outcomes.append(outcome)
            if outcome.index == 0:
                seen_before = len(seen)
                release.set()
                assert back.wait(60)
            elif release.is_set() and len(seen) > seen_before + 40:
                finished.set()
    assert [o.index for o in outcomes if not o.ok] == [0]
    assert sorted(o.index for o in outcomes) == list(range(len(outcomes)))
    abandoned = next(thread for thread, x in seen if x == 0)
    assert [x for thread, x in seen if thread == abandoned] == [0]


@pytest.mark.parametrize("shape", ["1x1", "serial", poolwise.Shape(1, 1)], ids=str)
def test_one_lane_of_this_process_is_a_shape_error(shape: poolwise.Shape | str) -> None:
    """An explicit `1x1` cannot end its own thread: ShapeError before anything runs."""
    with pytest.raises(poolwise.ShapeError):
        list(poolwise.map(abs, [1], shape=shape, timeout=1))


@plain_in_children
def test_counts_from_the_start_of_execution(way: Way) -> None:
    """Waiting for a lane is not running: items that together take longer than the timeout all succeed."""

    def work(x: int) -> int:
        time.sleep(0.15)
        return x

    assert list(way.map(work, range(12), timeout=0.6)) == list(range(12))


@plain_in_children
def test_counts_per_attempt(way: Way, tmp_path: Path) -> None:
    """Each attempt has the whole time; TaskTimeout is tried again where it is named."""

    def hang_once(x: int) -> int:
        add_line(tmp_path / str(x), os.getpid())
        if x == 1 and len(lines(tmp_path / "1")) < 3:
            time.sleep(60)
        return x

    retry = Retry(3, on=(OSError, poolwise.TaskTimeout), backoff=0)
    outcomes = list(way.run(hang_once, range(4), timeout=0.4, retry=retry, ordered=True))
    assert [o.value for o in outcomes] == [0, 1, 2, 3]
    assert outcomes[1].attempts == 3


@plain_in_children
def test_timeouts_are_not_retried_by_default(way: Way, tmp_path: Path) -> None:
    """`retry=2` means the function's exceptions, not timeouts."""

    def hang(x: int) -> None:
        add_line(tmp_path / "calls", x)
        time.sleep(60)

    (outcome,) = way.run(hang, [0], timeout=0.3, retry=2)
    assert type(outcome.error) is poolwise.TaskTimeout
    assert (outcome.attempts, lines(tmp_path / "calls")) == (1, ["0"])


@coroutines
def test_coroutine_timeouts_are_retried_where_named(way: Way, tmp_path: Path) -> None:
    """Cancelled coroutines follow the same rule."""

    async def hang_once(x: int) -> int:
        add_line(tmp_path / str(x), x)
        if len(lines(tmp_path / str(x))) == 1:
            await asyncio.sleep(60)
        return x

    outcomes = list(way.run(hang_once, range(3), timeout=0.3, retry=Retry(2, on=poolwise.TaskTimeout, backoff=0)))
    assert sorted((o.value, o.attempts) for o in outcomes) == [(0, 2), (1, 2), (2, 2)]
    (once,) = way.run(hang_once, [7], timeout=0.3, retry=3)
    assert type(once.error) is poolwise.TaskTimeout


@plain_in_children
def test_deadlines_advance_while_the_consumer_is_away(way: Way, tmp_path: Path) -> None:
    """A hanging item is ended though nobody asks for a result."""

    def hang(x: int) -> int:
        add_line(tmp_path / "pid", os.getpid())
        time.sleep(60)
        return x

    with way.run(hang, [0], timeout=0.3) as outcomes:
        wait_until(lambda: lines(tmp_path / "pid") != [], "the item runs")
        (pid,) = map(int, lines(tmp_path / "pid"))
        wait_until(lambda: not alive([pid]), "its process was ended with the consumer away")
        assert [type(o.error) for o in outcomes] == [poolwise.TaskTimeout]


@plain_in_children
def test_lane_mates_of_a_timeout_run_again(way: Way) -> None:
    """Those that ran in the ended process run again and are not blamed."""

    def hang(x: int) -> int:
        time.sleep(60 if x == 0 else 0.25)
        return x

    outcomes = list(way.run(hang, range(10), timeout=0.8, ordered=True))
    assert [o.value for o in outcomes] == [None, *range(1, 10)]
    assert {o.attempts for o in outcomes} == {1}


loops = pytest.mark.parametrize("shape", ["1x8", "1x2", "2x4", "auto", "serial"])


def _overdue(outcomes: list[poolwise.Outcome[int]], count: int) -> list[int]:
    assert sorted(o.index for o in outcomes) == list(range(count))
    assert {type(o.error) for o in outcomes if not o.ok} <= {poolwise.TaskTimeout}
    return sorted(o.index for o in outcomes if not o.ok)


@loops
def test_blocking_a_loop_briefly_costs_nobody(shape: str) -> None:
    """Coroutines that block their loop one after another, together for far longer than the timeout, all succeed."""

    async def block(x: int) -> int:
        time.sleep(0.2)
        await asyncio.sleep(0.01)
        time.sleep(0.05)
        return x

    assert _overdue(list(poolwise.run(block, range(8), shape=shape, timeout=0.8)), 8) == []


@loops
@pytest.mark.parametrize("seconds", [0.7, 60], ids=["a-little", "for-ever"])
def test_blocking_a_loop_for_long_costs_the_item(shape: str, seconds: float) -> None:
    """It alone is TaskTimeout, also where it returns before anybody could end it; neighbours are not blamed."""

    async def block(x: int) -> int:
        if x == 1:
            time.sleep(seconds)
        await asyncio.sleep(0.3)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About a thread that is left behind.
        outcomes = list(poolwise.run(block, range(8), shape=shape, timeout=0.5))
    assert _overdue(outcomes, 8) == [1]
    assert {o.attempts for o in outcomes} == {1}


@pytest.mark.parametrize("shape", ["1x4", "2x4", "auto"])
def test_blocking_a_loop_from_a_task_of_ones_own(shape: str) -> None:
    """Where nobody knows whose task blocks the loop, each that ran there runs again alone: the item is found."""

    async def block(x: int) -> None:
        time.sleep(60 if x == 1 else 0)

    async def gather(x: int) -> int:
        await asyncio.gather(block(x), asyncio.sleep(0.1))
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = list(poolwise.run(gather, range(8), shape=shape, timeout=0.4))
    assert _overdue(outcomes, 8) == [1]
    assert {o.attempts for o in outcomes} == {1}


@pytest.mark.parametrize("shape", ["1x8", "2x4"])
def test_neighbours_on_a_blocked_loop_are_given_up_with_on_lost_fail(shape: str, tmp_path: Path) -> None:
    """`on_lost="fail"`: what ran on a loop that had to be given up is TaskLost, and nothing runs twice."""

    async def block(x: int) -> int:
        add_line(tmp_path / "ran", x)
        if x == 1:
            time.sleep(60)
        await asyncio.sleep(0.4)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = list(poolwise.run(block, range(8), shape=shape, timeout=0.6, on_lost="fail"))
    assert sorted(o.index for o in outcomes) == list(range(8))
    assert {o.index: type(o.error) for o in outcomes if not o.ok}[1] is poolwise.TaskTimeout
    assert {type(o.error) for o in outcomes if not o.ok and o.index != 1} == {poolwise.TaskLost}
    assert len(set(lines(tmp_path / "ran"))) == len(lines(tmp_path / "ran"))


@loops
def test_a_coroutine_that_ignores_its_cancellation(shape: str) -> None:
    """It alone is TaskTimeout, a second later."""

    async def ignore(x: int) -> int:
        while x == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
        await asyncio.sleep(0.05)
        return x

    assert _overdue(list(poolwise.run(ignore, range(8), shape=shape, timeout=0.4)), 8) == [1]
