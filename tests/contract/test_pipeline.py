"""A pipeline: one outcome for each item, each function once for each item that reached it, whatever the shapes are."""

from __future__ import annotations

import collections
import copy
import functools
import json
import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Journal, JournalMismatch, Limits, Retry, Stage, TaskFailed, TaskLost, TaskTimeout, UsageError
from poolwise._core.job import Ended, Final, Job, RetryAfter
from poolwise._core.stage import JobStage
from poolwise._runtime.journal_reader import Reader
from zoo.marks import add_line, lines

SERIAL, THREADS, CHILDREN = {"shape": "serial"}, {"shape": "1x4"}, {"shape": "2x1"}
AUTO, ISOLATED = {"shape": "auto"}, {"isolate": True, "shape": "1x1"}
LOOP: dict[str, Any] = {"shape": "1x4", "coroutine": True}

MIXTURES = [
    (SERIAL, SERIAL, SERIAL),
    (THREADS, CHILDREN, SERIAL),
    (CHILDREN, THREADS, LOOP),
    (LOOP, SERIAL, CHILDREN),
    (AUTO, AUTO, AUTO),
    (SERIAL, AUTO, ISOLATED),
]


@pytest.fixture(params=MIXTURES, ids=["serial", "thr-chi-ser", "chi-thr-loop", "loop-ser-chi", "auto", "ser-auto-iso"])
def mixture(request: pytest.FixtureRequest) -> tuple[dict[str, Any], ...]:
    """How each of three stages is run."""
    return request.param


def stage(options: dict[str, Any], fn: Any, name: str, **more: Any) -> Stage:
    """A stage that is run so; `coroutine` makes a coroutine function of its function."""
    given = {**options, **more}
    if given.pop("coroutine", False):
        plain = fn

        async def fn(item: Any) -> Any:
            return plain(item)

    return Stage(fn, name=name, **given)


def marked(folder: Path, name: str, bad: frozenset[int], pair: tuple[int, int]) -> tuple[int, int]:
    """Write down that a stage ran an item; the item is (its number, how many stages it has been through)."""
    number, been = pair
    add_line(folder / name, number)
    if number in bad:
        raise LookupError(f"{name} {number}")
    return number, been + 1


NAMES = ("one", "two", "three")
BAD = (frozenset({0, 7, 30}), frozenset({1, 7, 31, 59}), frozenset({2, 58}))


def three(folder: Path, mixture: tuple[dict[str, Any], ...], **more: Any) -> list[Stage]:
    """Three stages that mark their items, and fail at some of them."""
    return [
        stage(options, functools.partial(marked, folder, name, bad), name, **more)
        for options, name, bad in zip(mixture, NAMES, BAD)
    ]


def numbers(count: int) -> list[tuple[int, int]]:
    """Items that have been through no stage."""
    return [(number, 0) for number in range(count)]


def fate(number: int) -> str | None:
    """The stage at which an item fails."""
    return next((name for name, bad in zip(NAMES, BAD) if number in bad), None)


@pytest.mark.parametrize("ordered", [False, True])
def test_every_item_once(mixture: tuple[dict[str, Any], ...], tmp_path: Path, ordered: bool) -> None:
    """Each item has one outcome that names its stage, and each function ran once for each item that reached it."""
    run = poolwise.pipeline(numbers(60), *three(tmp_path, mixture), ordered=ordered)
    outcomes = list(run)
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(60))
    if ordered:
        assert [o.index for o in outcomes] == list(range(60))
    for o in outcomes:
        assert o.stage == (fate(o.index) or "three")
        assert (o.key, o.attempts) == ((o.index, 0), 1)
        assert o.value == (None if fate(o.index) else (o.index, 3))
        assert o.started <= o.finished
        if o.error is not None:
            assert (type(o.error), o.error.stage, o.error.key) == (TaskFailed, o.stage, o.key)
            assert str(o.error.__cause__) == f"{o.stage} {o.index}"
            with pytest.raises(LookupError):
                o.unwrap()
    reached = set(range(60))
    for name, bad in zip(NAMES, BAD):
        assert collections.Counter(map(int, lines(tmp_path / name))) == collections.Counter(reached)
        reached -= bad
    report = run.report()
    assert (report.done, report.failed) == (60 - 8, 8)
    assert [(each.stage, each.done, each.failed) for each in report.stages] == [
        ("one", 57, 3),
        ("two", 54, 3),
        ("three", 52, 2),
    ]
    assert not [thread for thread in threading.enumerate() if thread.name in {f"poolwise-{name}" for name in NAMES}]


