"""Time that only moves when told, and servers that exist on it: for tests of poolwise and of programs that use it.

Here live a clock (`FakeClock`) and a closed system: lanes that always have an item to run, in front of a server that
answers as real ones do under load (`SlotServer`, `RetrogradeServer`, `RateLimitedServer`, `UnlimitedServer`).
`simulate` lets a controller choose the number of lanes, item by item, and tells how near the optimum it came. Nothing
here sleeps, reads a clock of the machine, or depends on anything but its arguments and a seed.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

__all__ = [
    "Answer",
    "Controller",
    "FakeClock",
    "RateLimitedServer",
    "RetrogradeServer",
    "Server",
    "ServiceTime",
    "Simulation",
    "SlotServer",
    "UnlimitedServer",
    "simulate",
]

_ITEM_SECONDS = 0.1
_VARIATION = 0.5
_TREND_ITEMS = 200  # throughput "now" is that of the last 200 items


class FakeClock:
    """A clock that stands still until it is moved; it serves wherever poolwise takes a clock.

    Args:
        seconds: what it shows first.
        epoch: seconds to add to `now()` to get Unix time.
    """

    def __init__(self, seconds: float = 0.0, epoch: float = 0.0) -> None:
        self._seconds = seconds
        self.epoch = epoch

    def now(self) -> float:
        """Return the time it shows, in seconds."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Move it forward by `seconds`.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock does not go backwards (by {-seconds} s)")
        self._seconds += seconds


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long items take where nothing else is going on: lognormal, so never negative and with a long tail.

    Args:
        seconds: the mean.
        variation: the coefficient of variation, standard deviation over mean; 0 makes all items alike.
    """

    seconds: float = _ITEM_SECONDS
    variation: float = _VARIATION

    def draw(self, random: Random) -> float:
        """Return the seconds of one item."""
        variance = math.log1p(self.variation**2)  # of the logarithm, such that mean and variation are as asked for
        return self.seconds * math.exp(random.gauss(-variance / 2, math.sqrt(variance)))


class Answer(NamedTuple):
    """What became of one item: when its lane is free again, in seconds on the clock, and whether it failed."""

    ends_at: float
    failed: bool


class Server(Protocol):
    """What the lanes wait for."""

    def answer(self, now: float, busy: int, random: Random) -> Answer:
        """Take one item at `now` seconds, the `busy`-th of those that are in flight."""

    def optimum(self, most: int) -> tuple[float, int]:
        """Return the highest throughput with at most `most` lanes, in items a second, and the lanes it needs."""


class SlotServer:
    """Serves a fixed number of items at a time; the others wait in line, first come, first served.

    A pool of database connections, or a server with so many threads. More lanes than slots only lengthen the line.

    Args:
        slots: how many items at a time.
        service: how long an item takes, without the line.
    """

    def __init__(self, slots: int, service: ServiceTime | None = None) -> None:
        self.slots = slots
        self.service = service or ServiceTime()
        self._free_at = [0.0] * slots  # a heap

    def answer(self, now: float, busy: int, random: Random) -> Answer:  # noqa: ARG002
        """Serve one item in the slot that is free first."""
        ends_at = max(now, self._free_at[0]) + self.service.draw(random)
        heapq.heapreplace(self._free_at, ends_at)
        return Answer(ends_at, False)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return items a second and lanes where all slots are just busy."""
        lanes = min(self.slots, most)
        return lanes / self.service.seconds, lanes


