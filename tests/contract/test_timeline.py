"""Design 4 and 11: what a run keeps of what happened when, held against what the items themselves saw."""

from __future__ import annotations

import collections
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Retry, UsageError
from poolwise._core.story import Story
from poolwise._runtime.journal_reader import Reader
from poolwise.report.recorded import story_of
from poolwise.report.trace import trace_events, trace_json
from zoo.marks import add_line, lines
from zoo.traces import Event, of_phase, read_trace
from zoo.ways import Way, plain_in_children

ROUNDING_SECONDS = 1e-6


def watched(x: int) -> Iterator[None]:
    """Return who executes the item, and from when to when, on the clock that all processes share."""
    begun = time.perf_counter()
    yield
    return os.getpid(), threading.get_ident(), begun, time.perf_counter()


def fails(x: int) -> Iterator[None]:
    yield
    if x % 5 == 2:
        raise ValueError(f"{x} does not fit")


def fails_once(folder: str, x: int) -> Iterator[None]:
    yield
    if x % 5 == 2 and str(x) not in lines(Path(folder, "begun")):
        add_line(Path(folder, "begun"), x)
        raise OSError(f"{x} is not there yet")


def dies(x: int) -> int:
    time.sleep(0.002)
    if x == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def story_after(run: poolwise.Run[Any]) -> tuple[Story, list[Event], list[poolwise.Outcome[Any]]]:
    """Run to the end; return the story, its trace by a strict reading, and the outcomes by index."""
    ended = sorted(run, key=lambda outcome: outcome.index)
    story = run.report().story
    return story, read_trace(trace_json(story)), ended


def test_each_item_is_where_and_when_it_was(way: Way) -> None:
    """Every item is in one slice, which spans what the item saw; a track is one lane, and its process one worker."""
    run = way.run(way.steps(watched), range(40), timeline=True)
    story, events, ended = story_after(run)
    slices = of_phase(events, "X")
    assert sorted(event["args"]["index"] for event in slices) == list(range(40))
    assert {event["args"]["count"] for event in slices} == {1}
    began = run._stream.engine.started
    seen: dict[tuple[str, int], set[int]] = collections.defaultdict(set)
    for event in slices:
        pid, thread, begun, over = ended[event["args"]["index"]].value
        start = began + event["ts"] * 1e-6
        assert start <= begun + ROUNDING_SECONDS
        assert over <= start + event["dur"] * 1e-6 + ROUNDING_SECONDS
        seen["worker", event["pid"]].add(pid)
        seen["lane", event["pid"] * 1000 + event["tid"]].add(thread)
    assert {len(found) for found in seen.values()} == {1}
    assert len([kind for kind, _ in seen if kind == "worker"]) == len({outcome.value[0] for outcome in ended})
    assert collections.Counter((part.worker, part.lane) for part in story.slices) == collections.Counter(
        (outcome.worker, outcome.lane) for outcome in ended
    )
    assert sum(count for _, count in story.latency) == 40
    assert story.sampled == 1.0


def test_failures_and_retries(way: Way, tmp_path: Path) -> None:
    """A slice says whether it failed; each further attempt is a slice and a mark; a class has an example."""
    story, events, _ = story_after(way.run(way.steps(fails), range(20), timeline=True))
    failed = [event["args"]["index"] for event in of_phase(events, "X") if event["args"]["failed"]]
    assert sorted(failed) == [2, 7, 12, 17]
    (kind,) = story.failures
    assert (kind.name, kind.count) == ("ValueError", 4)
    assert kind.example == f"item {kind.key} failed: ValueError: {kind.key} does not fit"
    story, events, ended = story_after(
        way.run(way.steps(fails_once, str(tmp_path)), range(20), retry=Retry(2, backoff=0), timeline=True)
    )
    assert all(outcome.ok for outcome in ended)
    executed = collections.Counter(event["args"]["index"] for event in of_phase(events, "X"))
    assert executed == {x: 2 if x % 5 == 2 else 1 for x in range(20)}
    retries = [event for event in of_phase(events, "i") if event["name"] == "retry"]
    assert len(retries) == 4
    assert all("is not there yet; attempt 2 follows" in event["args"]["text"] for event in retries)


@plain_in_children
def test_a_worker_that_dies(way: Way) -> None:
    """Its death is a mark, and what it ran has a slice that failed; every other item is in one slice."""
    story, events, ended = story_after(way.run(dies, range(30), timeline=True))
    assert [outcome.index for outcome in ended if not outcome.ok] == [5]
    deaths = [event["args"]["text"] for event in of_phase(events, "i") if event["name"] == "death"]
    assert len(deaths) == story.workers_lost >= 1
    assert all("killed by SIGKILL" in text for text in deaths)
    executed = collections.Counter(event["args"]["index"] for event in of_phase(events, "X"))
    assert executed == {**dict.fromkeys(range(30), 1), 5: executed[5]}
    assert [part.failed for part in story.slices if part.index == 5] == [1]


