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


def _results(fn: Any, count: int, helm_seed: int, shapes: list[Shape], *, coroutine: bool = False) -> Results[Any]:
    backend, meter = load("local")(), Meter()
    rules = Rules(Spec(fn, coroutine=coroutine, cores=2.0, fail_fast=True), Limits(), lambda: 1 << 28)
    engine = Engine(backend, rules, SystemClock(), RestlessHelm(helm_seed, shapes, backend, meter), meter)
    return Results.over(Stream(engine, iter(range(count)), ordered=True))


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
