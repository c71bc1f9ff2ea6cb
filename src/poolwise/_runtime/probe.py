"""The probe: clocks of this process, and a thread that knocks at the GIL. It runs where the lanes are.

The knocker sleeps for a random time, then times how long it takes to get the GIL back. What the numbers mean is in
`_policy/demands.py`; here they are only taken.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from poolwise._runtime.host import switch_counter, switches_of
from poolwise._runtime.lanes import start_unattended

MEAN_SLEEP_SECONDS = 0.001
BURST_SECONDS = 0.05
_MOST_KNOCKS = 4096
_IDLE_SECONDS = 60e-6  # How late a timer wakes a thread that nobody holds up, until it is learnt.
_LEARNING = 0.1
_draw = random.Random().expovariate  # One for all, as to seed one takes a while; and not the user's.
_OVERDUE_SECONDS = 0.002  # A knock that is so late waits for the GIL, and not for a core.


Heard = tuple[float, float, float, bool, int]  # See `Probe.knocks`.


@dataclass(frozen=True, slots=True)
class Clocks:
    """Readings of this process.

    Attributes:
        now: the clock, in seconds.
        process_cpu: CPU seconds of all its threads, the knocker's left out.
        children_cpu: CPU seconds of the commands it started, as far as they have ended and were waited for.
        probe_cpu: CPU seconds of the knocker.
    """

    now: float
    process_cpu: float
    children_cpu: float
    probe_cpu: float


_is_gil_enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)  # CPython 3.13.


def has_gil() -> bool:
    """Say whether this interpreter runs with a GIL now (a free-threaded one may turn it on when a module needs it)."""
    return _is_gil_enabled is None or _is_gil_enabled()


def _children_clock() -> Callable[[], float]:
    """Return what reads the CPU seconds of commands that have ended: microseconds where the system can, else ticks."""
    try:
        import resource

        usage, who = resource.getrusage, resource.RUSAGE_CHILDREN
    except (ImportError, AttributeError):
        return lambda: sum(os.times()[2:4])

    def read() -> float:
        used = usage(who)
        return used.ru_utime + used.ru_stime

    return read


_children_seconds = _children_clock()


def missed_in(switches: int, waited: float) -> int:
    """Return how often a thread woke in vain while it slept, and then waited for the GIL.

    CPython's `take_gil` waits until the GIL is let go of, or a switch interval long, and then again: a thread that is
    held up wakes from its sleep, at the end of each interval, and when it is given the GIL. Further times it was let
    go of, and taken again.

    Args:
        switches: voluntary ones in that time.
        waited: seconds for the GIL.
    """
    return max(0, switches - 2 - int(waited / sys.getswitchinterval()))


class Probe:
    """Knocks while it is on. `start` and `stop` may be called again and again.

    Attributes:
        knocks: (asked, slept, waited, held, missed) of the latest knocks: clock reading when the thread woke, seconds
            asleep, seconds until it had the GIL, whether somebody held it, and how often it was let go of and taken
            again meanwhile (0 where that is not known).
        on: whether it knocks now.
    """

    def __init__(self) -> None:
        self.knocks: deque[Heard] = deque(maxlen=_MOST_KNOCKS)
        self.on = False
        self._stop: threading.Event | None = None
        self._cpu = 0.0
        self._due: float | None = None  # When the knocker should have the GIL back, while it sleeps.
        self._asleep: tuple[int, int] | None = None  # Its native number then, and its voluntary switches before.

    def start(self, rest_seconds: float = 0.0, *, first: Callable[[], None] | None = None) -> None:
        """Begin to knock, where there is a GIL to knock at.

        Args:
            rest_seconds: knock for `BURST_SECONDS` at a time, with such rests between; 0: all the time.
            first: what the knocker does after its first knock: a run that is over by then is spared it.
        """
        if not self.on and has_gil():
            self._stop = stop = threading.Event()  # One for each thread, so that an old one never knocks again.
            self.on = start_unattended(partial(self._knock, stop, rest_seconds, first))

    def stop(self) -> None:
        """Knock no more; the thread ends at its next knock."""
        if self._stop is not None:
            self._stop.set()
        self.on = False

    def clocks(self) -> Clocks:
        """Read the clocks."""
        return Clocks(time.perf_counter(), time.process_time() - self._cpu, _children_seconds(), self._cpu)

    def heard(self) -> list[Heard]:
        """Return the knocks, with the one that waits for the GIL while this is called."""
        due, asleep, now = self._due, self._asleep, time.perf_counter()
        knocks = list(self.knocks)
        if self.on and due is not None and now - due > _OVERDUE_SECONDS:
            switches = None if asleep is None else switches_of(asleep[0])
            # It will wake once more, for the last time.
            missed = 0 if asleep is None or switches is None else missed_in(switches + 1 - asleep[1], now - due)
            knocks.append((due, 0.0, now - due, True, missed))
        return knocks

    def _knock(self, stop: threading.Event, rest_seconds: float, first: Callable[[], None] | None) -> None:
        clock, sleep, cpu_clock = time.perf_counter, time.sleep, time.thread_time
        switches = switch_counter()
        number = threading.get_native_id()
        idle = _IDLE_SECONDS
        base = self._cpu
        burst_ends = clock() + BURST_SECONDS
        while not stop.is_set():
            if rest_seconds and clock() > burst_ends:
                stop.wait(rest_seconds)
                burst_ends = clock() + BURST_SECONDS
            wanted = _draw(1 / MEAN_SLEEP_SECONDS)
            before = switches() if switches is not None else 0
            self._asleep = None if switches is None else (number, before)
            started = clock()
            self._due = started + wanted + idle
            sleep(wanted)
            ended = clock()
            self._due = None
            # The sleep is one voluntary switch; waiting for the GIL after it is another.
            late = max(0.0, ended - started - wanted)
            woken = switches() - before if switches is not None else 0
            held = woken > 1 if switches is not None else late > 3 * idle + 50e-6
            waited = max(0.0, late - idle) if held else 0.0
            if not held:  # How late a timer wakes a thread that nobody holds up.
                idle += _LEARNING * (late - idle)
            slept = max(0.0, ended - started - waited)
            self.knocks.append((ended - waited, slept, waited, held, missed_in(woken, waited)))
            if first is not None and not stop.is_set():
                first()
                first = None
            self._cpu = base + cpu_clock()