def test_outcomes_of_a_pipeline_pickle(tmp_path: Path) -> None:
    """With their stage, and that of their error; those of a plain run have none."""
    for o in poolwise.pipeline(numbers(3), *three(tmp_path, (SERIAL, SERIAL, SERIAL))):
        for again in (pickle.loads(pickle.dumps(o)), copy.copy(o)):
            assert (again.stage, again.index) == (o.stage, o.index)
            assert (again.error and again.error.stage) == (o.error and o.error.stage)
        assert f"stage={o.stage!r}" in repr(o)
    (plain,) = poolwise.run(str, [1])
    assert plain.stage is None


def test_one_stage_and_no_items() -> None:
    """A pipeline may have one stage, and nothing to do."""
    (only,) = poolwise.pipeline(["a"], str.upper)
    assert (only.value, only.stage, only.key) == ("A", "upper", "a")
    assert list(poolwise.pipeline([], str.upper, str.lower)) == []


def test_names_of_stages() -> None:
    """As they were called, else by their functions, numbered where these are the same."""
    stages = [str.strip, Stage(str.strip, name="strip 2"), str.strip, functools.partial(str.replace, "aaa", "a")]
    run = poolwise.pipeline([" a "], *stages)
    run.close()
    assert [each.stage for each in run.report().stages] == ["strip", "strip 2", "strip 3", "replace"]


# -- what is in between


class Between:
    """Counts the items that one stage has ended and the next one has not begun."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended = self.begun = self.peak = 0

    def end(self) -> None:
        """The first stage has ended one."""
        with self.lock:
            self.ended += 1

    def begin(self) -> None:
        """The second stage begins one."""
        with self.lock:
            self.begun += 1
            self.peak = max(self.peak, self.ended - self.begun)


@pytest.mark.parametrize("first", [SERIAL, THREADS, LOOP], ids=["serial", "threads", "loop"])
@pytest.mark.parametrize("second", [SERIAL, {"shape": "1x2"}, AUTO], ids=["serial", "threads", "auto"])
def test_a_slow_stage_holds_back_the_one_before_it(first: dict[str, Any], second: dict[str, Any]) -> None:
    """By bytes: of 400 values of a megabyte, as many are in between as the limit has room for."""
    between = Between()

    def make(number: int) -> bytes:
        between.end()
        return bytes(1_000_000)

    def use(block: bytes) -> int:
        between.begin()
        if between.begun % 4 == 0:
            threading.Event().wait(0.002)  # It is slow; nobody waits for that.
        return len(block)

    limits = Limits(buffered_bytes=20_000_000)
    run = poolwise.pipeline(range(400), stage(first, make, "make"), stage(second, use, "use"), limits=limits)
    assert sum(o.unwrap() for o in run) == 400_000_000
    # Before anything is known of a value four items a lane are taken; from then on ten millions a stage.
    assert between.peak <= 16 + 10 + 4


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("in_flight", [1, 3, 17])
def test_in_flight_is_of_the_whole(mixture: tuple[dict[str, Any], ...], in_flight: int, ordered: bool) -> None:
    """No more items are taken and not yet yielded, whatever the stages are."""
    taken = yielded = peak = 0

    def source() -> Iterator[int]:
        nonlocal taken, peak
        for number in range(60):
            taken += 1
            peak = max(peak, taken - yielded)
            yield number

    stages = [stage(options, abs, name) for options, name in zip(mixture, NAMES)]
    for _ in poolwise.pipeline(source(), *stages, ordered=ordered, limits=Limits(in_flight=in_flight)):
        yielded += 1
    assert (taken, yielded) == (60, 60)
    assert peak <= in_flight


def test_the_input_is_advanced_in_the_consumers_thread(mixture: tuple[dict[str, Any], ...]) -> None:
    """A database cursor, which belongs to its thread, can be the input."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE numbers (number INTEGER)")
    database.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(50)])
    cursor = (row[0] for row in database.execute("SELECT number FROM numbers"))
    stages = [stage(options, abs, name) for options, name in zip(mixture, NAMES)]
    assert sorted(o.value for o in poolwise.pipeline(cursor, *stages)) == list(range(50))
    database.close()


