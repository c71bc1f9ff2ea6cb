"""A pipeline: several engines, one behind the other, and what passes between them.

    offer ─> stage 1 ──values──> waiting ──room──> stage 2 ──values──> ... ─> the driver
                └──────failures──────────────────────┴───────────────────────────^

To its driver it is one engine: `offer`, `room`, `step`, `finished`. Behind that each stage has an engine of its own,
which a supervisor of its own steps, so that stages overlap whatever their shapes are. Whoever steps the pipeline moves
what has settled: a value is offered to the next stage as soon as there is room, a failure is final. Nobody else moves
anything, so an item is in one stage, waits before one, or is settled; it leaves once.

A stage holds those before it back without being asked: what it has no room for counts as being in the stage before
still, whose own room that takes, and so on to the input.

Under `auto` one stage at a time is measured: those that compute, or are to be measured too, start nothing meanwhile, as
they would use the same cores and the same GIL, and what it gives piles up, as far as bytes allow.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from poolwise._core.clock import Clock
from poolwise._core.model import Keeper, Running, Settled
from poolwise._engine import Engine
from poolwise._policy.timeline import Timeline
from poolwise._policy.verdict import class_of
from poolwise._policy.window import MOST_KNOWN, Window
from poolwise._supervisor import NUDGE, Nudge, Supervisor

if TYPE_CHECKING:
    from poolwise._policy.plan import Plan
    from poolwise._recorder import Recorder, Share

_JOIN_SECONDS = 5.0
_FEWEST_WORKERS = 2
_COMPUTES = 0.1  # Share of the time that its items take, from which on a stage is in the way of one that is measured.
_LOOK_SECONDS = 0.02
_AHEAD_SECONDS = 0.5  # Of work for each lane: as long as it takes to compare two shapes.
_MOST_MEASURED_SECONDS = 2.0  # Of a stage: longer than that the others never stand still for it.


@dataclass(slots=True, eq=False)
class Part:
    """One stage of a pipeline that runs.

    Attributes:
        name: by which outcomes and reports call it.
        engine: of this stage alone.
        recorder: of a journal that the stage has for itself, or None.
        waiting: what the stage before has settled, and this one has no room for: places in the input, and values.
        passed: items that have left it: they were offered to the next stage, or are settled.
        measured_seconds: for which the others have stood still for it.
        supervisor: steps the engine.
        input_over: the engine was told that nothing more will come.
    """

    name: str
    engine: Engine
    recorder: Recorder | None = None
    waiting: deque[tuple[Sequence[int], list[Any]]] = field(default_factory=deque)
    passed: int = 0
    measured_seconds: float = 0.0
    supervisor: Supervisor | None = None
    input_over: bool = False

    @property
    def in_hand(self) -> int:
        """Items that were offered and have not left."""
        return self.engine.taken - self.passed

    @property
    def measuring(self) -> bool:
        """Whether it is to be measured now."""
        return self.engine.helm.measuring and self.engine.busy and self.measured_seconds < _MOST_MEASURED_SECONDS

    @property
    def disturbs(self) -> bool:
        """Whether it is in the way of another one that is being measured."""
        meter, helm = self.engine.meter, self.engine.helm
        if self.engine.rules.spec.coroutine:  # What its items compute is not known of each.
            return True
        return helm.measuring or meter.cpu_seconds > _COMPUTES * meter.busy_seconds

    def offer(self, items: list[Any], first: int) -> None:
        """Take further items, consecutive from place `first` on; what the stage's own journal knows is not executed."""
        if self.recorder is None:
            self.engine.offer(items, first)
        else:
            self.engine.offer_shares(self.recorder.sift(items, first), first)


