"""Demands: what one item needs of each resource, estimated from real executions; and the kind of work that makes it.

A demand is a *service demand* in the sense of queueing theory (Menasce, Almeida and Dowdy, "Performance by Design",
ch. 3): seconds of one resource that an item keeps busy. `held`, the wall time with the GIL held, is one of them; "CPU
time with the GIL held" is not: a C call that waits and never lets go of the GIL burns no CPU and still allows one lane.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["io", "gil", "cpu", "mixed", "tiny", "transfer", "unknown"]

TINY_SECONDS = 20e-6
_WAITING = 0.88  # Waits for more than this share of its time: io.
BUSY = 0.20  # Waits for less than this: bound by computing.
_HELD, _FREE = 0.85, 0.20  # Share of the busy time with the GIL held: above it gil, below it cpu.
_SURELY = 0.86  # The lower end of what is told of work that holds the GIL all the time is not below this.
_WAKING_SECONDS = 100e-6  # At most, of a thread that waits for the GIL: it gets what is let go of for longer.
_SWITCH_SECONDS = 0.005  # `sys.getswitchinterval` by default.
_TRANSFER = 0.5  # Moving an item between processes takes more than this share of its own time.
_TWO_SIGMA = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the interval it is in, at about 95 %.

    Attributes:
        value: the best guess.
        low, high: the interval's ends.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """A number that is known."""
        return cls(value, value, value)

    def lowered(self, by: float, least: float) -> Estimate:
        """Return it smaller by so much, but not below `least`."""
        return Estimate(*(max(each - by, min(each, least)) for each in (self.value, self.low, self.high)))

    def scaled(self, factor: float) -> Estimate:
        """Return it in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def bounded(self, most: float) -> Estimate:
        """Return it, and its interval, as at most so much."""
        return Estimate(min(self.value, most), min(self.low, most), min(self.high, most))


@dataclass(frozen=True, slots=True)
class Knock:
    """One knock at the GIL: how long a thread slept, how long it then waited, and whether it found the GIL held.

    Attributes:
        at: clock reading when it asked for the GIL.
        slept: seconds asleep before.
        waited: seconds until it had the GIL.
        held: somebody held it.
        missed: times that the GIL was let go of meanwhile, and was taken again before the thread was awake; 0 where the
            system does not tell.
    """

    at: float
    slept: float
    waited: float
    held: bool
    missed: int = 0

    @property
    def surely(self) -> float:
        """The least share of its wait for which the GIL was held: whenever it was missed, it was let go of briefly."""
        return max(0.0, 1 - self.missed * _WAKING_SECONDS / self.waited) if self.held and self.waited > 0 else 0.0


