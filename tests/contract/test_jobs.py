"""What a job tells the engine (groups, weights, an order, what an outcome means), on every way to run."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Limits, Retry, TaskFailed, TaskLost, TaskTimeout
from poolwise._api import run_job
from poolwise._core.job import Decision, Ended, Final, GroupLimits, Job, RetryAfter
from poolwise._drivers import Results
from poolwise._prepare import Choices, prepare
from zoo.ways import Way, in_children, plain_in_children, ways

HOUR = 3600.0

in_order = ways(lambda way: way.total == 1)
threads_and_coroutines = ways(lambda way: way.name in ("1x4", "async-1x4"))
on_threads = ways(lambda way: way.name == "1x4")


def run(way: Way, fn: Any, items: Iterable[Any], job: Job, **options: Any) -> poolwise.Run[Any]:
    """A run of a job this way."""
    return run_job(way.fn(fn), items, job, shape=way.shape, isolate=way.isolate, **options)


def work(number: int) -> int:
    if number % 3 == 0:
        raise LookupError(number)
    return number + 1


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_settle_decides_once_for_each_execution(way: Way, grouped: bool, ordered: bool) -> None:
    """It sees every end, values among them; what it returns is what becomes of the item, which has one outcome."""
    seen: list[tuple[int, int]] = []

    def settle(ended: Ended) -> Decision:
        seen.append((ended.item, ended.attempts))
        assert (ended.error is None) == (ended.item % 3 != 0)
        if ended.error is not None:
            assert ended.class_names[0] == "builtins.LookupError"
            if ended.attempts < 3:
                return RetryAfter(0.0, park_group=ended.item == 30, throttled=ended.item == 15)
            return Final(value="given up") if ended.item % 6 == 0 else None
        if ended.item % 11 == 1:
            return Final(error=ValueError("is not wanted"))
        return Final(value=-ended.value) if ended.item % 5 == 1 else None

    job = Job(group=(lambda number: number % 4) if grouped else None, settle=settle)
    outcomes = list(run(way, work, range(60), job, ordered=ordered))
    assert Counter(o.index for o in outcomes) == Counter(range(60))
    if ordered:
        assert [o.index for o in outcomes] == list(range(60))
    for o in outcomes:
        assert o.attempts == (3 if o.index % 3 == 0 else 1)
        if o.index % 6 == 0:
            assert (o.value, o.error) == ("given up", None)
        elif o.index % 3 == 0:
            assert type(o.error) is TaskFailed
            assert type(o.error.__cause__) is LookupError
        elif o.index % 11 == 1:
            assert str(o.error) == f"item {o.index} failed: ValueError: is not wanted"
            assert type(o.error.__cause__) is ValueError
        else:
            assert o.value == (-(o.index + 1) if o.index % 5 == 1 else o.index + 1)
    assert Counter(seen) == Counter((o.index, attempt) for o in outcomes for attempt in range(1, o.attempts + 1))


def test_the_users_retry_is_asked_where_settle_has_no_opinion(way: Way) -> None:
    """A job that says nothing leaves failures to `retry`; what it says goes before that."""

    def settle(ended: Ended) -> Decision:
        return Final(error=ended.error) if ended.item == 9 else None

    job = Job(group=lambda number: number % 2, settle=settle)
    outcomes = {o.index: o for o in run(way, work, range(12), job, retry=Retry(3, backoff=0))}
    assert {index: o.attempts for index, o in outcomes.items() if not o.ok} == {0: 3, 3: 3, 6: 3, 9: 1}


def test_settle_that_raises_fails_its_item(way: Way) -> None:
    """The item has that error; no other item is touched."""

    def settle(ended: Ended) -> Decision:
        if ended.item == 4:
            raise KeyError("no such status")
        return None

    outcomes = {o.index: o for o in run(way, work, [1, 2, 4, 5], Job(settle=settle))}
    assert [outcomes[index].ok for index in range(4)] == [True, True, False, True]
    assert type(outcomes[2].error.__cause__) is KeyError  # type: ignore[union-attr]


def test_an_item_without_a_group_is_not_executed(way: Way) -> None:
    """Where the group function raises, the item fails with that."""

    def group(number: int) -> int:
        if number == 2:
            raise ValueError("has no host")
        return number

    outcomes = sorted(run(way, work, [1, 2, 4], Job(group=group)), key=lambda o: o.index)
    assert [o.ok for o in outcomes] == [True, False, True]
    assert outcomes[1].attempts == 0
    assert "has no host" in str(outcomes[1].error)


def test_a_parked_group_at_the_front_of_the_input(way: Way) -> None:
    """Others are found behind 2,000 of its items, and run; cancelling does not wait for the park."""

    def settle(ended: Ended) -> Decision:
        return RetryAfter(HOUR, park_group=True) if ended.item.startswith("parked") else None

    items = [f"parked/{number}" for number in range(2_000)] + [f"free/{number}" for number in range(40)]
    job = Job(group=lambda item: item.partition("/")[0], settle=settle)
    got = []
    with run(way, str.upper, items, job) as outcomes:
        for outcome in outcomes:
            got.append(outcome.value)
            if len(got) == 40:
                outcomes.cancel()
    assert sorted(got) == sorted(item.upper() for item in items[2_000:])


def executed(folder: Path) -> Counter[int]:
    """How often each item was executed, by the files that `note` has written, in whatever process."""
    return Counter(int(path.name.partition("-")[0]) for path in folder.iterdir())


def note(folder: str, number: int) -> int:
    """Leave a file of its own for each execution."""
    path = Path(folder, f"{number}-{time.perf_counter_ns()}-{os.getpid()}-{threading.get_ident()}")
    path.touch(exist_ok=False)
    return number


def endless() -> Iterator[int]:
    return iter(range(1 << 60))


@pytest.mark.parametrize("ordered", [False, True])
def test_draining_finishes_what_lanes_hold(way: Way, tmp_path: Path, ordered: bool) -> None:
    """What was only read has no outcome, and is never executed; what was executed has one, once."""
    job = Job(group=lambda number: number % 3)
    indexes = []
    with run(way, partial(note, str(tmp_path)), endless(), job, ordered=ordered) as outcomes:
        for outcome in outcomes:
            indexes.append(outcome.index)
            if len(indexes) == 30:
                outcomes.drain()
    assert executed(tmp_path) == Counter(indexes)
    if ordered:
        assert indexes == list(range(len(indexes)))
    report = outcomes.report()
    assert (report.done, report.failed) == (len(indexes), 0)


def test_draining_drops_what_was_read_ahead(way: Way, tmp_path: Path) -> None:
    """An hour's park of one group, with 2,000 items that wait: they are dropped, with the one that is to be retried."""

    def settle(ended: Ended) -> Decision:
        return RetryAfter(HOUR, park_group=True) if ended.item < 2_000 else None

    items = range(2_000 + 400)
    job = Job(group=lambda number: number < 2_000, settle=settle)
    got = []
    with run(way, partial(note, str(tmp_path)), items, job) as outcomes:
        for outcome in outcomes:
            got.append(outcome.index)
            if len(got) == 400:  # Nothing can run any more.
                outcomes.drain()
    assert sorted(got) == list(range(2_000, 2_400))
    counts = executed(tmp_path)
    assert sum(counts.values()) == 400 + sum(counts[index] for index in range(2_000))
    assert sum(counts[index] for index in range(2_000)) <= 16  # What a group has at first.


