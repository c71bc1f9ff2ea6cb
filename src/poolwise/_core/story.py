"""The story of a run: all that a report tells, as values that JSON can hold; of a live run, or out of a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Slice:
    """What a lane did without a gap: one execution, or a batch that was timed as a whole.

    Attributes:
        start: seconds since the run began.
        seconds: how long it took.
        worker, lane: where it ran.
        index: place in the input of the first item.
        count: items in it; more than one where only the batch was timed.
        failed: of these, those that did not end well.
    """

    start: float
    seconds: float
    worker: int
    lane: int
    index: int
    count: int = 1
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was so at one time.

    Attributes:
        at: seconds since the run began.
        per_second: items a second that settled since the sample before.
        lanes: that the shape had then.
        held: share of the time that the GIL of the calling process was held, or None where not known.
    """

    at: float
    per_second: float
    lanes: int
    held: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one time.

    Attributes:
        at: seconds since the run began.
        kind: "decision", "retry", "death" or "journal".
        text: a sentence.
    """

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A roof over throughput, for each number of lanes.

    Attributes:
        name: as `Roof.name` ("gil", "loop", "cores", "lanes", "wire", "limit", "process", "outside").
        reason: the sum that gives it, for a person.
        points: pairs of lanes and items a second, by lanes.
    """

    name: str
    reason: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Throughput that a shape was seen to have.

    Attributes:
        shape: as text, such as "2x16".
        lanes: in all of its workers.
        per_second: items a second.
        final: it is the shape that the run ended with.
    """

    shape: str
    lanes: int
    per_second: float
    final: bool = False


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Failed items of one class.

    Attributes:
        name: of the class of their error.
        count: how many.
        example: the sentence of one of them.
        key: of that one, as text.
    """

    name: str
    count: int
    example: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Slowest:
    """An item that took long: its key as text, and the seconds of its last execution."""

    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Story:
    """See the module's docstring.

    Attributes:
        title: the function, as "module:name".
        sentence: the verdict in one sentence.
        kind: "io", "gil", "cpu", "mixed", "tiny", "transfer" or "unknown".
        shape: that the run ended with, as text.
        began: Unix time, in seconds.
        seconds: wall time since work started.
        done, failed, recorded, retried, workers_lost: as in `Report`.
        busy_seconds, cpu_seconds, probe_seconds: as in `Report`.
        explanation: the whole text of `Plan.explain()`.
        reasons: why this shape, a sentence each.
        curves: the roofs.
        observed: what the shapes that were tried did.
        latency: pairs of seconds and number of executions that took less than these, and no less than those before.
        failures: by class, the commonest first.
        slowest: the slowest first.
        slices: of the lanes, by start; a sample where there were too many.
        samples: by time.
        marks: by time.
        sampled: share of the slices that was kept, 1 where all were.
        host: facts of the machine and the interpreter, by name.
    """

    title: str
    sentence: str
    kind: str
    shape: str
    began: float
    seconds: float
    done: int
    failed: int
    recorded: int = 0
    retried: int = 0
    workers_lost: int = 0
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    probe_seconds: float = 0.0
    explanation: str = ""
    reasons: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()
    observed: tuple[Observed, ...] = ()
    latency: tuple[tuple[float, int], ...] = ()
    failures: tuple[FailureClass, ...] = ()
    slowest: tuple[Slowest, ...] = ()
    slices: tuple[Slice, ...] = ()
    samples: tuple[Sample, ...] = ()
    marks: tuple[Mark, ...] = ()
    sampled: float = 1.0
    host: Mapping[str, Any] = field(default_factory=dict)
