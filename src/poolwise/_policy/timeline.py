"""The timeline: what happened in a run and when, in a bounded space.

    Done ────> slices      every execution, or batch timed as a whole; where there are too many, one of 2, 4, 8 ...
       └─────> latency     how many executions took how long, in buckets of a tenth of a decade; all of them
    a step ──> samples     throughput, lanes and GIL, at most one an interval, which doubles where there are too many
       └─────> marks       decisions; and retries and deaths as they come: the first and the latest ones
    handed ──> slowest items, and an example of each class of failure

Every run has one, small; `timeline=True` makes it large. Slices are taken in by whole batches: an item costs little
where it is timed itself, and nothing where only its batch is (`benchmarks/journal.py --only timeline`).
"""

from __future__ import annotations

import math
import random
import threading
from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import compress, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from poolwise._core.model import Done, Lost, Running, Settled, Shape
from poolwise._policy.demands import Estimate
from poolwise._policy.outcomes import key_of, times_of
from poolwise._policy.plan import Plan
from poolwise._policy.verdict import class_of, how

if TYPE_CHECKING:  # A run that nobody asks for its story does without.
    from poolwise._core.story import Mark, Sample, Slice, Slowest

_BUCKETS = 10  # Of the latency, in a decade.
_FASTEST = -8 * _BUCKETS  # Bucket of what takes 10 ns, or less.
_SLOWEST = 10
_VAGUE = 0.5  # Width of an interval of the held share from which on it says nothing.
_MOST_TEXT = 300
_FIRST_OF_TWO = bytes(value & 1 for value in range(256))
_SECOND_OF_TWO = bytes(value & 1 ^ 1 for value in range(256))
_CODES = "ddiiqii"  # Of the fields of `Slice`, in their order, as columns.
_SECONDS = itemgetter(1)  # Of a tuple of `Done.clocks`.


@dataclass(frozen=True, slots=True)
class Room:
    """How much a timeline keeps.

    Attributes:
        slices, samples, marks: at most so many; marks of each kind.
        interval_seconds: between two samples, at first.
    """

    slices: int
    samples: int
    marks: int
    interval_seconds: float


SMALL = Room(2_000, 500, 200, 0.02)
LARGE = Room(100_000, 2_000, 10_000, 0.01)


class Chooser(Protocol):
    """Who chooses the shape, as far as a timeline asks."""

    @property
    def decision(self) -> Plan:
        """The plan as it was last decided: the same object until it is decided anew."""

    def held_since(self, at: float) -> Estimate | None:
        """The share of time that the GIL of the calling process was held since a clock reading, where known."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a timeline holds, as values; times are seconds since the run began. See `Story` for the fields."""

    slices: tuple[Slice, ...]
    sampled: float
    latency: tuple[tuple[float, int], ...]
    samples: tuple[Sample, ...]
    marks: tuple[Mark, ...]
    slowest: tuple[Slowest, ...]
    examples: dict[str, tuple[str, str]]