@threads_and_coroutines
def test_draining_starts_nothing(way: Way) -> None:
    """All lanes are held up by items while it is drained: only these have outcomes, and only these were begun."""
    begun: list[int] = []
    full, drained = threading.Event(), threading.Event()
    lock = threading.Lock()
    lanes = 4

    def begin(number: int) -> None:
        with lock:
            begun.append(number)
            if len(begun) == lanes:
                full.set()

    def hold(number: int) -> int:
        begin(number)
        assert drained.wait(30)
        return number

    async def hold_loop(number: int) -> int:
        begin(number)
        while not drained.is_set():
            await asyncio.sleep(0.001)
        return number

    job = Job(group=lambda number: number % 2, settle=lambda _: RetryAfter(0.0) if len(begun) < lanes else None)
    outcomes = run_job(hold_loop if way.coroutine else hold, endless(), job, shape="1x4")
    with outcomes:
        assert full.wait(30)
        outcomes.drain()
        drained.set()
        indexes = [outcome.index for outcome in outcomes]
    assert sorted(indexes) == sorted(begun)
    assert len(begun) == lanes


def test_draining_a_run_of_auto() -> None:
    """Whatever the shape is by then."""
    begun: list[int] = []
    indexes = []
    with run_job(lambda number: begun.append(number), endless(), Job(group=lambda number: number % 5)) as outcomes:
        for outcome in outcomes:
            indexes.append(outcome.index)
            if len(indexes) == 3_000:
                outcomes.drain()
    assert sorted(indexes) == sorted(begun)


