"""Properties of the pure decisions: batch sizes, windows, rates and back-off, for any numbers."""

from __future__ import annotations

import math
import random

from hypothesis import assume, given
from hypothesis import strategies as st

from poolwise import Retry
from poolwise._policy import pack
from poolwise._policy.pack import batch_seconds
from poolwise._policy.rate import TokenBucket
from poolwise._policy.retry import delay_seconds
from poolwise._policy.settle import decide, settlers
from poolwise._policy.window import window

lanes = st.integers(1, 300)
seconds = st.floats(1e-9, 1e4)
sizes = st.floats(1, 1e10)
counts = st.integers(1, 10**7)
held = st.just(-math.inf) | st.floats(-1e4, 1e6)


def maybe(strategy: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    """Values, or None."""
    return st.none() | strategy


pack_limits = st.builds(
    pack.PackLimits,
    lanes=lanes,
    inline=st.booleans(),
    held_seconds=held,
    in_flight=maybe(counts),
    items_per_worker=maybe(counts),
)


def _grown(growth: float) -> pack.Packer:
    packer = pack.Packer()
    packer.growth = growth
    return packer


@given(pack_limits, maybe(seconds), maybe(sizes), maybe(st.integers(1, 10**9)), st.floats(1, 1e6))
def test_batches_keep_every_bound(
    limits: pack.PackLimits, mean: float | None, mean_bytes: float | None, remaining: int | None, growth: float
) -> None:
    """A batch has at least one item, and more only where time, bytes, what remains and the limits all allow it."""
    size = _grown(growth).size(limits, mean, mean_bytes, remaining)
    assert isinstance(size, int)
    assert 1 <= size <= pack.MOST_ITEMS
    if size == 1:
        return
    if mean is None:
        assert limits.inline
        assert size <= pack.FEW_ITEMS
    else:
        assert size * mean <= limits.batch_seconds * (1 + 1e-9)
        assert size <= growth or size * mean <= pack.SAFE_SECONDS * (1 + 1e-9)
    if remaining is not None and not limits.inline:
        assert size <= math.ceil(remaining / (2 * limits.lanes))
    if limits.in_flight is not None:
        assert size * limits.lanes <= limits.in_flight
    if limits.items_per_worker is not None:
        assert size <= limits.items_per_worker
    if mean_bytes and not limits.inline:
        assert size * mean_bytes <= pack.MOST_BATCH_BYTES * (1 + 1e-9)


@given(st.builds(pack.PackLimits, lanes=lanes), maybe(seconds), maybe(sizes))
def test_the_first_batch_is_one_item(limits: pack.PackLimits, mean: float | None, mean_bytes: float | None) -> None:
    """The first batch is one item, or what is over at once by what is believed of them."""
    size = pack.Packer().size(limits, mean, mean_bytes, None)
    assert size == 1 or (mean is not None and size * mean <= pack.SAFE_SECONDS * (1 + 1e-9))


@given(st.integers(1, 16), seconds)
def test_batches_at_most_double_in_a_round(lanes: int, mean: float) -> None:
    """A wrong first estimate stays cheap: from one round of all lanes to the next, sizes at most double."""
    packer, limits = pack.Packer(), pack.PackLimits(lanes=lanes)
    given_out = [packer.size(limits, mean, None, None) for _ in range(12 * lanes)]
    for early, late in zip(given_out, given_out[lanes:], strict=False):
        assert late <= 2 * early + 1


@given(st.integers(1, 16), st.floats(1e-9, 1e-3), st.integers(1, 200_000))
def test_a_run_ends_in_single_items(lanes: int, mean: float, count: int) -> None:
    """Factoring: batches shrink towards the end, so that all lanes end together; and their number stays small."""
    packer, limits, remaining, given_out = _grown(1e6), pack.PackLimits(lanes=lanes), count, []
    while remaining:
        given_out.append(min(remaining, packer.size(limits, mean, None, remaining)))
        remaining -= given_out[-1]
    assert sum(given_out) == count
    assert given_out == sorted(given_out, reverse=True)
    assert given_out[-1] == 1
    most = min(pack.MOST_ITEMS, max(1, int(pack.BATCH_SECONDS / mean)))
    assert len(given_out) <= count / most + 2 * lanes * (math.log2(most) + 2) + 1


@given(maybe(seconds), counts)
def test_depth_is_small(mean: float | None, size: int) -> None:
    """A lane holds at least one batch and never many; nothing waits behind a long one."""
    depth = pack.depth(mean, size)
    assert 1 <= depth <= pack.MOST_DEPTH
    if mean is None or mean >= 2 * pack.BATCH_SECONDS:
        assert depth == 1


@given(maybe(seconds), counts, st.booleans())
def test_long_items_are_clocked(mean: float | None, size: int, timeout: bool) -> None:
    """Only many tiny items without a timeout are timed together."""
    tiny = mean is not None and mean < pack.TINY_SECONDS
    assert pack.clock_each(mean, size, timeout=timeout) == (timeout or not tiny or size <= pack.FEW_ITEMS)


@given(lanes, maybe(seconds), maybe(sizes), st.integers(1, 2**40), maybe(counts), st.integers(0, 10**6))
def test_windows_keep_every_bound(
    lanes: int, mean: float | None, mean_bytes: float | None, buffered_bytes: int, in_flight: int | None, known: int
) -> None:
    """At least one item; `least`, `near` and `far` are in order; none is beyond `in_flight`, nor beyond the bytes."""
    chosen = window(lanes, mean, mean_bytes, buffered_bytes, in_flight, known)
    assert 1 <= chosen.least <= chosen.near <= chosen.far
    if in_flight is not None:
        assert chosen.far <= in_flight
    if mean_bytes:
        assert chosen.far * mean_bytes <= max(buffered_bytes, mean_bytes) * (1 + 1e-9)


@given(lanes, maybe(seconds), st.integers(1, 2**40))
def test_windows_feed_every_lane(lanes: int, mean: float | None, buffered_bytes: int) -> None:
    """Without other bounds, the window while the consumer is away is max(4 x lanes, two batches' work a lane)."""
    near = window(lanes, mean, None, buffered_bytes, None).near
    assert near == max(4 * lanes, int(2 * batch_seconds(lanes) * lanes / mean) if mean else 0)
    assert 2 * batch_seconds(min(lanes, 42)) == 0.060


@given(lanes, held, held)
def test_batches_are_longer_only_where_a_shape_is_held(lanes: int, one: float, other: float) -> None:
    """By a tenth of the time it has been held, up to 90 ms; windows of a comparison stay short."""
    shorter, longer = (batch_seconds(lanes, seconds) for seconds in sorted((one, other)))
    usual = batch_seconds(lanes)
    assert usual <= shorter <= longer <= max(usual, 0.090)
    assert longer == usual or longer <= 0.10 * max(one, other)


@given(held, held)
def test_batches_of_the_callers_thread_stay_short(one: float, other: float) -> None:
    """They keep the consumer waiting: 5 ms, and up to 20 ms where that is no more than a tenth of the time held."""
    chosen = (pack.PackLimits(1, inline=True, held_seconds=each).batch_seconds for each in sorted((one, other)))
    shorter, longer = chosen
    assert 0.005 <= shorter <= longer <= 0.020
    assert longer == 0.005 or longer <= 0.10 * max(one, other)


@given(pack_limits)
def test_what_is_finished_is_sent_before_the_batch_should_end(limits: pack.PackLimits) -> None:
    """So a batch that takes longer than it should delays nothing; in the caller's thread that is no use."""
    assert limits.flush_seconds < limits.batch_seconds or limits.inline
    assert limits.flush_seconds >= 0.010


@given(lanes, st.integers(0, 10**6))
def test_windows_grow_with_what_is_known(lanes: int, known: int) -> None:
    """As many again as were known in a row, up to a few hundred; half of them at once."""
    chosen = window(lanes, None, None, 1, None, known)
    assert chosen.near == max(4 * lanes, min(known, 256))
    assert chosen.least == max(1, min(known, chosen.near) // 2)


@given(st.floats(0.01, 1e5), st.lists(st.floats(0, 3), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_no_more_starts_than_the_rate(per_second: float, pauses: list[float], rng: random.Random) -> None:
    """In every span of w seconds at most w x rate starts are granted, and one burst."""
    bucket, now, starts = TokenBucket(per_second), 0.0, []
    for pause in pauses:
        now += pause
        count = rng.randint(0, min(bucket.available(now), 1000))
        bucket.take(count)
        starts.append((now, count))
    burst = max(1.0, 0.02 * per_second)
    for i, (begin, _) in enumerate(starts):
        granted = 0
        for end, count in starts[i:]:
            granted += count
            assert granted <= burst + (end - begin) * per_second + 1e-6 * (1 + granted)


@given(st.floats(0.01, 1e5), st.floats(0, 1e6))
def test_the_rate_says_when(per_second: float, now: float) -> None:
    """What `next_at` names is a time at which a start is allowed: nobody spins, nobody starves."""
    bucket = TokenBucket(per_second)
    assert bucket.available(now) >= 1
    while count := bucket.available(now):
        bucket.take(count)
    later = bucket.next_at(now)
    assume(later - now > 1e-9 * max(1.0, now))  # else the clock itself cannot tell them apart
    assert now < later <= now + 1 / per_second + 1e-6
    assert bucket.available(later + 1e-6 * max(1.0, later) / 1000) >= 1


@given(st.just(0.0) | st.floats(1e-6, 1e3), st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_backoff_is_jittered_and_bounded(backoff: float, attempt: int, rng: random.Random) -> None:
    """Between half and all of a delay that doubles, up to 60 s."""
    delay = delay_seconds(Retry(3, backoff=backoff), attempt, rng)
    full = min(60.0, backoff * 2.0 ** min(attempt - 1, 100))
    assert full / 2 * (1 - 1e-9) <= delay <= full * (1 + 1e-9)


@given(st.integers(1, 50), st.integers(1, 50))
def test_the_last_attempt_is_the_last(attempts: int, attempt: int) -> None:
    """However often: after `attempts` executions there is no further one."""
    from poolwise import TaskFailed, TaskLost
    from poolwise._core.job import Ended

    names = ("builtins.ValueError", "builtins.Exception")
    failed, lost = TaskFailed("item 0 failed: ValueError: x"), TaskLost("x")

    def again(retry: Retry | None, ended: Ended) -> bool:
        return decide(settlers(None, retry, random.Random), ended) is not None

    retry = Retry(attempts)
    for cause in (ValueError("x"), None):  # One that could travel, and one that could not.
        failed.__cause__ = cause
        assert again(retry, Ended(0, None, failed, attempt, 0.1, names)) is (attempt < attempts)
        assert again(None, Ended(0, None, failed, attempt, 0.1, names)) is False
        assert again(retry, Ended(0, None, failed, attempt, 0.1)) is False  # It would not change.
    assert again(Retry(attempts, on=TaskLost), Ended(0, None, lost, attempt, 0.1)) is (attempt < attempts)
    assert again(retry, Ended(0, None, lost, attempt, 0.1)) is False
    assert again(retry, Ended(0, 1, None, attempt, 0.1)) is False
