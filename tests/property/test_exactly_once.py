"""Whatever the shape, the window and the failures: every item has exactly one outcome, and it is the right one."""

from __future__ import annotations

import collections
import functools
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import poolwise
from poolwise import Limits, Retry
from zoo import items
from zoo.ways import WAYS, Way

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ways = st.sampled_from(WAYS)
counts = st.integers(0, 60)
in_flights = st.none() | st.integers(1, 20)


@few
@given(ways, counts, st.booleans(), in_flights, st.sets(st.integers(0, 59), max_size=8), st.integers(0, 1))
def test_run(way: Way, count: int, ordered: bool, in_flight: int | None, bad: set[int], retry: int) -> None:
    """`run` gives each index once, values and failures where they belong, in input order where asked."""

    def work(x: int) -> int:
        if x in bad:
            raise LookupError(x)
        return x + 1

    options: dict[str, Any] = {"limits": Limits(in_flight=in_flight), "retry": Retry(1 + retry, backoff=0)}
    outcomes = list(way.run(way.fn(work), iter(range(count)), ordered=ordered, **options))
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(count))
    if ordered:
        assert [o.index for o in outcomes] == list(range(count))
    for outcome in outcomes:
        failed = outcome.index in bad
        assert (outcome.ok, outcome.attempts) == (not failed, 1 + retry * failed)
        assert outcome.value == (None if failed else outcome.index + 1)
        if outcome.error is not None:
            assert outcome.error.__cause__.args == (outcome.index,)  # type: ignore[union-attr]


@few
@given(ways, counts, st.booleans(), in_flights, st.none() | st.integers(0, 59))
def test_map(way: Way, count: int, ordered: bool, in_flight: int | None, bad: int | None) -> None:
    """`map` gives what the builtin map gives, up to the first item that fails."""

    def work(x: int) -> int:
        if x == bad:
            raise LookupError(x)
        return x + 1

    got: list[int] = []
    failed = None
    try:
        got.extend(way.map(way.fn(work), range(count), ordered=ordered, limits=Limits(in_flight=in_flight)))
    except LookupError as error:
        failed = error.args[0]
    assert failed == (bad if bad is not None and bad < count else None)
    if failed is None:
        assert sorted(got) == list(range(1, count + 1))
    if ordered:
        assert got == list(range(1, (count if failed is None else failed) + 1))
    else:
        assert len(set(got)) == len(got)


@few
@given(
    st.sampled_from([way for way in WAYS if way.children and not way.coroutine]),
    st.integers(1, 40),
    st.sets(st.integers(0, 39), max_size=3),
    st.booleans(),
)
def test_crashes(way: Way, count: int, deadly: set[int], ordered: bool) -> None:
    """Items that kill their worker are lost, nobody else."""

    def work(x: int) -> int:
        if x in deadly:
            os._exit(x)
        return x + 1

    outcomes = list(way.run(work, range(count), ordered=ordered))
    assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(count))
    for outcome in outcomes:
        if outcome.index in deadly:
            assert type(outcome.error) is poolwise.TaskLost
            assert outcome.error.exitcode == outcome.index
        else:
            assert outcome.value == outcome.index + 1


@few
@given(ways, st.integers(1, 50), st.integers(0, 60), in_flights)
def test_drain_anywhere(way: Way, count: int, after: int, in_flight: int | None) -> None:
    """Drained after any number of results: exactly what was taken arrives."""
    taken: list[int] = []

    def source() -> Any:
        for x in range(count):
            taken.append(x)
            yield x

    results = way.map(way.fn(functools.partial(items.add, 1)), source(), limits=Limits(in_flight=in_flight))
    got = []
    for value in results:
        got.append(value)
        if len(got) == after:
            results.drain()
    assert got == [x + 1 for x in taken]
    assert after == 0 or after > count or len(got) >= after