class Timeline:
    """See the module's docstring. Thread-safe.

    Args:
        room: how much it keeps.
    """

    def __init__(self, room: Room = SMALL) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._began = 0.0
        self._slices = Slices(room.slices)
        self._latency: dict[int, int] = {}
        self._samples = _Samples(room)
        self._marks = {kind: _Ends(room.marks) for kind in ("decision", "retry", "death")}
        self._decision: tuple[Shape, Plan] | None = None
        self._slowest: list[tuple[float, str]] = []  # The quickest of them first.
        self._examples: dict[str, tuple[str, str]] = {}

    def begin(self, now: float) -> None:
        """Start the clock of the run."""
        self._began = now
        self._samples.begin(now)

    # -- from the thread that steps the engine

    def add(self, done: Done, indexes: Sequence[int]) -> None:
        """Take in executions; `indexes` are those of their whole batch."""
        number = len(done.values)
        if number == 0 or (done.clocks is None and done.seconds <= 0 and done.failures):  # It never reached a lane.
            return
        with self._lock:
            if done.clocks is None:
                failed = len(done.failures)
                self._slices.add(
                    done.started, done.seconds, done.worker, done.lane, indexes[done.first], number, failed
                )
                self._count(done.seconds / number, number)
            else:
                self._slices.add_each(done, indexes)
                self._count_each(done.clocks)

    def _count_each(self, clocks: Sequence[tuple[float, float, float | None]]) -> None:
        taken = sorted(map(_SECONDS, clocks))
        place, bucket = 0, bucket_of(taken[0])
        while place < len(taken):
            beyond = bisect_left(taken, _edge(bucket + 1), place)
            if beyond > place:
                self._latency[bucket] = self._latency.get(bucket, 0) + beyond - place
            place, bucket = beyond, bucket + 1

    def _count(self, seconds: float, number: int) -> None:
        bucket = bucket_of(seconds)
        self._latency[bucket] = self._latency.get(bucket, 0) + number

    def gave_up(self, task: Running, index: int, now: float) -> None:
        """Take in an execution that never ended: it ran too long, or its worker died."""
        if task.started and task.started <= now:
            with self._lock:
                self._slices.add(task.started, now - task.started, task.worker, task.lane, index, 1, 1)
                self._count(now - task.started, 1)

    def retry(self, now: float, error: object, attempt: int) -> None:
        """Take in that an item will be executed again, after what `error` says."""
        self._mark("retry", now, f"{error}; attempt {attempt} follows")

    def lost(self, now: float, lost: Lost) -> None:
        """Take in the end of a worker, or of a lane."""
        if lost.stopped and lost.worker == 0:
            text = "a thread of the calling process was given up: what it ran took longer than the timeout"
        elif lost.stopped:
            text = f"worker {lost.worker} was ended: an item took longer than the timeout"
        else:
            text = f"worker {lost.worker} died ({how(lost)})"
        self._mark("death", now, text)

    def tick(self, now: float, settled: int, shape: Shape, chooser: Chooser) -> None:
        """Note how things stand after a step: a decision where it is a new one, a sample where it is time for one."""
        plan, before = chooser.decision, self._decision
        if before is None or plan is not before[1] or shape is not before[0]:
            self._decide(now, shape, plan)
        if now >= self._samples.due:
            held = chooser.held_since(self._samples.latest)
            with self._lock:
                self._samples.add(now, settled, shape.total, held)

    def _decide(self, now: float, shape: Shape, plan: Plan) -> None:
        before, self._decision = self._decision, (shape, plan)
        known = before[1].reasons if before is not None else ()
        reasons = [reason for reason in plan.reasons if reason not in known]
        if before is None or shape != before[0]:
            reasons.insert(0, str(shape) if before is None else f"{before[0]} -> {shape}")
        if reasons:
            self._mark("decision", now, "; ".join(reasons))

    def _mark(self, kind: str, now: float, text: str) -> None:
        with self._lock:
            self._marks[kind].add((now, text[:_MOST_TEXT]))

    # -- from the consumer's thread

    def hand(self, part: Settled, key: Any) -> None:
        """Take in what the consumer gets; `key` is the user's key function, or None."""
        for position, error in part.errors.items():
            name = class_of(error)
            if name not in self._examples:
                self._examples[name] = (str(error)[:_MOST_TEXT], key_text(part, position, key))
        done = part.done
        if part.recorded is not None or (done is not None and done.clocks is None and len(done.values) > 1):
            return
        if done is not None and done.clocks is not None:
            taken = list(map(_SECONDS, done.clocks[part.offset : part.offset + len(part.items)]))
        else:
            taken = [next(iter(times_of(part, 0.0)[1]))]
        slowest = self._slowest
        if len(slowest) == _SLOWEST and max(taken) <= slowest[0][0]:
            return
        for position, seconds in enumerate(taken):
            if len(slowest) < _SLOWEST or seconds > slowest[0][0]:
                insort(slowest, (seconds, key_text(part, position, key)))
                del slowest[:-_SLOWEST]

    # -- what it was

    def record(self, now: float, settled: int) -> Record:
        """Return what was taken in.

        Args:
            now: clock reading.
            settled: items that are settled by then.
        """
        from poolwise._core.story import Mark, Slowest

        with self._lock:
            began, lanes = self._began, self._decision[0].total if self._decision is not None else 0
            marks = [Mark(at - began, kind, text) for kind, kept in self._marks.items() for at, text in kept.all()]
            return Record(
                self._slices.record(began),
                self._slices.share,
                histogram(self._latency),
                self._samples.record(began, now, settled, lanes),
                tuple(sorted(marks, key=lambda mark: mark.at)),
                tuple(Slowest(text, seconds) for seconds, text in self._slowest[::-1]),
                dict(self._examples),
            )


