"""The plan: which shape a run takes, and why.

Until the function is measured (the next issue), `"auto"` means one thread lane for each usable core, and child
processes where an option asks for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from poolwise._core.errors import ShapeError
from poolwise._core.model import Limits, Shape

Kind = Literal["io", "gil", "cpu", "mixed", "tiny", "transfer", "unknown"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does and why.

    Attributes:
        kind: what the function is bound by; "unknown" where it was not measured.
        shape: workers x lanes.
        reasons: why this shape, a sentence each.
        isolate: every worker is a child process, even a single one.
    """

    kind: Kind
    shape: Shape
    reasons: tuple[str, ...]
    isolate: bool = False

    def explain(self) -> str:
        """Return the plan for a person: the shape first, then the reasons."""
        return "\n".join([f"shape {self.shape} (kind: {self.kind})", *(f"  - {reason}" for reason in self.reasons)])


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What constrains the choice.

    Attributes:
        shape: what the user asked for: "auto", "serial", "4x8" or a Shape.
        cores: usable cores, fractional.
        limits: the user's bounds.
        coroutine: the function is a coroutine function.
        timeout, isolate: the options.
        hint: "io", "cpu" or None.
        in_worker: this run starts inside a worker process.
        in_lane: this run starts inside one of several lanes of this process.
        picklable: the function can be sent to a child process.
    """

    shape: str | Shape
    cores: float
    limits: Limits
    coroutine: bool = False
    timeout: bool = False
    isolate: bool = False
    hint: str | None = None
    in_worker: bool = False
    in_lane: bool = False
    picklable: bool = True


def needs_children(given: Circumstances) -> bool:
    """Say whether an option asks for child processes under "auto"."""
    return given.isolate or given.limits.items_per_worker is not None or (given.timeout and not given.coroutine)


def choose(given: Circumstances) -> Plan:
    """Choose the shape.

    Raises:
        ShapeError: where the shape contradicts another option.
    """
    if isinstance(given.shape, str) and given.shape == "auto":
        return _automatic(given)
    shape = given.shape if isinstance(given.shape, Shape) else Shape.parse(given.shape)
    reasons = ["asked for"]
    if given.in_worker and (shape.workers > 1 or given.isolate):
        shape = Shape(1, shape.lanes)
        reasons.append("this run starts inside a worker and stays in it: workers do not start workers")
    _check(given, shape)
    return Plan("unknown", shape, tuple(reasons), isolate=given.isolate and not given.in_worker)


def _check(given: Circumstances, shape: Shape) -> None:
    limits = given.limits
    for name, number, most in (("workers", shape.workers, limits.workers), ("lanes", shape.lanes, limits.lanes)):
        if most is not None and number > most:
            raise ShapeError(f"shape {shape} asks for {number} {name}, but limits.{name} is {most}; lower one of them")
    if given.isolate and shape.lanes > 1 and not given.in_worker:
        raise ShapeError(
            f'isolate=True gives each worker one lane, but shape {shape} has {shape.lanes}; use shape="{shape.total}x1"'
        )
    children = shape.workers > 1 or given.isolate
    if given.timeout and shape == Shape(1, 1) and not (children or given.coroutine or given.in_worker):
        raise ShapeError(
            "a timeout cannot end an item that runs in the caller's own thread (shape 1x1); "
            'use isolate=True or shape="2x1" (the item is killed), or shape="1x2" (its thread is abandoned)'
        )
    if limits.items_per_worker is not None and not (children or given.in_worker):
        raise ShapeError(
            f"limits.items_per_worker replaces child processes, but shape {shape} has none; "
            'use shape="2x1" or isolate=True'
        )


def _automatic(given: Circumstances) -> Plan:
    limits = given.limits
    cores = max(1, math.ceil(given.cores))
    if given.in_worker or given.in_lane:
        where = "a worker" if given.in_worker else "a lane of another run"
        lanes = 2 if given.timeout and not given.coroutine else 1
        return Plan("unknown", Shape(1, lanes), (f"this run starts inside {where}, whose cores are taken",))
    counted = f"{given.cores:g} usable core{'' if given.cores == 1 else 's'}"
    if needs_children(given):
        option = "isolate" if given.isolate else "timeout" if given.timeout else "limits.items_per_worker"
        if given.picklable:
            workers = min(cores, limits.workers or cores)
            reasons = (f"{option} asks for child processes", f"one for each of {counted}")
            return Plan("unknown", Shape(workers, 1), reasons, isolate=True)
        lanes = max(2, min(cores, limits.lanes or cores))
        return Plan("unknown", Shape(1, lanes), ("the function cannot be sent to a child process, so threads",))
    lanes = min(cores, limits.lanes or cores)
    return Plan("unknown", Shape(1, lanes), (f"one thread for each of {counted}; the function was not measured",))
