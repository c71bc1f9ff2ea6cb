"""The recorder on parts: many keys at once, of every kind, repeated, with values that cannot be recorded."""

from __future__ import annotations

import enum
import math
import pathlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise import JournalCorrupt, UsageError
from poolwise._core.journal import Journal, Owner, Recorded
from poolwise._core.keys import encode, encode_all
from poolwise._core.model import Done, Settled
from poolwise._recorder import Recorder, Share
from poolwise._runtime import journal as journals
from poolwise._runtime.journal import Store, Unrecordable, dump_value, dump_values, load_value


class Color(enum.IntEnum):
    RED = 1


class Name(str):
    pass


ODD_KEYS: list[Any] = [
    7, True, Color.RED, -(1 << 63), (1 << 63) - 1, 1 << 63, -(1 << 63) - 1, 10**400, "a", Name("b"), "a\0b", "\ud800",
    "\udc80x", "", pathlib.PurePath("a"), ("a", 1), 1,
]  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        ODD_KEYS,
        [1, 2, -3],
        [1, 2, 1 << 63],
        [-(1 << 63), (1 << 63) - 1],
        [-(1 << 63) - 1, 0],
        [1, True],
        [Color.RED, 5],
        ["a", "b"],
        ["a", "\0"],
        ["a\ud83d", "\ude00b"],
        ["a", Name("b")],
        [],
    ],
)
def test_keys_together_are_stored_as_each_alone(keys: list[Any]) -> None:
    """Value and type of the stored forms are those of `encode`."""
    stored, error = encode_all(keys)
    assert error is None
    assert [(type(key), key) for key in stored] == [(type(encode(key)), encode(key)) for key in keys]


def test_numpy_ints_are_no_keys() -> None:
    """What came before the first that is none is given, with the reason."""
    numpy = pytest.importorskip("numpy")
    stored, error = encode_all([1, 2, numpy.int64(3), 4])
    assert list(stored) == [1, 2]
    assert isinstance(error, UsageError)
    assert "give key=" in str(error)


SCALARS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(st.characters()))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.tuples(SCALARS), st.just(Color.RED), st.just(Name("x")))


@given(st.one_of(st.lists(SCALARS, min_size=1, max_size=8), st.lists(VALUES, min_size=1, max_size=8)))
def test_values_together_are_recorded_as_each_alone(values: list[Any]) -> None:
    """They come back as they were, with their types; the texts are those of `dump_value`."""
    dumped, refused = dump_values(values)
    assert refused == {}
    assert dumped == [dump_value(value) for value in values]
    for value, again in zip(values, map(load_value, dumped), strict=True):
        assert (repr(again), type(again)) == (repr(value), type(value))


@pytest.mark.parametrize(
    "odd",
    [math.inf, math.nan, 10**4100, 10**5000, "x" * 5000, Name("a"), Color.RED, [1]],
    ids=lambda odd: type(odd).__name__,
)
def test_an_odd_value_among_plain_ones(odd: Any) -> None:
    """It changes nothing about the others."""
    dumped, refused = dump_values([1, odd, "a\nb", None])
    assert refused == {}
    assert [dumped[0], dumped[2], dumped[3]] == ["1", '"a\\nb"', "null"]
    again = load_value(dumped[1])
    assert type(again) is type(odd)
    assert again == odd or math.isnan(again)


def test_values_that_cannot_be_recorded_are_told_by_position() -> None:
    """The others are there."""
    dumped, refused = dump_values([1, threading.Lock(), 3])
    assert dumped == ["1", None, "3"]
    assert list(refused) == [1]
    assert isinstance(refused[1], Unrecordable)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


@pytest.fixture
def recorder(path: str) -> Iterator[Recorder]:
    recorder = Recorder(Store(Journal(path), Owner("a:b")), None, 100.0)
    yield recorder
    recorder.close(complete=False)


def shares(recorder: Recorder, items: list[Any], first: int) -> list[Share]:
    return list(recorder.sift(items, first))


def executed(indexes: list[int], items: list[Any], values: list[Any]) -> Settled:
    done = Done(0, 0, values, {}, 1, 2, 5.0, 8.0, None)
    return Settled(indexes, items, values, {}, done)


def committed(recorder: Recorder) -> None:
    """Wait until everything is in the file, and the writer has said so."""
    writer = recorder.store.writer
    with writer._changed:
        assert writer._changed.wait_for(lambda: writer._committed == writer._taken, 10)


def test_mixed_keys_in_one_part(recorder: Recorder, path: str) -> None:
    """Each is executed, once committed known, and none is taken for another."""
    (first,), second = shares(recorder, ODD_KEYS[:-1], 0), shares(recorder, ODD_KEYS[-1:], 16)
    assert first.items == ODD_KEYS[:-1]
    assert len(second) == 1
    recorder.keep([executed(list(range(16)), first.items, list(range(16)))])
    committed(recorder)
    for place, key in enumerate(ODD_KEYS[:-1]):
        (share,) = shares(recorder, [key], 100 + place)
        assert share.known is not None
        assert share.known.values == [place]
    assert recorder._flights.keys() <= {1}


