"""Lanes, told what time it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

import poolwise
from poolwise import Shape
from poolwise._core.errors import BackendError
from poolwise._core.model import Batch, Done, Event, Spec
from poolwise._runtime import blas, lanes
from poolwise._runtime.lanes import InlineGroup, ThreadGroup
from poolwise._runtime.probe import Probe
from poolwise.backends import load
from zoo.marks import wait_until


def who(_: int) -> int:
    """The thread that executes this."""
    return threading.get_native_id()


async def who_awaits(_: int) -> int:
    """The thread that executes this."""
    return threading.get_native_id()


@pytest.mark.parametrize(("flush_seconds", "recall_seconds"), [(0.025, 0.1), (0.075, 0.225)])
def test_a_batch_says_when_what_is_finished_of_it_is_sent(flush_seconds: float, recall_seconds: float) -> None:
    """And so when what is not started of it is given back."""
    events: list[Event] = []
    reached, going_on = threading.Event(), threading.Event()

    def item(number: int) -> int:
        if number == 2:
            reached.set()
            assert going_on.wait(60)
        return number

    class Quiet(ThreadGroup):
        def tick_while_busy(self) -> None:
            """Here the test ticks."""

    group = Quiet(Spec(item), events.append)
    group.resize(1)
    group.put(Batch(0, range(5), list(range(5)), flush_seconds=flush_seconds))
    assert reached.wait(60)
    run = group.lanes[0].run
    assert run is not None
    found = []
    for age in (0.99 * flush_seconds, 1.01 * flush_seconds, 0.99 * recall_seconds, 1.01 * recall_seconds):
        group.tick(run.begun + age)
        found.append([(event.values, event.returned) for event in events if isinstance(event, Done)])
    assert found[0] == []
    assert found[1] == found[2] == [([0, 1], ())]
    assert found[3] == [([0, 1], ()), ([], range(3, 5))]
    going_on.set()
    group.close()


@pytest.mark.parametrize(("fn", "shape"), [(who, Shape(1, 1)), (who, Shape(1, 3)), (who_awaits, Shape(1, 3))])
def test_a_backend_names_the_threads_that_are_its_lanes(fn: Callable[[int], Any], shape: Shape) -> None:
    """Of all threads of the process those, and no other, have stood in line for a core while an item ran."""
    backend = load("local")()
    backend.open(Spec(fn, coroutine=fn is who_awaits), shape)
    backend.submit(Batch(0, range(1), [0]))
    values: list[int] = []
    while not values:
        values = [value for event in backend.wait(5) if isinstance(event, Done) for value in event.values]
    threads = backend.threads()
    assert set(values) <= set(threads)
    assert (threading.get_native_id() in threads) == backend.inline
    backend.close(drain=True)


def test_a_batch_that_comes_while_another_is_unpacked_is_given_back() -> None:
    """In a worker: the only lane is not seen to be busy yet, and then stays so for as long as its item likes."""
    events: SimpleQueue[Event] = SimpleQueue()
    going_on = threading.Event()

    def item(number: int) -> int:
        assert number == 0
        assert going_on.wait(60)
        return number

    def load(batch: Batch) -> tuple[list[int], dict[int, str]]:
        if batch.id == 0:
            group.put(Batch(1, range(1), [1]))
        return batch.items, {}

    group = ThreadGroup(Spec(item), events.put, worker=1, load=load)
    group.resize(1)
    group.put(Batch(0, range(1), [0]))
    given_back = events.get(timeout=20)
    assert isinstance(given_back, Done)
    assert (given_back.batch_id, given_back.returned) == (1, range(1))
    going_on.set()
    finished = events.get(timeout=20)
    assert isinstance(finished, Done)
    assert (finished.batch_id, finished.values) == (0, [0])
    group.close()


def test_the_callers_thread_looks_itself_how_long_a_batch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can take results while it executes items, so it needs no ticker to give back what it has not begun."""
    events: list[Event] = []
    now = [0.0]
    monkeypatch.setattr(lanes, "_clock", lambda: now[0])

    def item(seconds: float) -> float:
        now[0] += seconds
        return seconds

    class Unwatched(InlineGroup):
        def tick_while_busy(self) -> None:
            raise AssertionError("a thread for a batch that is timed item by item")

    group = Unwatched(Spec(item), events.append)
    items = [0.001, 0.001, 0.2, 0.001, 0.001]
    group.put(Batch(0, range(5), items, clocked=True, flush_seconds=0.01))
    assert group.run_next()
    assert [(event.values, event.returned) for event in events if isinstance(event, Done)] == [(items[:3], range(3, 5))]
    group.close()


