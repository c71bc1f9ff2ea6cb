"""Items that wait: generator functions whose every `yield` is a short pause, for threads and for coroutines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

GUARD_SECONDS = 20.0
"""After this long a waiting item gives up, so that a broken engine fails a test instead of hanging it."""


@dataclass(frozen=True)
class Steps:
    """A plain function made of a generator function: each `yield` is a short pause, its `return` the result."""

    steps: Callable[..., Iterator[None]]

    def __call__(self, *arguments: Any) -> Any:
        for _ in guarded(run := Returning(self.steps(*arguments))):
            time.sleep(0.002)
        return run.value


class Returning:
    """An iterator over a generator that keeps what the generator returns."""

    def __init__(self, steps: Iterator[None]) -> None:
        self.steps = steps
        self.value: Any = None

    def __iter__(self) -> Iterator[None]:
        self.value = yield from self.steps  # type: ignore[misc]


def guarded(steps: Iterable[None]) -> Iterator[None]:
    """Pass the pauses on, but not for ever."""
    end = time.monotonic() + GUARD_SECONDS
    for step in steps:
        yield step
        if time.monotonic() > end:
            raise TimeoutError("an item waited for something that did not come")


@dataclass(frozen=True)
class Bound:
    """A generator function with its first arguments; picklable where the function is."""

    function: Callable[..., Any]
    first: tuple[Any, ...]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*self.first, *arguments)
