"""A run whose shape changes at every step, caller's thread to processes and back, loses and repeats nothing."""

from __future__ import annotations

import collections
import functools
import random
import time
from pathlib import Path
from typing import Any

import pytest

from poolwise import Limits, Plan, Shape
from poolwise._core.clock import SystemClock
from poolwise._core.model import Batch, Done, Rules, Spec
from poolwise._drivers import Results, Stream
from poolwise._engine import Engine
from poolwise._helm import FixedHelm
from poolwise._policy.meter import Meter
from poolwise.backends import load
from zoo import items
from zoo.marks import lines


class RestlessHelm(FixedHelm):
    """Chooses another shape at every so many steps."""

    patience = 0.002

    def __init__(self, seed: int, shapes: list[Shape], backend: Any, meter: Meter) -> None:
        super().__init__(Plan("unknown", shapes[0], ()), backend, meter, None)
        self.random = random.Random(seed)
        self.shapes = shapes
        self.backend = backend

    def observe(self, done: Done, items: Any, failed: int) -> None:
        pass

    def steer(self, shape: Shape, remaining: int | None, *, starved: bool) -> Shape:
        if self.random.random() < 0.7:
            return shape
        wanted = self.random.choice(self.shapes)
        if wanted != shape:
            self.backend.resize(wanted)
        elif self.random.random() < 0.3:
            self.backend.warm(None)
        return wanted


class MovingHelm(FixedHelm):
    """Moves on to another shape once so many items have ended."""

    patience = 0.002

    def __init__(self, shapes: tuple[Shape, Shape], after: int, backend: Any, meter: Meter) -> None:
        super().__init__(Plan("unknown", shapes[0], ()), backend, meter, None)
        self.shapes = shapes
        self.after = after
        self.backend = backend
        self.ended = 0

    def observe(self, done: Done, items: Any, failed: int) -> None:
        self.ended += len(items)

    def steer(self, shape: Shape, remaining: int | None, *, starved: bool) -> Shape:
        if shape == self.shapes[0] and self.ended >= self.after:
            self.backend.resize(self.shapes[1])
            return self.shapes[1]
        return shape


def _over(fn: Any, count: int, make_helm: Any, *, coroutine: bool = False) -> Results[Any]:
    backend, meter = load("local")(), Meter()
    rules = Rules(Spec(fn, coroutine=coroutine, cores=2.0, fail_fast=True), Limits(), lambda: 1 << 28)
    engine = Engine(backend, rules, SystemClock(), make_helm(backend, meter), meter)
    return Results.over(Stream(engine, iter(range(count)), ordered=True))


def _results(fn: Any, count: int, helm_seed: int, shapes: list[Shape], *, coroutine: bool = False) -> Results[Any]:
    return _over(fn, count, functools.partial(RestlessHelm, helm_seed, shapes), coroutine=coroutine)


INSIDE = [Shape(1, 1), Shape(1, 2), Shape(1, 4)]
ALL = [*INSIDE, Shape(2, 1), Shape(2, 2)]


@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize("shapes", [INSIDE, ALL], ids=["inside", "all"])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost(seed: int, shapes: list[Shape], coroutine: bool, tmp_path: Path) -> None:
    """Every value arrives in order, and every item ran once."""
    note = items.note_slowly_async if coroutine else items.note_slowly
    count = 1500 if shapes is INSIDE else 600
    results = _results(functools.partial(note, tmp_path, 0.0005), count, seed, shapes, coroutine=coroutine)
    assert list(results) == list(range(count))
    ran = collections.Counter(int(line.split()[0]) for line in lines(tmp_path / "calls"))
    assert ran == collections.Counter(range(count))


def _held_up(folder: Path, opened_by: int, number: int) -> bool:
    """The first two items end when a later one has run."""
    gate, until = folder / "gate", time.monotonic() + 20
    if number == opened_by:
        gate.touch()
    while number < 2 and not gate.exists() and time.monotonic() < until:
        time.sleep(0.001)
    return number >= 2 or gate.exists()


@pytest.mark.parametrize("after", ["1x1", "2x1", "1x3"])
@pytest.mark.parametrize("before", ["1x3", "2x3"])
def test_lanes_left_behind_hold_nobody_up(before: str, after: str, tmp_path: Path) -> None:
    """Items that wait long in lanes that were left do not keep the lanes that followed from starting others."""
    shapes = Shape.parse(before), Shape.parse(after)
    results = _over(functools.partial(_held_up, tmp_path, 60), 80, functools.partial(MovingHelm, shapes, 10))
    assert all(results)


def test_there_and_back_with_work_everywhere(tmp_path: Path) -> None:
    """Workers that gave back what they had, because it was asked for, take work again when they are needed again."""
    backend = load("local")()
    backend.open(Spec(functools.partial(items.note_slowly, tmp_path, 0.002), cores=2.0), Shape(2, 1))
    settled: list[int] = []
    books = {number: Batch(number, range(number * 10, number * 10 + 10), list(range(10))) for number in range(40)}

    def wait() -> None:
        for event in backend.wait(0.02):
            assert isinstance(event, Done)
            settled.extend(books[event.batch_id].indexes[event.first : event.first + len(event.values)])
            if event.returned:
                fresh = Batch(
                    len(books), [books[event.batch_id].indexes[n] for n in event.returned], list(event.returned)
                )
                books[fresh.id] = fresh
                backend.submit(fresh)

    for batch in tuple(books.values()):
        backend.submit(batch)
    for shape in (Shape(1, 1), Shape(2, 1)) * 6:
        wait()
        backend.resize(shape)
    deadline = time.monotonic() + 30
    while len(settled) < 400 and time.monotonic() < deadline:
        wait()
    backend.close(drain=True)
    assert sorted(settled) == list(range(400))