class NoMoreThreads:
    """`Thread.start` of a system that starts only so many of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.left = most
        self.refused = threading.Event()
        start = threading.Thread.start

        def limited(thread: threading.Thread) -> None:
            if thread.name.startswith("poolwise-lane"):
                if self.left == 0:
                    self.refused.set()
                    raise RuntimeError("can't start new thread")
                self.left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the lanes hears it, with what would help."""
    NoMoreThreads(monkeypatch, 0)
    group = ThreadGroup(Spec(abs), lambda _: None)
    with pytest.raises(BackendError, match=r"starts no thread \(can't start new thread\); raise the limit"):
        group.resize(16)
    assert (group.lanes, group.count) == ([], 0)
    group.close()


@pytest.mark.filterwarnings("always:the system starts no further thread")
def test_fewer_threads_than_lanes(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    """Those that there are do all the work, and a warning says how many."""
    system = NoMoreThreads(monkeypatch, 3)
    events: SimpleQueue[Event] = SimpleQueue()
    group = ThreadGroup(Spec(abs), events.put)
    group.resize(16)
    assert system.refused.wait(60)
    for number in range(30):
        group.put(Batch(number, range(1), [-number]))
    found = [events.get(timeout=60) for _ in range(30)]
    assert sorted(event.values[0] for event in found if isinstance(event, Done)) == list(range(30))
    with group._resizing:  # Who tries to start them has given up, and said so.
        assert (len(group.lanes), group.count) == (3, 3)
    assert any("3 lanes work" in str(warning.message) for warning in recwarn)
    group.close()


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_no_thread_for_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results come at the end of their batch then; the lane that wanted one goes on."""
    events: SimpleQueue[Event] = SimpleQueue()
    group = ThreadGroup(Spec(abs), events.put)
    group.resize(1)
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    for number in range(2):
        group.put(Batch(number, range(3), [-1, -2, -3]))
        ended = events.get(timeout=60)
        assert isinstance(ended, Done)
        assert ended.values == [1, 2, 3]
    group.close()


def test_no_thread_for_the_knocker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knocks then, and that is known."""
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    probe = Probe()
    probe.start()
    assert not probe.on
    assert list(poolwise.map(abs, range(-9, 0), shape="auto")) == list(range(9, 0, -1))


def test_no_thread_for_what_steps_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says so, and nothing is left behind."""
    start, before = threading.Thread.start, threading.active_count()

    def limited(thread: threading.Thread) -> None:
        if not thread.name.startswith("poolwise-lane"):
            refuse()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    for opened in (
        lambda: list(poolwise.map(abs, range(9), shape="1x4")),
        poolwise.run(abs, [1], shape="1x2").__enter__,
    ):
        with pytest.raises(BackendError, match="the system starts no thread"):
            opened()
    with pytest.raises(BackendError, match="the system starts no thread"):
        list(poolwise.map(coroutine, range(9), shape="1x4"))
    wait_until(lambda: threading.active_count() <= before, "all threads have ended")


@pytest.mark.parametrize("refused", ["socket.socketpair", "selectors.DefaultSelector"])
def test_lanes_that_could_not_be_had_once(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """There were too many open files; once there are not, lanes of that backend wake who waits for them."""

    def no_file(*_: object) -> None:
        raise OSError(24, "Too many open files")

    backend = load("local")()
    backend.open(Spec(abs), Shape(1, 1))
    with monkeypatch.context() as patched, pytest.raises(BackendError, match="opens no further file"):
        patched.setattr(refused, no_file)
        backend.resize(Shape(1, 2))
    backend.resize(Shape(1, 2))
    assert list(backend.wait(0.0)) == []
    waker = threading.Timer(0.0, backend.wake)
    waker.start()
    began = time.monotonic()
    backend.wait(30.0)
    assert time.monotonic() - began < 25
    backend.close(drain=True)


@pytest.mark.parametrize("lanes", [3, 12])
def test_interrupted_while_lanes_are_opened(monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    """Those that there are by then end, and what was limited for them is not any more."""
    start, before = threading.Thread.start, threading.active_count()
    started: list[str] = []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread.name)
        if len(started) == min(lanes, 2):
            raise KeyboardInterrupt

    if lanes > 4:  # The others are started by another thread.
        monkeypatch.setattr("poolwise._runtime.lanes.start_unattended", lambda target: interrupt(target))
    else:
        monkeypatch.setattr(threading.Thread, "start", interrupted)

    def interrupt(target: Callable[[], object]) -> bool:
        target()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(poolwise.map(abs, range(9), shape=Shape(1, lanes)))
    monkeypatch.undo()
    wait_until(lambda: threading.active_count() <= before, "all threads have ended")
    assert blas.calling_process._holders == 0


async def coroutine(number: int) -> int:
    return number


def test_lanes_that_are_being_started_go_when_their_group_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run may be over before all of its lanes have begun."""
    starting, go_on = threading.Event(), threading.Event()
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def slowly(thread: threading.Thread) -> None:
        if started and thread.name.startswith("poolwise-lane"):
            starting.set()
            assert go_on.wait(60)
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    group = ThreadGroup(Spec(abs), lambda _: None)
    group.resize(16)
    assert starting.wait(60)
    group.close()
    go_on.set()
    with group._resizing:
        pass
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()
    assert len(started) == 2
