"""Tasks that wait to be packed: new ones, those to be run again, and retries whose time has not come."""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count

from poolwise._core.model import Span


class Pending:
    """A queue of spans and a heap of retries.

    Attributes:
        count: tasks in the queue; retries that are not due do not count.
    """

    __slots__ = ("_last_wanted", "_order", "_retries", "_spans", "count")

    def __init__(self) -> None:
        self.count = 0
        self._spans: deque[Span] = deque()
        self._retries: list[tuple[float, int, Span]] = []
        self._order = count()
        self._last_wanted: int | None = None

    def add(self, span: Span, *, front: bool = False) -> None:
        """Queue tasks; in front what has waited before."""
        if self._last_wanted is not None and span.indexes[0] > self._last_wanted:
            return
        self.count += len(span.items)
        (self._spans.appendleft if front else self._spans.append)(span)

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
        heapq.heappush(self._retries, (due, next(self._order), span))

    def admit_retries(self, now: float) -> None:
        """Queue the retries that are due at `now` seconds."""
        while self._retries and self._retries[0][0] <= now:
            self.add(heapq.heappop(self._retries)[2], front=True)

    @property
    def next_retry(self) -> float:
        """When the next retry is due, in seconds; infinite where there is none."""
        return self._retries[0][0] if self._retries else math.inf

    def drop_after(self, index: int) -> None:
        """Forget the tasks after this index, and those that are added later: nobody will want them."""
        self._last_wanted = index if self._last_wanted is None else min(index, self._last_wanted)
        spans, self._spans, self.count = self._spans, deque(), 0
        for span in spans:
            if isinstance(span.indexes, range) and span.indexes[0] <= index < span.indexes[-1]:
                span = span.take(index - span.indexes[0] + 1)
            self.add(span)
