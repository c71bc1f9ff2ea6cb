"""Design 4, "Outcome": the fields are sane, keys are as documented, progress is shown."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

import poolwise
from zoo import items
from zoo.ways import Way, in_children


def test_fields(way: Way) -> None:
    """Every field of every outcome says something possible."""
    before = time.time()
    outcomes = list(way.run(way.fn(functools.partial(items.slowly, 0.003)), range(20), ordered=True))
    after = time.time()
    for index, outcome in enumerate(outcomes):
        assert (outcome.index, outcome.ok, outcome.value, outcome.error) == (index, True, index, None)
        assert outcome.attempts == 1
        assert before - 1 <= outcome.started <= outcome.finished <= after + 1
        assert outcome.seconds >= 0
        assert outcome.cpu_seconds is None or outcome.cpu_seconds >= 0
        assert outcome.clocked in ("item", "batch")
    assert len({(o.worker, o.lane) for o in outcomes}) <= way.total


def test_cpu_seconds(way: Way) -> None:
    """`cpu_seconds` is None for coroutines, whose CPU cannot be told apart, and a number elsewhere."""
    outcomes = list(way.run(way.fn(functools.partial(items.slowly, 0.003)), range(6)))
    assert {o.cpu_seconds is None for o in outcomes} == {way.coroutine}


def test_worker_numbers(way: Way) -> None:
    """Worker 0 is the calling process, every other number one child process."""
    outcomes = list(way.run(way.fn(functools.partial(items.pid_after, 0.002)), range(30)))
    pid_of = {o.worker: o.value for o in outcomes}
    assert all(pid_of[o.worker] == o.value for o in outcomes)
    assert {o.worker == 0 for o in outcomes} == {not way.children}
    assert {o.value == os.getpid() for o in outcomes} == {not way.children}


def test_failed_items_have_clocks_too(way: Way) -> None:
    """The outcome of a failed item has start, end and duration."""
    (outcome,) = way.run(way.fn(functools.partial(items.fail_at, 0)), [0])
    assert time.time() - 60 < outcome.started <= outcome.finished
    assert outcome.seconds >= 0


@in_children
def test_lost_items_have_clocks_too(way: Way) -> None:
    """So has that of an item whose worker died."""
    (outcome,) = way.run(way.fn(items.die), [0])
    assert time.time() - 60 < outcome.started <= outcome.finished
    assert (outcome.ok, outcome.attempts) == (False, 1)


def test_outcomes_are_immutable(way: Way) -> None:
    """An outcome cannot be changed."""
    (outcome,) = way.run(way.fn(items.double), [1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        outcome.value = 3


@pytest.mark.parametrize(
    ("item", "key"), [("name", "name"), (7, 7), (Path("a/b"), Path("a/b")), (("a", 1), ("a", 1)), (1.5, 0), ([1], 0)]
)
def test_default_keys(way: Way, item: Any, key: Any) -> None:
    """A str, int, path or tuple of these is its own key; everything else has its index."""
    (outcome,) = way.run(way.fn(items.same), [item])
    assert outcome.key == key


def test_key_function(way: Way) -> None:
    """`key=` is a function of the item, called in the calling process; errors carry the key."""
    made_in = set()

    def key(x: int) -> str:
        made_in.add(os.getpid())
        return f"item-{x}"

    outcomes = list(way.run(way.fn(functools.partial(items.fail_at, 2)), range(4), key=key, ordered=True))
    assert [o.key for o in outcomes] == ["item-0", "item-1", "item-2", "item-3"]
    assert outcomes[2].error.key == "item-2"
    assert made_in == {os.getpid()}


def test_progress_lines(way: Way, capfd: pytest.CaptureFixture[str]) -> None:
    """`progress=True` writes plain lines to stderr where that is no terminal, and nothing to stdout."""
    outcomes = list(way.run(way.fn(functools.partial(items.fail_at, 3)), range(12), progress=True))
    assert len(outcomes) == 12
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(r"\b12(/| of )12\b", err)
    assert "1 failed" in err
    assert "\x1b" not in err


def test_progress_without_a_length(way: Way, capfd: pytest.CaptureFixture[str]) -> None:
    """Where nobody knows how many there are, the lines say how many are done; `total=` tells them."""
    assert len(list(way.map(way.fn(items.double), (x for x in range(12)), progress=True))) == 12
    _, err = capfd.readouterr()
    assert re.search(r"\b12\b(?!/| of )", err)
    assert len(list(way.map(way.fn(items.double), (x for x in range(12)), progress=True, total=15))) == 12
    _, err = capfd.readouterr()
    assert re.search(r"\b12(/| of )15\b", err)


def test_no_progress_by_default(way: Way, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is written unless asked for."""
    assert list(way.map(way.fn(items.double), range(12))) == list(range(0, 24, 2))
    assert capfd.readouterr() == ("", "")


def test_results_and_run_are_what_is_returned(way: Way) -> None:
    """`map` returns Results, `run` returns Run, and their elements are what they say."""
    results, outcomes = way.map(way.fn(items.double), [1]), way.run(way.fn(items.double), [1])
    assert isinstance(results, poolwise.Results)
    assert isinstance(outcomes, poolwise.Run)
    assert next(results) == 2
    assert isinstance(next(outcomes), poolwise.Outcome)
