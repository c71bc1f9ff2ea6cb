"""The profile of a function: the plan that came of running its first items, and how many were run for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolwise._core.model import Shape
from poolwise._policy.demands import Demands, Estimate, Kind
from poolwise._policy.plan import Plan
from poolwise._policy.roofs import Roof


@dataclass(frozen=True, slots=True)
class Profile:
    """What the first items of a run cost, and what to do with the rest.

    Attributes:
        plan: kind, shape, roofs and reasons.
        items: how many items were executed, each once; they are done and need not be run again.
        failed: how many of them failed.
        seconds: wall seconds that took.
        failures: number of failed items by the class of their error.
        probe_seconds: CPU seconds that measuring used.
    """

    plan: Plan
    items: int
    failed: int
    seconds: float
    failures: Mapping[str, int]
    probe_seconds: float = 0.0

    @property
    def kind(self) -> Kind:
        """What the function is bound by: io, gil, cpu, mixed, tiny, transfer or unknown."""
        return self.plan.kind

    @property
    def shape(self) -> Shape:
        """The shape for a long run."""
        return self.plan.shape

    @property
    def demands(self) -> Demands | None:
        """Seconds of each resource that an item needs, or None where nothing was measured."""
        return self.plan.demands

    @property
    def roofs(self) -> tuple[Roof, ...]:
        """The bounds on the throughput of the shape, the lowest first."""
        return self.plan.roofs

    @property
    def predicted(self) -> float | None:
        """Items a second that the lowest roof allows."""
        return self.plan.predicted

    @property
    def observed(self) -> float | None:
        """Items a second that the shape was seen to do."""
        return self.plan.observed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why this shape, a sentence each."""
        return self.plan.reasons

    def explain(self) -> str:
        """Return it for a person: one sentence, the roofs, what would help, what is uncertain."""
        ran = f"{self.items:,} item{'' if self.items == 1 else 's'} ran in {self.seconds:.2f} s, each once; "
        ran += f"measuring used {self.probe_seconds * 1e3:.1f} ms of CPU."
        if self.failed:
            classes = ", ".join(f"{count:,} {name}" for name, count in self.failures.items())
            ran += f" {self.failed:,} failed: {classes}."
        return f"{self.plan.explain()}\n\n{ran}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold: seconds, items a second, and intervals as [low, high]."""
        return plan_to_dict(self.plan) | {
            "items": self.items,
            "failed": self.failed,
            "failures": dict(self.failures),
            "seconds": self.seconds,
            "probe_seconds": self.probe_seconds,
        }


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as values that JSON can hold: seconds, items a second, and intervals as [low, high]."""
    return {
        "kind": plan.kind,
        "shape": str(plan.shape),
        "predicted_per_second": _finite(plan.predicted),
        "observed_per_second": _finite(plan.observed),
        "serial_per_second": _finite(plan.serial),
        "predicted_speedup": _finite(plan.predicted_speedup),
        "observed_speedup": _finite(plan.observed_speedup),
        "demands": None if plan.demands is None else _demands(plan.demands),
        "roofs": [
            {"name": roof.name, "per_second": _finite(roof.per_second), "reason": roof.reason} for roof in plan.roofs
        ],
        "tried_per_second": {shape: _finite(rate) for shape, rate in plan.tried.items()},
        "reasons": list(plan.reasons),
    }


def _demands(demands: Demands) -> dict[str, Any]:
    return {
        "response_seconds": _estimate(demands.response),
        "cpu_seconds": _estimate(demands.cpu),
        "held_seconds": None if demands.held is None else _estimate(demands.held),
        "loop_seconds": demands.loop,
        "wait_seconds": demands.wait,
        "wire_seconds": demands.wire,
        "bytes": demands.bytes,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