class Pipeline:
    """See the module's docstring. What it offers to drivers, and which thread may call it, is as for `Engine`.

    Args:
        stages: in order, not yet started.
        clock: what time it is.
        in_flight: most items taken and not yet yielded, or None.
        total: items, where that is known.
        keeper: makes outcomes durable, or None.
        key: the user's key function, or None.
    """

    inline = False

    def __init__(
        self,
        stages: Sequence[Part],
        clock: Clock,
        *,
        in_flight: int | None = None,
        total: int | None = None,
        keeper: Keeper | None = None,
        key: Callable[[Any], Any] | None = None,
    ) -> None:
        self.stages = stages
        self.clock = clock
        self.total = total
        self.keeper = keeper
        self.timeline = Timeline()
        self.taken = 0
        self.dropped = 0
        self.settled = 0
        self.recorded = 0
        self.failed = 0
        self.failures: dict[str, int] = {}
        self.started = clock.now()
        self.looks_further = False  # The first stage has room again, though perhaps nothing settled.
        self._in_flight = in_flight
        self._key = key
        self._known = 0
        self._measured: Part | None = None
        self._measured_at = self.started
        self._inbox: SimpleQueue[tuple[Part | None, Settled | BaseException | Nudge]] = SimpleQueue()
        self._origins: dict[int, Any] = {}  # Items of the input that are in a stage, by their place.
        self._input_over = False
        self._cancelled = False

    # -- the driver's side; any thread

    def start(self) -> None:
        """Open all stages."""
        self.started = self.clock.now()
        self.timeline.begin(self.started)
        for stage in self.stages:
            stage.engine.start()
        for stage in self.stages:
            put = partial(self._put, stage)
            stage.supervisor = Supervisor(stage.engine, put, executes=True, name=stage.name)
            stage.supervisor.start()

    def _put(self, stage: Part | None, thing: Settled | BaseException | Nudge) -> None:
        self._inbox.put((stage, thing))

    def offer(self, items: list[Any], first: int) -> None:
        """Take further items of the input, consecutive from place `first` on."""
        self._known = 0
        self._origins.update(enumerate(items, first))
        engine = self.stages[0].engine
        before = engine.taken
        try:
            self.stages[0].offer(items, first)
        finally:  # Those before one that has no key.
            self.taken += engine.taken - before

    def offer_known(self, part: Settled) -> None:
        """Take further items of the input with their outcomes."""
        number = len(part.indexes)
        part.stage = self.stages[-1].name
        self._known += number
        self.taken += number
        self._put(None, part)

    def offer_shares(self, shares: Iterable[Share], first: int) -> None:
        """Take further items of the input, consecutive from place `first` on, as a recorder has told them apart."""
        for share in shares:
            if share.items:
                self.offer(share.items, first)
            elif share.known is not None:
                self.offer_known(share.known)
            else:
                self.taken += share.count  # Their outcomes are those of items taken before.
            first += share.count

    def end_input(self) -> None:
        """There will be no more offers: finish what was taken."""
        self._input_over = True
        self.wake()

    def drain(self, *, ordered: bool) -> None:
        """As `Engine.drain`, of the first stage: what was started there goes through the others."""
        self.stages[0].engine.drain(ordered=ordered)

    def cancel(self) -> None:
        """Settle nothing more."""
        self._cancelled = True
        for stage in self.stages:
            stage.engine.cancel()
        self.wake()

    def wake(self) -> None:
        """End a `step` that waits."""
        self._put(None, NUDGE)

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self._cancelled

    @property
    def finished(self) -> bool:
        """Everything that was offered is settled or dropped and nothing more will come, or the run is cancelled."""
        return self._cancelled or (self._input_over and self.settled >= self.taken)

    def room(self, in_hand: int, *, waiting: bool) -> int:
        """Return how many further items may be offered now, or none; see `Engine.room`."""
        windows = [stage.engine.window() for stage in self.stages]
        known = min(self._known, MOST_KNOWN)
        inside = known + sum(window.near for window in windows) + (windows[0].far if self._measured else 0)
        bound = inside + windows[-1].far if waiting else inside
        if self._in_flight is not None:
            bound = min(bound, self._in_flight)
        return max(0, min(self._room(self.stages[0], windows[0]) + known, bound - in_hand))

    def _room(self, stage: Part, window: Window) -> int:
        """Return how many items a stage may take: few, but while it is measured, as many as bytes allow."""
        return (window.far if stage is self._measured else window.near) - stage.in_hand

    def close(self, *, drain: bool) -> None:
        """Let go of everything; nobody steps any more."""
        for stage in self.stages:
            if stage.supervisor is not None:
                stage.supervisor.outlast(_JOIN_SECONDS)
            stage.engine.close(drain=drain)

    # -- what is told of it

    @property
    def slowest(self) -> Part:
        """The stage whose lanes are busiest: it is what the others wait for."""
        return max(self.stages, key=lambda stage: stage.engine.meter.busy_seconds / stage.engine.shape.total)

    @property
    def plan(self) -> Plan:
        """The plan of the slowest stage, as it stands."""
        return self.slowest.engine.plan

    @property
    def deciding(self) -> bool:
        """Whether a stage compares shapes."""
        return any(stage.engine.deciding for stage in self.stages)

    @property
    def shape(self) -> str:
        """The shapes of the stages, as text: "1x32 | 1x2"."""
        return " | ".join(str(stage.engine.shape) for stage in self.stages)

    @property
    def abandoned(self) -> int:
        """Threads that were given up."""
        return sum(stage.engine.abandoned for stage in self.stages)

    # -- the machine; one thread at a time

    def step(self, timeout: float) -> list[Settled]:
        """Move everything on that can move; wait up to `timeout` seconds for a stage.

        Raises:
            BackendError: where the workers of a stage as a whole cannot do the work.
            JournalError: a journal cannot be read or written.
        """
        first = self.stages[0]
        before, final = first.passed, list[Settled]()
        for stage, thing in self._arrived(timeout if self._measured is None else _LOOK_SECONDS):
            if isinstance(thing, BaseException):
                raise thing
            if isinstance(thing, Settled):
                if stage is None:
                    final.append(thing)
                else:
                    final += self._take_in(stage, thing)
        for previous, stage in reversed(list(zip(self.stages, self.stages[1:]))):
            self._forward(previous, stage)
        self._end_inputs()
        self._measure()
        if self.keeper is not None and final:
            final = self.keeper.keep(final)
        for part in final:
            self._record(part)
        self._end_drain()
        self.looks_further = first.passed > before or self._measured is first
        return final

    def _end_drain(self) -> None:
        """What is in no stage any more, and not settled, was dropped by the first one."""
        if not self.stages[0].engine.dropped or not all(stage.input_over for stage in self.stages):
            return
        if self._inbox.empty() and not any(stage.in_hand for stage in self.stages):
            self.dropped += self.taken - self.settled
            self.taken = self.settled

    def _arrived(self, timeout: float) -> Iterator[tuple[Part | None, Settled | BaseException | Nudge]]:
        try:
            yield self._inbox.get(timeout=timeout)
        except Empty:
            return
        for _ in range(self._inbox.qsize()):  # What comes meanwhile is for the next step.
            yield self._inbox.get_nowait()

    def _take_in(self, stage: Part, part: Settled) -> Iterator[Settled]:
        """Put what a stage has settled before the next one; yield what is final."""
        last = stage is self.stages[-1]
        origins = [self._origins[index] for index in part.indexes]
        part = Settled(
            part.indexes, origins, part.values, part.errors, part.done, part.offset, part.attempt, part.at,
            recorded=part.recorded, stage=self.stages[-1].name,
        )  # fmt: skip
        stage.engine.timeline.hand(part, self._key)
        for error in part.errors.values():
            error.stage = stage.name
        if last and part.recorded is None:
            yield self._leave(stage, part)
            return
        begin = 0
        for end in [*(range(len(origins)) if last else sorted(part.errors)), len(origins)]:
            if begin < end and not last:
                following = self.stages[self.stages.index(stage) + 1]
                following.waiting.append((part.indexes[begin:end], part.values[begin:end]))
            if end < len(origins):
                yield self._leave(stage, _one(part, end, self.clock.epoch))
            begin = end + 1

    def _leave(self, stage: Part, part: Settled) -> Settled:
        """Items end here."""
        stage.passed += len(part.indexes)
        for index in part.indexes:
            del self._origins[index]
        return part

    def _forward(self, previous: Part, stage: Part) -> None:
        """Offer a stage what waits for it, as far as it has room."""
        while stage.waiting:
            room = self._room(stage, stage.engine.window())
            if room < 1:
                return
            indexes, values = stage.waiting.popleft()
            if len(values) > room:
                stage.waiting.appendleft((indexes[room:], values[room:]))
                indexes, values = indexes[:room], values[:room]
            stage.offer(values, indexes[0])
            previous.passed += len(values)

    def _end_inputs(self) -> None:
        """Tell each stage whose input is over that it is."""
        over = self._input_over
        for stage in self.stages:
            if over and not stage.input_over:
                stage.input_over = True
                stage.engine.end_input()
            over = over and stage.in_hand == 0

    def _measure(self) -> None:
        """Let one stage be measured, if one is to be: what would be in its way starts nothing meanwhile."""
        now = self.clock.now()
        if self._measured is not None:
            self._measured.measured_seconds += now - self._measured_at
        self._measured_at = now
        if self._measured is None or not self._measured.measuring:
            self._measured = next((stage for stage in self.stages if stage.measuring), None)
        for stage in self.stages:
            paused = self._measured not in (None, stage) and stage.disturbs
            if stage.engine.paused is not paused:
                stage.engine.paused = paused
                stage.engine.wake()

    def _record(self, part: Settled) -> None:
        number = len(part.indexes)
        part.stage = self.stages[-1].name
        self.settled += number
        self.recorded += number if part.recorded is not None else 0
        self.failed += len(part.errors)
        for error in part.errors.values():
            name = class_of(error)
            self.failures[name] = self.failures.get(name, 0) + 1


