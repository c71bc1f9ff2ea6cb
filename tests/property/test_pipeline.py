"""Whatever the stages, their shapes, speeds and failures: every item is accounted for once."""

from __future__ import annotations

import collections
import functools
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import poolwise
from poolwise import Limits, Retry, Stage
from zoo.marks import add_line, lines
from zoo.ways import WAYS, Way

# Up to four stages of processes each: thirty took half a minute on an idle machine, and a test has one minute.
few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Fates = dict[int, tuple[int, bool]]
"""Of an item: the stage at which it fails, and whether always, or the first time only."""

ways = st.sampled_from([*WAYS, Way("auto", "auto")])
fates = st.dictionaries(st.integers(0, 79), st.tuples(st.integers(0, 3), st.booleans()), max_size=12)
turns = st.lists(st.integers(0, 5), min_size=7, max_size=7)


def work(folder: Path, place: int, fates: Fates, turns: list[int], pair: tuple[int, int]) -> tuple[int, int]:
    """Write down the execution, let others run some times, and do what is fated."""
    number, been = pair
    add_line(folder / str(place), number)
    for _ in range(turns[(number + place) % len(turns)]):
        time.sleep(0)
    at, always = fates.get(number, (None, False))
    if at == place and (always or lines(folder / str(place)).count(str(number)) < 2):
        raise LookupError(number)
    return number, been + 1


@few
@given(
    st.lists(ways, min_size=1, max_size=4),
    st.integers(0, 80),
    fates,
    turns,
    st.none() | st.integers(1, 20),
    st.none() | st.integers(1_000, 100_000),
    st.booleans(),
    st.booleans(),
)
def test_every_item_is_accounted_for(
    shapes: list[Way],
    count: int,
    fates: Fates,
    turns: list[int],
    in_flight: int | None,
    buffered_bytes: int | None,
    ordered: bool,
    journaled: bool,
) -> None:
    """One outcome each, at the right stage; each stage executed what reached it, once and once for each retry."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stages = [
            Stage(
                way.fn(functools.partial(work, folder, place, fates, turns)),
                name=str(place),
                shape=way.shape,
                isolate=way.isolate,
                retry=Retry(2, backoff=0),
            )
            for place, way in enumerate(shapes)
        ]
        options: dict[str, Any] = {"limits": Limits(in_flight=in_flight, buffered_bytes=buffered_bytes)}
        if journaled:
            options |= {"journal": folder / "run.db", "key": number_of}
        items = ((number, 0) for number in range(count))
        outcomes = list(poolwise.pipeline(items, *stages, ordered=ordered, **options))
        assert collections.Counter(o.index for o in outcomes) == collections.Counter(range(count))
        if ordered:
            assert [o.index for o in outcomes] == list(range(count))
        last = len(shapes) - 1
        for o in outcomes:
            at, always = fates.get(o.index, (last, False))
            fails = always and at <= last
            assert (o.ok, o.stage) == (not fails, str(at if fails else last))
            assert o.value == (None if fails else (o.index, len(shapes)))
        for place in range(len(shapes)):
            reached = [number for number in range(count) if not (_fails(fates, number) and fates[number][0] < place)]
            ran = collections.Counter(map(int, lines(folder / str(place))))
            assert ran == {number: 1 + (fates.get(number, (None,))[0] == place) for number in reached}


def _fails(fates: Fates, number: int) -> bool:
    return number in fates and fates[number][1]


def number_of(pair: tuple[int, int]) -> int:
    """The key of an item."""
    return pair[0]
