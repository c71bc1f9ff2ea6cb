"""How many lanes waiting work should have: more for as long as more lanes pay.

The measure is throughput, never a delay: response times of unlike items say nothing about a server, and a fast refusal
would look like a fast server. One question is asked again and again, of the *elasticity* d ln X / d ln N: by what
share of one more per cent of lanes N does the throughput X of items that ended well grow? With lanes to spare at the
far end it is 1, at a full server 0, beyond a peak negative.

    grow   double while the elasticity says that it pays, at first every round while nothing fails, later with more
      |    evidence; then land where Little's law puts the knee
      |  \\
      |   ease   more errors than usual: cut, and climb back half-way to where they began
      |   shrink where even the first doubling did not pay: halve while that costs nothing
      |  /
    hold   stay; now and then try 30 % more or less (in the order A B B A) and move only if that pays;
           grow again where more lanes pay in full, or where throughput changed for good

Where lanes burden nothing but this machine, throughput alone counts: they are doubled for less, and on longer windows,
the better of two numbers stays, and longer steps are tried.

Prior art: TCP slow start and BIC (growth, the way back after errors), Netflix's Vegas and Gradient2 limiters and
.NET's hill climbing (what they reach in the same simulation is in `benchmarks/controllers.py`). Pure: no clock, no
randomness. What applies the number of lanes is the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from poolwise._policy.pack import batch_seconds

PAYS = 0.35  # doubling goes on at this elasticity: 1.27 x the throughput for 2 x the lanes
PAYS_CLEARLY = 0.6  # at this one a window of one turn a lane is proof enough
CHEAP_PAYS, CHEAP_WORTH = 0.10, 0.05  # the same where lanes are a burden to nothing but this machine
WORTH = 0.30  # the price of lanes while holding: the best N is where ln X - 0.3 ln N is greatest
FEW = 4  # lanes that need no proof: fewer would hardly be cheaper
HEADROOM = 1.1  # lanes above Little's law, so that no slot idles between two items of a lane
LINE = 1.15  # response times this much longer mean that items stand in line
STEP = 1.3  # what a probe adds, or takes away
FREE_STEP = 1.6  # the same where more lanes burden nobody: throughput is flat there, and a longer lever sees more

ERROR_SHARE = 0.05
FEWEST_ERRORS = 3
CUT = 0.7
LEVER = 0.6  # cuts to this share of the lanes show whether successes fall with them
MASSIVE = 0.5  # at this share of errors, cutting comes before asking why
NEAR = 1.06  # as near to where errors began as the way back leads

SHORTEST_WINDOW = 24  # turns: with a variation of 0.5, the rate of a window is known to 10 %
SHIFT = math.log(1.3)  # a lasting change of throughput at unchanged lanes
MOST_BLOCKS = 3  # of four windows, until a probe decides by its mean
PLAINLY = 3  # times its noise beyond the price, and a probe's first two windows are enough to give it up
DOUBT = 4  # times the shortest window: how long one of growth lasts where lanes are free
BETTER = 1.03  # more throughput than this, and the last doubling stays where lanes cost nothing
LOW = 0.85  # share of the throughput before a landing, below which it was too low
FIRST_REST = 3  # windows after a landing
LONGEST_REST = 12  # windows between two probes
LUMPS = 1.5  # items a turn from which on lanes take batches, and tell of what they did when a batch is over


@dataclass(slots=True)
class _Window:
    """What ended since a moment. `turns` are the times a lane became free: items, or batches of them."""

    began_at: float | None = None
    now: float = 0.0
    completed: int = 0
    failed: int = 0
    turns: int = 0
    seconds: float = 0.0

    def add(self, now: float, completed: int, failed: int, seconds: float, turns: int) -> None:
        self.now = max(self.now, now)
        self.completed += completed
        self.failed += failed
        self.turns += turns
        self.seconds += seconds

    @property
    def elapsed_seconds(self) -> float:
        return self.now - self.began_at if self.began_at is not None else 0.0

    @property
    def measurable(self) -> bool:
        """Whether it has a throughput: time has passed and something ended well."""
        return self.completed > 0 and self.elapsed_seconds > 0

    @property
    def per_second(self) -> float:
        """Throughput. It counts from the last end before the window, so that a lump of ends is not a high rate."""
        return self.completed / self.elapsed_seconds

    @property
    def error_share(self) -> float:
        return self.failed / max(1, self.completed + self.failed)


def _elasticity(lanes: int, per_second: float, other_lanes: int, other_per_second: float) -> float:
    """Return d ln X / d ln N between two numbers of lanes; 0 where they are one."""
    lever = math.log(other_lanes / lanes)
    return math.log(other_per_second / per_second) / lever if lever else 0.0


class _Errors:
    """Which share of errors is too many, where they began, and whether they have to do with lanes at all."""

    __slots__ = ("_usual", "_usual_at_most", "ceiling", "evidence")

    def __init__(self) -> None:
        self.ceiling = 0  # the lanes at which errors came; 0: none known
        self.evidence: tuple[int, float] | None = None  # lanes and throughput after the first of several cuts
        self._usual = self._usual_at_most = 0.0  # share of items that fail however many lanes there are

    def too_many(self, window: _Window) -> bool:
        """Say whether more failed than 5 % above what usually fails, and than chance explains."""
        ended = window.completed + window.failed
        allowed = (self._usual + ERROR_SHARE) * ended + 3 * math.sqrt(self._usual * ended)
        return window.failed >= FEWEST_ERRORS and window.failed > allowed

    def note_usual(self, window: _Window) -> None:
        """Follow the share that is usual, but not beyond 5 % or what it was once judged to be: it must not creep up."""
        self._usual = min(max(ERROR_SHARE, self._usual_at_most), self._usual + 0.1 * (window.error_share - self._usual))

    def come_anyway(self, window: _Window, lanes: int, *, at_bottom: bool) -> bool:
        """Judge errors that outlasted a cut: if the successes fell with the lanes, lanes are not what causes them.

        A server that refuses what is too much succeeds as often with fewer lanes; items that fail by themselves
        (a link that is dead) do so in the same proportion. At the fewest lanes there is nothing left to cut.
        """
        if window.completed < SHORTEST_WINDOW or not window.measurable:
            return False
        if not at_bottom:
            if self.evidence is None:
                self.evidence = (lanes, window.per_second)
            first_lanes, first_per_second = self.evidence
            if lanes > first_lanes * LEVER:
                return False
            if _elasticity(first_lanes, first_per_second, lanes, window.per_second) < PAYS_CLEARLY:
                return False
        share = window.error_share
        self._usual = self._usual_at_most = share + math.sqrt(share * (1 - share) / (window.completed + window.failed))
        self.ceiling = 0
        return True


@dataclass(slots=True)
class _Probe:
    """Windows at the base (A) and at other lanes (B), in the order A B B A: what drifts, drifts for both."""

    base: int
    other: int
    variance: float  # expected of ln X, from window to window
    worth: float  # the price of lanes
    rates: list[float]  # ln X, one a window

    @property
    def next_lanes(self) -> int:
        """Where the next window is measured; the base once there is nothing left to measure."""
        return self.other if len(self.rates) % 4 in (1, 2) else self.base

    @property
    def elasticity(self) -> float:
        """Return the mean over all windows: as many at either number of lanes."""
        at_base = self.rates[0::4] + self.rates[3::4]
        at_other = self.rates[1::4] + self.rates[2::4]
        return (sum(at_other) / len(at_other) - sum(at_base) / len(at_base)) / math.log(self.other / self.base)

    @property
    def undecided(self) -> bool:
        """Whether another window is needed: the block is not complete, or its answer is within its own noise.

        Two windows are enough where they plainly tell against the other lanes: each further one would cost as much.
        """
        if len(self.rates) == 2:
            return not self._plainly_worse
        if len(self.rates) % 4:
            return True
        return len(self.rates) < 4 * MOST_BLOCKS and not self.clear

    @property
    def clear(self) -> bool:
        """Whether the answer, worth it or not, is beyond its own noise."""
        return abs(self.elasticity - self.worth) > self.noise

    @property
    def noise(self) -> float:
        """Standard error of the elasticity, with as many windows at either number of lanes."""
        pairs = len(self.rates) // 2
        return self._deviation / abs(math.log(self.other / self.base)) * math.sqrt(2 / pairs)

    @property
    def _plainly_worse(self) -> bool:
        """Whether going to the other lanes is not worth it, beyond all doubt."""
        gain = self.elasticity - self.worth
        return (gain if self.other > self.base else -gain) < -PLAINLY * self.noise

    @property
    def other_per_second(self) -> float:
        at_other = self.rates[1::4] + self.rates[2::4]
        return math.exp(sum(at_other) / len(at_other))

    @property
    def _deviation(self) -> float:
        """Standard deviation of ln X of one window: as expected, and as seen in windows alike."""
        blocks = [self.rates[start : start + 4] for start in range(0, len(self.rates) // 4 * 4, 4)]
        seen = sum((block[0] - block[3]) ** 2 + (block[1] - block[2]) ** 2 for block in blocks) / 2
        return math.sqrt((2 * self.variance + seen) / (2 + 2 * len(blocks)))


class LaneChoice(Protocol):
    """Who chooses the number of lanes of a run; `LaneController` says what these mean."""

    local: bool
    cores_used_up: bool

    @property
    def lanes(self) -> int: ...

    @property
    def at_base(self) -> bool: ...

    @property
    def settled(self) -> bool: ...

    @property
    def knee(self) -> int | None: ...

    @property
    def refused(self) -> bool: ...

    def add(self, now: float, completed: int, failed: int, seconds: float, *, turns: int | None = None) -> int: ...

    def restart(self, now: float) -> None: ...


class LaneController:
    """Chooses the number of lanes from what ended, and when.

    Args:
        lanes: how many there are at first.
        most: how many there may ever be.
        fewest: how many there must always be.
        known: what fewer lanes did before: (lanes, items a second, response time in seconds), or None.
        backlog: things that a lane may hold at a time, the running one included; 0 where lanes go at once.
        shortest_seconds: of a window: in less, the system's own unevenness is all that is seen.

    Attributes:
        local: lanes are a burden to nothing but this machine (the work computes for a good part), so they cost little;
            whoever knows sets it.
        cores_used_up: this machine's cores, or what the processes can use of them, set the pace now; whoever knows sets
            it.
    """

    def __init__(
        self,
        lanes: int = 4,
        *,
        most: int = 512,
        fewest: int = 1,
        known: tuple[int, float, float] | None = None,
        backlog: int = 0,
        shortest_seconds: float = 0.0,
    ) -> None:
        self._fewest = max(1, fewest)
        self._most = max(self._fewest, most)
        self._backlog = backlog
        self.local = False
        self._shortest_seconds = shortest_seconds
        self._lanes = self._bounded(lanes)
        self._phase = "grow"
        self._first = self._base = self._lanes  # what is held; probes and the way back after errors start from here
        self._window = _Window()
        self._slow_start = True  # windows of one turn a lane that follow on each other, until a doubling is in doubt
        self._discard = 0  # turns that still tell of other lanes than now
        self._heard_at = -math.inf  # when new lanes will have told of a batch, where they take batches
        self._errors = _Errors()
        self._variation = 0.25  # of one turn, squared: the spread of its seconds over their mean
        self._below: tuple[int, float] | None = None  # lanes and throughput before the last doubling
        self._above = (self._lanes, 0.0)  # the same before the last halving
        self.cores_used_up = False
        self._landing: tuple[int, float] | None = None  # lanes that paid, and throughput, before a landing below them
        self._start_growth()
        if known is not None and 0 < known[0] < self._lanes and known[1] > 0:
            self._below = known[:2]
            self._idle_seconds, self._idle_items = known[2], 1
            self._proven = True
        self._start_hold(self._lanes)

    @property
    def lanes(self) -> int:
        """How many lanes there should be now."""
        return self._lanes

    @property
    def _free(self) -> bool:
        """Whether lanes are a burden to nothing but this machine: then they cost little."""
        return self.local or self.cores_used_up

    @property
    def _pays(self) -> float:
        return CHEAP_PAYS if self._free else PAYS

    @property
    def _worth(self) -> float:
        """The price of lanes; where the cores are used up, fewer of them spare nobody anything."""
        return 0.0 if self.cores_used_up else CHEAP_WORTH if self.local else WORTH

    @property
    def at_base(self) -> bool:
        """Whether the lanes are those that are held, and no probe of others."""
        return self._phase == "hold" and self._lanes == self._base

    @property
    def settled(self) -> bool:
        """Whether growth has ended: at the knee, at errors, or at the most lanes allowed."""
        return self._phase not in ("grow", "shrink")

    @property
    def knee(self) -> int | None:
        """The lanes beyond which more do not pay; None while growing, and where only `most` ended growth."""
        return self._base if self.settled and self._base < self._most else None

    @property
    def refused(self) -> bool:
        """Whether it is errors that keep the lanes from being more."""
        return self._errors.ceiling > 0

    def add(self, now: float, completed: int, failed: int, seconds: float, *, turns: int | None = None) -> int:
        """Take in what ended.

        Args:
            now: when it was seen, in seconds on any clock that does not go back.
            completed: items that ended well.
            failed: items that did not. They are never throughput.
            seconds: response times of the completed items in their lanes, summed up.
            turns: how often a lane became free: the batches, where a lane takes several items at a time. By default
                every item is a turn.

        Returns:
            How many lanes there should be from now on.
        """
        turns = completed + failed if turns is None else turns
        if self._slow_start and self._window.began_at is None:  # It began when the first item did.
            self._window.began_at = now - seconds / max(1, turns)
        if self._discard > 0 or now < self._heard_at or self._window.began_at is None:
            self._discard -= turns
            self._window = _Window(began_at=now, now=now)
            return self._lanes
        if failed:
            self._slow_start = False
        self._window.add(now, completed, failed, max(0.0, seconds), turns)
        if self._phase == "ease":
            self._ease()
        elif self._errors.too_many(self._window):
            self._retreat()
        elif self._window.measurable and self._is_long_enough(self._window):
            self._errors.note_usual(self._window)
            if self._phase == "grow":
                self._grow()
            elif self._phase == "shrink":
                self._shrink()
            else:
                self._hold()
        return self._lanes

    def restart(self, now: float) -> None:
        """Forget the window that is being measured: something else than the lanes kept them from their work.

        Args:
            now: in seconds, on the clock of `add`.
        """
        self._window = _Window(began_at=now, now=now)
        self._discard = self._lanes

    # --- growing

    def _start_growth(self) -> None:
        self._phase = "grow"
        self._below = None
        self._proven = False  # the lanes that growth began with are known to have paid
        self._idle_seconds, self._idle_items = 0.0, 0  # response times while there was no line yet

    def _grow(self) -> None:
        """Judge the last doubling, with twice the evidence where one turn a lane leaves doubt, or lanes are free."""
        window = self._window
        short = self._is_short_in_doubt(window)
        if self._free and short:
            return None  # There is no hurry, and the next doubling will be held against this window.
        if self._below is None:
            self._note_idle(window)
            return self._settle(self._lanes, rest=FIRST_REST) if self.cores_used_up else self._double()
        lanes, per_second = self._below
        elasticity = _elasticity(lanes, per_second, self._lanes, window.per_second)
        if elasticity >= PAYS_CLEARLY:
            self._note_idle(window)
        elif self._slow_start:
            return self._end_slow_start(lanes)
        elif short:
            return None
        if elasticity >= self._pays:
            self._proven = True
            return self._double()
        if not self._proven and lanes > FEW and not self.cores_used_up:
            # Their response times may be those of a line already: no use for Little.
            return self._begin_to_shrink(lanes, per_second)
        return self._land(max(per_second, window.per_second))

    def _end_slow_start(self, lanes: int) -> None:
        """Grow on from the last lanes that clearly paid, measured with more care: so far the short items came first."""
        self._slow_start = False
        if self._lanes == self._first or self._free:  # What fewer did was known beforehand; fewer would spare nobody.
            return self.restart(self._window.now)
        self._start_growth()
        self._proven = lanes > self._first
        return self._set(lanes)

    def _is_short_in_doubt(self, window: _Window) -> bool:
        """Say whether twice the evidence is still to come.

        Where lanes are free, as many turns may be short beside the unevenness of the system itself.
        """
        shortest = DOUBT * self._shortest_seconds if self._free else 0.0
        return window.turns < 2 * self._window_turns() or window.elapsed_seconds < shortest

    def _note_idle(self, window: _Window) -> None:
        """Pool response times for as long as they do not grow: the more items, the surer the landing."""
        if self._below is None or window.seconds * self._idle_items <= LINE * self._idle_seconds * window.completed:
            self._idle_seconds += window.seconds
            self._idle_items += window.completed

    def _double(self) -> None:
        if self._lanes >= self._most:
            return self._settle(self._lanes)
        self._below = (self._lanes, self._window.per_second)
        return self._set(2 * self._lanes)

    def _land(self, per_second: float) -> None:
        """Go where Little's law puts the knee: as many lanes as items are being served, N = X R (Little, 1961).

        Where lanes are a burden to nobody else, the better of the two stays.
        """
        if self._free and self._below:
            lanes, before = self._below
            return self._settle(self._lanes if self._window.per_second > BETTER * before else lanes, rest=FIRST_REST)
        if self._idle_seconds > 0:
            knee = round(HEADROOM * per_second * self._idle_seconds / self._idle_items)
        else:  # growth began at a probe, with lines perhaps: the lanes that paid are all that is known
            knee = self._below[0] if self._below else self._lanes
        proven = self._below[0] if self._below else self._lanes
        self._settle(min(self._lanes, knee), rest=FIRST_REST)
        if self._base < proven:
            self._landing = (proven, per_second)
        return None

    # --- shrinking

    def _begin_to_shrink(self, lanes: int, per_second: float) -> None:
        self._phase = "shrink"
        self._above = (lanes, per_second)
        self._set(lanes // 2)

    def _shrink(self) -> None:
        """Judge the last halving: where it cost throughput, the knee is between."""
        window = self._window
        lanes, per_second = self._above
        if self._lanes >= lanes:  # There are no fewer.
            return self._settle(self._lanes)
        elasticity = _elasticity(self._lanes, window.per_second, lanes, per_second)
        if self._free and self._is_short_in_doubt(window):
            return None
        if elasticity < self._pays:
            self._above = (self._lanes, window.per_second)
            return self._settle(self._lanes) if self._lanes <= self._fewest else self._set(self._lanes // 2)
        if self._is_short_in_doubt(window):
            return None  # A doubt is worth a longer window: going back up is slow.
        if self._free:
            return self._settle(lanes, rest=FIRST_REST)
        self._idle_seconds, self._idle_items = window.seconds, max(1, window.completed)
        knee = round(HEADROOM * per_second * self._idle_seconds / self._idle_items)
        return self._settle(max(self._lanes, min(lanes, knee)))

    # --- errors

    def _retreat(self) -> None:
        """Take lanes away at the first sign of errors: waiting for proof would cost many more."""
        if self._phase == "hold" and self._lanes > self._base:  # a probe found the ceiling: no harm done
            self._errors.ceiling = self._lanes
            return self._settle(self._base, rest=LONGEST_REST)
        self._errors.ceiling = self._lanes
        self._errors.evidence = None
        self._phase = "ease"
        self._base = self._lanes
        return self._cut()

    def _ease(self) -> None:
        """After a cut: cut on while errors go on, but only if they come of too many lanes; else climb back."""
        window, errors = self._window, self._errors
        if window.turns < max(SHORTEST_WINDOW, self._lanes):
            return None
        if not errors.too_many(window):
            errors.note_usual(window)
            return self._climb() if window.measurable else None
        at_bottom = self._lanes == self._fewest
        if window.completed < SHORTEST_WINDOW and (at_bottom or window.error_share <= MASSIVE):
            return None  # too few to tell what the errors come of
        if errors.come_anyway(window, self._lanes, at_bottom=at_bottom):
            self._start_growth()
            return self._set(self._lanes)
        errors.ceiling = self._lanes
        return self._cut()

    def _cut(self) -> None:
        self._set(math.floor(self._lanes * CUT))
        self._base = self._lanes

    def _climb(self) -> None:
        """Go half-way to where errors began (as TCP BIC does), and stay where that is near."""
        self._base = self._lanes
        self._errors.evidence = None
        target = (self._lanes + self._errors.ceiling) // 2
        if target <= self._lanes * NEAR:
            return self._settle(self._lanes, rest=LONGEST_REST)
        return self._set(target)

    # --- holding

    def _is_low(self, lanes: int, per_second: float) -> bool:
        """Say whether the landing lost throughput: where response times grow with the lanes, Little's law lands low."""
        return self._window.per_second < LOW * per_second and self._base < lanes

    def _settle(self, lanes: int, rest: int = 0) -> None:
        self._landing = None
        self._slow_start = False
        self._phase = "hold"
        self._set(lanes)
        self._start_hold(self._lanes, rest)

    def _start_hold(self, base: int, rest: int = 0) -> None:
        self._base = base
        self._rest = LONGEST_REST if self.cores_used_up else rest  # windows until the next probe
        self._probe: _Probe | None = None
        self._upward = True
        self._fruitless = 0
        self._usual: float | None = None  # ln of the throughput at the base
        self._shifted = 0  # windows in a row that differ from it

    def _hold(self) -> None:
        if self._landing is not None:
            lanes, per_second = self._landing
            self._landing = None
            if self._is_low(lanes, per_second):
                return self._settle(lanes, rest=FIRST_REST)
        rate = math.log(self._window.per_second)
        if self._lanes == self._base and self._has_shifted(rate) and not self.cores_used_up:
            return self._grow_again()
        if self._probe is not None:
            return self._go_on(self._probe, rate)
        if self._rest > 0:
            self._rest -= self._rest_taken()
            return self._set(self._lanes, discard=False)
        other = self._other_lanes()
        if other == self._base:
            self._upward = not self._upward
            self._rest = 1
            return self._set(self._lanes, discard=False)
        self._probe = _Probe(self._base, other, self._variance, self._worth, [rate])
        return self._set(other)

    def _rest_taken(self) -> int:
        """Return how many windows of single items this one was worth: rests must not last the longer for batches."""
        lump = (self._window.completed + self._window.failed) / max(1, self._window.turns)
        return 1 if self.cores_used_up else max(1, round(lump))

    def _has_shifted(self, rate: float) -> bool:
        """Say whether throughput differs from what was usual here, for the second window in a row."""
        if self._usual is None:
            self._usual = rate
        distance = rate - self._usual
        if abs(distance) <= max(SHIFT, 3 * math.sqrt(self._variance)):
            self._shifted = 0
            self._usual += 0.2 * distance
            self._variation += 0.1 * (distance**2 * self._window.turns - self._variation)
        else:
            self._shifted += 1
        return self._shifted >= 2

    @property
    def _variance(self) -> float:
        """Of ln X, from window to window at the base: that of a mean of so many turns."""
        return self._variation / max(SHORTEST_WINDOW, 2 * self._base)

    def _grow_again(self) -> None:
        """Begin anew from half the lanes: what is known of response times may be as old as the throughput."""
        self._start_growth()
        self._proven = True  # These lanes, or nearly as many, paid until now.
        self._set(math.ceil(self._base / 2))

    def _other_lanes(self) -> int:
        step = FREE_STEP if self._free else STEP
        if not self._upward:
            return self._bounded(min(self._base - 1, round(self._base / step)))
        return self._bounded(max(self._base + 1, round(self._base * step)))

    def _go_on(self, probe: _Probe, rate: float) -> None:
        probe.rates.append(rate)
        if probe.undecided:
            self._set(probe.next_lanes)
            return
        self._set(probe.base)
        self._probe = None
        if (probe.elasticity > probe.worth) == self._upward:
            self._move(probe)
        else:
            self._fruitless += 1
            self._upward = not self._upward
            self._rest = LONGEST_REST if self.cores_used_up else min(LONGEST_REST, 4 + 2 * self._fruitless)

    def _move(self, probe: _Probe) -> None:
        """Go to the lanes that were tried; where more of them pay in full, the knee is far away: double again."""
        if self._errors.ceiling <= probe.other:
            self._errors.ceiling = 0
        upward = self._upward
        self._settle(probe.other)
        self._upward = upward
        if upward and probe.elasticity - probe.noise >= self._pays and not self._errors.ceiling:
            self._start_growth()
            self._proven = True
            self._below = (self._base, probe.other_per_second)
            self._set(2 * self._base)

    # --- lanes and windows

    def _set(self, lanes: int, *, discard: bool = True) -> None:
        """Change the lanes, and begin a window once every lane had its turn under them."""
        lanes = self._bounded(lanes)
        if discard and lanes != self._lanes and not self._slow_start:
            # What the lanes that go have in hand, and before them, still tells of the time before.
            self._discard = lanes if lanes > self._lanes else max(1, self._backlog) * self._lanes
            if self._window.completed + self._window.failed > LUMPS * self._window.turns:
                usual = self._window.seconds / max(1, self._window.turns)
                self._heard_at = self._window.now + max(batch_seconds(lanes), usual)
        self._lanes = lanes
        self._window = _Window(began_at=self._window.now, now=self._window.now)

    def _is_long_enough(self, window: _Window) -> bool:
        return window.turns >= self._window_turns() and window.elapsed_seconds >= self._shortest_seconds

    def _window_turns(self) -> int:
        if self._slow_start:
            return self._lanes
        return max(SHORTEST_WINDOW, self._lanes if self._phase == "grow" else 2 * self._lanes)

    def _bounded(self, lanes: int) -> int:
        return max(self._fewest, min(self._most, lanes))