def bucket_of(seconds: float) -> int:
    """Return the bucket of the latency that a time is in."""
    bucket = max(_FASTEST, math.floor(math.log10(seconds) * _BUCKETS)) if seconds > 0 else _FASTEST
    return bucket + 1 if seconds >= _edge(bucket + 1) else bucket  # Edges are round numbers.


def histogram(counts: dict[int, int]) -> tuple[tuple[float, int], ...]:
    """Return counts by bucket as `Story.latency`: the first pair says where the first bucket begins."""
    if not counts:
        return ()
    first, last = min(counts), max(counts)
    return ((_edge(first), 0), *((_edge(bucket + 1), counts.get(bucket, 0)) for bucket in range(first, last + 1)))


@cache
def _edge(bucket: int) -> float:
    """Return where a bucket begins."""
    return float(f"{10 ** (bucket / _BUCKETS):.6g}")


def key_text(part: Settled, position: int, key: Any) -> str:
    """Return the key of an item as text; its place where it has no key."""
    index = part.indexes[position]
    try:
        found = part.keys[position] if part.keys is not None else key_of(part.items[position], index, key)
        return plain_text(found)
    except Exception:  # A key function that fails, which is for whoever needs the key to say.
        return plain_text(index)


def plain_text(key: Any) -> str:
    """Return a key as text, a long one without its middle."""
    text = key if isinstance(key, str) else repr(key) if isinstance(key, tuple) else str(key)
    return text if len(text) <= _MOST_TEXT else f"{text[:200]}...{text[-80:]}"


