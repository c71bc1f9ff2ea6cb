"""The probe's thread, and what it tells while it waits."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import pytest

from poolwise._core.model import Batch, Done, Event, Spec
from poolwise._runtime.host import switch_counter
from poolwise._runtime.lanes import InlineGroup
from poolwise._runtime.probe import Probe, has_gil, missed_in


def test_a_knock_that_still_waits_is_heard() -> None:
    """Whoever asks has the GIL; a knocker that was due long ago has been waiting for it."""
    probe = Probe()
    probe.on = True
    probe._due = time.perf_counter() - 0.4
    (at, slept, waited, held, missed) = probe.heard()[-1]
    assert at == probe._due
    assert slept == 0.0
    assert waited >= 0.4
    assert held
    assert missed == 0  # Of a knocker that nobody knows.
    probe._due = time.perf_counter() + 1.0  # It sleeps.
    assert probe.heard() == []
    probe.on, probe._due = False, time.perf_counter() - 0.4  # Nobody knocks any more.
    assert probe.heard() == []


def test_what_comes_first_is_done_once_by_the_knocker() -> None:
    """After its first knock, in its own thread; without a GIL to knock at there is no knocker, and nothing is done."""
    probe, seen = Probe(), SimpleQueue[tuple[int, int]]()
    probe.start(first=lambda: seen.put((threading.get_ident(), len(probe.knocks))))
    if not has_gil():
        assert not probe.on
        return
    thread, knocks = seen.get(timeout=30.0)
    assert thread != threading.get_ident()
    assert knocks == 1
    while len(probe.knocks) < 3:
        time.sleep(0.001)
    probe.stop()
    assert seen.empty()


@pytest.mark.parametrize(("switches", "waited", "missed"), [(1, 0.0, 0), (2, 0.003, 0), (5, 0.016, 0), (45, 0.016, 40)])
def test_wakes_in_vain_are_told(switches: int, waited: float, missed: int) -> None:
    """One switch is the sleep, one is the wait for the GIL, and one more for each switch interval of that."""
    assert missed_in(switches, waited) == missed


def test_a_lane_counts_how_often_its_thread_waited() -> None:
    """As the system tells it (Linux): five sleeps are five waits at least, however a batch is timed."""
    for clocked in (True, False):
        events: list[Event] = []
        group = InlineGroup(Spec(time.sleep), events.append)
        for number in range(5):
            group.put(Batch(number, [number], [0.001], clocked=clocked))
        while group.run_next():
            pass
        waits = sum(event.waits for event in events if isinstance(event, Done))
        assert waits >= 5 if switch_counter() is not None else waits == 0
