"""Groups of tasks, in front of simulated servers (every figure is the same everywhere), and one step at a time."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise._core.job import GroupLimits
from poolwise._core.model import Span
from poolwise._policy.groups import GroupLanes, Groups
from poolwise._policy.pending import Refusal
from poolwise._policy.window import LOOK_AHEAD
from poolwise.testing import (
    Answer,
    RateLimitedServer,
    RetrogradeServer,
    Server,
    ServiceTime,
    SlotServer,
    UnlimitedServer,
)
from zoo.closed import Outages, Run, run_groups

SEEDS = range(3)
ONE = [("a", number) for number in range(6_000)]
FAST = ServiceTime(0.010, 0.05)


def runs_of(server: Server, **options: Any) -> list[Run]:
    runs = [run_groups(ONE, {"a": server}, seed=seed, **options) for seed in SEEDS]
    for run in runs:
        assert sorted(run.settled) == list(range(len(ONE)))
    return runs


# -- one group: server, items a second at best, least share of it, seconds of Retry-After

ALONE = {
    "40 slots": (SlotServer(40), 400, 0.93, None),
    "40 quick slots": (SlotServer(40, ServiceTime(0.02)), 2000, 0.93, None),
    "retrograde": (RetrogradeServer(), RetrogradeServer().optimum(512)[0], 0.88, None),
    "bucket": (RateLimitedServer(), 400, 0.93, None),
    "quick bucket": (RateLimitedServer(400, 10, 0.0005, FAST), 400, 0.93, None),
    "slow bucket": (RateLimitedServer(10, 1, 0.001, FAST), 10, 0.9, None),
    "bucket, parks of 0.1 s": (RateLimitedServer(), 400, 0.9, 0.1),
    "quick bucket, parks of 0.1 s": (RateLimitedServer(400, 10, 0.0005, FAST), 400, 0.9, 0.1),
    "slow bucket, parks of 1 s": (RateLimitedServer(10, 1, 0.001, FAST), 10, 0.9, 1.0),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_group_alone_gets_what_its_server_gives(name: str) -> None:
    """Whether slots or tokens are what is short: at least 90 %, and few refusals after the first 500 executions."""
    server, best, share, retry_after = ALONE[name]
    runs = runs_of(server, retry_after=retry_after)
    assert statistics.median(run.per_second("a") for run in runs) >= share * best
    assert max(run.refused_after(500) for run in runs) < 0.03


def test_long_parks_cost_little_in_the_long_run() -> None:
    """A second without starts for each refusal, at 400 a second: refusals become rare enough for 90 %."""
    items = [("a", number) for number in range(30_000)]
    run = run_groups(items, {"a": RateLimitedServer(400, 10, 0.0005, FAST)}, retry_after=1.0)
    assert run.per_second("a") >= 0.9 * 400
    assert run.refused_after(500) < 0.003


def test_a_park_is_kept_by_what_starts_and_not_by_what_runs() -> None:
    """Nothing of the group starts before the time that was named; what had started is finished meanwhile."""
    run = run_groups(ONE[:500], {"a": RateLimitedServer(50, 20)}, retry_after=3.0)
    first = min(end.at for end in run.ends if end.refused)
    begun = [at for at, _ in run.starts if first < at < first + 3.0]
    assert begun == []
    assert run.served("a", first, first + 3.0) > 0


# -- a group that names the time until which it wants to be left alone


@pytest.mark.parametrize("retry_after", [1.0, 2.0, 3.0, 10.0])
def test_after_an_outage_at_the_start_nothing_is_held_back(retry_after: float) -> None:
    """It refuses all for 2 s, and then takes everything: 300 items take less than a second more than the park."""
    outage = Outages(UnlimitedServer(ServiceTime(0.005)), [(0.0, 2.0)])
    run = run_groups(ONE[:300], {"a": outage}, retry_after=retry_after)
    begun = next(at for at, _ in run.starts if at >= max(2.0, retry_after))
    assert run.last("a") < begun + 1.0
    assert run.refused_after(0) < 0.07  # 16 lanes at first, and one probe for each further park.


def test_after_an_outage_that_soon_follows_the_pace_doubles_quickly() -> None:
    """16 items are served before it, which tells nothing of what may be: 3,000 more within 2 s of the park."""
    outage = Outages(UnlimitedServer(ServiceTime(0.005)), [(0.001, 2.0)])
    run = run_groups(ONE[:3_000], {"a": outage}, retry_after=2.0)
    assert run.served("a", 0.0, 2.0) == 16
    assert run.last("a") < 2.1 + 2.0


@pytest.mark.parametrize("end", [40.0, 75.0])
def test_after_maintenance_all_is_as_before(end: float) -> None:
    """503 and 30 s of Retry-After, once or several times, at full speed: so it is again, 2 s after the last park."""
    server = Outages(SlotServer(40, ServiceTime(0.02)), [(10.0, end)])
    items = [("a", number) for number in range(40_000)]
    run = run_groups(items, {"a": server}, retry_after=30.0)
    resumed = next(e.at for e in run.ends if e.at >= end and not e.refused)
    assert run.served("a", 5.0, 10.0) >= 0.93 * 5 * 2000
    assert run.served("a", resumed + 2.0, resumed + 7.0) >= 0.93 * 5 * 2000
    assert run.refused_after(0) < 0.01


def test_every_outage_of_several_is_forgotten() -> None:
    """What an outage of 3 s has taught does not hold back what comes after the next one."""
    server = Outages(SlotServer(40, ServiceTime(0.02)), [(5.0, 8.0), (15.0, 18.0), (25.0, 28.0)])
    items = [("a", number) for number in range(60_000)]
    run = run_groups(items, {"a": server}, retry_after=2.0)
    for begin in (11.0, 21.0, 31.0):
        assert run.served("a", begin, begin + 3.0) >= 0.9 * 3 * 2000


# -- a second, burst, Retry-After in seconds, parks at most, least share of the rate once the first third is over

PARKED = [
    (5, 1, 1.0, 30, 0.85), (5, 1, 5.0, 10, 0.85), (5, 1, 60.0, 4, None),
    (5, 40, 1.0, 30, 0.95), (5, 40, 5.0, 10, 0.95), (5, 40, 60.0, 5, 0.9),
    (40, 4, 1.0, 6, 0.93), (40, 4, 5.0, 4, 0.88), (40, 4, 60.0, 3, None),
    (40, 40, 1.0, 6, 0.95), (40, 40, 5.0, 4, 0.95), (40, 40, 60.0, 3, None),
    (400, 1, 1.0, 3, 0.85), (400, 40, 1.0, 3, 0.93), (400, 40, 5.0, 3, None), (400, 40, 60.0, 3, None),
    (4000, 400, 1.0, 3, 0.85), (4000, 400, 5.0, 3, None), (4000, 400, 60.0, 3, None),
]  # fmt: skip


@pytest.mark.parametrize(("per_second", "burst", "retry_after", "most", "share"), PARKED)
def test_few_parks_tell_the_rate(
    per_second: int, burst: int, retry_after: float, most: int, share: float | None
) -> None:
    """Parks are few, however long. Where the items last much longer than these, the rate is used, too."""
    items = [("a", number) for number in range(max(4_000, 10 * per_second))]
    for seed in SEEDS:
        server = RateLimitedServer(per_second, burst, 0.002, FAST)
        run = run_groups(items, {"a": server}, retry_after=retry_after, seed=seed)
        parks = run.parks("a", retry_after)
        assert 2 <= parks <= most
        assert run.refused_after(500) < 0.03
        if share is not None:
            assert run.per_second("a") >= share * per_second
        # Beside the parks nothing takes much longer than it must.
        assert run.last("a") <= 2.6 * len(items) / per_second + parks * retry_after


@pytest.mark.parametrize(("per_second", "burst"), [(5, 40), (40, 4), (40, 40), (400, 40), (4000, 400)])
def test_without_parks_the_rate_is_used(per_second: int, burst: int) -> None:
    """Refusals that name no time."""
    items = [("a", number) for number in range(max(4_000, 10 * per_second))]
    for seed in SEEDS:
        run = run_groups(items, {"a": RateLimitedServer(per_second, burst, 0.002, FAST)}, seed=seed)
        assert run.per_second("a") >= 0.95 * per_second
        assert run.refused_after(500) < 0.03


# -- several groups


class Dead:
    """Answers after half a minute, with nothing."""

    def answer(self, now: float, busy: int, random: Random) -> Answer:
        return Answer(now + 30.0, True)

    def optimum(self, most: int) -> tuple[float, int]:
        return 0.0, 1


def test_a_dead_host_takes_nothing_from_the_others() -> None:
    """Three servers of 40 slots beside one that never answers in time: each of the three is served at full speed."""
    items = [(f"h{number % 4}", number) for number in range(20_000)]
    servers: dict[str, Server] = {f"h{number}": SlotServer(40) for number in range(3)}
    run = run_groups(items, {**servers, "h3": Dead()}, until=12.0)
    served = [run.served(f"h{number}", 1, 11) for number in range(3)]
    assert sum(served) >= 0.93 * 3 * 10 * 400
    assert min(served) >= 0.85 * 10 * 400
    assert run.most_flying["h3"] == 16  # It is not given more than it began with.


def test_a_parked_host_takes_nothing_from_the_others() -> None:
    """One host that parks for a minute, at the front of the input, and another behind 5,000 of its items."""
    items = [("parked", number) for number in range(5_000)] + [("free", number) for number in range(2_000)]
    servers: dict[str, Server] = {"parked": RateLimitedServer(1, 1), "free": SlotServer(40)}
    run = run_groups(items, servers, retry_after=60.0, until=10.0)
    assert run.served("free") == 2_000


def test_a_host_that_parks_once_is_soon_served_and_does_not_disturb() -> None:
    """Two hosts in turn, one of which refuses all for 2 s: the other is served as if it were alone."""
    items = [(key, number) for number in range(2_400) for key in ("parks", "free")]
    servers: dict[str, Server] = {
        "parks": Outages(UnlimitedServer(ServiceTime(0.005)), [(0.0, 2.0)]),
        "free": SlotServer(40),
    }
    run = run_groups(items, servers, retry_after=2.0)
    assert run.last("free") <= 2_400 / 400 / 0.93
    assert run.last("parks") < 2.0 + 1.5


def test_the_look_ahead_is_bounded() -> None:
    """Behind more items of parked groups than that nothing is looked for until some have settled."""
    items = [("parked", number) for number in range(3 * LOOK_AHEAD)]
    run = run_groups(items, {"parked": RateLimitedServer(1, 1)}, retry_after=60.0, until=10.0)
    assert run.most_pending <= LOOK_AHEAD + 4 * 512


def test_groups_share_lanes_that_do_not_suffice() -> None:
    """With 12 lanes for three groups none waits for another's queue to empty."""
    items = [("a", n) for n in range(600)] + [("b", n) for n in range(600)] + [("c", n) for n in range(600)]
    servers: dict[str, Server] = {key: UnlimitedServer(ServiceTime(0.1, 0.1)) for key in "abc"}
    run = run_groups(items, servers, most=12)
    at = run.ends[900].at
    assert [run.served(key, 0, at) for key in "abc"] == pytest.approx([300] * 3, abs=30)