def test_repeats_in_a_part_and_over_parts(recorder: Recorder) -> None:
    """One executes; those that came before it settled get its outcome with it; those that come later get it at once."""
    one, two, three = shares(recorder, ["a", "b", "a", "a", "c"], 0)
    assert (one.items, two.count, three.items) == (["a", "b"], 2, ["c"])
    (waits,) = shares(recorder, ["a"], 5)
    assert (waits.items, waits.known) == ([], None)
    settled = recorder.keep([executed([0, 1], ["a", "b"], [10, 20])])
    assert [(list(part.indexes), part.values) for part in settled] == [
        ([0, 1], [10, 20]), ([2], [10]), ([3], [10]), ([5], [10]),
    ]  # fmt: skip
    (landed,) = shares(recorder, ["b", "a"], 6)
    assert landed.known is not None
    assert landed.known.values == [20, 10]
    committed(recorder)
    (known,) = shares(recorder, ["a", "b", "a"], 8)
    assert known.known is not None
    assert known.known.values == [10, 20, 10]
    expected = Recorded("b", 20, None, 1, 105.0, 4.0, None, True, 1, 2)
    assert landed.known.recorded is not None
    assert known.known.recorded is not None
    assert landed.known.recorded[0] == known.known.recorded[1] == expected


def test_a_key_that_is_committed_while_its_like_is_looked_up(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is in flight and the look into the file, a commit takes nothing away."""
    (share,) = shares(recorder, ["a"], 0)
    find = Store.find

    def find_late(store: Store, keys: Any) -> Any:
        recorder.keep([executed([0], share.items, [10])])
        committed(recorder)
        return find(store, keys)

    monkeypatch.setattr(Store, "find", find_late)
    again, new = shares(recorder, ["a", "b"], 1)
    assert (again.items, new.items) == ([], ["b"])


def test_what_cannot_be_recorded_fails_in_the_middle_of_a_part(recorder: Recorder) -> None:
    """The others keep their values, in the part and in the file; its repeats fail as it does."""
    shares(recorder, [1, 2, 3, 2], 0)
    part, waiter = recorder.keep([executed([0, 1, 2], [1, 2, 3], [10, threading.Lock(), 30])])
    assert part.values == [10, None, 30]
    assert list(part.errors) == [1]
    assert part.errors[1].key == 2
    assert waiter.errors[0] is part.errors[1]
    committed(recorder)
    (share,) = shares(recorder, [3, 2, 1], 4)
    assert share.known is not None
    assert share.known.values == [30, None, 10]
    assert "cannot be recorded" in str(share.known.errors[1])


def test_flights_end_when_they_are_committed(recorder: Recorder) -> None:
    """However many items there are, what is remembered are those that are on their way."""
    for first in range(0, 20_000, 1000):
        items = list(range(first, first + 1000))
        shares(recorder, items, first)
        recorder.keep([executed(items, items, items)])
    committed(recorder)
    assert recorder._flights == {}
    assert recorder._keys == {}
    assert not recorder.store.writer._chunks


def test_a_key_function_is_called_once_for_each_item(path: str) -> None:
    """Its keys are kept until the outcomes are there, in whatever order they come."""
    asked: list[Any] = []

    def key(item: Any) -> Any:
        asked.append(item)
        return item["id"]

    recorder = Recorder(Store(Journal(path), Owner("a:b")), key, 0.0)
    items = [{"id": n} for n in range(4)]
    shares(recorder, items, 0)
    recorder.keep([executed([2, 3], items[2:], [12, 13])])
    (part,) = recorder.keep([executed([0, 1], items[:2], [10, 11])])
    assert part.keys == [0, 1]
    committed(recorder)
    (share,) = shares(recorder, [*items], 4)
    assert share.known is not None
    assert share.known.values == [10, 11, 12, 13]
    assert asked == items * 2
    assert recorder._keys == {}
    recorder.close(complete=True)


@pytest.mark.parametrize("at_once", [1, 3, 20, 512])
def test_any_number_of_rows_is_inserted(
    recorder: Recorder, path: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number of rows a statement may take."""
    monkeypatch.setattr(journals, "_INSERTED_AT_ONCE", at_once)
    items = list(range(777))
    shares(recorder, items, 0)
    recorder.keep([executed(items, items, items)])
    committed(recorder)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key, value FROM outcome ORDER BY key").fetchall() == [
            (n, str(n)) for n in items
        ]


@pytest.mark.parametrize("column", ["key", "value", "failure"])
def test_one_changed_row_among_many_is_found(recorder: Recorder, path: str, column: str) -> None:
    """A read of many rows names the damaged one."""
    items = [f"{n:04}" for n in range(300)]
    shares(recorder, items, 0)
    recorder.keep([executed(list(range(300)), items, list(range(300)))])
    committed(recorder)
    changed = {"key": "'0123x'", "value": "'321'", "failure": "'{}'"}[column]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE outcome SET {column} = {changed} WHERE key = '0123'")
    with pytest.raises(JournalCorrupt, match="0123"):
        recorder.store.find([*items, "0123x"])