# -- endings


def test_an_input_that_raises(mixture: tuple[dict[str, Any], ...]) -> None:
    """What was taken before comes out of the last stage; then the exception is raised."""

    def source() -> Iterator[int]:
        yield from range(25)
        raise OSError("the disk is gone")

    stages = [stage(options, abs, name) for options, name in zip(mixture, NAMES)]
    got = []
    with pytest.raises(OSError, match="the disk is gone"):
        got.extend(o.value for o in poolwise.pipeline(source(), *stages))
    assert sorted(got) == list(range(25))


def test_drain_finishes_what_was_taken(mixture: tuple[dict[str, Any], ...]) -> None:
    """Through all stages; nothing more is taken."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    stages = [stage(options, abs, name) for options, name in zip(mixture, NAMES)]
    got = []
    run = poolwise.pipeline(source(), *stages)
    for o in run:
        got.append(o.value)
        if len(got) == 10:
            run.drain()
    assert sorted(got) == taken


@pytest.mark.parametrize("end", ["cancel", "close", "break"])
def test_ended_early(mixture: tuple[dict[str, Any], ...], end: str) -> None:
    """It stops, with nothing left running (the fixture of all contract tests looks for processes)."""
    stages = [stage(options, abs, name) for options, name in zip(mixture, NAMES)]
    run = poolwise.pipeline(iter(int, 1), *stages)
    with run:
        for count, _ in enumerate(run):
            if count == 5:
                if end == "break":
                    break
                getattr(run, end)()
    left = list(run)  # What was handed out before.
    assert end == "break" or left == []
    assert not {thread.name for thread in threading.enumerate()} & {f"poolwise-{name}" for name in NAMES}


def test_a_worker_that_dies_in_the_second_stage(tmp_path: Path) -> None:
    """Costs its item, which ends there; the first stage has executed each once."""

    def deadly(number: int) -> int:
        if number % 10 == 3:
            os._exit(number)
        return number

    first = functools.partial(marked, tmp_path, "one", frozenset())
    second = Stage(lambda pair: deadly(pair[0]), shape="2x1", name="deadly")
    outcomes = list(poolwise.pipeline(numbers(40), Stage(first, shape="1x2", name="one"), second))
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(40))
    for o in outcomes:
        assert o.stage == "deadly"
        if o.index % 10 == 3:
            assert type(o.error) is TaskLost
            assert o.error.exitcode == o.index
        else:
            assert o.value == o.index
    assert collections.Counter(map(int, lines(tmp_path / "one"))) == collections.Counter(range(40))


def test_a_stage_whose_workers_fail_ends_the_run() -> None:
    """Its setup fails: that is the run's error."""

    def setup() -> None:
        raise OSError("no model")

    with pytest.raises(poolwise.BackendError, match="no model"):
        list(poolwise.pipeline(range(10), abs, Stage(abs, shape="2x1", setup=setup)))


# -- options


def flaky(folder: Path, name: str, number: int) -> int:
    """Fail at the first execution of each item."""
    add_line(folder / name, number)
    if lines(folder / name).count(str(number)) < 2:
        raise OSError(number)
    return number


def test_retry_of_one_stage(tmp_path: Path) -> None:
    """Counts in that stage; the others execute once."""
    first = functools.partial(flaky, tmp_path, "one")
    second = functools.partial(flaky, tmp_path, "two")
    stages = [Stage(first, shape="1x2", retry=Retry(3, backoff=0), name="one"), Stage(second, shape="1x1", name="two")]
    outcomes = list(poolwise.pipeline(range(8), *stages))
    assert all((o.ok, o.stage, o.attempts) == (False, "two", 1) for o in outcomes)
    assert collections.Counter(lines(tmp_path / "one")) == {str(number): 2 for number in range(8)}
    outcomes = list(poolwise.pipeline(range(8, 16), first, Stage(second, name="two"), retry=Retry(2, backoff=0.001)))
    assert all((o.ok, o.stage, o.attempts) == (True, "two", 2) for o in outcomes)


