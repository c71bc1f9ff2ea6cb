"""What executions show: coroutines that block, lanes that stand in line, items that became other ones, idle cores."""

from __future__ import annotations

from typing import Any

import pytest

from poolwise import Shape
from poolwise._core.model import Done, Failure
from poolwise._policy.demands import Knock, kind_of
from poolwise._policy.look import Facts, Look, Watch
from poolwise._policy.roofs import Ground, roofs
from poolwise._policy.use import UseMeter


def facts_at(now: float, **more: Any) -> Facts:
    known: dict[str, Any] = {
        "remaining": 100,
        "cpu_seconds": 0.0,
        "children_seconds": 0.0,
        "knocks": list,
        "ready": False,
        "wire": None,
        "refusal": None,
        "bytes": None,
        "starved": False,
    }
    return Facts(now, **{**known, **more})


def done(started: float, seconds: float, *, lane: int = 0, cpu: float | None = None, count: int = 1) -> Done:
    return Done(0, 0, [None] * count, {}, 0, lane, started, seconds, cpu)


def look_at(spans: list[tuple[float, float]], lanes: int = 16) -> Look:
    look = Look(Shape(1, lanes), 2.0, children=False, coroutine=True)
    for place, (start, end) in enumerate(spans):
        look.observe(done(start, end - start, lane=place % lanes), 0, end, first=True, later=False)
    return look


def test_coroutines_that_never_overlap_block_their_loop() -> None:
    """One after the other in 16 lanes: the loop is what binds, and the plan says so."""
    look = look_at([(n * 0.004, n * 0.004 + 0.004) for n in range(32)])
    assert look.blocks
    demands = look.estimate(facts_at(0.13, cpu_seconds=0.01))
    assert demands.loop == pytest.approx(0.004)
    found = roofs(demands, Shape(1, 16), Ground(2.0, 2), children=False)
    assert found[0].name == "loop"
    assert found[0].per_second == pytest.approx(250)
    assert roofs(demands, Shape(2, 1), Ground(2.0, 2), children=True)[0].per_second == pytest.approx(500)