def test_throughput_adds_up(way: Way) -> None:
    """The counter of the throughput is its integral: as many items as there were; the lanes are those of the shape."""
    story, events, _ = story_after(way.run(way.steps(watched), range(40)))
    since = settled = 0.0
    for sample in story.samples:
        settled += sample.per_second * (sample.at - since)
        since = sample.at
    assert round(settled, 3) == 40
    assert {sample.lanes for sample in story.samples} == {way.total}
    assert {event["name"] for event in of_phase(events, "C")} == {"throughput", "lanes"}
    (decision,) = (mark for mark in story.marks if mark.kind == "decision")
    assert decision.text == f"{story.shape}; asked for"


def test_tiny_items_are_slices_of_batches() -> None:
    """Where only batches are timed a slice counts its items, and all items are in some slice."""
    run = poolwise.run(abs, range(20_000), shape="1x1", timeline=True)
    story, events, _ = story_after(run)
    slices = of_phase(events, "X")
    assert sum(event["args"]["count"] for event in slices) == 20_000
    assert len(slices) < 10_000
    assert sum(count for _, count in story.latency) == 20_000
    assert {event["name"] for event in slices} == {"abs"}


def test_more_than_there_is_room_for() -> None:
    """Without `timeline` 2,000 executions are kept at most, of all times, and the share is told."""

    def work(x: int) -> int:
        time.sleep(0.0001)
        return x

    story, events, _ = story_after(poolwise.run(work, range(5_000), shape="1x4"))
    kept = of_phase(events, "X")
    assert 500 < len(kept) <= 2_000
    assert story.sampled == len(kept) / 5_000
    assert sum(count for _, count in story.latency) == 5_000
    indexes = sorted(event["args"]["index"] for event in kept)
    assert indexes[0] < 500
    assert indexes[-1] > 4_500


def test_auto_tells_its_roofs() -> None:
    """Under "auto" decisions are marks, and the roofs are curves over the lanes."""

    def work(x: int) -> None:
        time.sleep(0.02)  # So long that it is seen to wait on a busy machine too.

    run = poolwise.run(work, range(300), timeline=True)
    story, events, _ = story_after(run)
    decisions = [event for event in of_phase(events, "i") if event["name"] == "decision"]
    assert decisions[0]["args"]["text"].startswith("1x1")
    assert any("its items wait, so many lanes" in event["args"]["text"] for event in decisions)
    lanes = next(curve for curve in story.curves if curve.name == "lanes")
    (one, single), (last, most) = lanes.points[0], lanes.points[-1]
    assert one == 1
    assert most == pytest.approx(last * single)
    assert last >= run.plan.shape.total
    (final,) = (seen for seen in story.observed if seen.final)
    assert final.shape == story.shape == str(run.plan.shape)
    assert story.host["cores"] > 0


def test_an_empty_and_a_cancelled_run(tmp_path: Path) -> None:
    """Whatever became of a run, there is a trace of what was."""
    nothing = poolwise.run(abs, [], timeline=True)
    assert list(nothing) == []
    assert of_phase(read_trace(trace_json(nothing.report().story)), "X") == []
    unbegun = poolwise.run(abs, [1])
    assert of_phase(read_trace(trace_json(unbegun.report().story)), "X") == []
    unbegun.close()
    with poolwise.run(dies, range(100, 10_000), shape="2x1", timeline=True) as run:
        first = [next(run) for _ in range(10)]
        run.cancel()
    run.report().to_trace(tmp_path / "run.json")
    executed = {event["args"]["index"] for event in of_phase(read_trace((tmp_path / "run.json").read_text()), "X")}
    assert {outcome.index for outcome in first} <= executed


def test_the_slowest_items_by_key() -> None:
    """The ten that took longest, the slowest first, under their keys."""

    def work(x: int) -> None:
        time.sleep(0.02 if x in (3, 11) else 0.001)

    story, _, ended = story_after(poolwise.run(work, range(30), shape="1x2", key=lambda x: f"item-{x}"))
    slowest = sorted(ended, key=lambda outcome: -outcome.seconds)[:10]
    assert [(slow.key, slow.seconds) for slow in story.slowest] == [(each.key, each.seconds) for each in slowest]


def test_map_tells_who_failed() -> None:
    """Under `map` too the item that ended the run is told by its key."""
    results = poolwise.map(lambda text: int(text), ["1", "2", "three"], shape="1x2")
    with pytest.raises(ValueError, match="three"):
        list(results)
    (kind,) = results.report().story.failures
    assert (kind.name, kind.key) == ("ValueError", "three")


@pytest.mark.parametrize("given", [1, "yes", None])
def test_timeline_is_a_bool(given: Any) -> None:
    """Anything else is a UsageError."""
    with pytest.raises(UsageError, match=r"timeline is .*; it must be True or False"):
        poolwise.run(abs, [1], timeline=given)


