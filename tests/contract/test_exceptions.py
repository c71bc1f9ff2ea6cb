"""Design 4, "map raises" and "Outcome.error": how failures arrive."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
import pickle
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

import poolwise
from zoo import items
from zoo.marks import lines
from zoo.ways import Way, in_children, in_this_process, plain, ways


def test_map_raises_in_its_place(way: Way) -> None:
    """Every earlier value arrives, then the function's own exception; after it there is nothing."""
    results = way.map(way.fn(functools.partial(items.fail_at, 11)), range(40))
    got: list[int] = []
    with pytest.raises(ValueError, match="item 11 is bad") as caught:
        got.extend(results)
    assert type(caught.value) is ValueError
    assert got == list(range(0, 22, 2))
    with pytest.raises(StopIteration):
        next(results)


def test_map_raises_the_first_failed_item(way: Way) -> None:
    """Where several items fail, `map` raises for the first of them in input order."""

    def fail(x: int) -> int:
        if x >= 3:
            time.sleep(0.05 if x == 3 else 0)
            raise ValueError(f"item {x}")
        return x

    with pytest.raises(ValueError, match="item 3"):
        list(way.map(way.fn(fail), range(20)))


def test_unordered_map_raises(way: Way) -> None:
    """Unordered, `map` raises too."""
    with pytest.raises(ValueError, match="item 11 is bad"):
        list(way.map(way.fn(functools.partial(items.fail_at, 11)), range(40), ordered=False))


def test_traceback_and_chain_are_shown(way: Way) -> None:
    """The traceback names the function that failed, and the exception that it was raised from."""
    with pytest.raises(ValueError) as caught:
        list(way.map(way.fn(functools.partial(items.fail_at, 1)), range(3)))
    text = "".join(traceback.format_exception(caught.value))
    assert "in fail_at" in text
    assert "the inner cause" in text


@in_children
def test_remote_traceback_is_the_cause(way: Way) -> None:
    """From a child process the `__cause__` is the remote traceback as text, the original chain inside."""
    with pytest.raises(ValueError) as caught:
        list(way.map(way.fn(functools.partial(items.fail_at, 1)), range(3)))
    cause = caught.value.__cause__
    assert isinstance(cause, poolwise.RemoteError)
    assert "in fail_at" in str(cause)
    assert "KeyError: 'the inner cause'" in str(cause)


def test_nothing_starts_after_map_raised(way: Way, tmp_path: Path) -> None:
    """Once `map` has raised, no further item starts."""

    def fail(x: int) -> int:
        items.note_slowly(tmp_path, 0.002, x)
        if x == 5:
            raise ValueError("item 5")
        return x

    results = way.map(way.fn(fail), itertools.count())
    with pytest.raises(ValueError, match="item 5"):
        list(results)
    raised = time.time()
    del results
    for _ in range(20):  # an engine that goes on would start hundreds of items in this time
        time.sleep(0.01)
    starts = [float(line.split()[1]) for line in lines(tmp_path / "calls")]
    assert len(starts) >= 6
    assert [start for start in starts if start > raised] == []


@ways(lambda way: way.inline)
def test_serial_map_stops_at_the_failure(way: Way, tmp_path: Path) -> None:
    """In the caller's thread, nothing after the failing item was started at all."""

    def fail(x: int) -> int:
        items.note(tmp_path, x)
        if x == 5:
            raise ValueError("item 5")
        return x

    with pytest.raises(ValueError, match="item 5"):
        list(way.map(fail, range(100)))
    assert lines(tmp_path / "calls") == ["0", "1", "2", "3", "4", "5"]


def test_run_never_raises_for_items(way: Way) -> None:
    """`run` gives an Outcome for each item, failed or not."""
    outcomes = {o.index: o for o in way.run(way.fn(functools.partial(items.fail_at, 4)), range(10))}
    assert sorted(outcomes) == list(range(10))
    assert [x for x in outcomes if not outcomes[x].ok] == [4]
    error = outcomes[4].error
    assert type(error) is poolwise.TaskFailed
    assert type(error.__cause__) is ValueError
    assert (error.key, error.attempts) == (4, 1)
    assert "in fail_at" in error.remote_traceback
    assert "ValueError" in str(error)
    assert "item 4 is bad" in str(error)


def test_unwrap(way: Way) -> None:
    """`unwrap` returns the value, or raises what `map` would raise."""
    good, bad = way.run(way.fn(functools.partial(items.fail_at, 1)), range(2), ordered=True)
    assert good.unwrap() == 0
    with pytest.raises(ValueError, match="item 1 is bad"):
        bad.unwrap()


def test_outcomes_pickle(way: Way) -> None:
    """Outcomes pickle, failed ones with their cause."""
    outcomes = list(way.run(way.fn(functools.partial(items.fail_at, 1)), range(3), ordered=True))
    again = pickle.loads(pickle.dumps(outcomes))
    assert again[0] == outcomes[0]
    assert type(again[1].error) is poolwise.TaskFailed
    assert type(again[1].error.__cause__) is ValueError
    assert again[1].error.remote_traceback == outcomes[1].error.remote_traceback


def test_every_item_fails(way: Way) -> None:
    """Where every item fails, every item has its outcome."""
    outcomes = list(way.run(way.fn(functools.partial(items.raise_it, OSError(2, "no such file"))), range(50)))
    assert sorted(o.index for o in outcomes) == list(range(50))
    assert {type(o.error.__cause__) for o in outcomes} == {FileNotFoundError}