def held_share(knocks: Iterable[Knock], spans: Sequence[tuple[float, float]]) -> Estimate | None:
    """Estimate the share of time that the GIL was held while items ran.

    A thread that sleeps a random (exponential) time sees the GIL as a Poisson arrival would, so the share of knocks
    that find it held is the share of time it is held (PASTA); while it waits it knows that it is held. Together:
    (waited + slept * hits / knocks) / (waited + slept). What it waited beyond a switch interval while items ran is a
    part of their time that no chance is in, and the share is not below that: then it had asked for the GIL, which goes
    to whoever asked as soon as it is let go of. Items that let go of it for moments take it back before the thread is
    awake, so that it may wait for long; for each of those moments as much of the wait tells nothing as waking takes.

    Args:
        knocks: what was heard.
        spans: when items ran: (start, end) in seconds.

    Returns:
        The share, or None where nobody knocked while an item ran.
    """
    spans = sorted(spans)
    starts = [start for start, _ in spans]
    waited = slept = known = 0.0
    hits = count = 0
    for knock in knocks:
        reached = knock.at + knock.waited
        place = bisect_right(starts, knock.at) - 1
        between = place < 0 or knock.at > spans[place][1]  # It came between two items, or before the first.
        place += between
        if knock.held:
            asked = knock.at + _SWITCH_SECONDS
            during = spans[place : bisect_right(starts, reached)]
            known += knock.surely * _covered((max(start, asked), min(end, reached)) for start, end in during)
        if between and (place >= len(spans) or reached < spans[place][1]):
            continue  # No moment of an item that was drawn by chance, and no whole one that it waited for.
        count += 1
        slept += knock.slept
        if knock.held:
            hits += 1
            waited += knock.waited * knock.surely
    if count == 0 or waited + slept <= 0:
        return None
    by_count = hits / count
    share = (waited + slept * by_count) / (waited + slept)
    # Half a knock either way keeps the interval of "never" and "always" from being empty (Agresti and Coull, 1998).
    softened = (hits + 1) / (count + 2)
    margin = _TWO_SIGMA * math.sqrt(softened * (1 - softened) / (count + 2))
    low, high = min(share, by_count) - margin, max(share, by_count) + margin
    return Estimate(share, min(share, max(0.0, low, known / covered_seconds(spans))), min(1.0, high))


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long any of the spans, sorted by their starts, lasted; never 0."""
    return max(_covered(spans), 1e-12)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    covered, reached = 0.0, -math.inf
    for start, end in spans:
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def mean_estimate(count: int, total: float, squares: float) -> Estimate:
    """Return the mean of `count` values with sum `total` and sum of squares `squares`."""
    mean = total / count
    if count < 2:
        return Estimate(mean, 0.0, 2 * mean)
    variance = max(0.0, squares / count - mean * mean) * count / (count - 1)
    margin = _TWO_SIGMA * math.sqrt(variance / count)
    return Estimate(mean, max(0.0, mean - margin), mean + margin)


@dataclass(frozen=True, slots=True)
class Demands:
    """What one item needs, in seconds; each with its interval.

    Attributes:
        response: wall time in one lane of its own.
        cpu: CPU time of all threads and child processes together.
        held: wall time with the GIL held; None where it was not measured.
        wire: the calling process's time to send, fetch and settle it, were it executed in a child; None where unknown.
        bytes: what the item and its value occupy, or None.
        native: CPU that threads other than the lane's own used (BLAS, OpenMP), included in `cpu`.
        children: CPU that commands started by the item used, included in `cpu`.
        items: how many executions were seen.
        failed: how many of them raised.
        loop: wall time in which a coroutine keeps its event loop to itself; None where it lets others run.
        stolen: wall time for which the host of this virtual machine had taken its core away, as far as that can be said
            of one item; `response` is without it.
    """

    response: Estimate
    cpu: Estimate
    held: Estimate | None = None
    wire: float | None = None
    bytes: float | None = None
    native: float = 0.0
    children: float = 0.0
    items: int = 0
    failed: int = 0
    loop: float | None = None
    stolen: float = 0.0

    @property
    def busy(self) -> float:
        """Seconds in which it computes, holds the GIL, or blocks its event loop, at most those that it takes."""
        held = self.held.value if self.held is not None else 0.0
        return min(self.response.value, max(self.cpu.value, held, self.loop or 0.0))

    @property
    def wait(self) -> float:
        """Seconds in which it does neither."""
        return self.response.value - self.busy

    @property
    def wait_share(self) -> float:
        """The waiting share of its time."""
        return self.wait / self.response.value if self.response.value > 0 else 0.0

    @property
    def most_wait_share(self) -> float:
        """The upper end of the waiting share."""
        held = self.held.low if self.held is not None else 0.0
        busy = max(self.cpu.low, held, self.loop or 0.0)
        return max(0.0, 1 - busy / self.response.high) if self.response.high > 0 else 0.0

    @property
    def held_of_busy(self) -> Estimate | None:
        """The share of its busy time with the GIL held."""
        if self.held is None or self.busy <= 0:
            return None
        return self.held.scaled(1 / self.busy)


def kind_of(demands: Demands) -> Kind:
    """Name what binds the function when it runs alone.

    "unknown" where the measurement does not tell: too few items, or an interval that reaches over a border.
    """
    kind = guessed_kind(demands)
    if kind in ("gil", "cpu") and demands.wait + demands.stolen > BUSY * (demands.response.value + demands.stolen):
        return "unknown"  # It waits, or lacks a core: nobody tells whose cores are taken away.
    if kind != "mixed":
        return kind
    if demands.wait_share > BUSY:
        return "unknown" if demands.most_wait_share > _WAITING else kind
    share = demands.held_of_busy
    return "unknown" if share is not None and share.low < _FREE else kind


def guessed_kind(demands: Demands) -> Kind:
    """Name what to act on: as `kind_of`, but for mixed work, which may be found to wait only, or to hold no GIL."""
    if demands.items == 0:
        return "unknown"
    response = demands.response.value
    if response < TINY_SECONDS:
        return "tiny"
    if demands.wire is not None and demands.wire > _TRANSFER * response and (demands.bytes or 0) > 64 * 1024:
        return "transfer"
    if demands.wait_share > _WAITING:
        return "io" if demands.held is None or demands.held.high < 0.5 * response else "unknown"
    if demands.wait_share > BUSY:
        return "mixed" if demands.held is not None or demands.cpu.value > BUSY * response else "unknown"
    share = demands.held_of_busy
    if share is None:
        return "unknown"
    return _by_held(share)


def _by_held(share: Estimate) -> Kind:
    """Tell gil, cpu and mixed apart by the held share of the busy time."""
    if share.value >= _HELD:
        return "gil" if share.low > _SURELY else "unknown"
    if share.value <= _FREE:
        return "cpu" if share.high < 0.5 else "unknown"
    return "mixed" if share.high - share.low < 0.6 and share.low > _FREE / 2 else "unknown"