def _one(part: Settled, position: int, epoch: float) -> Settled:
    """Return one item of a settled part as a part. What a journal of the stage knew ended when that says it did."""
    error = part.errors.get(position)
    one = Settled(
        [part.indexes[position]], [part.items[position]], [part.values[position]], {} if error is None else {0: error},
        part.done, part.offset + position, part.attempt, part.at, stage=part.stage,
    )  # fmt: skip
    if part.recorded is not None:
        known = part.recorded[position]
        one.at = Running(-1, 0, known.started - epoch, known.worker, known.lane), known.finished - epoch
        one.done, one.attempt = None, known.attempts
    return one


def others_cpu(stages: Sequence[Part], engine: Engine) -> float:
    """Return the CPU seconds that items of the other stages have used in this process."""
    return sum(stage.engine.meter.own_cpu_seconds for stage in stages if stage.engine is not engine)


def others_are_quiet(stages: Sequence[Part], engine: Engine) -> bool:
    """Say whether nothing runs in the other stages that is in the way of a measurement."""
    return not any(stage.engine.executes and stage.disturbs for stage in stages if stage.engine is not engine)


def is_ahead(stages: Sequence[Part], engine: Engine) -> bool:
    """Say whether the next stage has enough in hand for a while, so that this one is not what the run waits for."""
    place = next(number for number, stage in enumerate(stages) if stage.engine is engine)
    if place + 1 == len(stages):
        return False
    following = stages[place + 1]
    meter = following.engine.meter
    mean_seconds = meter.busy_seconds / max(1, meter.items)
    items = following.in_hand + len(following.waiting)  # Parts that wait, of an item each at least.
    return items * mean_seconds > _AHEAD_SECONDS * following.engine.shape.total


def workers_share(stages: Sequence[Part], engine: Engine, cores: float) -> int | None:
    """Return the worker processes that a stage should have at most, by its share of the CPU that an item needs.

    None while a stage has executed nothing, as then its share is not known. Two at least, as one process would be this
    one, whose GIL all stages share.
    """
    needs = {stage.engine: stage.engine.meter.cpu_seconds / max(1, stage.engine.meter.items) for stage in stages}
    if not all(each.meter.items for each in needs) or sum(needs.values()) <= 0:
        return None
    return max(_FEWEST_WORKERS, math.ceil(cores * needs[engine] / sum(needs.values())))
