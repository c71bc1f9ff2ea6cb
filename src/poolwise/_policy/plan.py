"""The plan: which shape a run takes, and why; and with which shape an `auto` run begins.

What an `auto` run does after its first items is in `pilot.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from poolwise._core.errors import ShapeError
from poolwise._core.model import Limits, Shape
from poolwise._policy.demands import Demands, Kind
from poolwise._policy.roofs import MOST_LANES, Ground, Roof

ASKED = "asked for"
"""The reason for a shape that the user gave; where it is the only one, the shape is that one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does and why.

    Attributes:
        kind: what the function is bound by; "unknown" where it was not measured, or the measurement does not tell.
        shape: workers x lanes.
        reasons: why this shape, a sentence each.
        isolate: every worker is a child process, even a single one.
        demands: what an item needs, where it was measured.
        roofs: the bounds on the throughput of this shape, the lowest first.
        predicted: items a second that the lowest roof allows.
        observed: items a second that this shape was seen to do.
        serial: items a second that one lane did.
        decided_after: items that were executed when this was decided.
        tried: items a second of each shape that was tried on real items.
    """

    kind: Kind
    shape: Shape
    reasons: tuple[str, ...]
    isolate: bool = False
    demands: Demands | None = None
    roofs: tuple[Roof, ...] = ()
    predicted: float | None = None
    observed: float | None = None
    serial: float | None = None
    decided_after: int | None = None
    tried: Mapping[str, float] = field(default_factory=dict)

    @property
    def predicted_speedup(self) -> float | None:
        """What the lowest roof allows, over one lane."""
        return self.predicted / self.serial if self.predicted and self.serial else None

    @property
    def observed_speedup(self) -> float | None:
        """What was seen, over one lane."""
        return self.observed / self.serial if self.observed and self.serial else None

    def explain(self) -> str:
        """Return the plan for a person: one sentence, the roofs, what would help, what is uncertain."""
        from poolwise._policy.explain import explain

        return explain(self)


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
        total: items, where that is known.
        gil: this interpreter has one.
        resident_bytes: what this process holds, as a guess at what a worker will; 0 where not known, or no matter.
        available_bytes: memory that can still be allocated, or None where not known.
        open_files: files and sockets that a process may have open, or None where not known.
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
    total: int | None = None
    gil: bool = True
    resident_bytes: int = 0
    available_bytes: int | None = None
    open_files: int | None = None


FIRST_LANES = 16  # For waiting work of unknown length.
_WAITING_WORKERS = 4  # A core: under isolate each lane of waiting work is a process, which holds memory.
_FILES_PER_LANE = 4  # That an item which waits may have open: a socket, a file, and as much again.
FEW_ITEMS = 64  # Waiting work of no more items than this gets a lane for each.


def needs_children(given: Circumstances) -> bool:
    """Say whether an option asks for child processes under "auto"."""
    return given.isolate or given.limits.items_per_worker is not None or (given.timeout and not given.coroutine)


def choose(given: Circumstances) -> Plan:
    """Choose the shape.

    Raises:
        ShapeError: where the shape contradicts another option.
    """
    if isinstance(given.shape, str) and given.shape == "auto":
        room = ground(given)
        plan, bounds = _automatic(given, room), tuple(_bounds(given, room))
        return replace(plan, reasons=plan.reasons + bounds) if bounds else plan
    shape = given.shape if isinstance(given.shape, Shape) else Shape.parse(given.shape)
    reasons = [ASKED]
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


def _automatic(given: Circumstances, room: Ground) -> Plan:
    """Return the shape to begin with."""
    if given.in_worker or given.in_lane:
        where = "a worker" if given.in_worker else "a lane of another run"
        lanes = 2 if given.timeout and not given.coroutine else 1
        return Plan("unknown", Shape(1, lanes), (f"this run starts inside {where}, whose cores are taken",))
    if needs_children(given):
        option = "isolate" if given.isolate else "timeout" if given.timeout else "limits.items_per_worker"
        if given.picklable:
            reason = f"{option} asks for child processes"
            return Plan("unknown", Shape(room.most_workers, 1), (reason,), isolate=True)
        lanes = max(2, min(math.ceil(given.cores), room.most_lanes))
        return Plan("unknown", Shape(1, lanes), ("the function cannot be sent to a child process, so threads",))
    if given.coroutine:
        return Plan("unknown", Shape(1, _lanes_for_waiting(given, room)), ("a coroutine function: asyncio lanes",))
    if given.hint == "io":
        reason = 'hint="io" says that its items wait'
        return Plan("unknown", Shape(1, _lanes_for_waiting(given, room)), (reason,))
    if given.hint == "cpu":
        lanes = min(math.ceil(given.cores), room.most_lanes, room.most_total)
        return Plan("unknown", Shape(1, max(1, lanes)), ('hint="cpu" says that its items compute',))
    return Plan("unknown", Shape(1, 1), ())


def _bounds(given: Circumstances, room: Ground) -> Iterator[str]:
    """Say which bounds the choice keeps to."""
    for name in ("workers", "lanes", "in_flight", "per_second"):
        bound = getattr(given.limits, name)
        if bound is not None:
            yield f"limits.{name}={bound:g} bounds the choice"
    fitting = room.memory_workers
    if fitting is not None:
        yield f"memory has room for {fitting} worker{'s' if fitting > 1 else ''}"


def _lanes_for_waiting(given: Circumstances, room: Ground) -> int:
    """Return the lanes to begin with: one for each item where there are few, else enough to learn from."""
    few = given.total if given.total is not None and given.total <= FEW_ITEMS else FIRST_LANES
    return max(1, min(few, room.most_lanes, room.most_total))


def ground(given: Circumstances) -> Ground:
    """Return what the machine and the options leave to choose from."""
    limits, cores = given.limits, max(1, math.ceil(given.cores))
    workers = cores if limits.workers is None else min(limits.workers, cores)
    room = limits.memory if limits.memory is not None else given.available_bytes
    fitting = None
    if room is not None and given.resident_bytes > 0:
        fitting = max(1, room // given.resident_bytes)
    lanes = MOST_LANES if given.open_files is None else max(1, min(MOST_LANES, given.open_files // _FILES_PER_LANE))
    total = limits.in_flight if limits.in_flight is not None else MOST_LANES
    most = min(total, fitting if fitting is not None else total)
    return Ground(
        cores=given.cores,
        most_workers=max(1, min(workers, most)),
        most_lanes=1 if given.isolate else min(limits.lanes or lanes, total),  # isolate: one lane a worker
        most_total=total,
        per_second=limits.per_second,
        gil=given.gil,
        memory_workers=fitting if fitting is not None and fitting < workers else None,
        waiting_workers=max(1, min(limits.workers or _WAITING_WORKERS * cores, most)),
    )