def test_a_trace_that_cannot_be_written(tmp_path: Path) -> None:
    """One sentence says why; a file that is there is replaced as a whole."""
    run = poolwise.run(abs, range(3), shape="1x1")
    list(run)
    report = run.report()
    with pytest.raises(UsageError, match="there is no folder"):
        report.to_trace(tmp_path / "missing" / "run.json")
    with pytest.raises(UsageError, match="it is a folder"):
        report.to_trace(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        report.to_trace(tmp_path / "pipe")
    os.unlink(tmp_path / "pipe")
    (tmp_path / "run.json").write_text("old")
    report.to_trace(tmp_path / "run.json")
    read_trace((tmp_path / "run.json").read_text())
    assert os.listdir(tmp_path) == ["run.json"]


# -- in a journal


def test_a_journal_keeps_the_story(tmp_path: Path) -> None:
    """What a run tells can be told from its journal later, with a sample of its slices, in a bounded space."""
    path = str(tmp_path / "run.db")

    def work(x: int) -> int:
        time.sleep(0.00005)
        if x % 1000 == 7:
            raise ValueError(f"{x} does not fit")
        return x

    run = poolwise.run(work, range(6_000), shape="1x4", journal=path, timeline=True)
    told, _, _ = story_after(run)
    with Reader(path) as reader:
        story = story_of(reader)
        assert "story" not in reader.summary().runs[0]
    assert len(told.slices) == 6_000
    assert 1_000 < len(story.slices) <= 2_000
    assert set(story.slices) <= set(told.slices)
    assert (story.done, story.failed, story.recorded) == (5_994, 6, 0)
    assert [(each.name, each.count) for each in story.failures] == [("ValueError", 6)]
    assert story.slowest == told.slowest
    assert story.latency == told.latency
    assert (story.sentence, story.shape, set(story.host)) == (told.sentence, told.shape, set(told.host))
    assert sum(part.count for part in story.slices) / 6_000 == pytest.approx(story.sampled)
    read_trace(trace_json(story))
    with sqlite3.connect(path) as database:
        ((facts,),) = database.execute("SELECT facts FROM run").fetchall()
    database.close()
    assert len(facts) < 300_000


def test_the_last_run_that_executed_something_leads(tmp_path: Path) -> None:
    """Its slices are told, with the totals of all runs."""
    path = str(tmp_path / "run.db")
    for most in (10, 30, 30):  # The third executes nothing.
        list(poolwise.run(dies, range(100, 100 + most), shape="1x2", journal=path))
    with Reader(path) as reader:
        story = story_of(reader)
    assert (story.done, story.recorded) == (30, 10)
    assert sorted(part.index for part in story.slices) == list(range(10, 30))


def test_a_run_that_was_killed_is_told_from_its_outcomes(tmp_path: Path) -> None:
    """It left no facts: time, place and failures are in the rows."""
    path = str(tmp_path / "run.db")
    told, _, _ = story_after(poolwise.run(Way("", "2x1").steps(fails), range(20), shape="2x1", journal=path))
    tiny = str(tmp_path / "tiny.db")
    list(poolwise.run(abs, range(5_000), shape="1x1", journal=tiny))
    for each in (path, tiny):
        with sqlite3.connect(each) as database:
            database.execute("UPDATE run SET facts = '{}', finished = NULL")
        database.close()
    with Reader(path) as reader:
        story = story_of(reader)
    assert (story.done, story.failed, story.latency) == (16, 4, told.latency)
    places = [(part.start, part.worker, part.lane, part.failed) for part in told.slices]
    first = places[0][0]
    assert [(part.worker, part.lane, part.failed) for part in story.slices] == [place[1:] for place in places]
    assert [part.start for part in story.slices] == pytest.approx([place[0] - first for place in places], abs=1e-5)
    assert len(of_phase(read_trace(trace_json(story)), "X")) == 20
    with Reader(tiny) as reader:
        story = story_of(reader)
    assert sum(part.count for part in story.slices) == story.done == 5_000
    assert sum(event["ph"] == "X" for event in trace_events(story)) == len(story.slices)


def test_a_journal_of_nothing(tmp_path: Path) -> None:
    """A run of no items left a journal, and nothing to tell."""
    list(poolwise.run(abs, [], journal=str(tmp_path / "run.db")))
    with Reader(str(tmp_path / "run.db")) as reader:
        story = story_of(reader)
    assert (story.done, story.slices, story.latency) == (0, (), ())
    read_trace(trace_json(story))


def test_a_story_of_another_version() -> None:
    """Names that are not known are passed over, those that are missing are empty."""
    story, _, _ = story_after(poolwise.run(abs, range(10), shape="1x1"))
    said = json.loads(json.dumps(story.to_dict()))
    assert Story.from_dict(said) == story
    later = said | {"weather": "fine", "marks": [{"at": 1.0, "kind": "retry", "text": "x", "colour": 3}, {"at": 2.0}]}
    del later["samples"], later["slices"]["count"], later["seconds"]
    read = Story.from_dict(later)
    assert (read.samples, read.seconds, [mark.at for mark in read.marks]) == ((), 0.0, [1.0])
    assert {part.count for part in read.slices} == {1}
    assert Story.from_dict({}).done == 0
