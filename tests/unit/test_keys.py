"""Keys as a journal stores them."""

from __future__ import annotations

import enum
import pathlib
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise import UsageError
from poolwise._core.keys import decode, encode

SIMPLE = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(),
    st.text(alphabet=st.characters()),  # Lone surrogates among them: file names that are no UTF-8.
    st.text(min_size=1).filter(lambda text: "\0" not in text).map(pathlib.PurePath),
)
KEYS = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def _typed(key: Any) -> Any:
    """Return a form in which 1, True and 1.0 differ."""
    if isinstance(key, tuple):
        return tuple(map(_typed, key))
    return (type(key).__mro__[-2].__name__ if isinstance(key, pathlib.PurePath) else type(key).__name__, str(key))


@given(KEYS, KEYS)
def test_two_keys_are_one_only_if_they_are_the_same(one: Any, other: Any) -> None:
    """Stored forms are equal exactly where type and value are, for SQLite as well."""
    same = _typed(one) == _typed(other)
    assert (encode(one) == encode(other)) is same
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (key PRIMARY KEY NOT NULL) WITHOUT ROWID")
        connection.execute("INSERT INTO t VALUES (?)", (encode(one),))
        found = connection.execute("SELECT count(*) FROM t WHERE key = ?", (encode(other),)).fetchone()[0]
    assert bool(found) is same


@given(KEYS)
def test_a_key_comes_back(key: Any) -> None:
    """What was stored gives the key again, with its type."""
    assert _typed(decode(encode(key))) == _typed(key)


def test_examples() -> None:
    """The common ones are stored as SQLite's own types."""
    assert encode(1) == 1
    assert encode("1") == "1"
    assert len({encode(1), encode("1"), encode(pathlib.Path("1")), encode(True), encode((1,)), encode(("1",))}) == 6
    assert isinstance(encode(1 << 70), bytes)
    assert encode(pathlib.Path("a/b")) == encode(pathlib.PurePath("a/b"))


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize("key", [1.5, None, b"x", [1], {"a": 1}, (1, None), object()])
def test_what_is_no_key(key: Any) -> None:
    """One sentence: what it is, and the remedy."""
    with pytest.raises(UsageError, match="give key="):
        encode(key)


def test_subclasses_count_as_what_they_are() -> None:
    """A member of an IntEnum is its number."""
    assert decode(encode(Color.RED)) == 1
