"""Design 4, "Retry", and `limits.per_second`."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Limits, Retry
from zoo import items
from zoo.marks import add_line, lines, wait_until
from zoo.ways import Way, in_children, not_inline, plain_in_children, ways


def test_retry_number_is_further_attempts(way: Way, tmp_path: Path) -> None:
    """`retry=2`: two further attempts; the third one's value counts."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 3))
    outcomes = list(way.run(fn, range(4), retry=2, ordered=True))
    assert [(o.ok, o.value, o.attempts) for o in outcomes] == [(True, 2 * x, 3) for x in range(4)]
    assert [len(lines(tmp_path / str(x))) for x in range(4)] == [3] * 4


def test_retry_gives_up(way: Way, tmp_path: Path) -> None:
    """After the last attempt the item has failed, and says how often it was tried."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 9))
    (outcome,) = way.run(fn, [5], retry=2)
    assert (outcome.ok, outcome.attempts, outcome.error.attempts) == (False, 3, 3)
    assert type(outcome.error.__cause__) is ConnectionError
    assert len(lines(tmp_path / "5")) == 3


def test_no_retry_by_default(way: Way, tmp_path: Path) -> None:
    """Without `retry` an item is executed once."""
    (outcome,) = way.run(way.fn(functools.partial(items.fail_until, tmp_path, 2)), [5])
    assert (outcome.ok, outcome.attempts, len(lines(tmp_path / "5"))) == (False, 1, 1)


def test_retry_attempts_count_all(way: Way, tmp_path: Path) -> None:
    """`Retry(attempts=2)` is two executions in all."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 3))
    (outcome,) = way.run(fn, [5], retry=Retry(attempts=2, backoff=0))
    assert (outcome.ok, outcome.attempts, len(lines(tmp_path / "5"))) == (False, 2, 2)


def test_map_retries(way: Way, tmp_path: Path) -> None:
    """`map` gives the values of later attempts in their places, and raises only in the end."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 2))
    assert list(way.map(fn, range(6), retry=Retry(2, backoff=0.01))) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ConnectionError):
        list(way.map(way.fn(functools.partial(items.fail_until, tmp_path, 9)), [7], retry=1))
    assert len(lines(tmp_path / "7")) == 2


@pytest.mark.parametrize(
    ("on", "attempts"), [(ConnectionError, 3), (OSError, 3), ((KeyError, OSError), 3), (KeyError, 1), ((), 1)], ids=str
)
def test_retry_on_names_classes(way: Way, tmp_path: Path, on: Any, attempts: int) -> None:
    """`on` is matched as `except` would."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 9))
    (outcome,) = way.run(fn, [5], retry=Retry(3, on=on, backoff=0))
    assert outcome.attempts == attempts


def test_backoff_occupies_no_lane(way: Way, tmp_path: Path) -> None:
    """While an item waits for its second attempt, its lane runs the others."""

    def first_fails(x: int) -> int:
        add_line(tmp_path / "calls", x)
        if x == 0 and lines(tmp_path / "calls").count("0") == 1:
            raise ConnectionError("not yet")
        return x

    outcomes = list(way.run(way.fn(first_fails), range(12), retry=Retry(2, backoff=lambda n: 0.6)))
    assert sorted(o.value for o in outcomes) == list(range(12))
    assert outcomes[-1].index == 0
    assert lines(tmp_path / "calls")[-1] == "0"


def test_backoff_is_told_the_executions_so_far(way: Way, tmp_path: Path) -> None:
    """A backoff function gets 1 before the second execution, 2 before the third."""
    asked: list[int] = []

    def backoff(executions: int) -> float:
        asked.append(executions)
        return 0.0

    fn = way.fn(functools.partial(items.fail_until, tmp_path, 3))
    assert list(way.map(fn, [5], retry=Retry(3, backoff=backoff))) == [10]
    assert asked == [1, 2]