class RetrogradeServer:
    """Serves all items at once, each the slower the more there are: beyond a peak, more lanes yield less.

    Response times follow the Universal Scalability Law (Gunther, "Guerrilla Capacity Planning", 2007): with N in
    flight, service x (1 + contention x (N - 1) + coherence x N x (N - 1)). The defaults peak near 37 lanes.

    Args:
        contention: what one more item in flight adds by waiting in line, as a share of the service time.
        coherence: what each *pair* of items in flight adds by getting in each other's way.
        service: how long an item takes on its own.
    """

    def __init__(
        self, contention: float = 0.2 / 40, coherence: float = 1 / 40**2, service: ServiceTime | None = None
    ) -> None:
        self.contention = contention
        self.coherence = coherence
        self.service = service or ServiceTime()

    def answer(self, now: float, busy: int, random: Random) -> Answer:
        """Serve one item at the speed that `busy` items in flight leave."""
        return Answer(now + self.service.draw(random) * self._stretch(busy), False)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return items a second and lanes at the peak."""
        lanes = max(range(1, most + 1), key=lambda count: count / self._stretch(count))
        return lanes / self._stretch(lanes) / self.service.seconds, lanes

    def _stretch(self, busy: int) -> float:
        others = max(0, busy - 1)
        return 1 + self.contention * others + self.coherence * busy * others


class RateLimitedServer:
    """Serves everything at once up to so many items a second, and refuses the others quickly (HTTP status 429).

    A token bucket, full at the start. A lane that is refused takes its next item at once, so every lane too many makes
    many refusals.

    Args:
        per_second: items a second in the long run.
        burst: how many items may come at once after a pause.
        refusal_seconds: how long a refusal takes.
        service: how long an item takes that is not refused.
    """

    def __init__(
        self,
        per_second: float = 400.0,
        burst: float = 40.0,
        refusal_seconds: float = 0.01,
        service: ServiceTime | None = None,
    ) -> None:
        self.per_second = per_second
        self.burst = burst
        self.refusal_seconds = refusal_seconds
        self.service = service or ServiceTime()
        self._tokens = burst
        self._filled_at = 0.0

    def answer(self, now: float, busy: int, random: Random) -> Answer:  # noqa: ARG002
        """Serve one item if there is a token for it, or refuse it."""
        self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.per_second)
        self._filled_at = now
        if self._tokens < 1:
            return Answer(now + self.refusal_seconds, True)
        self._tokens -= 1
        return Answer(now + self.service.draw(random), False)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return items a second and lanes at the limit (Little's law: lanes = rate x response time)."""
        lanes = min(most, max(1, math.ceil(self.per_second * self.service.seconds)))
        return min(self.per_second, lanes / self.service.seconds), lanes


