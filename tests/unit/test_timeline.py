"""The timeline by itself: what it keeps where there is more than it has room for; and a trace of made-up stories."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from dataclasses import dataclass

import pytest

from poolwise._core.model import Done, Failure, Lost, Running, Shape
from poolwise._core.story import Mark, Sample, Slice, Story
from poolwise._policy.demands import Estimate
from poolwise._policy.plan import Plan
from poolwise._policy.timeline import SMALL, Room, Timeline
from poolwise.report.trace import trace_json
from zoo.traces import of_phase, read_trace

STORY = Story("module:fn", "A sentence.", "io", "1x2", 1e9, 2.0, 3, 0)


def executed(first: int, seconds: list[float], lane: int = 0, failed: tuple[int, ...] = ()) -> Done:
    """Return the event of a batch whose first item has the place `first`, each item timed and a second apart."""
    clocks = [(float(first + place), each, None) for place, each in enumerate(seconds)]
    failures = {place: Failure("it failed") for place in failed}
    return Done(first, 0, [None] * len(seconds), failures, 0, lane, float(first), sum(seconds), None, clocks)


@dataclass
class Fixed:
    """A chooser whose plan the test sets."""

    decision: Plan
    share: Estimate | None = None

    def held_since(self, at: float) -> Estimate | None:
        """Return what the test said."""
        return self.share


@pytest.mark.parametrize("size", [1, 7])
def test_a_sample_of_lanes_that_take_turns(size: int) -> None:
    """However regular the turns of two lanes are, both are in the sample for their half, and so is all of the time."""
    timeline, count = Timeline(), 20_000
    for turn in range(count):
        first = turn * size
        timeline.add(executed(first, [0.5] * size, turn % 2, (size - 1,)), range(first, first + size))
    record = timeline.record(float(count * size), 0)
    assert SMALL.slices / 3 < len(record.slices) <= SMALL.slices
    assert record.sampled == len(record.slices) / (count * size)
    lanes = collections.Counter(part.lane for part in record.slices)
    assert 0.4 < lanes[0] / len(record.slices) < 0.6
    eighths = collections.Counter(8 * part.index // (count * size) for part in record.slices)
    assert min(eighths[eighth] for eighth in range(8)) > len(record.slices) / 16
    assert all(part.start == part.index and part.failed == (part.index % size == size - 1) for part in record.slices)
    assert sum(number for _, number in record.latency) == count * size


def test_latency_counts_each_execution_once_and_in_its_place() -> None:
    """Each bucket has what took less than its end, and no less than the end before, in whatever order they come."""
    taken = [0.0, 1e-9, 2e-6, 0.001, 0.00125893, 0.0019, 0.1, 0.0999999, 7.0, 1e5]
    timeline = Timeline()
    timeline.add(executed(0, taken), range(len(taken)))
    timeline.add(executed(10, [0.02]), range(10, 11))
    latency = timeline.record(0.0, 0).latency
    everything = [*taken, 0.02]
    ends = [end for end, _ in latency]
    assert ends == sorted(ends)
    for (begin, _), (end, number) in itertools.pairwise(latency):
        low = begin if begin > ends[0] else -1.0
        assert number == sum(low <= seconds < end for seconds in everything), (begin, end)
    assert latency[0][1] == 0


def test_what_reached_no_lane_is_no_slice() -> None:
    """Batches that were given back, and items that could not be sent, have no place in a lane."""
    timeline = Timeline()
    timeline.add(Done(0, 0, [], {}, 3, 0, 1.0, 0.0, 0.0, None, range(4)), range(4))
    timeline.add(Done(0, 0, [None], {0: Failure("its argument cannot be pickled")}, 0, 0, 1.0, 0.0, 0.0), range(4))
    assert timeline.record(1.0, 0).slices == ()
    timeline.gave_up(Running(0, 0, 0.0, 1, 1), 0, 2.0)  # When it started is not known.
    assert timeline.record(1.0, 0).slices == ()
    timeline.gave_up(Running(0, 0, 1.5, 1, 1), 7, 2.0)
    assert timeline.record(1.0, 0).slices == (Slice(1.5, 0.5, 1, 1, 7, 1, 1),)


def test_samples_are_merged_where_there_are_too_many() -> None:
    """There are never more than there is room for, and their integral stays what was settled."""
    timeline = Timeline(Room(10, 8, 10, 1.0))
    timeline.begin(100.0)
    chooser = Fixed(Plan("unknown", Shape(1, 4), ("asked for",)), Estimate(0.5, 0.4, 0.6))
    for step in range(1, 1001):
        timeline.tick(100.0 + step / 2, step * 3, Shape(1, 4), chooser)
        samples = timeline.record(100.0 + step / 2, step * 3).samples
        assert len(samples) <= 9  # One of them for what came since the last.
        times = [0.0, *(sample.at for sample in samples)]
        settled = sum(sample.per_second * (at - since) for sample, since, at in zip(samples, times, times[1:]))
        assert settled == pytest.approx(step * 3)
    assert {sample.held for sample in samples[:-1]} == {0.5}
    assert {sample.lanes for sample in samples} == {4}


def test_a_vague_share_is_no_sample() -> None:
    """A share of which next to nothing is known is not told."""
    timeline = Timeline()
    chooser = Fixed(Plan("unknown", Shape(1, 1), ()), Estimate(0.5, 0.1, 0.9))
    timeline.tick(1.0, 1, Shape(1, 1), chooser)
    chooser.share = Estimate(0.5, 0.3, 0.7)
    timeline.tick(2.0, 2, Shape(1, 1), chooser)
    assert [sample.held for sample in timeline.record(2.0, 2).samples] == [None, 0.5]


def test_decisions_are_told_once() -> None:
    """A mark for each new shape or reason, with the new reasons alone; none where nothing changed."""
    timeline = Timeline()
    chooser = Fixed(Plan("unknown", Shape(1, 1), ()))
    for plan in (
        Plan("unknown", Shape(1, 1), ()),
        Plan("io", Shape(1, 16), ("its items wait",)),
        Plan("io", Shape(1, 16), ("its items wait",)),
        Plan("io", Shape(1, 16), ("its items wait", "the cores are used up")),
    ):
        chooser.decision = plan
        for _ in range(3):
            timeline.tick(1.0, 0, plan.shape, chooser)
    texts = [mark.text for mark in timeline.record(1.0, 0).marks]
    assert texts == ["1x1", "1x1 -> 1x16; its items wait", "the cores are used up"]


def test_the_first_and_the_latest_marks_are_kept() -> None:
    """Of many deaths there are those at the beginning and those at the end, in order."""
    timeline = Timeline(Room(10, 10, 6, 1.0))
    for worker in range(1, 101):
        timeline.lost(float(worker), Lost(worker, [], exitcode=9))
    marks = timeline.record(100.0, 0).marks
    assert [mark.at for mark in marks] == [1, 2, 3, 98, 99, 100]
    assert marks[-1] == Mark(100.0, "death", "worker 100 died (exit code 9)")


def test_slices_that_overlap_are_cut() -> None:
    """Slots have milliseconds, so what was given up may seem to start in what ran before: that ends there."""
    slices = (
        Slice(0.0, 1.0, 0, 0, 0),
        Slice(0.5, 0.9, 1, 1, 1),
        Slice(0.9996, 0.5, 0, 0, 2, 1, 1),
        Slice(1.4996, 0.0000001, 0, 0, 3),
        Slice(1.4996001, 0.1, 0, 0, 4),
    )
    marks = (Mark(0.2, "decision", 'a "reason"\n\udcff'),)
    story = dataclasses.replace(STORY, slices=slices, samples=(Sample(1.0, 3.0, 2, 0.25),), marks=marks)
    events = read_trace(trace_json(story))
    spans = {event["args"]["index"]: (event["ts"], event["dur"]) for event in of_phase(events, "X")}
    assert spans[0] == (0.0, pytest.approx(999_600, abs=0.01))
    assert spans[2] == (999_600.0, pytest.approx(500_000, abs=0.01))
    assert spans[1] == (500_000.0, pytest.approx(900_000, abs=0.01))
    assert {event["name"] for event in of_phase(events, "C")} == {"throughput", "lanes", "GIL held"}
    (mark,) = of_phase(events, "i")
    assert (mark["ts"], mark["s"], mark["args"]["text"]) == (200_000.0, "g", marks[0].text)
