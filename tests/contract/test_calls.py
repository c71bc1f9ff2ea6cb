"""Design 4, "Calls": what is called with what, what may be called, and when work starts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from zoo import items
from zoo.marks import lines, wait_until
from zoo.ways import Way, not_inline, plain


def test_fn_gets_one_item(way: Way) -> None:
    """`fn(item)` for each item of one iterable, in order."""
    assert list(way.map(way.fn(items.double), range(25))) == [2 * x for x in range(25)]


def test_fn_gets_zipped_items(way: Way) -> None:
    """`fn(*items)` over zipped iterables."""
    assert list(way.map(way.fn(items.add), range(10), range(100, 110))) == list(range(100, 120, 2))


def test_tuple_is_one_argument(way: Way) -> None:
    """A tuple from one iterable is one argument."""
    assert list(way.map(way.fn(items.same), [(1, 2), (), ((3,),)])) == [(1, 2), (), ((3,),)]


def test_unequal_lengths_stop_at_the_shortest(way: Way) -> None:
    """Several iterables end with the shortest, as in the builtin map."""
    assert list(way.map(way.fn(items.add), [1, 2, 3], iter([10, 20]))) == [11, 22]


def test_no_items(way: Way) -> None:
    """No items, no results, no error."""
    assert list(way.map(way.fn(items.double), [])) == []
    assert list(way.run(way.fn(items.double), iter(()))) == []


def test_one_item(way: Way) -> None:
    """One item is enough."""
    assert list(way.map(way.fn(items.double), [21])) == [42]


def test_none_is_a_value(way: Way) -> None:
    """None as item and as result is like any other value."""
    assert list(way.map(way.fn(items.same), [None, 0, None])) == [None, 0, None]


def test_many_tiny_items(way: Way) -> None:
    """Thousands of tiny items come back in order, each once."""
    assert list(way.map(way.fn(items.double), range(5000))) == list(range(0, 10000, 2))


@pytest.mark.parametrize("call", [poolwise.map, poolwise.run])
def test_no_iterable_is_a_usage_error(call: Any) -> None:
    """Without an iterable there is nothing to do, and that is said."""
    with pytest.raises(poolwise.UsageError):
        call(items.double)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"shape": "five"}, poolwise.ShapeError),
        ({"shape": "0x1"}, poolwise.ShapeError),
        ({"shape": 4}, poolwise.UsageError),
        ({"retry": -1}, poolwise.UsageError),
        ({"timeout": 0}, poolwise.UsageError),
        ({"timeout": -1.0}, poolwise.UsageError),
        ({"on_lost": "shrug"}, poolwise.UsageError),
        ({"hint": "fast"}, poolwise.UsageError),
        ({"backend": "carrier-pigeon"}, poolwise.UnknownNameError),
        ({"shape": "1x1", "timeout": 1.0}, poolwise.ShapeError),
        ({"shape": "serial", "timeout": 1.0}, poolwise.ShapeError),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors(options: dict[str, Any], error: type[Exception]) -> None:
    """An option that cannot be meant is refused before anything runs or is taken."""
    taken: list[int] = []
    with pytest.raises(error):
        list(poolwise.map(items.double, (taken.append(x) for x in range(3)), **options))
    assert taken == []


def test_fn_must_be_callable() -> None:
    """Something that cannot be called is refused before work starts."""
    with pytest.raises((poolwise.UsageError, TypeError)):
        list(poolwise.map(42, [1]))  # type: ignore[arg-type]


def test_iterable_must_be_iterable() -> None:
    """Something that cannot be iterated is refused."""
    with pytest.raises((poolwise.UsageError, TypeError)):
        list(poolwise.map(items.double, 42))  # type: ignore[arg-type]


@plain
def test_lambda(way: Way) -> None:
    """A lambda is a function."""
    assert list(way.map(lambda x: x + 1, range(5))) == [1, 2, 3, 4, 5]


@plain
def test_closure(way: Way) -> None:
    """A closure takes what it captured with it."""
    offset, inner = 10, lambda x: x * x

    def shifted(x: int) -> int:
        return inner(x) + offset

    assert list(way.map(shifted, range(4))) == [10, 11, 14, 19]


@plain
def test_bound_method(way: Way) -> None:
    """A bound method takes its object with it."""
    assert list(way.map(items.Adder(5).method, range(3))) == [5, 6, 7]


@plain
def test_bound_method_of_a_local_class(way: Way) -> None:
    """So does one of a class made inside a function."""

    class Local:
        n = 7

        def method(self, x: int) -> int:
            return self.n + x

    assert list(way.map(Local().method, range(3))) == [7, 8, 9]


@plain
def test_partial(way: Way) -> None:
    """A partial keeps its arguments, positional and by name."""
    assert list(way.map(functools.partial(items.add, 5), range(3))) == [5, 6, 7]
    assert list(way.map(functools.partial(items.add, b=5), range(3))) == [5, 6, 7]


@plain
def test_callable_object(way: Way) -> None:
    """An object with `__call__` is a function."""
    assert list(way.map(items.Adder(5), range(3))) == [5, 6, 7]


@plain
def test_builtin_and_class(way: Way) -> None:
    """Builtins and classes are functions too."""
    assert list(way.map(len, ["a", "bb", ""])) == [1, 2, 0]
    assert list(way.map(int, ["1", "22"])) == [1, 22]


@plain
@pytest.mark.parametrize(
    "make",
    [
        lambda: functools.partial(items.add_async, 5),
        lambda: functools.partial(functools.partial(items.add_async), b=5),
        lambda: items.AsyncAdder(5),
        lambda: items.AsyncAdder(5).__call__,
    ],
    ids=["partial", "partial-of-partial", "object", "bound"],
)
def test_coroutine_functions(way: Way, make: Any) -> None:
    """A coroutine function is known as one through a partial and through `__call__`."""
    assert list(way.map(make(), range(4))) == [5, 6, 7, 8]


def test_inside_a_running_loop(way: Way) -> None:
    """In a thread that already runs an event loop, as a notebook's does, everything works as elsewhere."""

    async def cell() -> list[int]:
        return list(way.map(way.fn(items.double), range(5)))

    assert asyncio.run(cell()) == [0, 2, 4, 6, 8]