class Everywhere(dict[int, Server]):
    """A server of its own for every group, made when it is asked for."""

    def __missing__(self, key: int) -> Server:
        return UnlimitedServer()


def test_a_hundred_thousand_groups_of_one_item() -> None:
    """Each is served, and what is remembered of them does not grow with their number."""
    groups = Groups(lambda item: item[0], GroupLimits(), None, 512, lambda: 1 << 30)
    run = run_groups(((number, number) for number in range(100_000)), Everywhere(), groups=groups)
    assert sorted(run.settled) == list(range(100_000))
    assert run.most_pending <= 4 * 512
    assert len(groups._groups) <= 1_024
    assert not groups._known
    assert not groups._flying
    assert len(groups._times) <= 1_024
    assert groups.lanes == 512


def test_lanes_of_a_run_are_what_groups_want() -> None:
    """16 for each group with so many tasks, at once; fewer, but not below 16, after a round that wanted fewer."""
    groups = Groups(lambda item: item[0], GroupLimits(), None, 40, lambda: 1 << 30)
    lanes = GroupLanes(groups)
    groups.advance(0.0)
    groups.add(Span(range(100), [("a", n) for n in range(100)]))
    assert lanes.lanes == 16
    groups.add(Span(range(100, 103), [("b", n) for n in range(3)]))
    assert lanes.lanes == 19
    groups.add(Span(range(103, 203), [("c", n) for n in range(100)]))
    assert lanes.lanes == 35
    groups.add(Span(range(203, 303), [("d", n) for n in range(100)]))
    assert lanes.lanes == 40
    groups.drop_after(-1)
    for number in range(120):  # What nobody wants any more is not started; a round has to see that.
        groups._last_wanted = None
        groups.add(Span([1_000 + number], [("e", number)]))
        taken = groups.take(1)
        groups.end(taken.indexes[0], 0.1 * number, 0.1 * number - 0.1, 0.1, None)
        groups.forget(taken.indexes)
    assert lanes.lanes == 16