def test_timeout_of_one_stage() -> None:
    """It is ended there; an own option goes before that of the pipeline."""

    def hang(number: int) -> int:
        if number == 3:
            threading.Event().wait(3600)
        return number

    run = poolwise.pipeline(range(6), Stage(abs, timeout=None, shape="1x1"), Stage(hang, name="hang"), timeout=0.3)
    outcomes = {o.index: o for o in run}
    assert type(outcomes[3].error) is TaskTimeout
    assert outcomes[3].stage == "hang"
    assert [outcomes[index].value for index in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]


def test_isolate_of_one_stage() -> None:
    """Its items run in children; those of the other here."""
    stages = [lambda _: os.getpid(), Stage(lambda pid: (pid, os.getpid()), isolate=True)]
    for o in poolwise.pipeline(range(6), *stages, shape="1x1"):
        first, second = o.unwrap()
        assert first == os.getpid() != second


def test_keys_are_of_the_input() -> None:
    """`key` names items of the input, in outcomes and errors, whatever stages make of them."""

    def fail(number: int) -> int:
        raise ValueError(number)

    items = [{"id": f"n{number}"} for number in range(5)]
    run = poolwise.pipeline(items, lambda each: len(each), Stage(fail, name="fail"), key=lambda each: each["id"])
    outcomes = list(run)
    assert sorted(o.key for o in outcomes) == [f"n{number}" for number in range(5)]
    assert all(o.error is not None and o.error.key == o.key for o in outcomes)
    assert run.report().story.failures[0].key in {f"n{number}" for number in range(5)}


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the stages."""
    list(poolwise.pipeline([1], Stage(abs, name="first"), Stage(abs, name="second"), progress=True))
    assert "first | second" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stages", "options", "sentence"),
    [
        ([], {}, "a pipeline has no stage; give functions, jobs or Stage(...) after its items"),
        ([abs, 42], {}, "stage 2 is 42; it must be a function, a job such as poolwise.jobs.fetch.fetch_stage(...), or "
         "Stage(function, ...)"),
        ([abs], {"colour": 1}, "a pipeline has no option 'colour'; there are: backend, hint, isolate, journal, key, "
         "limits, on_lost, ordered, progress, retry, setup, shape, timeline, timeout, total"),
        ([abs], {"limits": 3}, "limits is 3; it must be a Limits"),
        ([abs], {"limits": Limits(workers=2)}, "limits.workers is for a stage: write Stage(fn, limits=Limits("
         "workers=...)); those of a pipeline are in_flight and buffered_bytes"),
        ([Stage(abs, limits=7)], {}, "limits of stage abs is 7; it must be a Limits"),
        ([Stage(abs, name="a"), Stage(str, name="a")], {}, "2 stages are called 'a'; give each a name of its own: "
         "Stage(fn, name=...)"),
        ([Stage(abs, shape="2x")], {}, 'stage abs: shape \'2x\' is not understood; write "auto", "serial", or '
         'workers x lanes such as "2x1" or "1x8"'),
        ([abs, JobStage(abs, "job", items=list)], {}, "stage 2 (job) must be the first: it needs all its items before "
         "work starts"),
        ([abs], {"ordered": 3}, "ordered is 3; it must be True or False"),
        ([abs], {"total": -1}, "total is -1; it must be a whole number of at least 0"),
        ([abs], {"key": 3}, "key is 3; it must be a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(stages: list[Any], options: dict[str, Any], sentence: str) -> None:
    """One sentence, before anything is executed."""
    with pytest.raises(UsageError) as raised:
        poolwise.pipeline([1], *stages, **options)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ([3], {}, "the first argument of Stage must be a function, not int"),
        ([abs], {"name": " "}, "name is ' '; the name of a stage must be a text that is not blank"),
        ([abs], {"ordered": True}, "Stage has no option 'ordered'; there are: backend, hint, isolate, limits, on_lost, "
         "retry, setup, shape, timeout"),
    ],
)  # fmt: skip
def test_what_is_no_stage(arguments: list[Any], options: dict[str, Any], sentence: str) -> None:
    """One sentence."""
    with pytest.raises(UsageError) as raised:
        Stage(*arguments, **options)
    assert str(raised.value) == sentence


def test_no_input() -> None:
    """The items come first."""
    with pytest.raises(
        UsageError, match="the input of a pipeline is a builtin_function_or_method, which cannot be iter"
    ):
        poolwise.pipeline(abs, [1])  # type: ignore[arg-type]


# -- the journal


def test_a_journal_holds_how_items_ended(mixture: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    """At the last stage or where they failed; a second run executes nothing and gives the same, stages included."""
    path = tmp_path / "run.db"

    def pairs(number: int) -> tuple[int, int]:
        return number, 0

    stages = [Stage(pairs, shape="1x1"), *three(tmp_path, mixture)]
    runs = []
    for _ in range(2):
        run = poolwise.pipeline(range(60), *stages, journal=path)
        runs.append({o.index: (o.key, o.ok, o.value, o.stage, o.error and o.error.stage, o.attempts) for o in run})
    assert runs[0] == runs[1]
    assert {index for index, row in runs[0].items() if not row[1]} == {number for number in range(60) if fate(number)}
    assert run.report().recorded == 60
    assert collections.Counter(map(int, lines(tmp_path / "one"))) == collections.Counter(range(60))
    with Reader(str(path)) as reader:
        assert len(list(reader.outcomes())) == 60
        assert reader.summary().function.count(" | ") == 3
        assert [past.story is not None for past in reader.past()] == [True, False]
    with pytest.raises(JournalMismatch):
        poolwise.pipeline(range(60), *stages[:3], journal=path)


def test_what_was_interrupted_begins_at_the_first_stage(tmp_path: Path) -> None:
    """And what had ended is not executed again; what failed is, where that is asked for."""
    path = tmp_path / "run.db"
    stages = three(tmp_path, (SERIAL, SERIAL, SERIAL))
    key = functools.partial(first_of)
    with poolwise.pipeline(numbers(60), *stages, journal=path, key=key, limits=Limits(in_flight=4)) as run:
        first = {o.index for o, _ in zip(run, range(20))}
    with Reader(str(path)) as reader:
        known = {each.key for each in reader.outcomes()}  # type: ignore[union-attr]
    assert first <= known
    outcomes = list(poolwise.pipeline(numbers(60), *stages, journal=path, key=key))
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(60))
    ran = collections.Counter(map(int, lines(tmp_path / "one")))
    assert all(ran[number] == 1 for number in known)
    again = Journal(path, retry_failed=True)
    run = poolwise.pipeline(numbers(60), *stages, journal=again, key=key)
    list(run)
    assert run.report().recorded == 52


def first_of(pair: tuple[int, int]) -> int:
    """The number of an item."""
    return pair[0]


def test_items_with_one_key_are_executed_once(tmp_path: Path) -> None:
    """All of them have that outcome."""
    items = [(number % 5, 0) for number in range(30)]
    stages = three(tmp_path, (THREADS, SERIAL, THREADS))
    outcomes = list(poolwise.pipeline(items, *stages, journal=tmp_path / "run.db", ordered=True))
    assert [o.index for o in outcomes] == list(range(30))
    assert [o.stage for o in outcomes] == [fate(number % 5) or "three" for number in range(30)]
    assert collections.Counter(lines(tmp_path / "one")) == {str(number): 1 for number in range(5)}


# -- jobs


def test_a_job_as_a_stage(tmp_path: Path) -> None:
    """It makes its items and their keys, judges its executions, remembers them by itself, and is closed."""
    closed: list[str] = []

    def settle(ended: Ended) -> Any:
        if ended.error is not None and ended.attempts < 3:
            return RetryAfter(0.0)
        return Final(value="given up") if ended.error is not None else None

    def job() -> JobStage:
        return JobStage(
            functools.partial(flaky_pair, tmp_path),
            "job",
            {"shape": "1x4"},
            Job(group=lambda pair: pair[0] % 3, settle=settle),
            items=lambda lines: [(int(line), 0) for line in lines],
            key=first_of,
            journal=Journal(tmp_path / "job.db"),
            close=lambda: closed.append("job"),
        )

    def second(value: Any) -> Any:
        add_line(tmp_path / "second", value)
        if value == (4, 0):
            raise ValueError(value)
        return value

    words = [str(number) for number in range(9)]
    outcomes = sorted(poolwise.pipeline(words, job(), second), key=lambda o: o.index)
    assert closed == ["job"]
    assert [o.key for o in outcomes] == list(range(9))
    assert [o.value for o in outcomes] == [(0, 0), (1, 0), "given up", (3, 0), None, "given up", *[(6, 0), (7, 0)],
                                           "given up"]  # fmt: skip
    calls = lines(tmp_path / "job")
    # Another pipeline, without a journal of its own: the stage knows what it has done, and what follows does not.
    again = sorted(poolwise.pipeline(words, job(), second), key=lambda o: o.index)
    assert [o.value for o in again] == [o.value for o in outcomes]
    assert lines(tmp_path / "job") == calls
    assert len(lines(tmp_path / "second")) == 18
    # Alone: a stage that is the last one, and knows all outcomes.
    alone = sorted(poolwise.pipeline(words, job()), key=lambda o: o.index)
    assert [(o.value, o.stage, o.attempts) for o in alone][2:4] == [("given up", "job", 3), ((3, 0), "job", 1)]
    with Reader(str(tmp_path / "job.db")) as reader:
        assert sorted(each.key for each in reader.outcomes()) == list(range(9))  # type: ignore[union-attr]
        assert len(reader.past()) == 3


def flaky_pair(folder: Path, pair: tuple[int, int]) -> tuple[int, int]:
    """Fail where the number leaves 2 when divided by 3."""
    add_line(folder / "job", pair[0])
    if pair[0] % 3 == 2:
        raise OSError(pair)
    return pair


# -- the report


def test_the_report(tmp_path: Path) -> None:
    """It tells of every stage: in words, as a page, as pictures, and as a trace whose slices are called by stages."""
    run = poolwise.pipeline(
        numbers(60), *three(tmp_path, (THREADS, CHILDREN, SERIAL)), timeline=True, journal=tmp_path / "run.db"
    )
    list(run)
    report = run.report()
    text = str(report)
    assert "60 items in" in text
    assert "through 3 stages" in text
    for name, shape in zip(NAMES, ("1x4", "2x1", "1x1")):
        assert f"stage {name}: " in text
        assert f"on {shape}" in text
    assert run.plan.shape in [each.plan.shape for each in report.stages]
    _check_trace(report.story, report.to_trace, tmp_path)
    with Reader(str(tmp_path / "run.db")) as reader:
        from poolwise.report.recorded import story_of
        from poolwise.report.trace import write_trace

        kept = story_of(reader)
    _check_trace(kept, functools.partial(write_trace, kept), tmp_path)
    pytest.importorskip("jinja2")
    report.to_html(tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    for name in NAMES:
        assert f"{name}: Lanes over time" in page
        assert f"Stage {name} " in page
    assert page.count('id="stage-2-gantt"') == 1
    pytest.importorskip("matplotlib")
    report.to_plot(tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 1000


def _check_trace(story: Any, write: Any, folder: Path) -> None:
    assert [each.stage for each in story.stages] == list(NAMES)
    write(folder / "run.json")
    events = json.loads((folder / "run.json").read_text())["traceEvents"]
    executed: dict[str, int] = collections.Counter()
    for event in events:
        if event["ph"] == "X":
            executed[event["name"]] += event["args"]["count"]
    assert executed == {"one": 60, "two": 57, "three": 54}
    processes = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert "one: worker 0 (the calling process)" in processes
    assert any(name.startswith("two: worker ") and name.endswith(" (a child process)") for name in processes)
    tracks = {(event["pid"], event["tid"]): event["name"] for event in events if event["ph"] == "X"}
    assert set(tracks.values()) == set(NAMES)
    for event in events:
        if event["ph"] == "X":
            assert tracks[event["pid"], event["tid"]] == event["name"]
