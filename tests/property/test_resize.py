"""`Backend.resize` between any two shapes, at any time, loses and repeats nothing. Driven without an engine."""

from __future__ import annotations

import collections
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolwise import Shape
from poolwise._core.model import Batch, Done, Spec
from poolwise.backends import load
from zoo import items
from zoo.marks import lines

SECONDS = 30.0

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

shapes = st.builds(Shape, st.integers(1, 3), st.integers(1, 3))
actions = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 7)),
        st.tuples(st.just("resize"), shapes),
        st.tuples(st.just("warm"), st.none() | shapes),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.02])),
    ),
    min_size=1,
    max_size=12,
)


class Books:
    """Submits batches, and accounts for each index that comes back."""

    def __init__(self, spec: Spec, shape: Shape) -> None:
        self.backend = load("local")()
        self.backend.open(spec, shape)
        self.batches: dict[int, Batch] = {}
        self.values: dict[int, list[Any]] = collections.defaultdict(list)
        self.open: set[int] = set()
        self.next_index = self.next_batch = 0

    def submit(self, count: int) -> None:
        """Submit new items."""
        indexes = list(range(self.next_index, self.next_index + count))
        self.next_index += count
        self.open |= set(indexes)
        self._send(indexes)

    def _send(self, indexes: list[int]) -> None:
        batch = Batch(self.next_batch, indexes, list(indexes))
        self.next_batch += 1
        self.batches[batch.id] = batch
        self.backend.submit(batch)

    def resize(self, shape: Shape) -> None:
        """Resize."""
        self.backend.resize(shape)

    def warm(self, shape: Shape | None) -> None:
        """Get ready for a shape, or let go of what was made ready, or left behind."""
        self.backend.warm(shape)

    def wait(self, seconds: float) -> None:
        """Enter events."""
        for event in self.backend.wait(seconds):
            assert isinstance(event, Done), event
            assert not event.failures
            indexes = self.batches[event.batch_id].indexes
            for position, value in enumerate(event.values, event.first):
                self.values[indexes[position]].append(value)
                self.open.remove(indexes[position])
            if event.returned:
                self._send([indexes[position] for position in event.returned])

    def settle(self) -> None:
        """Wait until every index came back."""
        end = time.monotonic() + SECONDS
        while self.open:
            assert time.monotonic() < end, f"never came back: {sorted(self.open)}"
            self.wait(0.1)


def _play(fn: Callable[..., Any], shape: Shape, script: list[tuple[str, Any]], **options: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        books = Books(Spec(functools.partial(fn, folder, 0.001), **options), shape)
        try:
            for action, value in script:
                getattr(books, action)(value)
            books.settle()
            books.wait(0.0)
        finally:
            books.backend.close(drain=False)
        assert books.values == {index: [index] for index in range(books.next_index)}
        ran = collections.Counter(int(line.split()[0]) for line in lines(folder / "calls"))
        assert ran == collections.Counter(range(books.next_index))


@few
@given(shapes, actions)
def test_any_shape_to_any_shape(shape: Shape, script: list[tuple[str, Any]]) -> None:
    """Caller's thread, threads and processes, in any order, with work everywhere: each item runs once and arrives."""
    _play(items.note_slowly, shape, script)


@few
@given(shapes, actions)
def test_isolated_shapes(shape: Shape, script: list[tuple[str, Any]]) -> None:
    """The same where every lane is a child process of its own."""
    _play(items.note_slowly, Shape(shape.workers * shape.lanes, 1), [
        (action, Shape(value.total, 1) if isinstance(value, Shape) else value) for action, value in script
    ], isolate=True)  # fmt: skip


@few
@given(shapes, actions)
def test_coroutine_shapes(shape: Shape, script: list[tuple[str, Any]]) -> None:
    """The same with coroutines, on loops here and in children."""
    _play(items.note_slowly_async, shape, script, coroutine=True)


SOME = ["1x1", "1x3", "2x1", "2x2"]


@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize("after", SOME)
@pytest.mark.parametrize("before", SOME)
def test_each_pair_of_shapes(before: str, after: str, coroutine: bool) -> None:
    """Each pair of kinds of place, there and back, in the middle of work."""
    fn = items.note_slowly_async if coroutine else items.note_slowly
    there, back = Shape.parse(after), Shape.parse(before)
    script: list[tuple[str, Any]] = [("submit", 5), ("submit", 1), ("wait", 0.001), ("resize", there), ("submit", 5)]
    script += [("wait", 0.001), ("resize", back), ("submit", 3)]
    _play(fn, back, script, coroutine=coroutine)