def test_limits_of_a_group() -> None:
    """`most` lanes and `per_second` starts are never exceeded."""
    limits = GroupLimits(most=3)
    run = run_groups(ONE[:300], {"a": UnlimitedServer()}, limits=limits)
    assert run.most_flying["a"] == 3
    run = run_groups(ONE[:300], {"a": UnlimitedServer()}, limits=GroupLimits(per_second=50))
    times = [at for at, _ in run.starts]
    assert all(times[place + 51] - times[place] >= 0.999 for place in range(len(times) - 51))
    assert times[-1] < 300 / 50 * 1.05


def test_heavy_items() -> None:
    """What is in flight never weighs more than allowed; one that weighs more runs alone; nothing is overtaken."""
    sizes = {number: 300 if number % 50 == 7 else 10 for number in range(400)}
    groups = Groups(None, GroupLimits(), lambda item: sizes[item[1]], 64, lambda: 100)
    flying: list[int] = []
    random, order = Random(1), []
    groups.add(Span(range(400), [("a", number) for number in range(400)]))
    for step in range(10_000):
        groups.advance(float(step))
        while groups.ready:
            flying.append(groups.take(1).indexes[0])
            order.append(flying[-1])
            weight = sum(sizes[index] for index in flying)
            assert weight <= 100 or len(flying) == 1
        if not flying:
            break
        index = flying.pop(random.randrange(len(flying)))
        groups.end(index, float(step), step - 1.0, 1.0, None)
        groups.forget([index])
    assert order == list(range(400))


