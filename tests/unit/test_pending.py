"""Tasks that wait to be packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poolwise._core.model import Span
from poolwise._policy.pending import Pending


def spans_of(sizes: list[int]) -> list[Span]:
    """Spans of those sizes, one after the other, each item its own place in the input."""
    spans, place = [], 0
    for size in sizes:
        spans.append(Span(range(place, place + size), list(range(place, place + size))))
        place += size
    return spans


def test_what_came_bit_by_bit_is_taken_as_one() -> None:
    """An input that is pulled item by item still makes whole batches."""
    pending = Pending()
    for span in spans_of([1, 1, 3, 1]):
        pending.add(span)
    taken = pending.take(4)
    assert (list(taken.indexes), taken.items) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert pending.count == 2
    assert pending.take(4).items == [4, 5]
    assert pending.count == 0


def test_what_does_not_belong_together_stays_apart() -> None:
    """Another attempt, a suspect, and a gap in the input each begin a batch of their own."""
    pending = Pending()
    for span in (
        Span([7], ["retried"], attempt=2),
        Span([8], ["first"]),
        Span([9], ["suspect"], alone=True),
        Span([10], ["after"]),
        Span([12], ["gap"]),
    ):
        pending.add(span)
    taken = [pending.take(16) for _ in range(5)]
    assert [span.items for span in taken] == [["retried"], ["first"], ["suspect"], ["after"], ["gap"]]
    assert [span.attempt for span in taken] == [2, 1, 1, 1, 1]
    assert [span.alone for span in taken] == [False, False, True, False, False]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_every_task_is_taken_once_in_order(sizes: list[int], wanted: list[int]) -> None:
    """However it came and however it is taken, nothing is lost, doubled or moved."""
    pending = Pending()
    for span in spans_of(sizes):
        pending.add(span)
    taken: list[int] = []
    for size in wanted * sum(sizes):
        if not pending.count:
            break
        span = pending.take(size)
        assert 1 <= len(span.items) <= size
        assert len(span.items) == size or not pending.count
        assert list(span.indexes) == span.items
        taken += span.items
    assert taken == list(range(sum(sizes)))
