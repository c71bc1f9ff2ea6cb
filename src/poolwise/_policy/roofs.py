"""Roofs: the throughput that each resource allows at most, and the shapes that they leave worth trying.

Asymptotic bounds of a closed system (Lazowska et al., "Quantitative System Performance", ch. 5): p workers of t lanes
do at most min(p / held, cores / cpu, p t / response, 1 / wire, an outside limit) items a second. These are
upper bounds: hand-offs of the GIL, hidden locks and memory bandwidth are not in them, so what is chosen is confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from poolwise._core.model import Shape
from poolwise._policy.demands import Demands

MOST_LANES = 512
_BATCH_OVERHEAD_SECONDS = 0.4e-6  # Per item, of the calling process, whatever it is (benchmarks/overhead.py, map-2x1).
_SPREAD = 1.25
_MOST_TRIED = 16  # Lanes of a worker: the lane controller finds out whether more of them pay.
_LESS = 1.05  # A costlier shape must promise more than this, times the cheaper one,
_LESS_CHILDREN = 1.2  # and child processes, which have to be started, more than this.

_FULL_LANES = 64  # Of each worker process at first, at most, where a process with that many was used up.
_ROOM = 1.5  # Lanes of such a worker, over those that were served at a time: it is fought over less, and may do more.


@dataclass(frozen=True, slots=True)
class Ground:
    """What the machine and the user allow.

    Attributes:
        cores: usable ones, fractional.
        most_workers: worker processes; 1 where there must be none.
        most_lanes: lanes in each worker.
        most_total: lanes in all.
        per_second: starts a second, or None.
        gil: this interpreter has one.
        memory_workers: workers that memory has room for, where that is the reason for `most_workers`.
        waiting_workers: worker processes of one lane each that waiting work may have (isolate).
    """

    cores: float
    most_workers: int
    most_lanes: int = MOST_LANES
    most_total: int = MOST_LANES
    per_second: float | None = None
    gil: bool = True
    memory_workers: int | None = None
    waiting_workers: int = 1


@dataclass(frozen=True, slots=True)
class Roof:
    """A bound on throughput.

    Attributes:
        name: "gil", "loop", "cores", "lanes", "wire" or "limit".
        per_second: items a second at most, infinite where the resource is not used.
        reason: the sum that gives it, for a person.
    """

    name: str
    per_second: float
    reason: str


def roofs(demands: Demands, shape: Shape, ground: Ground, *, children: bool) -> list[Roof]:
    """Return the roofs over a shape, the lowest first.

    Args:
        demands: of one item.
        shape: workers x lanes.
        ground: what the machine allows.
        children: the workers are child processes.
    """
    response, cpu = demands.response.value, demands.cpu.value
    found = [
        Roof("lanes", _over(shape.total, response), f"{_many(shape.total, 'lane')} / {duration(response)}"),
        Roof("cores", _over(ground.cores, cpu), f"{ground.cores:g} cores / {duration(cpu)} CPU"),
    ]
    if ground.gil and demands.held is not None:
        held = demands.held.value
        found.append(Roof("gil", _over(shape.workers, held), f"{_many(shape.workers, 'GIL')} / {duration(held)} held"))
    if demands.loop is not None:
        reason = f"{_many(shape.workers, 'event loop')} / {duration(demands.loop)} blocked"
        found.append(Roof("loop", _over(shape.workers, demands.loop), reason))
    if children:
        wire = (demands.wire or 0.0) + _BATCH_OVERHEAD_SECONDS
        found.append(Roof("wire", 1 / wire, f"1 calling process / {duration(wire)} to send and fetch"))
    if ground.per_second is not None:
        found.append(Roof("limit", ground.per_second, "limits.per_second"))
    return sorted(found, key=lambda roof: roof.per_second)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _over(amount: float, demand: float) -> float:
    return amount / demand if demand > 1e-12 else math.inf


def duration(seconds: float) -> str:
    """Return a time for a person: "3.1 ms"."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def throughput(per_second: float) -> str:
    """Return items a second for a person, to four digits: "12.34", "1,234", "12,340"."""
    if per_second < 1000 or not math.isfinite(per_second):
        return f"{per_second:.4g}"
    return f"{float(f'{per_second:.4g}'):,.0f}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shape worth trying, and the throughput that its lowest roof allows, in items a second."""

    shape: Shape
    predicted: float
    children: bool