def test_draining_drops_retries_that_wait(tmp_path: Path) -> None:
    """They do not hold it up for an hour; a next run with the journal has them."""
    job = Job(group=lambda number: number % 3, settle=lambda ended: RetryAfter(HOUR) if ended.item == 0 else None)
    path = tmp_path / "journal.db"
    indexes = []
    with run_job(abs, endless(), job, shape="1x2", journal=path) as outcomes:
        for outcome in outcomes:
            indexes.append(outcome.index)
            if len(indexes) == 60:
                outcomes.drain()
    assert 0 not in indexes
    again = run_job(abs, range(60), Job(group=lambda number: number % 3), shape="1x2", journal=path)
    assert sorted(o.index for o in again) == list(range(60))
    assert again.report().recorded == len(set(indexes) & set(range(60)))


@pytest.mark.parametrize("grouped", [True, False])
def test_draining_an_order_with_ordered_results(way: Way, grouped: bool) -> None:
    """What the order has not given yet is a gap: outcomes end before it."""
    job = Job(order=backwards, group=(lambda number: number % 3) if grouped else None)
    indexes = []
    with run(way, str, range(100_000), job, ordered=True, limits=Limits(in_flight=25)) as outcomes:
        for outcome in outcomes:
            indexes.append(outcome.index)
            if len(indexes) == 30:
                outcomes.drain()
    assert indexes == list(range(len(indexes)))


def test_draining_a_job_without_groups_finishes_what_was_taken(way: Way) -> None:
    """Retries among it; nothing is lost, nothing comes twice."""
    tries: Counter[int] = Counter()
    taken: list[int] = []

    def settle(ended: Ended) -> Decision:
        tries[ended.item] += 1
        return RetryAfter(0.01) if ended.item == 7 and ended.attempts == 1 else None

    def items() -> Iterator[int]:
        for number in endless():
            taken.append(number)
            yield number

    outcomes = []
    with run(way, str, items(), Job(settle=settle), limits=Limits(in_flight=50)) as iteration:
        for outcome in iteration:
            outcomes.append(outcome)
            if len(outcomes) == 30:
                iteration.drain()
    assert sorted(o.index for o in outcomes) == taken
    assert [o.attempts for o in outcomes if o.index == 7] == [2]
    assert tries == Counter({int(o.value): o.attempts for o in outcomes})


def test_map_ends_at_the_first_failure(way: Way) -> None:
    """Values before it come; then the function's own exception, and nothing that waits is started any more."""
    job = Job(group=lambda number: number % 2)
    choices = Choices(shape=way.shape, isolate=way.isolate, ordered=True)
    got = []
    with pytest.raises(LookupError):
        for value in Results.over(prepare(way.fn(work), ([1, 2, 4, 5, 6, 7, 8],), choices, raises=True, job=job)):
            got.append(value)  # noqa: PERF402
    assert got == [2, 3, 5, 6]


