"""The trial: shapes compared on windows of different real items, until one is known to be best."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from poolwise._core.model import Done, Shape
from poolwise._policy.gauge import Gauge
from poolwise._policy.roofs import Candidate, cost_of

SHORTEST_SECONDS = 0.05
_LATE = 4  # Windows that take so many times as long as they should are closed, whatever has been heard.
_LATE_ITEMS = 6
_ITEMS_PER_LANE = 3
_PLENTY = 10  # Items for each lane that tell of a shape though some lanes starve (behind a lock a few do all the work),
_STARVED = 2  # in a window that lasts so many times as long: they take turns, and not evenly.
_EXCEEDED = 1.2  # One that does so many times what its roofs allow shows them wrong: no rival is ruled out by them.
_BETTER = 1.10  # A rival that promises no more than this, times the best seen, is not tried;
_MOST_HOPE = 1.3  # a promise is believed to be too low by the root of its interval, and by this at most.
_CLOSE = 1.3  # Two that are nearer than this are measured once more each,
_CLOSE_BEHIND = 1.25  # unless the costlier one stays so far behind what it must lead by.
_VAGUE = 1.5  # Ends of an interval, one over the other, from which on it decides nothing.
_MOST_LOOKS = 3  # Windows of two shapes between which it is in doubt.
_UNLIKE = 1.25  # So are two of which the better had items smaller by this: cost may drift along the input.
_ALIKE_KEPT = (
    0.6  # Threads that keep so much of their promise, and hardly wait for each other, leave processes no gain.
)
_WAITS_PER_SECOND = 70  # Of a lane that computes, from which on it is a lock, or the GIL, that holds it back:
# between what memory-scan and sqlite-memory of the zoo (benchmarks/zoo.py) do.
_FAR = 2.0  # What is so many times behind needs no long second look.
_KEPT = 0.6  # A winner that keeps less of its promise is held against a window of the base, and not a guess.
_HELD_UP, _GAINED = 0.5, 1.5  # Lanes stand in a line that keep a smaller share of their promise, and gain less by it.
_STALLED = 1.5  # A window in which so many times less ended than in those before, too little or of items that cost
# no more than those did, is repeated once.
CHEAPER = 1.08  # A costlier shape must be better by this; by more, the less it keeps of what its roofs promise.


class Trial:
    """Compares a shape that runs with its rivals.

    Args:
        base: the shape that runs now.
        base_rate: its throughput in items a second.
        rivals: what to try, in order.
        base_size: CPU seconds of one of the items that it was seen with, or None.
        base_spread: the ends of its rate's interval, the upper over the lower. A rival that leads by less does not win
            against a guess: the base gets a window of its own first, which replaces it.
        window_seconds: that every lane is observed for, in each window.
        margin: what a costlier shape must be better by.
        alike: items cost the same all along; what CPU they take differs by the shape.
        lets_go: the GIL is held so little that it can be nothing to lanes of one process: what they fall short of their
            promise by (the memory's bandwidth, most often) binds as many processes too.

    Attributes:
        rates: by shape, the throughput seen in each of its windows.
        current: the candidate that is measured, or to be measured next; None when all is done.
    """

    def __init__(
        self,
        base: Candidate,
        base_rate: float,
        rivals: Sequence[Candidate],
        base_size: float | None = None,
        *,
        base_spread: float = 1.0,
        window_seconds: float = SHORTEST_SECONDS,
        margin: float = CHEAPER,
        alike: bool = False,
        lets_go: bool = False,
    ) -> None:
        self._known = {base.shape: base, **{rival.shape: rival for rival in rivals}}
        self._base = base
        self._queue = deque(rivals)
        self._window_seconds = window_seconds
        self._margin = margin
        self._alike = alike
        self._lets_go = lets_go
        self._stale = True  # What is known of the base is no window of it: its first one replaces that.
        self._gauge: Gauge | None = None
        self._drifting = self._repeated = False
        self._longest_seconds = 0.0  # Of a window.
        self._opened = self._began = 0.0  # When the shape was taken, and when its window began.
        self._good = 0  # What has ended well since.
        self._starving: set[Shape] = set()  # In a window of theirs at least half of the lanes ended nothing.
        self._waits: dict[Shape, float] = {}  # A second, of each lane, in the latest window.
        self.rates: dict[Shape, list[float]] = {base.shape: [base_rate]}
        self._sizes: dict[Shape, float] = {} if base_size is None else {base.shape: base_size}
        self.current: Candidate | None = self._queue.popleft() if self._queue else None
        self._judge_guess(base_spread)

    def _judge_guess(self, spread: float) -> None:
        """Note between what ends the rate of the base was guessed, the upper over the lower."""
        self._spread = spread
        self._upper = min(math.sqrt(spread), _MOST_HOPE)  # Of what the roofs promise, as they are known.
        self._vague = spread > _VAGUE

    def guess_base(self, rate: float, spread: float) -> None:
        """Take in a better guess of what the base does: it ran while rivals were made ready, which may disturb it."""
        if self.untouched:
            self.rates[self._base.shape] = [rate if self._vague else max(rate, self.mean(self._base.shape))]
            self._judge_guess(spread)

    @property
    def measuring(self) -> bool:
        """A window is open."""
        return self._gauge is not None

    @property
    def untouched(self) -> bool:
        """No rival has been measured yet."""
        return not self.measuring and len(self.rates) == 1 and len(self.rates[self._base.shape]) == 1

    def note_base(self, rate: float) -> None:
        """Take in what the base did while rivals were made ready, which may disturb it but never make it quicker."""
        if self.untouched:
            self.rates[self._base.shape] = [max(rate, self.mean(self._base.shape))]

    def begin(self, now: float) -> None:
        """The current candidate runs from `now` on: open its window."""
        assert self.current is not None
        self._opened = now
        self._begin(now)

    def add(self, done: Done, good: int) -> None:
        """Take in an event of which `good` executions ended well."""
        if self._gauge is not None:
            self._good += good
            self._gauge.add(done, good)

    def postpone(self, now: float, response_seconds: float) -> None:
        """The shape before is still at work: let the window begin now, if it is not too late for that.

        Args:
            now: clock reading.
            response_seconds: wall time of an item in its lane.
        """
        if self._gauge is not None and now - self._opened < self._window_seconds + _LATE_ITEMS * response_seconds:
            self._begin(now)

    def _begin(self, now: float) -> None:
        assert self.current is not None
        self._began, self._good = now, 0
        self._gauge = Gauge(self.current.shape.total, now, children=self.current.children)

    def _is_late(self, elapsed: float, response_seconds: float) -> bool:
        return elapsed > _LATE * self._window_seconds + _LATE_ITEMS * response_seconds

    @property
    def opened(self) -> float:
        """When the shape of the window that is open was taken."""
        return self._opened

    def drop(self, *, children: bool) -> None:
        """Try no candidate in child processes (or none that is not)."""
        self._queue = deque(rival for rival in self._queue if rival.children is not children)
        if self.current is not None and self.current.children is children and not self.measuring:
            self._advance()

    def conclude(self, now: float, response_seconds: float) -> bool:
        """Close the window where it says enough, and turn to the next candidate; returns whether it was closed.

        Args:
            now: clock reading.
            response_seconds: wall time of an item in its lane.
        """
        gauge, current = self._gauge, self.current
        if gauge is None or current is None:
            return False
        elapsed = now - self._began
        lanes = current.shape.total
        told = gauge.complete and gauge.items >= _ITEMS_PER_LANE * lanes
        told = told and gauge.covered_seconds >= SHORTEST_SECONDS * lanes
        plenty = not told and gauge.items >= _PLENTY * lanes and gauge.heard_seconds >= _STARVED * self._window_seconds
        rate = (gauge.rate(now) if told else gauge.plain_rate if plenty else None) or self._good / max(elapsed, 1e-9)
        again = current.shape in self.rates
        behind = again and _FAR * rate < self.mean(self.best.shape)
        brief = again and elapsed < self._longest_seconds  # Than what it is to stand beside.
        enough = told and (behind or (gauge.covered_seconds >= self._window_seconds * lanes and not brief))
        enough = enough or (plenty and not brief)
        if not (enough or self._is_late(elapsed, response_seconds)):
            return False
        before = self._sizes.get(current.shape)
        alike = bool(before and gauge.size and max(before, gauge.size) < _UNLIKE * min(before, gauge.size))
        if not self._repeated and self._falls_far_short(current.shape, rate):
            other = gauge.rate_but_longest  # One item may have taken all the time.
            stopped = other is not None and not self._falls_far_short(current.shape, other)
            if alike or stopped or not enough:
                self._repeated = True  # Something else held it up: a disk, or what the shape before left behind.
                self.begin(now)
                return False
        if plenty and 2 * gauge.heard_lanes <= lanes:
            self._starving.add(current.shape)
        if alike:
            self._alike, self._drifting = True, False  # Items cost what they did: it is the shapes that differ.
        if current == self._base and self._stale:
            self._stale = self._vague = False
            self.rates[current.shape] = []
            self._sizes.pop(current.shape, None)
        self.rates.setdefault(current.shape, []).append(rate)
        self._longest_seconds = max(self._longest_seconds, elapsed)
        self._waits[current.shape] = gauge.waits / max(gauge.covered_seconds, SHORTEST_SECONDS)
        if gauge.size is not None:
            self._sizes.setdefault(current.shape, gauge.size)
        self._gauge = None
        self._advance()
        return True

    def _falls_far_short(self, shape: Shape, rate: float) -> bool:
        return shape in self.rates and rate < self.mean(shape) / _STALLED

    def _advance(self) -> None:
        best = self.best
        reached = self.mean(best.shape)
        astray = reached > _EXCEEDED * best.predicted
        while self._queue:
            rival = self._queue.popleft()
            again = rival.shape in self.rates
            hopeful = rival.predicted * self._upper > _BETTER * reached and not self._is_matched(rival)
            if again or astray or hopeful:
                self.current = rival
                return
        unsure = self._vague and reached < self._spread * self.mean(self._base.shape)
        if self._stale and best != self._base and (unsure or self.kept(best.shape) < _KEPT):
            self.current = self._base  # It wins against a guess, or keeps so little that the guess may be too low.
            return
        self.current = None
        others = [shape for shape in self.rates if shape != best.shape and self._close(shape, best.shape)]
        if others:  # A B, then B A: what drifts with time falls on both.
            other = self._known[max(others, key=self.mean)]
            self._queue.extend([other])
            self.current = best
        else:
            self.current = self._fewer(best)

    def _is_matched(self, rival: Candidate) -> bool:
        """Say whether threads were seen to do about what as many lanes in child processes can, and not for a lock."""
        if not (self._lets_go and rival.children):
            return False
        threads = (shape for shape in self.rates if not self._known[shape].children and shape != self._base.shape)
        freely = (shape for shape in threads if self._waits.get(shape, 0.0) < _WAITS_PER_SECOND)
        return any(shape.total >= rival.shape.total and self.kept(shape) >= _ALIKE_KEPT for shape in freely)

    def _fewer(self, best: Candidate) -> Candidate | None:
        """Return half as many lanes as the best shape, or as the next larger one, where lanes stand in a line.

        They may do as well, or better: what they stand in line for may cost the more, the longer the line.
        """
        if self._drifting or not self.is_held_up(best.shape):
            return None
        workers = best.shape.workers
        tried = sorted(each.lanes for each in self.rates if each.workers == workers and each.lanes >= best.shape.lanes)
        for lanes in tried[:2]:
            shape, half = Shape(workers, lanes), Shape(workers, (lanes + 1) // 2)
            if half not in self.rates:
                promised = self._known[shape].predicted * half.total / shape.total
                return self._known.setdefault(half, Candidate(half, promised, self._known[shape].children))
        return None

    def _close(self, one: Shape, other: Shape) -> bool:
        """Say whether it is in doubt which is better: near each other, or the better one had the smaller items."""
        guesses = int(self._stale and self._base.shape in (one, other))
        if len(self.rates[one]) + len(self.rates[other]) - guesses >= _MOST_LOOKS:
            return False
        worse, better = sorted((one, other), key=self.mean)
        lead = self.mean(better) / self.mean(worse)
        small, large = self._sizes.get(better, 0.0), self._sizes.get(worse, 0.0)
        unlike = large > _UNLIKE * small > 0 and not self._alike
        if unlike:
            lead *= small / large
            self._drifting = True
        needed = self._needed(max(one, other, key=cost_of))
        if cost_of(better) < cost_of(worse):
            return lead < _CLOSE_BEHIND / needed
        return lead < max(_CLOSE, needed) and (unlike or lead > needed / _CLOSE_BEHIND)

    def mean(self, shape: Shape) -> float:
        """Return the geometric mean of a shape's windows, in items a second.

        Where the cost of items drifts along the input, only the last window of each counts: those two stand together.
        """
        rates = [max(rate, 1e-12) for rate in self.rates[shape]]
        if self._drifting:
            rates = rates[-1:]
        return math.exp(sum(map(math.log, rates)) / len(rates))

    @property
    def best(self) -> Candidate:
        """The best candidate that was measured; of two that are about equal, the cheaper."""
        ranked = sorted(self.rates, key=cost_of)
        best = ranked[0]
        for shape in ranked[1:]:
            if self.mean(shape) > self._needed(shape) * self.mean(best):
                best = shape
        return self._known[best]

    def kept(self, shape: Shape) -> float:
        """Return the share of its promise that a shape keeps, 1 at most, also where nothing is promised."""
        promised = self._known[shape].predicted
        return min(1.0, self.mean(shape) / promised) if promised < math.inf else 1.0

    def is_held_up(self, best: Shape) -> bool:
        """Say whether as many lanes as the best shape has in each worker, or more, stand in a line."""
        more = (shape for shape in self.rates if shape.workers == best.workers and shape.lanes >= best.lanes)
        return any(self._stands_in_line(shape) for shape in more)

    def _stands_in_line(self, shape: Shape) -> bool:
        """Say whether lanes starve; or keep little of their promise, and do little more than fewer did."""
        if shape in self._starving:
            return True
        fewer = [self.mean(other) for other in self.rates if other.total < shape.total]
        little = bool(fewer) and self.mean(shape) < _GAINED * min(fewer)
        return little and self.kept(shape) < _HELD_UP

    def _needed(self, shape: Shape) -> float:
        """Return what a shape must be better by than a cheaper one: what binds it may be nothing that is known."""
        kept = 1.0 if self._drifting else self.kept(shape)  # What is promised is of items like the first.
        return 1 + (self._margin - 1) / max(kept, 1e-9)