def test_what_cannot_be_grouped_is_told() -> None:
    """A group that is not hashable, a weight that is no number: the error is told, and the others go on."""

    def group(item: int) -> Any:
        return [] if item == 1 else item

    groups = Groups(group, GroupLimits(), lambda item: "heavy" if item == 3 else 1, 8, lambda: 100)  # type: ignore[arg-type,return-value]
    faults = groups.add(Span(range(5), [0, 1, 2, 3, 4]))
    assert [(index, item, type(error)) for index, item, error in faults] == [(1, 1, TypeError), (3, 3, ValueError)]
    groups.advance(0.0)
    assert groups.count == 3
    assert [groups.take(1).items for _ in range(3)] == [[0], [2], [4]]


def test_given_back_tasks_do_not_count_as_starts() -> None:
    """A start that did not happen is not paid for; one that was lost with its worker is."""
    for started, at in ((False, 0.0), (True, 1.0)):
        groups = Groups(lambda item: item, GroupLimits(per_second=1), None, 8, lambda: 100)
        groups.add(Span(range(2), ["a", "a"]))
        groups.advance(0.0)
        task = groups.take(1)
        groups.release(task.indexes, started=started)
        groups.add(task, front=True)
        assert groups.next_at >= at
        groups.advance(at)
        assert groups.ready
        assert groups.take(1).indexes[0] == 0


