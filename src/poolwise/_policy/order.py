"""Another order for the input, in which nothing is lost, doubled or renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from poolwise._core.errors import UsageError

Placed = tuple[int, Any]


def reordered(order: Callable[[Iterator[Placed]], Iterable[Placed]], source: Iterable[Any]) -> Iterator[Placed]:
    """Yield (place in the input, item) as `order` says; at the end what it held back, in input order.

    Where the input raises, everything that it gave before is yielded first.

    Args:
        order: see `Job.order`.
        source: the input.

    Raises:
        UsageError: `order` gave a pair twice, or one that it never got.
    """
    held: dict[int, Any] = {}
    errors: list[Exception] = []

    def placed() -> Iterator[Placed]:
        try:
            for place, item in enumerate(source):
                held[place] = item
                yield place, item
        except Exception as error:
            errors.append(error)

    for place, _ in order(placed()):
        if place not in held:
            raise UsageError(f"the job's order gave place {place} twice, or before it was there")
        yield place, held.pop(place)
    yield from sorted(held.items())
    if errors:
        raise errors[0]


def runs(pairs: Sequence[Placed]) -> Iterator[tuple[int, list[Any]]]:
    """Yield (first place, items) for each stretch of pairs whose places follow upon each other."""
    begin = 0
    for end in range(1, len(pairs) + 1):
        if end == len(pairs) or pairs[end][0] != pairs[end - 1][0] + 1:
            yield pairs[begin][0], [item for _, item in pairs[begin:end]]
            begin = end
