"""The story of a run of this process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from poolwise._core.model import Shape
from poolwise._core.story import Curve, FailureClass, Observed, Story
from poolwise._policy.demands import Demands
from poolwise._policy.plan import Plan
from poolwise._policy.roofs import Ground, roofs
from poolwise._policy.timeline import Record
from poolwise.report.summary import Report

_FEWEST_SHOWN = 8  # Lanes that the curves reach at least.
_BEYOND = 2  # They go on to so many times the lanes at which they meet, or those that ran.
_EACH = 32  # Up to here there is a point for every number of lanes.


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
