"""Lanes, told what time it is."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from poolwise._core.model import Batch, Done, Event, Spec
from poolwise._runtime.lanes import ThreadGroup


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