def test_dropped_tasks_are_gone() -> None:
    """After `drop_after` nothing later is started, not even what comes back."""
    groups = Groups(lambda item: item % 3, GroupLimits(), None, 8, lambda: 100)
    groups.add(Span(range(30), list(range(30))))
    groups.advance(0.0)
    first = [groups.take(1) for _ in range(6)]
    groups.drop_after(9)
    late = Span([20], [20])
    groups.add(late)
    for task in first:
        groups.release(task.indexes, started=True)
        groups.add(task, front=True)
    taken = [groups.take(1).indexes[0] for _ in range(groups.count)]
    assert sorted(taken) == list(range(10))
    assert not groups.ready
    groups.forget(range(30))
    assert not groups._known


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "serve", "refuse", "throttle", "park", "give back", "lose", "wait"]),
        st.integers(0, 6),
    ),
    max_size=200,
)


@settings(deadline=None, max_examples=200)
@given(STEPS, st.integers(1, 20), st.integers(1, 4), st.none() | st.integers(1, 3))
def test_every_task_is_somewhere_once(steps: list[tuple[str, int]], most: int, first: int, own: int | None) -> None:
    """Whatever happens in whatever order: each task is served once, and groups keep to their lanes and parks."""
    groups = Groups(lambda item: item % 7, GroupLimits(first=first, most=own), lambda item: item, most, lambda: 60)
    now, added = 0.0, 0
    flying: list[Span] = []
    served: list[int] = []
    parked: dict[int, float] = {}

    def take() -> None:
        while groups.ready and len(flying) < most:
            flying.append(groups.take(1))
            key = flying[-1].items[0] % 7
            assert parked.get(key, -math.inf) <= now
            busy = Counter(span.items[0] % 7 for span in flying)
            assert busy[key] <= (own or most)
            assert sum(span.items[0] for span in flying) <= 60 or len(flying) == 1

    for step, number in [*steps, *[("wait", 3), ("serve", 0)] * 400]:
        groups.advance(now)
        if step == "add":
            groups.add(Span(range(added, added + number), list(range(added, added + number))))
            added += number
        elif step == "wait":
            now += number
            groups.advance(now)
        elif step == "take" or not flying:
            take()
        else:
            task = flying.pop(number % len(flying))
            index = task.indexes[0]
            if step == "serve":
                groups.end(index, now, now - 0.5, 0.5, None)
                groups.forget([index])
                served.append(index)
            elif step in ("give back", "lose"):
                groups.release([index], started=step == "lose")
                groups.add(task, front=True)
            else:
                until = now + number if step == "park" else None
                groups.end(index, now, now - 0.5, 0.5, Refusal(step != "refuse", until))
                groups.add_retry(now + 1, Span([index], task.items, task.attempt + 1))
                if until is not None:
                    parked[index % 7] = max(until, parked.get(index % 7, until))
    while len(served) < added:
        now += 1.0
        groups.advance(now)
        take()
        assert flying or groups.next_at < math.inf
        while flying:
            index = flying.pop().indexes[0]
            groups.end(index, now, now - 0.5, 0.5, None)
            groups.forget([index])
            served.append(index)
    assert sorted(served) == list(range(added))
    assert groups.count == groups.surplus == groups._wanted == groups._flying_bytes == 0
    assert not groups._known