def test_coroutines_that_wait_do_not_block() -> None:
    """Sixteen at a time: nothing is wrong with them."""
    look = look_at([(n // 16 * 0.004, n // 16 * 0.004 + 0.004) for n in range(64)])
    assert not look.blocks
    demands = look.estimate(facts_at(0.016, cpu_seconds=0.001))
    assert demands.loop is None
    assert kind_of(demands) == "io"


def test_too_few_items_at_a_time_are_no_blocking() -> None:
    """Where the input gave only one item at a time there was nothing to overlap with."""
    look = look_at([(n * 0.004, n * 0.004 + 0.004) for n in range(32)])
    look.was_starved = True
    assert not look.blocks


def test_lanes_in_line_do_not_make_items_longer() -> None:
    """Sixteen coroutines that need 1 ms of the loop and 4 ms of waiting seem to take 16 ms each: they need 5."""
    look = look_at([(n * 0.001, n * 0.001 + 0.016) for n in range(640)])
    demands = look.estimate(facts_at(0.656, cpu_seconds=0.655))
    assert demands.response.value == pytest.approx(0.001, rel=0.1)  # At least: what is left of 16 - 15 x 1.
    look = look_at([(n * 0.001, n * 0.001 + 0.020) for n in range(640)])
    assert look.estimate(facts_at(0.656, cpu_seconds=0.655)).response.value == pytest.approx(0.005, rel=0.1)


def test_a_line_is_no_longer_than_what_is_used_allows() -> None:
    """At 80 % of the loop four stand there, and not all fifteen others: items of 7.2 ms wait for most of that."""
    look = look_at([(n * 0.0005, n * 0.0005 + 0.0072) for n in range(640)])
    demands = look.estimate(facts_at(0.32, cpu_seconds=0.256))
    assert demands.response.value == pytest.approx(0.0072 - 4 * 0.0004, rel=0.01)
    assert kind_of(demands) == "io"


def test_items_that_a_clock_does_not_see_are_no_accident() -> None:
    """A coarse clock, or what stood in line for a core taken off, may leave nothing of a response time."""
    look = look_at([(0.0, 0.0)] * 64)
    look.was_starved = True  # Else they would be taken to block their loop.
    demands = look.estimate(facts_at(0.1, cpu_seconds=0.0))
    assert demands.response.value == 0.0
    assert kind_of(demands) == "tiny"


def test_to_stand_in_line_for_a_core_is_no_waiting() -> None:
    """Items of 1 ms CPU that take 2 ms as others use the cores: they compute; of a sleep nothing is taken away."""
    for slept, kinds in ((0.0, {"gil", "cpu", "unknown"}), (0.02, {"io"})):
        look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
        look.attend(facts_at(0.0, delayed=lambda: 5.0))  # Before anything was executed.
        for number in range(50):
            began = number * 0.03
            look.observe(done(began, 0.002 + slept, cpu=0.001), 0, began + 0.03, first=True, later=False)
        demands = look.estimate(facts_at(1.5, cpu_seconds=0.05, can_knock=False, delayed=lambda: 5.05))
        assert demands.response.value == pytest.approx(0.001 + slept, rel=0.1)
        assert kind_of(demands) in kinds
    unknown = look.estimate(facts_at(1.5, cpu_seconds=0.05, can_knock=False))
    assert unknown.response.value == pytest.approx(0.022)


def test_items_that_all_fail_displace_nothing() -> None:
    """The first item tells little, as it may have imported; but more than none."""
    look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
    look.observe(Done(0, 0, [1], {}, 0, 0, 0.0, 0.3, 0.3, [(0.0, 0.3, 0.3)]), 0, 0.3, first=True, later=False)
    failed = Done(1, 0, [None], {0: Failure("no")}, 0, 0, 0.3, 0.1, 0.1, [(0.3, 0.1, 0.1)])
    look.observe(failed, 1, 0.4, first=True, later=False)
    demands = look.estimate(facts_at(0.4, cpu_seconds=0.4, can_knock=False))
    assert (demands.items, demands.response.value) == (1, 0.3)
    look.observe(Done(2, 0, [1], {}, 0, 0, 0.4, 0.2, 0.2, [(0.4, 0.2, 0.2)]), 0, 0.6, first=True, later=False)
    demands = look.estimate(facts_at(0.6, cpu_seconds=0.6, can_knock=False))
    assert (demands.items, demands.response.value) == (1, 0.2)


def test_the_very_first_item_does_not_count_where_its_batch_had_others() -> None:
    """It may have imported or connected; nor does it where one of the others failed, which counts as a failure."""
    for failures in ({}, {2: Failure("ValueError: no")}):
        look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
        clocks = [(0.0, 0.09, 0.09), (0.09, 0.01, 0.01), (0.1, 0.01, 0.01), (0.11, 0.01, 0.01)]
        first = Done(0, 0, [None] * 4, failures, 0, 0, 0.0, 0.12, 0.12, clocks)
        look.observe(first, len(failures), 0.12, first=True, later=False)
        assert (look.seen.items, look.seen.failed) == (3 - len(failures), len(failures))
        assert look.mean_seconds == pytest.approx(0.01)


def test_items_that_fail_displace_nothing_and_the_first_one_after_them_does() -> None:
    """A slow first item, four that fail in a batch, then quick ones; or a first one whose batch fails but for it."""
    bad = Failure("ValueError: no")
    good = Done(2, 0, [None] * 10, {}, 0, 0, 0.3, 0.001, 0.001, [(0.3, 0.0001, 0.0001)] * 10)
    alone = Done(0, 0, [None], {}, 0, 0, 0.0, 0.2, 0.2, [(0.0, 0.2, 0.2)])
    fail = Done(1, 0, [None] * 4, dict.fromkeys(range(4), bad), 0, 0, 0.2, 0.004, 0.0, [(0.2, 0.001, 0.0)] * 4)
    clocks = [(0.0, 0.2, 0.2), *[(0.2, 0.001, 0.0)] * 5]
    among = Done(0, 0, [None] * 6, dict.fromkeys(range(1, 6), bad), 0, 0, 0.0, 0.205, 0.2, clocks)
    for events in ((alone, fail), (among,)):
        look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
        for event in events:
            look.observe(event, len(event.failures), 0.3, first=True, later=False)
        assert (look.seen.items, look.mean_seconds) == (1, 0.2)
        look.observe(good, 0, 0.4, first=True, later=False)
        assert look.seen.items == 10
        assert look.mean_seconds == pytest.approx(0.0001)


@pytest.mark.parametrize("children", [False, True])
def test_a_core_that_the_host_has_taken_away_is_no_waiting(children: bool) -> None:
    """Items of 10 ms CPU that take 20 ms as their core is there for half of the time; of a sleep nothing is taken."""
    for slept, cpu, kinds in ((0.0, 0.01, {"unknown"}), (0.02, 0.0001, {"io"})):
        look = Look(Shape(1, 1), 2.0, children=children, coroutine=False)
        look.attend(facts_at(0.0))
        look.see(facts_at(0.003, stolen=lambda: (100.0, 50.0)))
        for number in range(50):
            began = number * 0.03
            look.observe(done(began, 2 * cpu + slept, cpu=cpu), 0, began + 0.03, first=True, later=False)
        half = {"cpu_seconds": 50 * cpu, "can_knock": False}
        demands = look.estimate(facts_at(1.5, **half, stolen=lambda: (101.0, 51.0)))
        assert demands.response.value == pytest.approx(cpu + slept, rel=0.1)
        assert demands.stolen == pytest.approx(cpu)
        assert kind_of(demands) in kinds
    for told in ((100.01, 50.01), None):
        unknown = look.estimate(facts_at(1.5, **half, stolen=lambda told=told: told))
        assert unknown.response.value == pytest.approx(0.0202)


def test_the_machine_is_looked_at_once_and_not_for_the_shortest_of_runs() -> None:
    look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
    asked: list[float] = []
    for now in (0.0, 0.0005, 0.003, 0.004):  # Where a system tells nothing, it is not asked again either.
        look.see(facts_at(now, stolen=lambda now=now: asked.append(now)))
        if now == 0.0:
            look.attend(facts_at(now))
    assert asked == [0.003]


def test_what_is_seen_late_of_a_line_for_the_cores_counts_for_the_whole_time() -> None:
    """Whoever reads where the clock stood at the beginning may have to wait for the GIL before."""
    look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
    for number in range(20):
        began = number * 0.002
        look.observe(done(began, 0.002, cpu=0.001), 0, began + 0.002, first=True, later=False)
        if number == 4:
            look.attend(facts_at(0.01, delayed=lambda: 5.0))
    demands = look.estimate(facts_at(0.04, cpu_seconds=0.02, can_knock=False, delayed=lambda: 5.015))
    assert demands.response.value == pytest.approx(0.001, rel=0.1)


def test_who_stands_in_line_for_a_core_may_hold_the_gil_meanwhile() -> None:
    """Items of 1 ms that take 2 ms as others use the cores, and half of the knocks find the GIL held: that is mixed."""
    look = Look(Shape(1, 1), 2.0, children=False, coroutine=False)
    look.attend(facts_at(0.0, delayed=lambda: 5.0))
    knocks = []
    for number in range(200):
        began = number * 0.002
        look.observe(done(began, 0.002, cpu=0.001), 0, began + 0.002, first=True, later=False)
        knocks.append(Knock(began + 0.001, 0.001, 0.0, held=number % 2 == 0))
    demands = look.estimate(facts_at(0.4, cpu_seconds=0.2, knocks=lambda: knocks, delayed=lambda: 5.2))
    assert demands.response.value == pytest.approx(0.001, rel=0.1)
    assert demands.held_of_busy is not None
    assert demands.held_of_busy.value == pytest.approx(0.5, abs=0.1)
    assert kind_of(demands) == "mixed"


def two_lanes(executed: int, cpu_of_each: float) -> Any:
    """The demands that two threads show whose items take 0.2 s each, of which `executed` have ended."""
    look = Look(Shape(1, 2), 2.0, children=False, coroutine=False)
    for place in range(executed):
        at = place // 2 * 0.2
        look.observe(done(at, 0.2, lane=place % 2, cpu=0.2), 0, at + 0.2, first=True, later=False)
    now = (executed + 1) // 2 * 0.2
    return look.estimate(facts_at(now, cpu_seconds=cpu_of_each * 2 * now / 0.2))


def test_what_other_lanes_compute_is_no_native_thread_of_an_item() -> None:
    """The first of two has ended, and the CPU of the one beside it is known already: it is that one's."""
    for executed in (1, 2, 3, 7):
        demands = two_lanes(executed, 0.2)
        assert demands.native == 0
        assert demands.cpu.value == pytest.approx(0.2)
        assert demands.response.value == pytest.approx(0.2, rel=0.1)


def test_native_threads_are_told_once_enough_items_have_ended() -> None:
    """Items whose own lanes use 0.2 s of the 0.6 s of CPU that each costs."""
    assert two_lanes(40, 0.6).native == pytest.approx(0.4, rel=0.2)


def watched(watch: Watch, *, items: int, seconds: float, windows: int, cpu_share: float = 1.0) -> bool:
    """Feed windows of 0.3 s on one lane; says whether the watch noticed."""
    for _ in range(windows * max(3, round(0.3 / seconds / items))):
        watch.add(done(10.0, seconds * items, cpu=cpu_share * seconds * items, count=items))
        if watch.changed:
            return True
    return False


@pytest.mark.parametrize(("seconds", "windows"), [(0.05, 2), (0.004, 4)])
def test_watch_notices_other_items(seconds: float, windows: int) -> None:
    """What takes far longer is noticed at once, what takes a few times as long a little later."""
    watch = Watch(Shape(1, 1), 0.0, 0.001)
    assert not watched(watch, items=1, seconds=0.001, windows=10)
    assert watched(watch, items=1, seconds=seconds, windows=windows + 2)


def test_watch_ignores_noise_and_what_began_before() -> None:
    """A slow window among usual ones is chance, and what began before belongs to another shape."""
    watch = Watch(Shape(1, 1), 0.0, 0.001)
    for _ in range(10):
        assert not watched(watch, items=1, seconds=0.02, windows=1)
        assert not watched(watch, items=1, seconds=0.001, windows=2)
    late = Watch(Shape(1, 1), 11.0, 0.001)
    assert not watched(late, items=1, seconds=0.05, windows=20)


def test_watch_notices_that_items_wait_now() -> None:
    """As long as before, but without computing."""
    watch = Watch(Shape(1, 1), 0.0, 0.01)
    assert not watched(watch, items=1, seconds=0.01, windows=4)
    assert watched(watch, items=1, seconds=0.01, windows=6, cpu_share=0.01)


def test_idle_cores_are_those_that_nobody_uses() -> None:
    """Other processes count: a server on the same machine leaves less than this run's own use would let one think."""
    meter, shape = UseMeter(2.0), Shape(1, 4)
    assert meter.look(facts_at(0.0, cpu_seconds=0.0, idle=lambda: 100.0), shape, 0) is None
    assert meter.look(facts_at(0.01, cpu_seconds=0.01, idle=lambda: 100.0), shape, 50) is None  # Too early.
    use = meter.look(facts_at(0.1, cpu_seconds=0.09, idle=lambda: 100.02), shape, 100)
    assert use is not None
    assert (use.cores, use.idle, use.per_second) == (pytest.approx(0.9), pytest.approx(0.2), pytest.approx(1000))
    use = meter.look(facts_at(0.2, cpu_seconds=0.18, idle=lambda: None), shape, 200)
    assert use is not None
    assert use.idle == pytest.approx(1.1)  # Where the system does not tell, only this run is known.