@plain
@pytest.mark.parametrize(
    ("fn", "says"), [(items.generate, "(?i)generator"), (items.give_coroutine, "(?i)await|coroutine")]
)
def test_plain_function_that_gives_no_value(way: Way, fn: Any, says: str) -> None:
    """A plain function that returns an awaitable or a generator is TaskFailed, saying so."""
    outcomes = list(way.run(fn, range(3)))
    assert [type(o.error) for o in outcomes] == [poolwise.TaskFailed] * 3
    for outcome in outcomes:
        assert outcome.value is None
        with pytest.raises(poolwise.TaskFailed, match=says):
            raise outcome.error
    with pytest.raises(poolwise.TaskFailed, match=says):
        list(way.map(fn, range(3)))


@plain
def test_async_generator_function(way: Way) -> None:
    """An asynchronous generator function gives generators, not values: TaskFailed too."""
    with pytest.raises(poolwise.TaskFailed, match=r"(?i)generator"):
        list(way.map(items.generate_async, range(3)))


def _recorded(taken: list[int]) -> Iterator[int]:
    for x in range(10):
        taken.append(x)
        yield x


def test_nothing_starts_before_the_first_next(way: Way, tmp_path: Path) -> None:
    """Making a map takes no item and runs nothing; `next` does."""
    taken: list[int] = []
    results = way.map(way.fn(functools.partial(items.note, tmp_path)), _recorded(taken))
    assert (taken, lines(tmp_path / "calls")) == ([], [])
    assert next(results) == 0
    assert taken
    assert list(results) == list(range(1, 10))
    assert sorted(map(int, lines(tmp_path / "calls"))) == list(range(10))


def test_a_map_never_iterated_is_nothing(way: Way) -> None:
    """A map that is only made runs nothing and leaves nothing."""
    taken: list[int] = []
    results = way.map(way.fn(items.double), _recorded(taken))
    del results
    assert taken == []


@not_inline
def test_work_starts_at_with(way: Way, tmp_path: Path) -> None:
    """Entering `with` starts work, before any `next`."""
    with way.map(way.fn(functools.partial(items.note, tmp_path)), range(10)) as results:
        wait_until(lambda: lines(tmp_path / "calls") != [], "an item runs")
        assert list(results) == list(range(10))


def test_with_then_for(way: Way) -> None:
    """`with` and a loop give every result."""
    with way.run(way.fn(items.double), range(10)) as outcomes:
        assert sorted(o.unwrap() for o in outcomes) == list(range(0, 20, 2))


def test_results_are_an_iterator(way: Way) -> None:
    """`iter` of the results is the results, and after the last there is only StopIteration."""
    results = way.map(way.fn(items.double), [1])
    assert iter(results) is results
    assert next(results) == 2
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def test_two_maps_at_once(way: Way) -> None:
    """Two maps drawn from in turn do not mix."""
    first, second = way.map(way.fn(items.double), range(20)), way.map(way.fn(items.same), range(20))
    assert list(zip(first, second, strict=True)) == [(2 * x, x) for x in range(20)]