class UnlimitedServer:
    """Serves any number of items at a time, all at full speed.

    Args:
        service: how long an item takes.
    """

    def __init__(self, service: ServiceTime | None = None) -> None:
        self.service = service or ServiceTime()

    def answer(self, now: float, busy: int, random: Random) -> Answer:  # noqa: ARG002
        """Serve one item."""
        return Answer(now + self.service.draw(random), False)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return items a second and lanes: as many as there may be."""
        return most / self.service.seconds, most


class Controller(Protocol):
    """What chooses the number of lanes."""

    @property
    def lanes(self) -> int:
        """How many lanes there should be now."""

    def add(self, now: float, completed: int, failed: int, seconds: float) -> object:
        """Take in items that ended: how many well, how many not, and the response times of the former in seconds."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened, item by item in the order they ended, and how good it was.

    Attributes:
        ended_at: when each item ended, in seconds.
        failed: whether it failed.
        lanes: how many lanes the controller wanted after it.
        optimum_per_second: the best possible throughput, of the server that was there last.
        optimum_lanes: the lanes it needs.
    """

    ended_at: Sequence[float]
    failed: Sequence[bool]
    lanes: Sequence[int]
    optimum_per_second: float
    optimum_lanes: int

    @property
    def items_to_90_percent(self) -> int | None:
        """Items until 200 in a row first ended at 90 % of the best throughput, to the next 25; None if never."""
        return self.items_to(0.9)

    def items_to(self, share: float, after: int = 0) -> int | None:
        """Return the items, counted from number `after`, until 200 in a row ended at `share` of the best throughput.

        Args:
            share: of the best throughput, 0 to 1.
            after: which item to begin at.

        Returns:
            A number of items, to the next 25, or None if that never came.
        """
        for end in range(after + _TREND_ITEMS, len(self.ended_at), 25):
            if self._per_second(end - _TREND_ITEMS, end) >= share * self.optimum_per_second:
                return end - after
        return None

    @property
    def tail_throughput(self) -> float:
        """Throughput of the last third of the items over the best possible."""
        return self._per_second(self._tail, len(self.ended_at)) / self.optimum_per_second

    @property
    def tail_lanes(self) -> float:
        """Mean lanes in the last third of the items over those of the optimum."""
        tail = self.lanes[self._tail :]
        return sum(tail) / len(tail) / self.optimum_lanes

    @property
    def error_share(self) -> float:
        """Share of all items that failed, 0 to 1."""
        return sum(self.failed) / len(self.failed)

    @property
    def _tail(self) -> int:
        return len(self.ended_at) * 2 // 3

    def _per_second(self, start: int, end: int) -> float:
        """Return items a second that ended well, from the one after item `start - 1` to item `end - 1`."""
        seconds = self.ended_at[end - 1] - self.ended_at[max(0, start - 1)]
        succeeded = (end - start) - sum(self.failed[start:end])
        return succeeded / max(seconds, 1e-9)


def simulate(
    controller: Controller,
    server: Server,
    items: int = 12_000,
    seed: int = 0,
    *,
    lump: int = 1,
    changes: Sequence[tuple[int, Server]] = (),
    most: int = 512,
) -> Simulation:
    """Run items through a server on as many lanes as a controller asks for, on a clock of their own.

    The system is closed: a lane that becomes free takes the next item at once. Lanes that are not wanted any more
    finish their item first.

    Args:
        controller: anything with `lanes` and `add`; it is used up.
        server: what the lanes wait for; it is left as it is.
        items: how many items to run.
        seed: the same seed gives the same run.
        lump: tell the controller of so many ended items at a time.
        changes: (number of ended items, the server that answers from then on), in that order.
        most: the lanes that the optimum may have.

    Returns:
        What happened.
    """
    run = _Run(copy.deepcopy(server), Random(seed))
    coming = list(copy.deepcopy(changes))
    told, seconds, failures = 0, 0.0, 0
    for number in range(1, items + 1):
        if coming and number > coming[0][0]:
            run.server = coming.pop(0)[1]
        took, failed = run.next_end(controller.lanes)
        told, failures, seconds = told + 1, failures + failed, seconds + (0.0 if failed else took)
        if told >= lump:
            controller.add(run.clock.now(), told - failures, failures, seconds)
            told, seconds, failures = 0, 0.0, 0
        run.lanes.append(controller.lanes)
    return Simulation(run.ended_at, run.failed, run.lanes, *run.server.optimum(most))


class _Run:
    """The items in flight, and the record of those that ended."""

    def __init__(self, server: Server, random: Random) -> None:
        self.server = server
        self.clock = FakeClock()
        self.ended_at: list[float] = []
        self.failed: list[bool] = []
        self.lanes: list[int] = []
        self._random = random
        self._started = 0
        self._in_flight: list[tuple[float, int, float, bool]] = []  # a heap: ends at, number, began at, failed

    def next_end(self, lanes: int) -> tuple[float, bool]:
        """Fill the lanes, let one item end, and return the seconds it took and whether it failed."""
        now = self.clock.now()
        while len(self._in_flight) < max(1, lanes):
            self._started += 1
            answer = self.server.answer(now, len(self._in_flight) + 1, self._random)
            heapq.heappush(self._in_flight, (answer.ends_at, self._started, now, answer.failed))
        ends_at, _, began_at, failed = heapq.heappop(self._in_flight)
        self.clock.advance(ends_at - now)
        self.ended_at.append(ends_at)
        self.failed.append(failed)
        return ends_at - began_at, failed
