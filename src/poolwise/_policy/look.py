"""The look: what executions in one shape show of the items' demands, and whether items later became other ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from poolwise._core.model import Done, Shape
from poolwise._policy.demands import Demands, Estimate, Knock, covered_seconds, guessed_kind, held_share, mean_estimate
from poolwise._policy.gauge import Gauge

ENOUGH = 64  # Executions that tell of the items.
_MOST_SPANS = 4096
_FEW = 8
_FULL = 0.75  # Share of the GIL or of the cores beyond which lanes wait for each other.
_CLEAR_WIDTH = 0.35
IDLE = 0.15  # Share of the cores: where fewer are idle, they are used up.
_COMPUTING = 0.95  # Share of an item's time beyond which it does not seem to wait.
_SHORT_SECONDS = 0.002  # A run that is over by then does not read what the machine did.
_TOLD_SECONDS = 0.02  # Of work: what is counted in steps of 10 ms tells nothing of less.
_OVERLAP = 1.3  # Lanes that execute so many items at a time, or fewer, execute one after the other.
_FEWEST_SPANS = 12
_RESPONSES = 5

_WINDOW_SECONDS = 0.25
_WINDOW_ITEMS = 3
_OTHER = 2.5  # Items whose mean time is so many times that of before, or so many times less, are other ones.
_COMPUTES = 0.2  # Share of the time beyond which the CPU of an item is compared as well.
_ALIKE = 0.25  # Shares of computing that differ by no more than this are of the same kind of work.
_CLEARLY_OTHER = 10.0  # So many times: half as many windows are enough to believe it.
_PATIENCE, _MOST_PATIENCE = 4, 128


@dataclass(frozen=True, slots=True)
class Facts:
    """What the engine tells when it asks for a move.

    Attributes:
        now: clock reading, in seconds.
        remaining: items not settled yet, or None where that is not known.
        cpu_seconds: CPU that this process has used while items ran, in all its threads.
        children_seconds: CPU of commands that items started, as far as they ended.
        knocks: asks for what the knocker heard.
        ready: the shape that was to be warmed can take work now.
        wire: seconds to send and fetch an item and its value, once that was asked for.
        refusal: why no child process can be used, where that is so.
        bytes: what an item and its value occupy, or None.
        starved: there was less to do than there are lanes.
        idle: asks for the core-seconds for which the usable cores have been idle, or None where that is not known.
        delayed: asks for the seconds for which the lanes' threads stood in line for a core, or None where that is
            not known.
        stolen: asks for the core-seconds for which the usable cores have been busy, and for which the host of this
            virtual machine ran something else when they should have been, or None where that is not known.
        running_since: asks whether an execution runs that began before a clock reading.
        can_knock: this interpreter has a GIL to knock at.
        alone: what else runs in this process is not counted: no other stage of a pipeline does.
        quiet: nothing runs in other stages that is in the way of a measurement.
        ahead: the next stage has enough to do: to be quicker would bring nothing now.
    """

    now: float
    remaining: int | None
    cpu_seconds: float
    children_seconds: float
    knocks: Callable[[], Sequence[Knock]]
    ready: bool
    wire: float | None
    refusal: str | None
    bytes: float | None
    starved: bool
    idle: Callable[[], float | None] = lambda: None
    delayed: Callable[[], float | None] = lambda: None
    stolen: Callable[[], tuple[float, float] | None] = lambda: None
    running_since: Callable[[float], bool] = lambda _: False
    can_knock: bool = True
    alone: bool = True
    quiet: bool = True
    ahead: bool = False


class Seen:
    """Sums over executions; the very first counts only while there is no other."""

    def __init__(self) -> None:
        self.items = self.failed = 0
        self.seconds = self.squares = self.cpu = 0.0
        self.cpu_known = True
        self.spans: list[tuple[float, float]] = []
        self._first = True

    def add(self, done: Done, failed: int) -> None:
        """Take in an event; `failed` of its executions did not end well, and do not count where they can be told."""
        count = len(done.values)
        if count == 0:
            return
        all_failed = done.clocks is not None and failed == count  # Such tell nothing, and displace nothing.
        if self._first and self.items > 0 and not all_failed:
            self._first = False
            if self.items == 1:
                self.items = self.failed = 0
                self.seconds = self.squares = self.cpu = 0.0
                self.spans.clear()
        self.failed += failed
        leads = self._first and self.items == 0 and count > failed + 1  # The very first is in it, and other good ones.
        if done.clocks is not None and (failed or leads):
            self._first = self._first and not leads
            self._add_good(done, int(leads))  # To fail may be quicker than to succeed.
        else:
            self.items += count
            self.seconds += done.seconds
            self.squares += done.seconds * done.seconds / count
            if done.clocks is not None:
                self.squares += sum(seconds * seconds for _, seconds, _ in done.clocks) - done.seconds**2 / count
            if done.cpu_seconds is None:
                self.cpu_known = False
            else:
                self.cpu += done.cpu_seconds
        if len(self.spans) < _MOST_SPANS:
            self.spans.append((done.started, done.started + done.seconds))

    def _add_good(self, done: Done, skip: int) -> None:
        assert done.clocks is not None
        for position, (_, seconds, cpu) in enumerate(done.clocks[skip:], done.first + skip):
            if position not in done.failures:
                self.items += 1
                self.seconds += seconds
                self.squares += seconds * seconds
                self.cpu += cpu or 0.0

    @property
    def may_wait(self) -> bool:
        """By the cheap clocks alone these items might wait, which is worth a look at once."""
        return not self.cpu_known or (self.cpu < 0.25 * self.seconds and self.seconds > 0.0004 * self.items)

    @property
    def overlap(self) -> float | None:
        """How many executions ran at a time while any ran; None where too few are known."""
        if len(self.spans) < _FEWEST_SPANS:
            return None
        return sum(end - start for start, end in self.spans) / covered_seconds(sorted(self.spans))


class Look:
    """What is learned of the items while one shape runs.

    Args:
        shape: that runs.
        cores: usable ones.
        children: its lanes are in child processes.
        coroutine: its lanes are asyncio tasks of one event loop.
        before: what was known of the items until they became other ones, or None.
    """

    def __init__(
        self, shape: Shape, cores: float, *, children: bool, coroutine: bool, before: Demands | None = None
    ) -> None:
        self.shape = shape
        self.seen = Seen()
        self.later = Seen()  # With other lanes, where waiting work is concerned,
        self.later_since = math.inf  # and since when.
        self.gauge: Gauge | None = None
        self.began: float | None = None
        self.executed = 0
        self.was_starved = False  # There was less to do than there are lanes.
        self._cores = cores
        self._children = children
        self._coroutine = coroutine
        self._before = before
        self._base: tuple[float, int, float] | None = None  # CPU, executions and clock from where on they are items'
        self._attends_from = math.inf
        self._delayed_before: tuple[float, float | None] = (0.0, None)  # And when that was read.
        self._stolen_before: tuple[float, float] | None = None
        self._idle_before: tuple[float, float | None] | None = None

    def observe(self, done: Done, failed: int, now: float, *, first: bool, later: bool) -> None:
        """Take in an event.

        Args:
            done: the event; `failed` of its executions did not end well.
            failed: see there.
            now: clock reading.
            first: the shape is still that of this look.
            later: it is waiting work with other lanes.
        """
        if self.began is None:
            self.began = min(done.started, now)
            self.gauge = Gauge(self.shape.total, done.started, children=self._children)
        self.executed += len(done.values)
        if first:
            self.seen.add(done, failed)
        elif later and self.later.items < _MOST_SPANS:
            self.later_since = min(self.later_since, now)
            self.later.add(done, failed)
        if self.gauge is not None:
            self.gauge.add(done, len(done.values) - failed)

    def begin(self, facts: Facts) -> None:
        """What was executed and used until now is not to be told apart from what it cost to begin."""
        self._base = (facts.cpu_seconds, self.executed, facts.now)
        self.attend(facts)

    def attend(self, facts: Facts) -> None:
        """What lanes stood in line for until now is no item's."""
        self._attends_from, self._delayed_before, self._stolen_before = facts.now, (facts.now, facts.delayed()), None
        self._idle_before = None if facts.alone else (facts.now, facts.idle())

    def see(self, facts: Facts) -> None:
        """Look at the machine, unless the run may soon be over: that takes a while, and tells of longer times."""
        if facts.now - self._attends_from > _SHORT_SECONDS:
            self._attends_from, self._stolen_before = math.inf, facts.stolen()

    def is_crowded(self, facts: Facts) -> bool:
        """Say whether the stages of a pipeline leave no core idle: what stands in line there seems to wait."""
        if self._idle_before is None:
            return False
        before, idle = self._idle_before[1], facts.idle()
        return (
            before is not None
            and idle is not None
            and idle - before < IDLE * self._cores * (facts.now - self._idle_before[0])
        )

    @property
    def is_based(self) -> bool:
        """`begin` was called."""
        return self._base is not None

    def since_base(self, facts: Facts) -> tuple[float, int, float]:
        """Return the CPU seconds, the executions and the seconds since `begin`."""
        cpu, executed, at = self._base or (0.0, 0, facts.now if self.began is None else self.began)
        return facts.cpu_seconds - cpu, self.executed - executed, facts.now - at

    @property
    def blocks(self) -> bool:
        """The items are coroutines that never overlap: they block their event loop."""
        if not self._coroutine or self.was_starved or self.shape.total < _FEWEST_SPANS:
            return False
        overlap = self.seen.overlap
        return overlap is not None and overlap < _OVERLAP

    @property
    def mean_seconds(self) -> float | None:
        """Of an execution, as it was in this shape."""
        return self.seen.seconds / self.seen.items if self.seen.items else None

    def estimate(self, facts: Facts) -> Demands:
        """Return what an item needs, as far as it is known."""
        seen = self.seen
        whole = mean_estimate(seen.items, seen.seconds, seen.squares)
        cpu, native, children = self._cpu(whole.value, facts)
        total = cpu + native + children
        response, held, stolen = self._undisturbed(whole, total, facts)
        return Demands(
            response,
            Estimate(total, total * 0.9, total * 1.1),
            held,
            facts.wire,
            facts.bytes,
            native,
            children,
            seen.items,
            seen.failed,
            response.value if self.blocks else None,
            stolen,
        )

    def _cpu(self, response: float, facts: Facts) -> tuple[float, float, float]:
        """Return the CPU seconds of an item: of its own thread, of threads that it uses, and of child processes."""
        seen = self.seen
        children = facts.children_seconds / max(1, self.executed)
        if not seen.cpu_known:
            return min(self._process_cpu(facts), response * self._cores), 0.0, children
        cpu = seen.cpu / seen.items
        in_flight = self._in_flight_cpu(response, facts) / max(1, self.executed)
        others = self._process_cpu(facts) - cpu - in_flight
        told = facts.alone and not self._children and others > 0.3 * response and others * seen.items > 0.002
        return cpu, others if told else 0.0, children

    def _undisturbed(self, response: Estimate, total: float, facts: Facts) -> tuple[Estimate, Estimate | None, float]:
        """Return how long an item takes where nothing is in its way, its hold on the GIL, and what was stolen of it.

        Args:
            response: how long it took.
            total: its CPU seconds.
            facts: of now.
        """
        held = self._held(facts) or self._held_before(total / max(response.value, 1e-12))
        waits = total <= _COMPUTING * response.value  # Or seems to: an item that gets no core does not.
        stolen = total * self._stolen(facts) if waits else 0.0
        if waits:
            response = response.lowered(stolen + self._in_line(facts), min(response.value, total))
        # After that, as who stands in line for a core may hold the GIL meanwhile.
        held = None if held is None else held.scaled(response.value)
        if held is not None and not facts.alone:  # Others hold the GIL as well; an item that does so computes.
            held = held.bounded(total)
        return self._alone(response, total, held, facts), held, stolen

    def reconsidered(self, demands: Demands, now: float) -> Demands | None:
        """The first item may have connected, or imported; return better demands once more items tell of them.

        With many lanes later ones may have stood in line, so they are never taken to need longer. What ends first is
        what was short: they are looked at for a few response times.
        """
        later = self.later
        if now - self.later_since < _RESPONSES * demands.response.value:
            return None
        if demands.items >= _FEW or later.items < ENOUGH:  # One in ten may wait: a few tell nothing.
            return None
        response = mean_estimate(later.items, later.seconds, later.squares)
        if response.value > 1.1 * demands.response.value:
            response = demands.response
        cpu = later.cpu / later.items if later.cpu_known else demands.cpu.value
        return replace(
            demands,
            response=response,
            cpu=Estimate(cpu, cpu * 0.9, cpu * 1.1),
            items=demands.items + later.items,
            failed=demands.failed + later.failed,
        )

    def _process_cpu(self, facts: Facts) -> float:
        """CPU seconds of an item, as the whole process used them."""
        cpu, executed, _ = self.since_base(facts)
        return cpu / max(1, executed)

    def _in_flight_cpu(self, response: float, facts: Facts) -> float:
        """Return the most CPU seconds that executions in other lanes, which have not ended, may have used so far."""
        lanes = self.shape.total
        _, _, elapsed = self.since_base(facts)
        return 0.0 if lanes == 1 else lanes * min(elapsed, 2 * response)

    def _held(self, facts: Facts) -> Estimate | None:
        """Return the share of its time for which an item holds the GIL."""
        if not facts.can_knock or self._children or self._coroutine:
            return None
        share = held_share(facts.knocks(), self.seen.spans)
        return None if share is None else share.scaled(1 / self.shape.total)

    def _held_before(self, busy_share: float) -> Estimate | None:
        """In child processes nobody knocks: what computes as much as before is taken to hold the GIL as much."""
        before = self._before
        if before is None or before.held is None or not self._children:
            return None
        response = max(before.response.value, 1e-12)
        if abs(before.cpu.value / response - busy_share) > _ALIKE:
            return None
        return before.held.scaled(1 / response)

    def _in_line(self, facts: Facts) -> float:
        """Return for how many seconds an item stood in line for a core; of child processes that is not known."""
        at, before = self._delayed_before
        if self._children or before is None or facts.now <= at:
            return 0.0
        delayed = facts.delayed()
        _, executed, elapsed = self.since_base(facts)
        share = 0.0 if delayed is None else max(0.0, delayed - before) / (facts.now - at)
        return share * elapsed / max(1, executed)

    def _stolen(self, facts: Facts) -> float:
        """Return for how many seconds a core was taken away for each second of its work."""
        before = self._stolen_before
        now = facts.stolen() if before is not None else None
        if before is None or now is None or now[0] - before[0] < _TOLD_SECONDS:
            return 0.0
        return max(0.0, now[1] - before[1]) / (now[0] - before[0])

    def _alone(self, response: Estimate, total: float, held: Estimate | None, facts: Facts) -> Estimate:
        """Return the response time of an item that nobody stands in line with.

        Where N lanes nearly use a resource up, R(N) <= R(1) + Q D with its demand D and the Q lanes that stand there:
        all others at most, and no more than U / (1 - U) at a utilisation U (M/M/1; Lazowska et al., ch. 5 and 6).
        """
        lanes = self.shape.total
        cpu, _, elapsed = self.since_base(facts)
        if lanes == 1 or self.blocks or elapsed <= 0:  # What blocks the loop stands in no line once it runs.
            return response
        cores = 1.0 if self._coroutine else self._cores
        hold = held.value if held is not None else 0.0
        used = hold * lanes / max(response.value, 1e-12)
        if not self._children:
            used = max(used, cpu / elapsed / cores)
        if used <= _FULL:
            return response
        before = min(lanes - 1, used / (1 - used)) if used < 1 else lanes - 1
        longest = max(total / cores, hold)
        return Estimate.exact(max(total, hold, response.value - before * longest))