def backwards(pairs: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Give ten at a time, the last first."""
    held = []
    for pair in pairs:
        held.append(pair)
        if len(held) == 10:
            yield from reversed(held)
            held = []
    yield from reversed(held)


@pytest.mark.parametrize("grouped", [True, False])
@in_order
def test_an_order(way: Way, grouped: bool) -> None:
    """Items are executed in the job's order, and outcomes keep their place in the input."""
    job = Job(order=backwards, group=(lambda _: "all") if grouped else None)
    outcomes = list(run(way, str, range(35), job))
    begun = [o.index for o in sorted(outcomes, key=lambda o: o.started)]
    wanted = [*range(9, -1, -1), *range(19, 9, -1), *range(29, 19, -1), *range(34, 29, -1)]
    assert begun == wanted
    assert all(o.value == str(o.index) for o in outcomes)


@pytest.mark.parametrize("grouped", [True, False])
def test_an_order_with_ordered_results(way: Way, grouped: bool) -> None:
    """Results come in input order all the same."""
    job = Job(order=backwards, group=(lambda number: number % 3) if grouped else None)
    outcomes = list(run(way, str, range(57), job, ordered=True))
    assert [(o.index, o.value) for o in outcomes] == [(number, str(number)) for number in range(57)]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_journal_resumes_a_job(way: Way, tmp_path: Path, ordered: bool) -> None:
    """What settle decided is recorded, and not decided again; places are kept under another order."""
    job = Job(group=lambda number: number % 3, order=backwards, settle=lambda ended: Final(value=ended.item * 10))
    path = tmp_path / "run.journal"
    first = list(run(way, work, range(0, 40, 2), job, journal=path))
    assert {o.key: o.value for o in first} == {number: number * 10 for number in range(0, 40, 2)}
    asked = []

    def settle(ended: Ended) -> Decision:
        asked.append(ended.item)
        return Final(value=ended.item * 100)

    job = Job(group=lambda number: number % 3, order=backwards, settle=settle)
    again = list(run(way, work, range(40), job, journal=path, ordered=ordered))
    assert {o.index: o.value for o in again} == {n: n * (100 if n % 2 else 10) for n in range(40)}
    assert sorted(asked) == list(range(1, 40, 2))


class Adder:
    """Carries what its values depend on."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, item: int) -> int:
        return item + self.number


def test_a_job_may_say_whose_a_journal_is(tmp_path: Path) -> None:
    """With an owner, another object of the function's goes on with the journal; without, it is refused."""
    for owner, path in (("tests:add", tmp_path / "one.db"), ("", tmp_path / "two.db")):
        job = Job(owner=owner)
        first = run_job(Adder(1), range(2), job, shape="1x1", journal=path)
        assert [outcome.value for outcome in first] == [1, 2]
        if owner:
            second = run_job(Adder(5), range(3), job, shape="1x1", journal=path)
            assert sorted(outcome.value for outcome in second) == [1, 2, 7]
        else:
            with pytest.raises(poolwise.JournalMismatch, match="number=1"):
                run_job(Adder(5), range(3), job, shape="1x1", journal=path)


# -- accidents


@plain_in_children
def test_a_death_is_settled_like_any_end(way: Way) -> None:
    """The job sees a TaskLost, may have it run again, and its groups get their lanes back."""

    def die(number: int) -> int:
        if number % 10 == 5:
            os._exit(3)
        return number

    lost: Counter[int] = Counter()

    def settle(ended: Ended) -> Decision:
        if isinstance(ended.error, TaskLost):
            lost[ended.item] += 1
            return RetryAfter(0.0, park_group=True) if ended.attempts == 1 else None
        return None

    job = Job(group=lambda number: number % 3, settle=settle, group_limits=GroupLimits(first=1, most=1))
    outcomes = {o.index: o for o in run(way, die, range(30), job)}
    assert sorted(outcomes) == list(range(30))
    for index, o in outcomes.items():
        assert o.ok == (index % 10 != 5)
        assert o.attempts == (1 if o.ok else 2)
    assert lost == {5: 2, 15: 2, 25: 2}


@in_children
def test_a_timeout_is_settled_like_any_end(way: Way) -> None:
    """The job sees a TaskTimeout, and the lane of its group is free again."""

    def hang(number: int) -> int:
        if number == 3:
            time.sleep(HOUR)
        return number

    async def hang_on(number: int) -> int:
        import asyncio

        await asyncio.sleep(HOUR if number == 3 else 0)
        return number

    seen = []

    def settle(ended: Ended) -> Decision:
        if isinstance(ended.error, TaskTimeout):
            seen.append(ended.attempts)
            return RetryAfter(0.0) if ended.attempts < 2 else Final(value="slow")
        return None

    job = Job(group=lambda number: 0, settle=settle, group_limits=GroupLimits(first=1, most=1))
    fn = hang_on if way.coroutine else hang
    got = list(run_job(fn, range(8), job, shape=way.shape, isolate=way.isolate, timeout=0.5))
    assert {o.index: o.value for o in got} == {number: "slow" if number == 3 else number for number in range(8)}
    assert seen == [1, 2]


# -- limits


class Gauge:
    """Counts who is inside, by group."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside: Counter[Any] = Counter()
        self.most: Counter[Any] = Counter()

    def __call__(self, number: int) -> int:
        key = number % 3
        with self.lock:
            self.inside[key] += 1
            self.inside["all"] += 1
            for name, count in self.inside.items():
                self.most[name] = max(self.most[name], count)
        time.sleep(0.001)
        with self.lock:
            self.inside[key] -= 1
            self.inside["all"] -= 1
        return number


@on_threads
def test_lanes_of_a_group_are_bounded(way: Way) -> None:
    """No more than `most` of a group at a time, whatever the shape."""
    gauge = Gauge()
    job = Job(group=lambda number: number % 3, group_limits=GroupLimits(first=1, most=1))
    assert len(list(run(way, gauge, range(120), job))) == 120
    assert [gauge.most[key] for key in range(3)] == [1, 1, 1]


@on_threads
def test_weights_are_bounded(way: Way) -> None:
    """Two of 60 bytes do not run together where 100 are allowed."""
    gauge = Gauge()
    outcomes = list(run(way, gauge, range(60), Job(weight=lambda _: 60), limits=Limits(buffered_bytes=100)))
    assert len(outcomes) == 60
    assert gauge.most["all"] == 1


def test_auto_gives_each_group_its_lanes() -> None:
    """Four hosts begin with 16 lanes each: 60 items run at a time, before a single one has ended."""
    everybody, lock, begun = threading.Event(), threading.Lock(), 0

    def wait(number: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
            if begun == 60:
                everybody.set()
        everybody.wait()
        return number

    outcomes = list(run_job(wait, range(400), Job(group=lambda number: number % 4)))
    assert sorted(o.index for o in outcomes) == list(range(400))


def test_auto_in_children_and_with_coroutines() -> None:
    """Groups run where a timeout asks for children, and where coroutines are the lanes."""

    async def double(number: int) -> int:
        return 2 * number

    job = Job(group=lambda number: number % 4)
    for fn, options in ((work, {"timeout": 60.0}), (double, {})):
        outcomes = list(run_job(fn, range(1, 100, 3), job, **options))  # type: ignore[arg-type]
        assert sorted(o.index for o in outcomes) == list(range(33))
        assert all(o.ok for o in outcomes)


def test_a_job_is_checked() -> None:
    """What is no function is refused before work starts."""
    with pytest.raises(poolwise.UsageError, match=r"job\.group is 3; it must be a function"):
        Job(group=3)  # type: ignore[arg-type]
    with pytest.raises(poolwise.UsageError, match=r"group_limits\.most is 0"):
        GroupLimits(most=0)
    with pytest.raises(poolwise.UsageError, match="seconds is -1"):
        RetryAfter(-1)