class Slices:
    """Columns of slices. Where they are full, one of each two goes, and from then on one of 2, 4, 8 ... is kept.

    Which one is drawn (from a generator with a fixed seed): every second slice of two lanes that take turns would be
    those of one lane.

    Args:
        most: to be kept.

    Attributes:
        seen: how many there were.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._stride = 1
        self._next = 0  # Number of the slice to be kept next.
        self.seen = 0
        self._columns: list[array[Any]] = [array(code) for code in _CODES]

    @cached_property
    def _draw(self) -> random.Random:
        return random.Random(0)  # To seed it takes a while, and most runs never draw.

    @property
    def share(self) -> float:
        """Share of the slices that is kept."""
        return len(self._columns[0]) / self.seen if self.seen else 1.0

    def add(self, started: float, seconds: float, worker: int, lane: int, index: int, count: int, failed: int) -> None:
        """Take in one."""
        if self._chosen(1):
            for column, value in zip(self._columns, (started, seconds, worker, lane, index, count, failed)):
                column.append(value)
            self._make_room()

    def add_each(self, done: Done, indexes: Sequence[int]) -> None:
        """Take in executions that were timed themselves; `indexes` are those of the whole batch."""
        assert done.clocks is not None
        places = self._chosen(len(done.values))
        if not places:
            return
        clocks, first, failures = done.clocks, done.first, done.failures
        kept = len(places)
        starts, seconds, _ = zip(*clocks if kept == len(clocks) else [clocks[place] for place in places])
        rows = (
            starts,
            seconds,
            repeat(done.worker, kept),
            repeat(done.lane, kept),
            [indexes[first + place] for place in places],
            repeat(1, kept),
            [int(first + place in failures) for place in places] if failures else repeat(0, kept),
        )
        for column, values in zip(self._columns, rows):
            column.extend(values)
        self._make_room()

    def _chosen(self, number: int) -> Sequence[int]:
        """Return which of so many further slices are kept."""
        first, stride = self.seen, self._stride
        self.seen += number
        if stride == 1:
            return range(number)
        chosen = []
        while self._next < self.seen:
            chosen.append(self._next - first)
            self._next = (self._next // stride + 1) * stride + int(self._draw.random() * stride)
        return chosen

    def _make_room(self) -> None:
        while len(self._columns[0]) > self._most:
            drawn = self._draw.randbytes(len(self._columns[0]) // 2)
            kept = bytearray(2 * len(drawn))
            kept[::2] = drawn.translate(_FIRST_OF_TWO)
            kept[1::2] = drawn.translate(_SECOND_OF_TWO)
            self._columns = [array(code, compress(column, kept)) for code, column in zip(_CODES, self._columns)]
            self._stride *= 2
            self._next = -(-self.seen // self._stride) * self._stride + int(self._draw.random() * self._stride)

    def record(self, began: float) -> tuple[Slice, ...]:
        """Return those that are kept, by start."""
        from poolwise._core.story import Slice

        return tuple(Slice(started - began, *rest) for started, *rest in sorted(zip(*self._columns)))


class _Samples:
    """How things stood, at intervals. Where there are too many, each two become one and the interval doubles.

    Attributes:
        latest: clock reading of the latest, or of the start.
        due: clock reading from which on the next one is wanted.
    """

    __slots__ = ("_held", "_interval", "_most", "_rows", "_started", "due", "latest")

    def __init__(self, room: Room) -> None:
        self._most = room.samples
        self._interval = room.interval_seconds
        self._rows: list[tuple[float, int, int, float | None]] = []  # Clock reading, settled so far, lanes, held.
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Start to count here."""
        self._started = self.latest = now
        self.due = now + self._interval

    def add(self, now: float, settled: int, lanes: int, held: Estimate | None) -> None:
        """Take in one."""
        share = held.value if held is not None and held.high - held.low < _VAGUE else None
        self._rows.append((now, settled, lanes, share))
        if len(self._rows) > self._most:
            odd = self._rows[len(self._rows) & ~1 :]
            self._rows = [_merged(*pair) for pair in zip(self._rows[::2], self._rows[1::2])] + odd
            self._interval *= 2
        self.latest = now
        self.due = now + self._interval

    def record(self, began: float, now: float, settled: int, lanes: int) -> tuple[Sample, ...]:
        """Return them, with how things stand now."""
        from poolwise._core.story import Sample

        rows = list(self._rows)
        if settled > (rows[-1][1] if rows else 0) and now > self.latest:
            rows.append((now, settled, lanes, None))
        samples = []
        since, before = self._started, 0
        for at, count, lanes, held in rows:
            samples.append(Sample(at - began, (count - before) / max(at - since, 1e-9), lanes, held))
            since, before = at, count
        return tuple(samples)


def _merged(
    first: tuple[float, int, int, float | None], second: tuple[float, int, int, float | None]
) -> tuple[float, int, int, float | None]:
    known = [held for held in (first[3], second[3]) if held is not None]
    return (*second[:3], sum(known) / len(known) if known else None)


class _Ends:
    """The first and the latest of many things."""

    __slots__ = ("_first", "_latest", "_room")

    def __init__(self, most: int) -> None:
        self._room = most // 2
        self._first: list[tuple[float, str]] = []
        self._latest: deque[tuple[float, str]] = deque(maxlen=most - self._room)

    def add(self, thing: tuple[float, str]) -> None:
        """Take in one."""
        (self._first if len(self._first) < self._room else self._latest).append(thing)

    def all(self) -> list[tuple[float, str]]:
        """Return those that are kept, in order."""
        return [*self._first, *self._latest]
