"""The report and the story of a run of this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from poolwise._core.model import Shape
from poolwise._core.story import Curve, FailureClass, Mark, Observed, Story
from poolwise._engine import Engine
from poolwise._policy.demands import Demands
from poolwise._policy.plan import Plan
from poolwise._policy.roofs import Ground, roofs
from poolwise._policy.timeline import Record
from poolwise._runtime.host import facts
from poolwise._runtime.identity import name_of
from poolwise.report.summary import Report

if TYPE_CHECKING:
    from poolwise._pipeline import Pipeline

_FEWEST_SHOWN = 8  # Lanes that the curves reach at least.
_BEYOND = 2  # They go on to so many times the lanes at which they meet, or those that ran.
_EACH = 32  # Up to here there is a point for every number of lanes.


def report_of(
    engine: Engine | Pipeline,
    plan: Plan,
    seconds: float,
    tell: Callable[[], Story] | None = None,
    stage: str = "",
) -> Report:
    """Return what was done so far.

    Args:
        engine: that does it.
        plan: as it stands.
        seconds: wall time since work started.
        tell: gives the story, once that is wanted.
        stage: the name of this stage of a pipeline.
    """
    stages: tuple[Report, ...] = ()
    if not isinstance(engine, Engine):
        stages = tuple(report_of(each.engine, each.engine.plan, seconds, stage=each.name) for each in engine.stages)
    parts = [engine] if isinstance(engine, Engine) else [each.engine for each in engine.stages]
    return Report(
        plan=plan,
        done=engine.settled - engine.failed,
        failed=engine.failed,
        retried=sum(part.retried for part in parts),
        workers_lost=sum(part.workers_lost for part in parts),
        seconds=seconds,
        busy_seconds=sum(part.meter.busy_seconds for part in parts),
        cpu_seconds=sum(part.meter.cpu_seconds for part in parts),
        failures=dict(engine.failures),
        probe_seconds=sum(part.helm.probe_seconds for part in parts),
        held=engine.helm.held if isinstance(engine, Engine) else None,
        recorded=engine.recorded,
        stages=stages,
        stage=stage,
        _tell=tell,
    )


def story_of(engine: Engine | Pipeline, report: Report) -> Story:
    """Return what happened so far, and why."""
    began = engine.started + engine.clock.epoch
    if not isinstance(engine, Engine):
        stages = [story_of(stage.engine, part) for stage, part in zip(engine.stages, report.stages)]
        return _story_of_pipeline(engine, report, stages, began)
    record = engine.timeline.record(engine.started + report.seconds, engine.settled)
    title = name_of(engine.rules.spec.fn)
    return tell(report, record, title=title, began=began, ground=engine.helm.ground, host=facts())


def _story_of_pipeline(pipeline: Pipeline, report: Report, stages: Sequence[Story], began: float) -> Story:
    """Return the story of the whole: what is told of every stage is in those of the stages."""
    record = pipeline.timeline.record(pipeline.started + report.seconds, pipeline.settled)
    slowest = next(story for story, stage in zip(stages, pipeline.stages) if stage is pipeline.slowest)
    marks = [Mark(mark.at, mark.kind, f"{story.stage}: {mark.text}") for story in stages for mark in story.marks]
    return Story(
        title=" | ".join(story.title for story in stages),
        sentence=f"The slowest stage is {slowest.stage}. {slowest.sentence}",
        kind=slowest.kind,
        shape=str(pipeline.shape),
        began=began,
        seconds=report.seconds,
        done=report.done,
        failed=report.failed,
        recorded=report.recorded,
        retried=report.retried,
        workers_lost=report.workers_lost,
        busy_seconds=report.busy_seconds,
        cpu_seconds=report.cpu_seconds,
        probe_seconds=report.probe_seconds,
        explanation="\n\n".join(f"Stage {story.stage} ({story.title})\n{story.explanation}" for story in stages),
        reasons=tuple(f"{story.stage}: {reason}" for story in stages for reason in story.reasons),
        failures=_failures(report.failures, record.examples),
        slowest=record.slowest,
        samples=stages[-1].samples,
        marks=tuple(sorted(marks, key=lambda mark: mark.at)),
        sampled=min(story.sampled for story in stages),
        host=facts(),
        stages=tuple(replace(story, host={}) for story in stages),
    )


def tell(
    report: Report, record: Record, *, title: str, began: float, ground: Ground | None, host: Mapping[str, Any]
) -> Story:
    """Return the story.

    Args:
        report: what was done.
        record: what happened when.
        title: the function, as "module:name".
        began: Unix time at which work started, in seconds.
        ground: what there was to choose from, where anything was.
        host: facts of the machine and the interpreter.
    """
    plan = report.plan
    explanation = plan.explain()
    return Story(
        title=title,
        stage=report.stage,
        sentence=explanation.partition("\n")[0],
        kind=plan.kind,
        shape=str(plan.shape),
        began=began,
        seconds=report.seconds,
        done=report.done,
        failed=report.failed,
        recorded=report.recorded,
        retried=report.retried,
        workers_lost=report.workers_lost,
        busy_seconds=report.busy_seconds,
        cpu_seconds=report.cpu_seconds,
        probe_seconds=report.probe_seconds,
        explanation=explanation,
        reasons=plan.reasons,
        curves=tuple(curves(plan, ground)) if ground is not None else (),
        observed=tuple(_observed(report)),
        latency=record.latency,
        failures=_failures(report.failures, record.examples),
        slowest=record.slowest,
        slices=record.slices,
        samples=record.samples,
        marks=record.marks,
        sampled=record.sampled,
        host=host,
    )


def _failures(counts: Mapping[str, int], examples: Mapping[str, tuple[str, str]]) -> tuple[FailureClass, ...]:
    classes = [FailureClass(name, count, *examples.get(name, ("", ""))) for name, count in counts.items()]
    return tuple(sorted(classes, key=lambda failed: (-failed.count, failed.name)))


def _observed(report: Report) -> Iterator[Observed]:
    """Yield what the shapes that were tried did, and the one that the run has now."""
    plan, final = report.plan, str(report.plan.shape)
    for shape, rate in plan.tried.items():
        if shape != final and math.isfinite(rate):
            yield Observed(shape, Shape.parse(shape).total, rate)
    executed = report.done + report.failed - report.recorded
    rate = plan.observed or (executed / report.seconds if report.seconds > 0 else 0.0)
    if rate > 0 and math.isfinite(rate):
        yield Observed(final, plan.shape.total, rate, final=True)


def curves(plan: Plan, ground: Ground) -> Iterator[Curve]:
    """Yield the roofs over shapes with as many workers as the plan has, the lowest of its own shape first."""
    demands, shape = plan.demands, plan.shape
    if demands is None:
        return
    children = plan.isolate or shape.workers > 1
    grid = [Shape(shape.workers, lanes) for lanes in _lanes(demands, shape, ground, children=children)]
    points: dict[str, list[tuple[float, float]]] = {}
    for place in grid:
        for roof in roofs(demands, place, ground, children=children):
            if math.isfinite(roof.per_second):
                points.setdefault(roof.name, []).append((place.total, roof.per_second))
    for roof in plan.roofs:
        if math.isfinite(roof.per_second):
            flat = [(place.total, roof.per_second) for place in grid]  # What was seen, and is no sum of demands.
            yield Curve(roof.name, roof.reason, tuple(points.get(roof.name, flat)))


def _lanes(demands: Demands, shape: Shape, ground: Ground, *, children: bool) -> list[int]:
    """Return the lanes of each worker that the curves have points for."""
    others = [roof for roof in roofs(demands, shape, ground, children=children) if roof.name != "lanes"]
    lowest = min((roof.per_second for roof in others), default=math.inf)
    meets = lowest * demands.response.value / shape.workers
    most = max(shape.lanes, meets if math.isfinite(meets) else 0, _FEWEST_SHOWN / shape.workers / _BEYOND)
    last = max(1, min(math.ceil(_BEYOND * most), max(ground.most_lanes, shape.lanes)))
    grid = list(range(1, min(last, _EACH) + 1))
    while grid[-1] < last:
        grid.append(min(last, math.ceil(grid[-1] * 1.1)))
    return grid
