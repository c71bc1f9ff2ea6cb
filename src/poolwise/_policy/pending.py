"""Tasks that wait to be packed: new ones, those to be run again, and retries whose time has not come."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from poolwise._core.model import Span


@dataclass(frozen=True, slots=True)
class Refusal:
    """Its group did not serve a task.

    Attributes:
        throttled: the group said that it is asked too often.
        parked_until: clock reading before which nothing of the group starts, in seconds; or None.
    """

    throttled: bool = False
    parked_until: float | None = None


Fault = tuple[int, Any, Exception]
"""Place and item of a task that cannot be queued, and why."""


class Pending:
    """A queue of spans and a heap of retries: what waits where there are no groups. `Groups` is the other one.

    Attributes:
        count: tasks in the queue; retries that are not due do not count.
        singly: tasks start one by one.
        surplus: tasks in the queue that must not keep others from being looked for.
    """

    __slots__ = ("_last_wanted", "_order", "_retries", "_spans", "count")

    singly = False
    surplus = 0

    def __init__(self) -> None:
        self.count = 0
        self._spans: deque[Span] = deque()
        self._retries: list[tuple[float, int, Span]] = []
        self._order = count()
        self._last_wanted: int | None = None

    @property
    def ready(self) -> int:
        """How many tasks may start now, as far as it goes by them; one of `singly` stands for all."""
        return self.count

    @property
    def empty(self) -> bool:
        """Whether there is neither a task nor a retry."""
        return not self.count and not self._retries

    def add(self, span: Span, *, front: bool = False) -> Sequence[Fault]:
        """Queue tasks, in front what has waited before; returns those that cannot be."""
        if self._wants(span):
            self.count += len(span.items)
            (self._spans.appendleft if front else self._spans.append)(span)
        return ()

    def take(self, size: int) -> Span:
        """Take up to `size` tasks that belong together; a suspect comes alone."""
        spans = self._spans
        if spans[0].alone or len(spans[0].items) == size:
            span = spans.popleft()
        elif len(spans[0].items) > size:
            span = spans[0].take(size)
        else:
            span = self._gathered(size)
        self.count -= len(span.items)
        return span

    def _gathered(self, size: int) -> Span:
        """Take short spans that follow upon each other as one: the input comes as it is wanted, bit by bit."""
        spans = self._spans
        first = spans.popleft()
        items, follows = list(first.items), first.indexes[-1] + 1
        while spans and len(items) < size and spans[0].follows(first, follows):
            missing = size - len(items)
            part = spans.popleft() if len(spans[0].items) <= missing else spans[0].take(missing)
            items += part.items
            follows += len(part.items)
        if len(items) == len(first.items):
            return first
        return Span(range(first.indexes[0], follows), items, first.attempt)

    def add_retry(self, due: float, span: Span) -> None:
        """Keep tasks until the clock reads `due` seconds."""
        if self._wants(span):
            heapq.heappush(self._retries, (due, next(self._order), span))
        else:
            self.forget(span.indexes)

    def _wants(self, span: Span) -> bool:
        return self._last_wanted is None or span.indexes[0] <= self._last_wanted

    def advance(self, now: float) -> None:
        """Queue the retries that are due at `now` seconds."""
        while self._retries and self._retries[0][0] <= now:
            self.add(heapq.heappop(self._retries)[2], front=True)

    @property
    def next_at(self) -> float:
        """When `advance` will have something to do, in seconds; infinite where it will not."""
        return self._retries[0][0] if self._retries else math.inf

    def drop_after(self, index: int) -> None:
        """Forget the tasks after this index, and those that are added later: nobody will want them."""
        self._want_none_after(index)
        spans, self._spans, self.count = self._spans, deque(), 0
        for span in spans:
            if isinstance(span.indexes, range) and span.indexes[0] <= index < span.indexes[-1]:
                span = span.take(index - span.indexes[0] + 1)
            self.add(span)

    def _want_none_after(self, index: int) -> None:
        self._last_wanted = index if self._last_wanted is None else min(index, self._last_wanted)
        retries, self._retries = self._retries, []
        for due, _, span in retries:
            self.add_retry(due, span)

    # -- what became of tasks that were taken; one queue without limits need not know

    def release(self, indexes: Sequence[int], *, started: bool) -> None:
        """Tasks that were taken are with no lane any more, and come back."""

    def end(self, index: int, now: float, started: float, seconds: float, refusal: Refusal | None) -> None:
        """An execution has ended."""

    def forget(self, indexes: Sequence[int]) -> None:
        """These tasks are settled."""
