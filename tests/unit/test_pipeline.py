"""What stages of a pipeline leave to each other: cores, and quiet while one of them is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from poolwise import Limits, Shape
from poolwise._core.model import Done, Rules, Spec
from poolwise._pipeline import Part, Pipeline, is_ahead, others_are_quiet, others_cpu, workers_share
from poolwise._policy.demands import Knock
from poolwise._policy.look import Facts, Look
from poolwise._policy.meter import Meter
from poolwise._policy.pilot import Pilot, Stage
from poolwise._policy.plan import Circumstances, choose, ground
from poolwise.testing import FakeClock


@dataclass
class Helm:
    """Is measured, or not."""

    measuring: bool = False


@dataclass(eq=False)
class Engine:
    """What a pipeline asks of an engine to leave it room."""

    helm: Helm = field(default_factory=Helm)
    meter: Meter = field(default_factory=Meter)
    rules: Rules = field(default_factory=lambda: Rules(Spec(abs), Limits(), lambda: 0))
    busy: bool = True
    executes: bool = False
    shape: Shape = field(default_factory=lambda: Shape(1, 1))
    taken: int = 0
    paused: bool = False
    woken: int = 0

    def wake(self) -> None:
        """Be told."""
        self.woken += 1


def parts(*meters: tuple[int, float, float]) -> list[Part]:
    """Stages that have executed so many items, in so many wall and CPU seconds of each."""
    made: list[Any] = []
    for count, seconds, cpu in meters:
        engine = Engine()
        if count:
            engine.meter.add(count, count * seconds, count * cpu)
        made.append(Part(f"stage {len(made)}", engine))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("meters", "cores", "shares"),
    [
        (((10, 0.1, 0.1), (10, 0.1, 0.1)), 8.0, (4, 4)),
        (((10, 0.1, 0.1), (10, 0.1, 0.1)), 2.0, (2, 2)),  # One process would be this one.
        (((10, 0.1, 0.09), (90, 0.1, 0.01)), 10.0, (9, 2)),
        (((10, 0.1, 0.0), (10, 0.1, 0.1)), 8.0, (2, 8)),
        (((10, 0.1, 0.1), (0, 0.0, 0.0)), 8.0, (None, None)),  # Not known yet.
        (((10, 0.1, 0.0), (10, 0.1, 0.0)), 8.0, (None, None)),
    ],
)
def test_workers_by_the_share_of_the_cpu(meters: Any, cores: float, shares: Any) -> None:
    """By what an item needs of each stage, and not by what was executed so far; two at least."""
    stages = parts(*meters)
    assert tuple(workers_share(stages, stage.engine, cores) for stage in stages) == shares


def test_the_cpu_of_the_others() -> None:
    """That of this process only: children have clocks of their own."""
    stages = parts((10, 1.0, 0.5), (10, 1.0, 0.25), (10, 1.0, 0.125))
    stages[2].engine.meter.add(1, 1.0, 100.0, own=False)
    assert [others_cpu(stages, stage.engine) for stage in stages] == [3.75, 6.25, 7.5]


def test_others_are_quiet() -> None:
    """While nothing runs in them that computes, or of which that is not known."""
    stages = parts((10, 0.1, 0.1), (10, 0.1, 0.1), (10, 0.1, 0.0))
    engines: list[Any] = [stage.engine for stage in stages]

    def quiet() -> list[bool]:
        return [others_are_quiet(stages, engine) for engine in engines]

    assert quiet() == [True, True, True]
    engines[2].executes = True  # It waits.
    assert quiet() == [True, True, True]
    engines[1].executes = True
    assert quiet() == [False, True, False]
    engines[2].rules = Rules(Spec(abs, coroutine=True), Limits(), lambda: 0)
    assert quiet() == [False, False, False]


def test_a_stage_is_ahead() -> None:
    """Where the next one has work for half a second in each lane; the last one never is."""
    stages = parts((10, 0.1, 0.1), (10, 0.1, 0.1))
    engines: list[Any] = [stage.engine for stage in stages]
    engines[1].shape = Shape(1, 2)
    assert [is_ahead(stages, engine) for engine in engines] == [False, False]
    engines[1].taken = 10
    assert not is_ahead(stages, engines[0])
    engines[1].taken = 11
    assert [is_ahead(stages, engine) for engine in engines] == [True, False]
    engines[1].taken = 4
    for place in range(7):  # What the next one has no room for yet.
        stages[1].waiting.append(([place], [None]))
    assert is_ahead(stages, engines[0])
    engines[1].meter = Meter()  # Nothing is known of it yet.
    assert not is_ahead(stages, engines[0])


def test_one_stage_at_a_time_is_measured() -> None:
    """Others that compute, or are to be measured, start nothing; those that wait go on; each change wakes its stage."""
    stages = parts((10, 0.1, 0.1), (10, 0.1, 0.1), (10, 0.1, 0.0))
    engines: list[Any] = [stage.engine for stage in stages]
    clock = FakeClock()
    pipeline = Pipeline(stages, clock)

    def paused() -> list[bool]:
        pipeline._measure()
        return [engine.paused for engine in engines]

    assert paused() == [False, False, False]
    engines[0].helm.measuring = engines[2].helm.measuring = True
    assert paused() == [False, True, True]
    engines[2].helm.measuring = False
    assert paused() == [False, True, False]
    engines[2].rules = Rules(Spec(abs, coroutine=True), Limits(), lambda: 0)
    assert paused() == [False, True, True]
    engines[2].rules, engines[2].helm.measuring = engines[1].rules, True
    assert paused() == [False, True, True]
    engines[0].helm.measuring = False
    assert paused() == [True, True, False]
    engines[2].busy = False  # It has nothing more to do, unless another one goes on.
    assert paused() == [False, False, False]
    assert [engine.woken for engine in engines] == [2, 2, 4]
    # An item may take hours: the others stand still for two seconds, and then never again.
    engines[2].busy = True
    assert paused() == [True, True, False]
    clock.advance(1.5)
    assert paused() == [True, True, False]
    clock.advance(1.5)
    assert paused() == [False, False, False]
    assert paused() == [False, False, False]


def pilot_of(cores: float) -> Pilot:
    given = Circumstances("auto", cores, Limits())
    return Pilot(choose(given), ground(given))


def test_a_pilot_keeps_to_its_share_of_the_cores() -> None:
    """Before it has chosen, by choosing from less; afterwards by giving workers up, and saying so."""
    pilot = pilot_of(8.0)
    pilot.share_cores(9)
    assert pilot.ground.most_workers == 8
    pilot.share_cores(4)
    assert (pilot.ground.most_workers, pilot.stage) == (4, Stage.PROBE)
    pilot = pilot_of(8.0)
    pilot.shape, pilot.stage = Shape(8, 1), Stage.TRIAL
    pilot.share_cores(4)
    assert pilot.shape == Shape(8, 1)  # What is being compared is compared to its end.
    pilot.stage = Stage.HOLD
    pilot.share_cores(4)
    assert (pilot.shape, pilot.ground.most_workers) == (Shape(4, 1), 4)
    assert "the other stages leave cores for 4 workers" in pilot.plan.reasons


@pytest.mark.parametrize(("alone", "native", "held"), [(True, 0.1, 0.075), (False, 0.0, 0.01)])
def test_in_company_an_item_has_only_what_its_lane_saw(alone: bool, native: float, held: float) -> None:
    """CPU of other threads is not its own, and it holds the GIL no longer than it computes."""
    look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
    knocks = []
    for number in range(40):
        at = number * 0.1
        clocks = [(at, 0.1, 0.01)]
        done = Done(number, 0, [None], {}, 0, 0, at, 0.1, 0.01, clocks)
        look.observe(done, 0, at + 0.1, first=True, later=False)
        knocks += [Knock(at + 0.02, 0.02, 0.0, False), Knock(at + 0.06, 0.02, 0.04, True)]
    facts = Facts(4.0, None, 40 * 0.11, 0.0, lambda: knocks, False, None, None, None, False, alone=alone)
    demands = look.estimate(facts)
    assert demands.native == pytest.approx(native)
    assert demands.cpu.value == pytest.approx(0.01 + native)
    assert demands.held is not None
    assert demands.held.value == pytest.approx(held, rel=0.3)
