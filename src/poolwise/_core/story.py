"""The story of a run: all that a report tells, as values that JSON can hold; of a live run, or out of a journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

T = TypeVar("T")


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
        stage: of a stage of a pipeline: its name.
        stages: of a pipeline: the story of each stage, which holds the lanes, and all that is measured.
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
    stage: str = ""
    stages: tuple[Story, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold; slices and samples, of which there are many, as columns."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _ROWS}
        plain["stages"] = [story.to_dict() for story in self.stages]
        plain |= {name: list(map(_row, getattr(self, name))) for name in _ROWS if name not in _COLUMNS}
        return plain | {"host": dict(self.host)} | {name: _columns(getattr(self, name)) for name in _COLUMNS}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Story:
        """Return what `to_dict` gave, here or in another version: unknown names are passed over, missing ones empty."""
        blank: dict[str, Any] = dict.fromkeys(("title", "sentence", "kind", "shape"), "")
        blank |= {"began": 0.0, "seconds": 0.0, "done": 0, "failed": 0}
        known = blank | _known(cls, given)
        for name, kind in _ROWS.items():
            rows = known.get(name) or ()
            if name in _COLUMNS and isinstance(rows, Mapping):
                rows = _rows_of(rows)
            known[name] = _made(kind, rows)
        known["reasons"] = tuple(known.get("reasons") or ())
        known["latency"] = tuple((below, count) for below, count in known.get("latency") or ())
        known["stages"] = tuple(map(cls.from_dict, known.get("stages") or ()))
        return cls(**known)

    def abridged(self, slices: int, samples: int, marks: int) -> Story:
        """Return it with at most so many slices, samples and marks: every second, every third of them, and so on."""
        kept = every_nth(self.slices, slices)
        return replace(
            self,
            slices=kept,
            samples=every_nth(self.samples, samples),
            marks=every_nth(self.marks, marks),
            stages=tuple(story.abridged(slices, samples, marks) for story in self.stages),
            sampled=self.sampled * len(kept) / max(1, len(self.slices)) if self.slices else self.sampled,
        )


def every_nth(rows: Sequence[T], most: int) -> tuple[T, ...]:
    """Return at most `most` of the rows, evenly spread."""
    return tuple(rows[:: max(1, -(-len(rows) // most))])


_ROWS: dict[str, type] = {
    "curves": Curve,
    "observed": Observed,
    "failures": FailureClass,
    "slowest": Slowest,
    "slices": Slice,
    "samples": Sample,
    "marks": Mark,
}
_COLUMNS = ("slices", "samples")


def _known(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in given.items() if name in names}


def _row(row: Any) -> dict[str, Any]:
    """Return a row by name: its values are plain, or tuples of such, so that `dataclasses.asdict` copies in vain."""
    return {each.name: getattr(row, each.name) for each in fields(row)}


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {each.name: [getattr(row, each.name) for row in rows] for each in fields(rows[0])} if rows else {}


def _rows_of(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _made(kind: type, rows: Iterable[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Make rows; those that lack a field which must be there are passed over."""
    made = []
    for row in rows:
        try:
            made.append(kind(**_known(kind, row)))
        except TypeError:
            continue
    if kind is Curve:
        return tuple(replace(curve, points=tuple((lanes, rate) for lanes, rate in curve.points)) for curve in made)
    return tuple(made)