def is_clear(demands: Demands) -> bool:
    """Say whether more knocks would hardly change the picture."""
    if guessed_kind(demands) == "unknown":
        return False
    held = demands.held
    return held is None or held.high - held.low < _CLEAR_WIDTH * demands.response.value or demands.items > ENOUGH


class Watch:
    """Notices that the items of a shape that is held have become other ones.

    Args:
        shape: that is held.
        since: clock reading, in seconds; executions that began before it belong to another shape.
        usual_seconds: mean time of an item in this shape, where that is known.
        patience: windows in a row that must differ; one that differs much counts twice.

    Attributes:
        mean_seconds: of an item, in the last window.
    """

    def __init__(
        self, shape: Shape, since: float, usual_seconds: float | None = None, patience: int | None = None
    ) -> None:
        self.shape = shape
        self.patience = _PATIENCE if patience is None else patience
        self._lanes = shape.total
        self.since = since
        self._usual_seconds = usual_seconds
        self._usual_cpu: float | None = None
        self._odd = 0
        self.mean_seconds = 0.0
        self._window = (0, 0.0, 0.0)

    def add(self, done: Done) -> None:
        """Take in an event."""
        if done.started < self.since:
            return
        items, seconds, cpu = self._window
        self._window = (
            items + len(done.values),
            seconds + done.seconds,
            cpu + (done.seconds if done.cpu_seconds is None else done.cpu_seconds),
        )
        if self._window[0] >= _WINDOW_ITEMS * self._lanes and self._window[1] >= _WINDOW_SECONDS * self._lanes:
            self._judge(*self._window)
            self._window = (0, 0.0, 0.0)

    def _judge(self, items: int, seconds: float, cpu: float) -> None:
        self.mean_seconds, cpu = seconds / items, cpu / items
        if self._usual_seconds is None:
            self._usual_seconds = self.mean_seconds
        ratio = _times(self.mean_seconds, self._usual_seconds)
        if self._usual_cpu is None and ratio < _OTHER:
            self._usual_cpu = cpu
        if (
            self._usual_cpu is not None
            and max(cpu / self.mean_seconds, self._usual_cpu / self._usual_seconds) > _COMPUTES
        ):
            ratio = max(ratio, _times(cpu, self._usual_cpu))  # As long as before, but it waits now, or no longer.
        self._odd = self._odd + (2 if ratio > _CLEARLY_OTHER else 1) if ratio > _OTHER else 0

    @property
    def changed(self) -> bool:
        """The items are other ones."""
        return self._odd >= self.patience

    @property
    def patience_next(self) -> int:
        """How many windows must differ next time, where a second look changed nothing."""
        return min(2 * self.patience, _MOST_PATIENCE)


def _times(one: float, other: float) -> float:
    """Return how many times the smaller of two demands the larger is."""
    return max(one, other, 1e-9) / max(min(one, other), 1e-9)
