"""Whose outcomes a journal holds: what a function's values depend on, told the same in every process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import JournalMismatch
from poolwise._runtime.identity import digest_of, owner_of


class Times:
    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def go(self, x: int) -> Any:
        return x * self.factor

    @functools.cached_property
    def twice(self) -> Any:
        return self.factor * 2


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, x: int) -> Any:
        return x * self.factor


class Called(Times):
    def __call__(self, x: int) -> Any:
        return self.go(x)


def closing(value: Any) -> Callable[[int], Any]:
    return lambda x: x * value


def nested(value: Any) -> Callable[[int], Any]:
    def fn(x: int) -> Any:
        return x * value

    return fn


def default(value: Any) -> Callable[[int], Any]:
    return lambda x, q=value: x * q


def keyword(value: Any) -> Callable[[int], Any]:
    def fn(x: int, *, q: Any = value) -> Any:
        return x * q

    return fn


def decorated(value: Any) -> Callable[[int], Any]:
    return functools.lru_cache(nested(value))


MAKERS: list[Callable[[Any], Callable[[int], Any]]] = [
    closing, nested, default, keyword, decorated,
    lambda value: Times(value).go, Called, Slotted,
    lambda value: functools.partial(Times.go, Times(value)),
    lambda value: functools.partial(map, closing(value)),
    lambda value: functools.partial(map, Times(value).go),
    lambda value: functools.partial(map, {"a": [Times(value)]}),
    lambda value: functools.partial(map, functools.partial(pow, value)),
    lambda value: [value].count,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("first", "second"), [(2, 3), ("a" * 99, "b"), (1, True), ([1, {2}], [1, {3}]), (pow, abs)])
def test_what_values_depend_on_is_told(make: Callable[[Any], Any], first: Any, second: Any) -> None:
    """Another value is another owner, the same is the same."""
    assert owner_of(make(first)).options != owner_of(make(second)).options
    assert owner_of(make(first)) == owner_of(make(first))


@pytest.mark.parametrize(
    "make", [closing, default, lambda kk: Times(kk).go, Called], ids=["closing", "default", "method", "object"]
)
def test_another_surrounding_is_a_mismatch(make: Callable[[Any], Any], tmp_path: Path) -> None:
    """Old values are never given as those of another function; the difference is said in clear text."""
    path = tmp_path / "run.db"
    assert list(poolwise.map(make(2), range(3), journal=path, shape="1x1")) == [0, 2, 4]
    with pytest.raises(JournalMismatch, match=r"=2, not 10; give another path"):
        poolwise.map(make(10), range(3), journal=path, shape="1x1")
    assert list(poolwise.map(make(2), range(3), journal=path, shape="1x1")) == [0, 2, 4]


def test_what_an_object_keeps_for_itself_is_not_compared() -> None:
    """A cached property follows from the rest."""
    called = Called(2)
    before = owner_of(called)
    assert called.twice == 4
    assert owner_of(called) == before


def test_loops_end() -> None:
    """A closure of itself, an object that holds itself, and a very deep list are told."""

    def recursive(n: int) -> int:
        return n if n < 1 else recursive(n - 1)

    called = Called(2)
    called.factor = [called]
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert owner_of(recursive) == owner_of(recursive)
        assert owner_of(called) == owner_of(called)
    with pytest.warns(RuntimeWarning, match="value of .* cannot be compared"):
        assert owner_of(closing(deep)).options == owner_of(closing(deep)).options


def test_what_cannot_be_told_is_left_out() -> None:
    """One warning names it, and the rest is compared."""

    def make(factor: int) -> Any:
        called = Called(factor)
        called.lock, called.file = threading.Lock(), sys.stderr  # type: ignore[attr-defined]
        return called.go

    with pytest.warns(RuntimeWarning, match=r"self.lock, self.file of .*go cannot be compared") as seen:
        first = owner_of(make(2))
    assert len(seen) == 1
    with pytest.warns(RuntimeWarning):
        assert owner_of(make(2)) == first
    with pytest.warns(RuntimeWarning):
        assert owner_of(make(3)) != first


HASHED = """
import functools, poolwise, sys
class Trivial:
    pass
trivial = Trivial()
trivial.words = {"a", "b", "c", "d"}
def fn(a, b, c, x):
    return x
work = functools.partial(fn, {"a", "b", "c", "d"}, {"k": (frozenset("abcdef"),)}, trivial)
print(list(poolwise.map(work, range(3), journal=sys.argv[1], shape="1x1")))
"""


def test_sets_are_told_whatever_the_hash_seed(tmp_path: Path) -> None:
    """A run with sets and objects of the script in its arguments goes on in another process."""
    script = tmp_path / "script.py"
    script.write_text(HASHED)
    for seed in "1234":
        ended = subprocess.run(
            [sys.executable, str(script), str(tmp_path / "run.db")],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 1, 2]\n", "")


def test_a_digest_of_values() -> None:
    """It differs where a value, its type, their order or their number does, and nowhere else."""
    values: list[list[Any]] = [[], [1], ["1"], [1.0], [True], [1, 2], [2, 1], [12], [[1], 2], [[1, 2]], ["1", "2"]]
    assert len(set(map(digest_of, values))) == len(values)
    shared = "x" * 50
    apart = ["x" * 25 + "x" * 25, "".join(["x"] * 50)]
    assert digest_of([[shared, shared]]) == digest_of([apart])
    assert digest_of([Path("a"), {1: {"b"}}]) == digest_of([Path("a"), {1: {"b"}}])
    assert digest_of([threading.Lock()]) == digest_of([threading.Lock()])


def test_a_digest_of_many_values_looks_at_some() -> None:
    """Evenly spread over all; their number counts."""
    many = list(range(50_000))
    assert digest_of(many) == digest_of(list(many))
    assert digest_of(many) != digest_of(many[:-1])
    assert digest_of(many) != digest_of([-1, *many[1:]])
