"""The ways to run that the contract holds on: each shape, with plain and with coroutine functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

import poolwise
from zoo.steps import Bound, Returning, Steps, guarded


@dataclass(frozen=True)
class Way:
    """One shape, and whether the function is a coroutine function there."""

    name: str
    shape: str
    isolate: bool = False
    coroutine: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def workers(self) -> int:
        """How many processes hold lanes."""
        return poolwise.Shape.parse(self.shape).workers

    @property
    def total(self) -> int:
        """All lanes."""
        return poolwise.Shape.parse(self.shape).total

    @property
    def children(self) -> bool:
        """Whether items run in child processes."""
        return self.isolate or self.workers > 1

    @property
    def inline(self) -> bool:
        """Whether items run in the thread that consumes the results."""
        return not self.children and not self.coroutine and self.total == 1

    def fn(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, or a coroutine function of it."""
        if not self.coroutine:
            return function

        async def awaited(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            return function(*arguments)

        return awaited

    def steps(self, function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
        """Return a function of a generator function that yields where it pauses; `first` are leading arguments."""
        if not self.coroutine:
            return Steps(function if not first else Bound(function, first))

        async def awaited(*arguments: Any) -> Any:
            for _ in guarded(run := Returning(function(*first, *arguments))):
                await asyncio.sleep(0.002)
            return run.value

        return awaited

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> poolwise.Results[Any]:
        """`poolwise.map` this way."""
        return poolwise.map(function, *iterables, **self._options(options))

    def run(self, function: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> poolwise.Run[Any]:
        """`poolwise.run` this way."""
        return poolwise.run(function, *iterables, **self._options(options))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"shape": self.shape, "isolate": self.isolate, **options}


WAYS = [
    Way("serial", "serial"),
    Way("1x2", "1x2"),
    Way("1x4", "1x4"),
    Way("2x1", "2x1"),
    Way("2x2", "2x2"),
    Way("isolate", "1x1", isolate=True),
    Way("async-1x1", "1x1", coroutine=True),
    Way("async-1x4", "1x4", coroutine=True),
    Way("async-2x2", "2x2", coroutine=True),
]


def ways(wanted: Callable[[Way], bool]) -> pytest.MarkDecorator:
    """Narrow a test to some of the ways."""
    return pytest.mark.parametrize("way", [way for way in WAYS if wanted(way)], ids=str)


in_children = ways(lambda way: way.children)
plain_in_children = ways(lambda way: way.children and not way.coroutine)
in_this_process = ways(lambda way: not way.children)
with_several_lanes = ways(lambda way: way.total > 1)
not_inline = ways(lambda way: not way.inline)
plain = ways(lambda way: not way.coroutine)