SPECIAL = [
    StopIteration("x"),
    StopAsyncIteration(),
    asyncio.CancelledError(),
    concurrent.futures.CancelledError(),
    SystemExit(3),
    GeneratorExit(),
    KeyboardInterrupt(),
    items.Stop("not an Exception"),
]


def _names(error: BaseException) -> str:
    return f"{type(error).__module__.partition('.')[0]}-{type(error).__name__}"


@pytest.mark.parametrize("error", SPECIAL, ids=_names)
def test_special_exceptions_arrive_as_task_failed(way: Way, error: BaseException) -> None:
    """What would end the caller's loop, program or task arrives as TaskFailed from it; other items are not touched."""
    if way.inline and isinstance(error, KeyboardInterrupt):
        pytest.skip("in the calling thread KeyboardInterrupt ends the run: its own test")
    if way.coroutine and isinstance(error, StopIteration):
        pytest.skip("Python itself turns StopIteration out of a coroutine into RuntimeError")

    def fail(x: int) -> int:
        if x == 2:
            raise error
        return x

    outcomes = list(way.run(way.fn(fail), range(6), ordered=True))
    assert [o.index for o in outcomes] == list(range(6))
    assert [o.value for o in outcomes if o.ok] == [0, 1, 3, 4, 5]
    assert type(outcomes[2].error) is poolwise.TaskFailed
    assert type(outcomes[2].error.__cause__) is type(error)
    assert type(error).__name__ in str(outcomes[2].error)

    got: list[int] = []
    with pytest.raises(poolwise.TaskFailed) as caught:
        got.extend(way.map(way.fn(fail), range(6)))
    assert got == [0, 1]
    assert type(caught.value.__cause__) is type(error)


@ways(lambda way: way.inline)
@pytest.mark.parametrize("call", ["map", "run"])
def test_keyboard_interrupt_in_the_calling_thread_ends_the_run(way: Way, call: str) -> None:
    """KeyboardInterrupt in the calling thread always ends the run, even where an item meets it."""
    results = getattr(way, call)(functools.partial(items.raise_it, KeyboardInterrupt()), range(3))
    with pytest.raises(KeyboardInterrupt):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_system_exit_is_not_retried(way: Way, tmp_path: Path) -> None:
    """`retry=n` means Exceptions: what is not one is not tried again."""

    def leave(x: int) -> None:
        items.note(tmp_path, x)
        raise SystemExit(3)

    (outcome,) = way.run(way.fn(leave), [0], retry=2)
    assert (outcome.attempts, lines(tmp_path / "calls")) == (1, ["0"])


@in_children
@pytest.mark.parametrize("fn", [items.raise_unpicklable, items.raise_ununpicklable])
def test_exception_that_cannot_travel(way: Way, fn: Any) -> None:
    """It becomes TaskFailed with type name, message and traceback, and a RemoteError as cause."""
    outcomes = list(way.run(way.fn(functools.partial(fn, 2)), range(8), ordered=True))
    assert [o.value for o in outcomes] == [0, 2, None, 6, 8, 10, 12, 14]
    error = outcomes[2].error
    name, message = ("Unpicklable", "holds a lock") if fn is items.raise_unpicklable else ("Ununpicklable", "left")
    assert type(error) is poolwise.TaskFailed
    assert name in str(error)
    assert message in str(error)
    assert f"in {fn.__name__}" in error.remote_traceback
    assert isinstance(error.__cause__, poolwise.RemoteError)
    with pytest.raises(poolwise.TaskFailed, match=name):
        list(way.map(way.fn(functools.partial(fn, 2)), range(8)))


@in_children
def test_retry_knows_the_class_of_an_exception_that_cannot_travel(way: Way) -> None:
    """`Retry.on` is asked by class name where the exception itself cannot travel."""
    fn = way.fn(functools.partial(items.raise_unpicklable, 0))
    (yes,) = way.run(fn, [0], retry=poolwise.Retry(3, on=items.Unpicklable, backoff=0))
    (no,) = way.run(fn, [0], retry=poolwise.Retry(3, on=KeyError, backoff=0))
    assert (yes.attempts, no.attempts) == (3, 1)


@in_this_process
def test_in_this_process_exceptions_need_not_travel(way: Way) -> None:
    """In the calling process `map` raises the very exception."""
    with pytest.raises(items.Unpicklable, match="holds a lock"):
        list(way.map(way.fn(functools.partial(items.raise_unpicklable, 2)), range(8)))


@in_children
def test_result_that_cannot_travel(way: Way) -> None:
    """A result that cannot be pickled fails its item alone, and names the type; it is not retried."""

    def give_lock(x: int) -> Any:
        import threading

        return threading.Lock() if x == 2 else x

    outcomes = list(way.run(way.fn(give_lock), range(6), ordered=True, retry=2))
    assert [o.value for o in outcomes] == [0, 1, None, 3, 4, 5]
    assert type(outcomes[2].error) is poolwise.TaskFailed
    assert "lock" in str(outcomes[2].error)
    assert outcomes[2].attempts == 1


@plain
def test_recursion_error(way: Way) -> None:
    """Recursion without end is an exception like any other."""

    def recurse(x: int) -> int:
        return recurse(x)

    with pytest.raises(RecursionError):
        list(way.map(recurse, [1]))


def test_exception_groups_travel(way: Way) -> None:
    """An ExceptionGroup keeps its members."""
    group = ExceptionGroup("both", [ValueError("one"), KeyError("two")])
    with pytest.raises(ExceptionGroup) as caught:
        list(way.map(way.fn(functools.partial(items.raise_it, group)), [1]))
    assert [type(e) for e in caught.value.exceptions] == [ValueError, KeyError]
