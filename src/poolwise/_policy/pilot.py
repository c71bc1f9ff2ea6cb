"""The pilot: from the first item to the last, which shape an `auto` run should have now, and why.

    PROBE ──waiting work──────────────────────────────> LANES  the lane controller, for ever; asks for a TRIAL
      │ ^                                                 ^    of workers where one process is used up
      ├─│─a rival promises more, and it pays──> TRIAL ────┤
      │ │                                        │        (what waits)
      │ └──the items became other ones──┐        │
      └──nothing promises more──────> HOLD <─────┘

Pure: values in (events, facts), values out (moves, plans). Nobody is asked to run an item a second time, and every item
that was run for a measurement is a real one. What moves the backend is the engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from poolwise._core.model import Done, Shape
from poolwise._policy.control import LaneChoice, LaneController
from poolwise._policy.demands import BUSY, Demands, Estimate, Kind, guessed_kind, held_share, kind_of
from poolwise._policy.look import IDLE, Facts, Look, Watch, is_clear
from poolwise._policy.plan import FEW_ITEMS, FIRST_LANES, Plan
from poolwise._policy.roofs import Candidate, Ground, Roof, lanes_of_each, roofs, shortlist, throughput
from poolwise._policy.trial import CHEAPER, SHORTEST_SECONDS, Trial
from poolwise._policy.use import UseMeter

_CHILDREN_SECONDS = 0.12  # From the wish for child processes to their first result (benchmarks/overhead.py, cold).
_THREADS_SECONDS = 0.002
_SHORTEST_PROBE_SECONDS = 0.03
_LONGEST_PROBE_SECONDS = 0.2
_KNOCK_AFTER_SECONDS = 0.001
_ENDLESS = 1 << 40
_BACKLOG = 2
_STUCK_LANES = 4
_LANE_WINDOW_SECONDS = 0.03
_WORTH_A_LOOK_SECONDS = 0.5
_LOOK_SECONDS = 0.005
_DRAINING_SECONDS = 1.0  # At most, until other stages of a pipeline have finished what they had begun.
_WARM_SECONDS = 15.0
_FULL = 0.75  # Share of one core that lanes of one process use: more lanes would only fight for the GIL.
_LETS_GO = 0.5  # Share of the time with the GIL held below which it cannot be what holds lanes back.
_FREE = 0.67  # The same where as many lanes as cores compute.
_IDLE = 0.4  # Share of one core below which lanes that do not help are held back by something inside the process.
_MANY_SECONDS = 0.05  # What many lanes must have run for, to tell of the items.
_PATIENT_LOOKS = 3  # In a row.
_PREPARE_SECONDS = 0.01
_EARLY_LOOKS, _EARLY_SECONDS = 2, 1.0  # While lanes still grow: looks in a row, and what is left for one process.
_PROMISING = 1.2  # Of worker processes, where the lanes use a process up: the cores that are left, over those in use.
_MUCH = 0.2  # Waiting share of mixed work from which on the lane controller looks for more than the roofs ask for.
_FEWEST_ITEMS, _ENOUGH_SECONDS = 4, 0.1  # That tell of work which does not clearly wait.
_WORTH_LEAVING = 1.1  # What waiting work must gain to leave this process: it pays for every item on the way.
_WINDOW_SHARE, _LANES_WINDOW_SHARE = 0.03, 0.02  # Of what is left: a window of a trial, and one of many lanes.
_LONGEST_WINDOW_SECONDS = 0.3


class Stage(Enum):
    """Where a run is in the drawing above."""

    PROBE = "probe"
    TRIAL = "trial"
    LANES = "lanes"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Move:
    """What the engine should do.

    Attributes:
        shape: to have now.
        warm: to get ready beside it, or None to let go of what was.
        ask_wire: find out what an item and its value cost to send, and whether they can be sent at all.
        knock: have the GIL knocked at.
        prepare: worker processes may be wanted soon.
    """

    shape: Shape
    warm: Shape | None = None
    ask_wire: bool = False
    knock: bool = False
    prepare: bool = False


class Pilot:
    """Steers one run.

    Args:
        plan: with the shape to start with.
        ground: what the machine and the user allow.
        coroutine: lanes are asyncio tasks.
        isolate: every worker is a child process.
        eager: lanes may grow from the start (the function waits, by what the user says or by what it is).
        long: choose as for a run without end.
        control: chooses the number of lanes, instead of a lane controller of the whole run.
        expected: CPU seconds that an item is known to use up of its process, or 0.0.
    """

    def __init__(
        self,
        plan: Plan,
        ground: Ground,
        *,
        coroutine: bool = False,
        isolate: bool = False,
        eager: bool = False,
        long: bool = False,
        control: LaneChoice | None = None,
        expected: float = 0.0,
    ) -> None:
        self.plan = plan
        self.ground = ground
        self.shape = plan.shape
        self.stage = Stage.PROBE
        self._coroutine = coroutine
        self._long = long
        self._isolate = isolate
        self._demands: Demands | None = None
        self._look = self._new_look()
        self._watch: Watch | None = None
        self._now = 0.0
        self._use = UseMeter(ground.cores)
        self._all = 0  # Executions that ended well.
        self._trial: Trial | None = None
        self._given_control = control
        self._control: LaneChoice | None = None
        self._grown_at = math.inf  # When growth ended for the first time in this stage.
        self._mixed = False  # By what was known when the lane controller began.
        self._unseen = False  # It is not known yet what the shape uses that won a trial.
        self._moved = False  # The window that is open is the first of its shape.
        self._warm: Shape | None = None
        self._warm_since, self._warm_after = 0.0, 0  # Since when, and after how many executions that ended well.
        self._reasons = list(plan.reasons)
        self._refusal: str | None = None
        self._prepared = self.in_children  # What worker processes need was started.
        self._expected = 0.0 if self.in_children or ground.most_workers < 2 else expected
        self._escalated = self._told_of_cores = self._reconsidered = False
        self._look_again_at = 1
        self._look_at = 0.0
        self._quiet_by: float | None = None  # The other stages of a pipeline will have drained, or are let be.
        self._steady: tuple[float, int] | None = None
        self._decided_after: int | None = None
        self._serial: float | None = None
        self._rates: dict[str, float] = {}
        if eager:
            self._enter_lanes(plan.shape)

    # -- what happened

    def attend(self, facts: Facts) -> None:
        """Work is about to begin."""
        self._look.attend(facts)

    def observe(self, done: Done, failed: int, now: float) -> None:
        """Take in an event; `failed` of its executions did not end well."""
        good = len(done.values) - failed
        self._all += good
        if self.stage is Stage.HOLD:
            assert self._watch is not None
            return self._watch.add(done)
        first = self.stage is Stage.PROBE or self._in_first_shape or self._demands is None
        self._look.observe(done, failed, now, first=first, later=self.stage is Stage.LANES)
        self._use.add(done)
        if self._trial is not None:
            self._trial.add(done, good)
        if self._control is not None and self.stage is Stage.LANES:
            turns = int(done.final or bool(done.returned))  # A batch of which the rest was given back is over.
            self._control.add(now, good, failed, done.seconds, turns=turns)
        return None

    @property
    def _in_first_shape(self) -> bool:
        """Rivals are being made ready, and what ran from the start runs on: more to learn from."""
        return self.stage is Stage.TRIAL and self._trial is not None and self._trial.untouched

    @property
    def in_children(self) -> bool:
        """The lanes are in child processes."""
        return self._isolate or self.shape.workers > 1

    @property
    def resting(self) -> bool:
        """The shape is held, and the items are those for which it was chosen: there is nothing to advance."""
        return self.stage is Stage.HOLD and (self._watch is None or not self._watch.changed)

    @property
    def held_from(self) -> float:
        """The clock reading from which on it rests, or its lanes have found their number; infinity before that."""
        if self.stage is Stage.LANES:
            return self._grown_at
        return self._watch.since if self._watch is not None and self.resting else math.inf

    def _new_look(self) -> Look:
        return Look(
            self.shape,
            self.ground.cores,
            children=self.in_children,
            coroutine=self._coroutine,
            before=self._demands,
        )

    # -- what to do

    def advance(self, facts: Facts) -> Move:
        """Return what should be done now."""
        self._now = facts.now
        self._look.see(facts)
        if facts.refusal is not None and self._refusal is None:
            self._refuse(facts.refusal)
        if self.stage is Stage.PROBE:
            return self._probe(facts)
        if self.stage is Stage.TRIAL:
            return self._try(facts)
        if self.stage is Stage.LANES:
            move = self._foresee(self._steer(facts), facts)
            return replace(move, prepare=True) if self._may_be_used_up(facts) else move
        return Move(self.shape) if self.resting else self._look_anew(facts)

    @property
    def deciding(self) -> bool:
        """Shapes are being compared."""
        return self.stage is Stage.TRIAL

    @property
    def measuring(self) -> bool:
        """It compares shapes, or looks at the first items: whatever else computes meanwhile is in the way."""
        began = self._look.began
        looking = began is None or self._now - began < 2 * _LONGEST_PROBE_SECONDS
        return self.stage is Stage.TRIAL or (self.stage is Stage.PROBE and looking)

    @property
    def restless(self) -> bool:
        """It wants to be asked soon, whatever happens: something is being made ready, a window may end, groups came."""
        given = self._given_control
        if given is not None and self.stage is Stage.LANES:
            return self._shape_of(given.lanes, self.shape.workers) != self.shape
        return self.stage is Stage.TRIAL

    def cap_workers(self, most: int, why: str = "limits.memory has room for") -> None:
        """There is room for no more than that many workers: keep to it from now on."""
        self.ground = replace(self.ground, most_workers=most, waiting_workers=min(most, self.ground.waiting_workers))
        self._reasons.append(f"{why} {most} worker{'s' if most > 1 else ''}")
        self._trial = self._warm = self._look.gauge = None
        if most < self.shape.workers:
            self.shape = Shape(most, self.shape.lanes)
        self._hold(())

    def stay(self, shape: Shape, why: str) -> Move:
        """The shape that was to come cannot be had: hold the one that works."""
        self._trial = self._warm = self._control = self._look.gauge = None
        self.shape = shape
        return self._hold([why])

    def share_cores(self, most: int) -> None:
        """The other stages of a pipeline leave no more than that many workers to this one."""
        if most >= self.ground.most_workers:
            return
        if self.stage in (Stage.HOLD, Stage.LANES) and most < self.shape.workers:
            self.cap_workers(most, "the other stages leave cores for")
        elif self.stage is not Stage.TRIAL:
            self.ground = replace(self.ground, most_workers=most)

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        self._reasons.append(f"no child processes: {reason}")
        self.ground = replace(self.ground, most_workers=1)
        if self._trial is not None:
            self._trial.drop(children=True)

    # -- PROBE

    def _probe(self, facts: Facts) -> Move:
        look = self._look
        if not facts.quiet and (self._quiet_by is None or facts.now < self._quiet_by):
            self._quiet_by = self._quiet_by or facts.now + _DRAINING_SECONDS
            look = self._look = self._new_look()
            look.begin(facts)
        if look.began is None or look.seen.items == 0:
            return Move(self.shape, knock=facts.can_knock and not self.in_children)
        if self._long and facts.remaining == 0 and self._demands is None:
            return self._conclude(facts)
        if self.shape.total > 1 and not look.is_based:
            look.begin(facts)
        elapsed = facts.now - look.began
        knock = facts.can_knock and not self.in_children and elapsed < 3 * _LONGEST_PROBE_SECONDS
        if not look.seen.may_wait and (elapsed < _SHORTEST_PROBE_SECONDS or facts.now < self._look_at):
            return Move(self.shape, knock=knock, prepare=knock and self._may_want_workers(elapsed, facts))
        self._look_at = facts.now + _LOOK_SECONDS
        demands = look.estimate(facts)
        if self._waits_clearly(demands, facts):
            return self._spread(demands, facts)
        longest = _LONGEST_PROBE_SECONDS * (2 if guessed_kind(demands) == "unknown" else 1)
        hasty = elapsed < _ENOUGH_SECONDS or (self.shape.total > 1 and not facts.alone)  # The cores are in use by now.
        few = look.seen.items < _FEWEST_ITEMS and hasty
        undecided = few or (elapsed < longest and not is_clear(demands))
        if elapsed < _SHORTEST_PROBE_SECONDS or undecided or self._all < self._look_again_at:
            knock = knock and not self._is_nearly_over(demands, facts)
            return Move(self.shape, knock=knock, prepare=knock and self._may_want_workers(elapsed, facts))
        rivals = self._rivals(demands)
        if look.is_crowded(facts):
            no_more = [rival for rival in rivals if rival.shape.total <= self.ground.cores]
            if rivals and not no_more:
                return self._look_later(demands, facts)
            rivals = no_more
        if any(rival.children for rival in rivals) and facts.wire is None and facts.refusal is None:
            return Move(self.shape, ask_wire=True, knock=knock)
        self._demands = demands
        self._serial = self._serial or self._one_lane(demands, facts)
        if not rivals:
            return self._hold(["no shape promises more than this one"])
        worth = [rival for rival in rivals if self._repays(rival, demands, facts)]
        if facts.ahead or not worth:
            self._look_again_at = 2 * self._all
            why = "the next stage has enough to do" if worth else "what is left is too short to repay a change of shape"
            self._publish(self.shape, [why])
            return Move(self.shape, knock=False)
        return self._start_trial(worth, facts)

    def _conclude(self, facts: Facts) -> Move:
        """There are no more items: say what was seen of them, which is all that a profile is for."""
        self._demands = self._look.estimate(facts)
        self._serial = self._serial or self._one_lane(self._demands, facts)
        self._publish(self.shape, ["too few items ran to compare shapes"])
        return Move(self.shape)

    def _may_want_workers(self, elapsed: float, facts: Facts) -> bool:
        """Say, once, whether worker processes are likely to be tried: to start the first one takes a while."""
        if self._prepared or elapsed < _PREPARE_SECONDS or self.ground.most_workers < 2 or facts.refusal is not None:
            return False
        left_seconds = self._left(facts) * elapsed / max(1, self._look.executed)
        held = held_share(facts.knocks(), self._look.seen.spans)
        self._prepared = left_seconds > _EARLY_SECONDS and held is not None and held.value > _LETS_GO
        return self._prepared

    def _is_nearly_over(self, demands: Demands, facts: Facts) -> bool:
        """Say whether too little is left for another shape, as far as that is known: to knock would be for nothing."""
        if facts.remaining is None or self._long or demands.held is None:
            return False
        return not any(self._repays(rival, demands, facts) for rival in self._rivals(demands))

    def _look_later(self, demands: Demands, facts: Facts) -> Move:
        """The stages use the cores up: more lanes would bring nothing now, and whether items wait is not seen."""
        self._demands = demands
        self._publish(self.shape, ["this stage and the others use the cores up, so more lanes are no use yet"])
        self._look_again_at = 2 * self._all
        self._look = self._new_look()
        self._look.begin(facts)
        return Move(self.shape)

    def _rivals(self, demands: Demands) -> Sequence[Candidate]:
        """Return the shapes that may be better."""
        # Lanes share the cores instead of native threads, so these are no reason not to try lanes; the trial tells.
        own = max(0.0, demands.cpu.value - demands.native)
        alone = replace(demands, cpu=Estimate.exact(own)) if demands.native else demands
        return shortlist(alone, self.ground, self.shape, isolate=self._isolate)

    def _waits_clearly(self, demands: Demands, facts: Facts) -> bool:
        if guessed_kind(demands) != "io" or demands.response.value < 0.0005:
            return False
        held = demands.held
        if held is None:
            return self._coroutine or self.in_children or not facts.can_knock
        return held.high < 0.5 * demands.response.value

    def _rate_now(self, demands: Demands, facts: Facts) -> float:
        gauge = self._look.gauge
        rate = gauge.rate(facts.now) if gauge is not None else None
        return rate or self.shape.total / max(demands.response.value, 1e-9)

    def _one_lane(self, demands: Demands, facts: Facts) -> float:
        """Return what one lane does in items a second. What computes would not wait, were the GIL not knocked at."""
        seen = self._rate_now(demands, facts) / self.shape.total
        return max(seen, 1 / max(demands.busy, 1e-9)) if demands.wait_share < BUSY else seen

    def _left(self, facts: Facts) -> int:
        """Items that are still to come; of unknown length as many as have been seen."""
        if self._long:
            return _ENDLESS
        return facts.remaining if facts.remaining is not None else self._all

    def _repays(self, rival: Candidate, demands: Demands, facts: Facts) -> bool:
        left = self._left(facts)
        saved = left / self._rate_now(demands, facts) - left / max(rival.predicted, 1e-9)
        return saved > (_CHILDREN_SECONDS if rival.children and not self.in_children else _THREADS_SECONDS)

    # -- TRIAL

    def _start_trial(self, rivals: Sequence[Candidate], facts: Facts) -> Move:
        assert self._demands is not None
        self.stage = Stage.TRIAL
        base = Candidate(self.shape, math.inf, self.in_children)
        gauge = self._look.gauge
        size = gauge.size if gauge is not None else None
        rate = self._rate_now(self._demands, facts)
        promised = max(rate, *(rival.predicted for rival in rivals if math.isfinite(rival.predicted)))
        self._trial = Trial(
            base,
            rate,
            rivals,
            size,
            base_spread=_spread_of(self._demands),
            window_seconds=self._window_seconds(promised, facts),
            lets_go=self._lets_go(self._demands, promised),
        )
        self._warm_since = facts.now
        names = ", ".join(str(rival.shape) for rival in rivals)
        self._publish(self.shape, [f"not decided yet: to be compared with {names}"])
        return self._try(facts)

    def _lets_go(self, demands: Demands, promised: float) -> bool:
        """Say whether the GIL is no matter to lanes that do what is promised, in items a second."""
        if not self.ground.gil:
            return True
        return demands.held is not None and demands.held.high * promised < _FREE

    def _window_seconds(self, rate: float, facts: Facts) -> float:
        """What follows for long is worth a longer look."""
        if self._long:
            return SHORTEST_SECONDS
        share = _WINDOW_SHARE if self._control is None else _LANES_WINDOW_SHARE
        return min(_LONGEST_WINDOW_SECONDS, max(SHORTEST_SECONDS, share * self._left(facts) / rate))

    def _response_in(self, shape: Shape, demands: Demands) -> float:
        """Seconds of an item in its lane, at most: those before it in the line for the cores, or the GIL, included."""
        held = demands.held.value / shape.workers if demands.held is not None else 0.0
        return demands.response.value + (shape.total - 1) * max(held, demands.cpu.value / self.ground.cores)

    def _try(self, facts: Facts) -> Move:
        trial, demands = self._trial, self._demands
        assert trial is not None
        assert demands is not None
        response = self._response_in(self.shape, demands)
        if trial.measuring:
            if self._moved and facts.running_since(trial.opened):
                trial.postpone(facts.now, response)
            trial.conclude(facts.now, response)
        current = trial.current
        if current is None:
            return self._end_trial(trial, facts)
        if trial.measuring:
            return Move(self.shape, self._warm)
        if current.children and not self.in_children and not facts.ready:
            if self._warm is None:
                self._warm, self._warm_since, self._warm_after = current.shape, facts.now, self._all
            elif facts.now - self._warm_since > _WARM_SECONDS:
                self._refuse(f"none was ready after {_WARM_SECONDS:g} s")
            return Move(self.shape, self._warm, knock=facts.can_knock and trial.untouched)
        warmed = facts.now - self._warm_since
        if self._control is not None and self._warm is not None and warmed >= _MANY_SECONDS:
            trial.note_base((self._all - self._warm_after) / warmed)
        if self._in_first_shape and self._control is None and self._look.seen.items:
            self._demands = self._look.estimate(facts)
            if guessed_kind(self._demands) != guessed_kind(demands) and not self._reconsidered:  # More is known by now.
                self._reconsidered = True
                worth = [each for each in self._rivals(self._demands) if self._repays(each, self._demands, facts)]
                if worth and worth[0].shape != current.shape:
                    return self._start_trial(worth, facts)
            trial.guess_base(self._rate_now(self._demands, facts), _spread_of(self._demands))
        self._moved = self.shape != current.shape
        self.shape = current.shape
        trial.begin(facts.now)
        return Move(self.shape, self._warm)

    def _end_trial(self, trial: Trial, facts: Facts) -> Move:
        demands = self._demands
        assert demands is not None
        self._rates = {str(shape): trial.mean(shape) for shape in trial.rates}
        best = trial.best
        self._trial, self._warm = None, None
        self.shape = best.shape
        self._look.gauge = None
        self._steady = (facts.now, self._all)
        told = ", ".join(f"{shape}: {throughput(rate)} items/s" for shape, rate in self._rates.items())
        reasons = [f"tried on real items: {told}"]
        if self._control is not None and not best.children:  # Worker processes were no better: go on as before.
            self._control.restart(facts.now)
            self._escalated = self._control.settled  # Else it is asked again when that is so.
            return self._begin_lanes(facts, reasons)
        waits = demands.wait_share > (0.15 if guessed_kind(demands) in ("io", "unknown") else _MUCH)
        waits = waits or self._control is not None  # Its lanes were many already.
        if waits and trial.is_held_up(best.shape):  # The line is the longer, the more lanes there are.
            return self._hold([*reasons, "lanes did much less than the roofs allow, so no more were tried"])
        if (waits or self._coroutine) and best.shape.total > best.shape.workers and not self._isolate:
            move = self._to_lanes(best.shape, facts, reasons, self._known_beside(best.shape, trial, demands))
            self._await_use(facts, awaited=best.children)
            return move
        return self._hold(reasons)

    def _known_beside(self, best: Shape, trial: Trial, demands: Demands) -> tuple[int, float, float] | None:
        """Return what fewer lanes of as many workers were seen to do, for the lane controller."""
        fewer = [shape for shape in trial.rates if shape.total < best.total and shape.workers == best.workers]
        if not fewer:
            return None
        shape = max(fewer, key=lambda shape: shape.total)
        return shape.total, trial.mean(shape), demands.response.value

    # -- HOLD

    def _hold(self, reasons: Sequence[str]) -> Move:
        before, look = self._watch, self._look
        in_vain = before is not None and before.shape == self.shape  # A second look changed nothing.
        usual = look.mean_seconds if look.shape == self.shape else None
        self._watch = Watch(
            self.shape, self._now, usual, before.patience_next if before is not None and in_vain else None
        )
        self.stage = Stage.HOLD
        self._decided_after = self._all
        self._publish(self.shape, reasons)
        return Move(self.shape)

    def _look_anew(self, facts: Facts) -> Move:
        """The items have become other ones: look at them as at the first, where enough are left."""
        assert self._watch is not None
        if self._left(facts) * self._watch.mean_seconds < _WORTH_A_LOOK_SECONDS * self.shape.total:
            return Move(self.shape)
        self.stage = Stage.PROBE
        self._look = self._new_look()
        self._look.begin(facts)
        self._serial = self._steady = self._control = None
        self._rates = {}
        self._escalated = self._told_of_cores = self._reconsidered = False
        self._look_again_at, self._look_at = 1, 0.0
        self._reasons.append(f"after {self._all} items their cost was another, so it was measured anew")
        return Move(self.shape, knock=facts.can_knock and not self.in_children)

    # -- LANES

    def _spread(self, demands: Demands, facts: Facts) -> Move:
        """Waiting work: many lanes at once."""
        self._demands = demands
        self._serial = self._serial or 1 / max(demands.response.value, 1e-9)
        remaining = facts.remaining
        most = self._most_lanes(1)
        lanes = min(most, remaining) if remaining is not None and remaining <= FEW_ITEMS else min(most, FIRST_LANES)
        workers = self.shape.workers
        if self.in_children:
            lanes = max(lanes, workers)
        shape = self._shape_of(lanes, workers)
        if shape.total <= 1:
            return self._hold(["the limits leave one lane"])
        known = None
        if remaining is None or remaining > FEW_ITEMS:
            known = (self.shape.total, self._serial * self.shape.total, demands.response.value)
        return self._to_lanes(shape, facts, ["its items wait, so many lanes"], known)

    def _most_lanes(self, workers: int) -> int:
        if self._lane_is_worker:
            return self.ground.waiting_workers
        return max(1, min(self.ground.most_lanes * workers, self.ground.most_total))

    def _shape_of(self, lanes: int, workers: int) -> Shape:
        if self._lane_is_worker:
            return Shape(max(1, min(lanes, self.ground.waiting_workers)), 1)
        return Shape(workers, max(1, min(-(-lanes // workers), self.ground.most_lanes)))

    @property
    def _lane_is_worker(self) -> bool:
        return self._isolate and self.ground.most_lanes == 1

    def _enter_lanes(self, shape: Shape, known: tuple[int, float, float] | None = None) -> None:
        self.stage = Stage.LANES
        self.shape = shape
        self._grown_at = math.inf
        fewest = 1 if self._lane_is_worker else shape.workers
        most = self._most_lanes(shape.workers)
        self._control = self._given_control or LaneController(
            shape.total,
            most=most,
            fewest=fewest,
            known=known,
            backlog=_BACKLOG,
            shortest_seconds=_LANE_WINDOW_SECONDS,
        )
        self._mixed = self._demands is not None and guessed_kind(self._demands) == "mixed"
        self._control.local = self._mixed

    def _to_lanes(
        self, shape: Shape, facts: Facts, reasons: Sequence[str], known: tuple[int, float, float] | None = None
    ) -> Move:
        self._enter_lanes(shape, known)
        return self._begin_lanes(facts, reasons)

    def _begin_lanes(self, facts: Facts, reasons: Sequence[str]) -> Move:
        self.stage = Stage.LANES
        self._grown_at = math.inf
        self._use.restart()
        self._steady = (facts.now, self._all)
        self._decided_after = self._all
        self._reasons.extend(reasons)
        self._publish(self.shape, ())
        return Move(self.shape)

    def _steer(self, facts: Facts) -> Move:
        control = self._control
        assert control is not None
        if self._steady is None:
            self._steady = (facts.now, self._all)
        if self._demands is None:
            self._look.was_starved |= facts.starved and self._look.executed > 0
            self._look_at_many(facts)
        elif (better := self._look.reconsidered(self._demands, facts.now)) is not None:
            self._demands = better
            self._publish(self.shape, ())
        self._use.glance(facts, self._all, _FULL)
        room = self._room()
        control.cores_used_up = self._use.used_up or self._use.last > _FULL * room
        control.local = self._mixed or self._use.computes(room)
        if facts.starved:
            control.restart(facts.now)
        self._await_use(facts, awaited=self._unseen and not self._use.seen)
        if control.settled:
            self._grown_at = min(self._grown_at, facts.now)
        if not control.settled or control.lanes != self.shape.total:
            shape = self._shape_of(control.lanes, self.shape.workers)
            if shape != self.shape:
                self.shape = shape
                self._use.restart()
                return Move(shape)
        return self._escalate(control, facts)

    def _may_be_used_up(self, facts: Facts) -> bool:
        """Say, once, whether lanes will use up a process that has much to do: to start others takes a while."""
        if self._prepared or self.in_children or self.ground.most_workers < 2 or facts.refusal is not None:
            return False
        each = self._expected
        if self._look.is_based:
            cpu, executed, _ = self._look.since_base(facts)
            each = cpu / executed if executed >= self._look.shape.total else each
        self._prepared = self._left(facts) * each > _EARLY_SECONDS
        return self._prepared

    def _foresee(self, move: Move, facts: Facts) -> Move:
        """Where it is known what an item takes, and that is too much for one process, go to others once they are there.

        That one process is used up, and two do more, would be seen only when many lanes have run for a while.
        """
        each, workers = self._expected, self.ground.most_workers
        if not each or not self._look.executed:
            return move
        hopeless = workers < 2 or facts.refusal is not None or not facts.alone or self.stage is not Stage.LANES
        if hopeless or self._left(facts) * each <= _EARLY_SECONDS:
            self._expected, self._warm = 0.0, None
            return move
        if facts.wire is None:
            return replace(move, ask_wire=True)
        self._warm = self._warm or self._shape_of(move.shape.total, workers)
        if not facts.ready:
            return replace(move, warm=self._warm)
        self._expected, self._escalated, self._warm = 0.0, True, None
        self.shape = self._shape_of(move.shape.total, workers)
        self._look = self._new_look()
        cpu = self._left(facts) * each
        reason = f"what is left would take one process {cpu:.1f} s of CPU, so worker processes from the start"
        return self._begin_lanes(facts, [reason])

    def _await_use(self, facts: Facts, *, awaited: bool) -> None:
        """Ask for no more lanes before it is known who uses the cores up."""
        self._unseen = awaited
        if awaited and self._control is not None:
            self._control.restart(facts.now)

    def _room(self) -> float:
        """Return the cores that the processes can use: one each, or all where their lanes let go of the GIL."""
        if self._coroutine:  # One thread in each process has them all.
            return self.shape.workers
        held = self._demands.held if self._demands is not None else None
        lets_go = held is not None and held.high * self._use.per_second < _LETS_GO * self.shape.workers
        return self.ground.cores if lets_go or not self.ground.gil else self.shape.workers

    def _look_at_many(self, facts: Facts) -> None:
        """Estimate demands where there were many lanes from the start; what it cost to begin is no item's."""
        look = self._look
        if self.in_children:
            facts = replace(facts, cpu_seconds=facts.cpu_seconds + self._use.workers_seconds)
        ending = facts.remaining is not None and facts.remaining <= self.shape.total
        if not look.blocks:
            if not look.is_based:
                if look.executed >= min(self.shape.total, FIRST_LANES) or ending:
                    look.begin(facts)
                return
            _, executed, elapsed = look.since_base(facts)
            enough = executed >= 2 * self.shape.total and elapsed >= _MANY_SECONDS
            if not (enough or ending) or executed == 0:
                return
        if look.seen.items > 0:
            self._demands = look.estimate(facts)
            self._serial = self._serial or 1 / max(self._demands.response.value, 1e-9)
            self._publish(self.shape, ())

    def _escalate(self, control: LaneChoice, facts: Facts) -> Move:
        """Where lanes of one process are used up, or held back by something inside it, try worker processes."""
        use, lately = self._use.look(facts, self.shape, self._all), self._use.lately
        if use is None and lately is not None and lately.looks >= _EARLY_LOOKS:
            use = lately
        if facts.ahead or use is None or use.per_second <= 0 or self._demands is None:
            return Move(self.shape)
        cores, workers = self.ground.cores, self.ground.most_workers
        blocked = self._demands.loop is not None
        # To begin, to connect, takes CPU as well. But lanes need not find their number in a process that is used up.
        sure = control.settled or (use is lately and not self._rates)
        held = self._demands.held
        lets_go = held is not None and held.high * use.per_second < _LETS_GO  # Its CPU is not what the GIL stands for.
        full = blocked or (use.cores > _FULL and sure and not lets_go)
        spread = self._escalated or self.shape.workers > 1
        lasting = use.looks >= _PATIENT_LOOKS and control.at_base
        if (spread or full) and lasting and use.idle < IDLE * cores and not self._told_of_cores:
            self._told_of_cores = True
            busy = f"{cores - use.idle:.2f} of {cores:g}, {use.cores:.2f} by this run"
            self._reasons.append(f"the cores are used up ({busy})")
            self._publish(self.shape, ())
        stuck = control.settled and control.lanes <= _STUCK_LANES and use.cores < _IDLE
        # What else is busy may be what answers: then it grows with the run, and no more is to be had than this. What
        # something inside the process holds back, and not a core, gets its share of the cores whoever else is there.
        computes = full and use.cores > _IDLE
        promise = min(workers, cores / max(cores - use.idle, 1e-9)) if computes else workers
        left = self._left(facts) / use.per_second
        pays = promise >= _PROMISING and left * (1 - 1 / workers) >= 2 * _CHILDREN_SECONDS
        pays = pays and (control.settled or left >= _EARLY_SECONDS)
        if spread or control.refused or not (full or stuck) or not pays:  # What refuses one process refuses two.
            return Move(self.shape)
        if facts.wire is None and facts.refusal is None:
            return Move(self.shape, ask_wire=True)
        self._escalated = True
        why = "one process is used up" if full else "something inside the process holds its lanes back"
        why = "the coroutines block their event loop" if blocked else why
        rate = use.per_second
        self._reasons.append(
            f"{why} ({use.cores:.0%} of a core at {throughput(rate)} items/s), so worker processes were tried"
        )
        clearly = self._demands.wait_share > 0.1 or self._coroutine
        # The first items may have been short by chance: where the lanes are many, both are tried.
        waits = not blocked and (clearly or self.shape.total > _STUCK_LANES)
        served = rate * self._demands.response.high if full else 0.0  # At a time, at most: Little's law.
        lanes = lanes_of_each(workers, self.shape.total, served, self.ground) if waits else 1
        self._look.gauge = None
        self.stage = Stage.TRIAL
        base = Candidate(self.shape, math.inf, False)
        shapes = [Shape(workers, lanes)] if clearly or lanes == 1 else [Shape(workers, lanes), Shape(workers, 1)]
        rivals = [Candidate(shape, math.inf, True) for shape in shapes]
        seconds, margin = self._window_seconds(rate, facts), _WORTH_LEAVING if waits else CHEAPER
        self._trial = Trial(base, rate, rivals, window_seconds=seconds, margin=margin, alike=True)
        self._warm_since = facts.now
        return self._try(facts)

    # -- what is known

    def _publish(self, shape: Shape, reasons: Sequence[str]) -> None:
        demands = self._demands
        kind: Kind = kind_of(demands) if demands is not None else "unknown"
        found = roofs(demands, shape, self.ground, children=self.in_children) if demands is not None else []
        self.plan = Plan(
            kind,
            shape,
            (*self._reasons, *reasons),
            isolate=self.plan.isolate,
            demands=demands,
            roofs=tuple(found),
            predicted=found[0].per_second if found else None,
            observed=self._rates.get(str(shape)),
            serial=self._serial,
            decided_after=self._decided_after,
            tried=dict(self._rates),
        )

    def current_plan(self, now: float) -> Plan:
        """Return the plan as it stands, with what the steady run has shown."""
        plan, observed = self.plan, self.plan.observed
        if self._steady is not None:
            since, items = self._steady
            if now - since > 0.1 and self._all - items > 2 * self.shape.total:
                observed = (self._all - items) / (now - since)
        if self.shape != plan.shape and self._demands is not None:
            found = roofs(self._demands, self.shape, self.ground, children=self.in_children)
            plan = replace(plan, roofs=tuple(found), predicted=found[0].per_second)
        knee = self._control.knee if self._control is not None and self.stage is Stage.LANES else None
        if knee is not None and observed is not None and plan.roofs:
            name = "process" if self._use.last > _FULL else "outside"
            outside = Roof(name, observed, f"seen: more than {knee} lanes did not pay")
            plan = replace(plan, roofs=tuple(sorted((*plan.roofs, outside), key=lambda roof: roof.per_second)))
        return replace(plan, shape=self.shape, observed=observed)


def _spread_of(demands: Demands) -> float:
    """Return the ends of the response time's interval, the upper over the lower."""
    return demands.response.high / max(demands.response.low, 1e-9)