def shortlist(demands: Demands, ground: Ground, base: Shape, *, isolate: bool = False) -> list[Candidate]:
    """Return at most three shapes that may beat the one that runs, the one to try first in front.

    Where the GIL is held for a good part of the busy time, threads of one process promise more than they keep, so
    processes are tried first. Of shapes that promise about the same, the cheaper one is left.

    Args:
        demands: of one item.
        ground: what the machine allows.
        base: the shape that runs.
        isolate: every worker is a child process, even a single one.
    """
    candidates = [_candidate(demands, shape, ground, isolate) for shape in _shapes(demands, ground)]
    share = demands.held_of_busy
    contended = share is not None and share.value > 0.25
    candidates.sort(key=lambda candidate: (contended and not candidate.children, cost_of(candidate.shape)))
    best = max((candidate.predicted for candidate in candidates), default=0.0)
    now = _candidate(demands, base, ground, isolate).predicted
    leaves = not isolate and base.workers == 1
    kept = [
        found
        for found in candidates
        if found.shape != base
        and found.predicted > 0.6 * best
        and found.predicted > now * (_LESS_CHILDREN if found.children and leaves else _LESS)
    ]
    kept.sort(key=lambda found: found.predicted < 0.9 * best)
    return kept[:3]


def lanes_of_each(workers: int, total: int, served: float, ground: Ground) -> int:
    """Return how many lanes each worker process should begin with, in place of one process whose lanes waited.

    What stood in line for the GIL of a process that was used up is no reason for more lanes. How many pay is found out
    there.

    Args:
        workers: how many processes.
        total: lanes of the one process.
        served: items that were in service at a time, out of its line, at most; 0 where it was not used up.
        ground: what the machine allows.
    """
    lanes = max(-(-total // workers), min(math.ceil(_ROOM * served), total, _FULL_LANES))
    return max(1, min(lanes, ground.most_lanes, ground.most_total // workers))


def _candidate(demands: Demands, shape: Shape, ground: Ground, isolate: bool) -> Candidate:
    children = isolate or shape.workers > 1
    lowest = roofs(demands, shape, ground, children=children)[0]
    return Candidate(shape, lowest.per_second, children)


def cost_of(shape: Shape) -> tuple[int, int]:
    """Return what to order shapes by, the cheapest first."""
    return shape.workers, shape.lanes


def _shapes(demands: Demands, ground: Ground) -> Iterator[Shape]:
    """Yield the shapes in question: threads alone, processes alone, and both, with the lanes that waiting asks for."""
    response = max(demands.response.value, 1e-9)
    waits = demands.wait_share > 0.1
    seen = {Shape(1, 1)}
    for workers in (1, ground.most_workers):
        ceiling = min(_over(ground.cores, demands.cpu.value), _over(workers, _held(demands, ground)))
        needed = response * ceiling / workers  # Little's law: lanes = throughput x response
        needed = min(needed, ground.most_lanes, _MOST_TRIED)
        # Little's law gives the mean; lanes that wait at random times need some more to keep the cores busy.
        lanes = math.ceil(_SPREAD * needed) if waits and needed > 1.1 else round(needed)
        for count in (1, lanes):
            count = max(1, min(count, ground.most_lanes, ground.most_total // workers))
            shape = Shape(workers, count)
            if shape not in seen:
                seen.add(shape)
                yield shape


def _held(demands: Demands, ground: Ground) -> float:
    return demands.held.value if ground.gil and demands.held is not None else 0.0