@not_inline
def test_retries_advance_while_the_consumer_is_away(way: Way, tmp_path: Path) -> None:
    """An item's second attempt starts though nobody asks for a result."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 2))
    with way.run(fn, range(3), retry=Retry(2, backoff=0.05)) as outcomes:
        # Of the input one item is taken for sure; more only while that is quick.
        wait_until(lambda: lines(tmp_path / "calls").count("0") == 2, "the first item ran twice with the consumer away")
        assert sorted((o.value, o.attempts) for o in outcomes) == [(0, 2), (2, 2), (4, 2)]


def test_retried_items_keep_in_flight(way: Way, tmp_path: Path) -> None:
    """Items that wait for an attempt are in flight: the hard bound counts them."""
    taken = yielded = peak = 0

    def source() -> Any:
        nonlocal taken, peak
        for x in range(20):
            taken += 1
            peak = max(peak, taken - yielded)
            yield x

    fn = way.fn(functools.partial(items.fail_until, tmp_path, 2))
    for _ in way.run(fn, source(), retry=Retry(2, backoff=0.01), limits=Limits(in_flight=3)):
        yielded += 1
    assert (yielded, peak) == (20, 3)


@plain_in_children
@pytest.mark.parametrize(
    ("on", "attempts"), [(Exception, 1), (poolwise.TaskLost, 3), (poolwise.TaskError, 3), (poolwise.TaskTimeout, 1)]
)
def test_retry_of_lost_items_only_where_named(way: Way, tmp_path: Path, on: Any, attempts: int) -> None:
    """An item that kills its worker is tried again only where TaskLost is named."""

    def die(x: int) -> None:
        add_line(tmp_path / "calls", x)
        os._exit(3)

    (outcome,) = way.run(die, [5], retry=Retry(3, on=on, backoff=0))
    assert type(outcome.error) is poolwise.TaskLost
    assert (outcome.error.exitcode, outcome.attempts) == (3, attempts)


@plain_in_children
def test_a_lost_item_can_succeed_later(way: Way, tmp_path: Path) -> None:
    """With TaskLost named, the value of the attempt that survives counts."""

    def die_once(x: int) -> int:
        add_line(tmp_path / "calls", x)
        if x == 3 and lines(tmp_path / "calls").count("3") < 3:
            os._exit(3)
        return x

    outcomes = list(way.run(die_once, range(8), retry=Retry(5, on=poolwise.TaskLost, backoff=0), ordered=True))
    assert [o.value for o in outcomes] == list(range(8))
    assert {o.attempts for o in outcomes if o.index != 3} == {1}


def _most_in_one_second(starts: list[float]) -> int:
    return max(sum(1 for start in starts if first <= start < first + 1) for first in starts)


@ways(lambda way: way.shape in ("serial", "1x4", "2x2"))
def test_per_second(way: Way, tmp_path: Path) -> None:
    """`limits.per_second` bounds the executions started in any second."""
    fn = way.fn(functools.partial(items.note_slowly, tmp_path, 0.0))
    outcomes = list(way.run(fn, range(40), limits=Limits(per_second=20)))
    assert sorted(o.value for o in outcomes) == list(range(40))
    starts = sorted(float(line.split()[1]) for line in lines(tmp_path / "calls"))
    assert _most_in_one_second(starts) <= 20 + 4  # a released item may start a little late, the next one in time
    assert starts[-1] - starts[0] >= (40 - 20 - 4) / 20


@ways(lambda way: way.shape in ("serial", "1x4", "2x2"))
def test_per_second_counts_retries(way: Way, tmp_path: Path) -> None:
    """Attempts count as executions."""
    fn = way.fn(functools.partial(items.fail_until, tmp_path, 9))
    outcomes = list(way.run(fn, range(10), retry=Retry(4, backoff=0), limits=Limits(per_second=20)))
    assert [o.attempts for o in outcomes] == [4] * 10
    starts = sorted(float(line) for x in range(10) for line in lines(tmp_path / str(x)))
    assert len(starts) == 40
    assert _most_in_one_second(starts) <= 20 + 4


@not_inline
def test_rate_advances_while_the_consumer_is_away(way: Way, tmp_path: Path) -> None:
    """What the rate holds back starts though nobody asks for a result."""
    fn = way.fn(functools.partial(items.note, tmp_path))
    with way.map(fn, range(4), limits=Limits(per_second=10)) as results:
        wait_until(lambda: len(lines(tmp_path / "calls")) == 4, "all four items ran with the consumer away")
        assert list(results) == [0, 1, 2, 3]


def test_fraction_of_an_item_per_second(way: Way) -> None:
    """A rate below one a second starts the first item at once."""
    started = time.monotonic()
    with way.map(way.fn(items.double), range(5), limits=Limits(per_second=0.01)) as results:
        assert next(results) == 0
    assert time.monotonic() - started < 60


@in_children
def test_retry_in_another_process_keeps_arguments(way: Way, tmp_path: Path) -> None:
    """A retried call gets the same arguments again."""

    def fail_once(a: str, b: bytes) -> tuple[str, bytes]:
        add_line(tmp_path / a, a)
        if len(lines(tmp_path / a)) == 1:
            raise ConnectionError(a)
        return a, b

    results = way.map(way.fn(fail_once), ["p", "q"], [b"1", bytes(100_000)], retry=Retry(2, backoff=0))
    assert list(results) == [("p", b"1"), ("q", bytes(100_000))]


@pytest.mark.parametrize("on", [OSError(), "OSError", 3, (OSError, "x"), int], ids=str)
def test_retry_names_exception_classes(on: Any) -> None:
    """What is not an exception class is a UsageError."""
    with pytest.raises(poolwise.UsageError, match=r"retry\.on .* exception classes"):
        Retry(on=on)


def test_infinite_numbers() -> None:
    """A rate or a timeout without end is refused, saying that it must be finite."""
    with pytest.raises(poolwise.UsageError, match="a finite number above 0"):
        Limits(per_second=float("inf"))
    with pytest.raises(poolwise.UsageError, match="a finite number above 0"):
        poolwise.map(items.double, [1], timeout=float("inf"))
