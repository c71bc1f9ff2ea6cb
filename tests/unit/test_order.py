"""Another order of the input, and its stretches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise import UsageError
from poolwise._policy.order import Placed, reordered, runs


def shuffled(seed: int, ahead: int, lost: int) -> Any:
    """An order that looks so many pairs ahead, and forgets every `lost`-th."""

    def order(pairs: Iterator[Placed]) -> Iterator[Placed]:
        random, held = Random(seed), []
        for pair in pairs:
            if lost and pair[0] % lost == 0:
                continue
            held.append(pair)
            if len(held) > ahead:
                yield held.pop(random.randrange(len(held)))
        random.shuffle(held)
        yield from held

    return order


@given(st.integers(0, 60), st.integers(0, 9), st.integers(0, 20), st.integers(0, 4), st.booleans())
def test_nothing_is_lost_or_renamed(count: int, seed: int, ahead: int, lost: int, broken: bool) -> None:
    """Whatever the order: every place once, with its item; and the input's error after all of them."""

    def source() -> Iterator[str]:
        yield from map(str, range(count))
        if broken:
            raise OSError("the disk is gone")

    got: list[Placed] = []
    with pytest.raises(OSError, match="disk") if broken else contextlib.nullcontext():
        got.extend(reordered(shuffled(seed, ahead, lost), source()))
    assert sorted(got) == [(place, str(place)) for place in range(count)]


def test_an_input_that_fails_gives_what_it_gave_first() -> None:
    """What an order held back when the input failed is yielded before the error is raised."""

    def source() -> Iterator[int]:
        yield from range(10)
        raise OSError("the disk is gone")

    got: list[Placed] = []
    with pytest.raises(OSError, match="disk"):
        got.extend(reordered(lambda pairs: iter(sorted(pairs, reverse=True)), source()))
    assert got == [(place, place) for place in range(9, -1, -1)]


@pytest.mark.parametrize("wrong", [[(0, "a"), (0, "a")], [(7, "x")]])
def test_a_pair_that_is_not_there(wrong: list[Placed]) -> None:
    """Twice the same, or one that never came, is the order's fault."""
    with pytest.raises(UsageError, match="order gave place"):
        list(reordered(lambda pairs: (next(pairs) and wrong) or wrong, iter("ab")))


def test_it_is_lazy() -> None:
    """An endless input will do, and no more of it is taken than the order asks for."""
    taken = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    pairs = reordered(lambda pairs: pairs, endless())
    assert [next(pairs) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert taken == [0, 1, 2]


@given(st.lists(st.integers(0, 40), unique=True))
def test_stretches_are_consecutive(places: list[int]) -> None:
    """They give back the same pairs in the same order, each stretch as long as it can be."""
    pairs = [(place, f"{place}") for place in places]
    got = list(runs(pairs))
    assert [(first + offset, item) for first, items in got for offset, item in enumerate(items)] == pairs
    assert all(first + len(items) != following for (first, items), (following, _) in pairwise(got))
