"""The lane controller, in the simulator of `poolwise.testing`: every figure is the same on every machine."""

from __future__ import annotations

import math
import statistics
from itertools import groupby
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise._policy.control import FIRST_REST, LONGEST_REST, LaneController
from poolwise._policy.pack import batch_seconds
from poolwise.testing import (
    Answer,
    FakeClock,
    RateLimitedServer,
    RetrogradeServer,
    Server,
    ServiceTime,
    Simulation,
    SlotServer,
    UnlimitedServer,
    simulate,
)

SEEDS = range(5)


def runs_of(server: Server, lanes: int = 4, **options: object) -> list[Simulation]:
    return [simulate(LaneController(lanes), server, seed=seed, **options) for seed in SEEDS]  # type: ignore[arg-type]


def median_items(runs: list[Simulation]) -> float:
    return statistics.median(math.inf if run.items_to_90_percent is None else run.items_to_90_percent for run in runs)


SYSTEMS = {  # server, items to 90 % of the best, least tail throughput, bounds of tail lanes
    "40 slots": (SlotServer(40), 450, 0.93, (0.9, 1.35)),
    "4 slots": (SlotServer(4), 250, 0.93, (0.95, 1.5)),
    "200 slots": (SlotServer(200), 1000, 0.9, (0.9, 1.35)),
    "retrograde": (RetrogradeServer(), 900, 0.9, (0.6, 1.2)),
    "rate limit": (RateLimitedServer(), 600, 0.9, (0.8, 1.2)),
    "unlimited": (UnlimitedServer(), 1700, 0.95, (0.95, 1.0)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_reaches_the_optimum_soon_and_stays_there(name: str) -> None:
    """On each of the six systems: 90 % within so many items, and a tail near the best, without far more lanes."""
    server, items, throughput, (fewest, most) = SYSTEMS[name]
    runs = runs_of(server)
    assert median_items(runs) <= items
    assert statistics.median(run.tail_throughput for run in runs) >= throughput
    assert fewest <= statistics.median(run.tail_lanes for run in runs) <= most


@pytest.mark.parametrize("name", SYSTEMS)
def test_grows_from_one_lane(name: str) -> None:
    """Rounding at 1, 2, 3 lanes does not stop growth."""
    server, items, throughput, _ = SYSTEMS[name]
    runs = runs_of(server, lanes=1)
    assert median_items(runs) <= items + 150
    assert statistics.median(run.tail_throughput for run in runs) >= throughput


@pytest.mark.parametrize("name", SYSTEMS)
def test_lumps_give_about_the_same(name: str) -> None:
    """Ten ends told at a time lead to the same place as ten told one by one."""
    server, items, throughput, (fewest, most) = SYSTEMS[name]
    runs = runs_of(server, lump=10)
    assert median_items(runs) <= items + 150
    assert statistics.median(run.tail_throughput for run in runs) >= throughput
    assert fewest <= statistics.median(run.tail_lanes for run in runs) <= most


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_few_slots_get_a_few_lanes(slots: int) -> None:
    """Little's law and headroom do not round a small server up to a large one."""
    runs = runs_of(SlotServer(slots), items=4_000)
    assert statistics.median(run.tail_throughput for run in runs) >= 0.9
    assert statistics.median(run.tail_lanes for run in runs) <= 1.5


def test_a_rate_limit_costs_few_errors() -> None:
    """Fast refusals are not taken for throughput; looking for the limit costs some, not many."""
    runs = runs_of(RateLimitedServer())
    assert statistics.median(run.error_share for run in runs) <= 0.04
    assert max(run.error_share for run in runs) <= 0.1


class Flaky:
    """A server whose items fail by themselves, however many lanes there are."""

    def __init__(self, inner: Server, share: float) -> None:
        self.inner = inner
        self.share = share

    def answer(self, now: float, busy: int, random: object) -> Answer:
        answer = self.inner.answer(now, busy, random)  # type: ignore[arg-type]
        return answer._replace(failed=random.random() < self.share)  # type: ignore[attr-defined]

    def optimum(self, most: int) -> tuple[float, int]:
        per_second, lanes = self.inner.optimum(most)
        return per_second * (1 - self.share), lanes


@pytest.mark.parametrize("share", [0.07, 0.2, 0.5])
def test_items_that_fail_anyway_do_not_take_the_lanes_away(share: float) -> None:
    """Where successes fall with the lanes, errors are not a sign of too many."""
    runs = runs_of(Flaky(SlotServer(40), share))
    assert statistics.median(run.tail_throughput for run in runs) >= 0.8


CHANGES = {  # before, after
    "half the slots": (SlotServer(40), SlotServer(20)),
    "twice the slots": (SlotServer(40), SlotServer(80)),
    "half the speed": (SlotServer(40), SlotServer(40, ServiceTime(0.2))),
    "half the rate": (RateLimitedServer(400), RateLimitedServer(200)),
    "twice the rate": (RateLimitedServer(400), RateLimitedServer(800)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_follows_a_change_point(name: str) -> None:
    """A server that changes in mid-run gets the lanes it then needs within 3,000 items."""
    before, after = CHANGES[name]
    runs = runs_of(before, items=14_000, changes=[(5_000, after)])
    needed = [math.inf if (items := run.items_to(0.9, after=5_000)) is None else items for run in runs]
    assert statistics.median(needed) <= 3_000
    assert statistics.median(run.tail_throughput for run in runs) >= 0.88
    assert statistics.median(run.tail_lanes for run in runs) <= 1.7


def test_says_when_growth_ended_and_why() -> None:
    """`settled` and `knee` while growing, at a knee, and at the most lanes allowed."""
    controller = LaneController()
    assert not controller.settled
    assert controller.knee is None
    simulate(controller, SlotServer(40), items=1_000)
    assert controller.settled
    assert controller.knee is not None
    assert 25 <= controller.knee <= 60
    capped = LaneController(most=16)
    simulate(capped, UnlimitedServer(), items=2_000, most=16)
    assert capped.settled
    assert capped.knee is None


def test_it_begins_by_doubling_every_round() -> None:
    """16 lanes, 32, 64, 128: after as many ends each, not one more, for as long as nothing fails."""
    controller = LaneController(16, most=128)
    run = simulate(controller, UnlimitedServer(ServiceTime(0.05, 0.01)), items=300, most=128)
    assert [run.lanes[place] for place in (0, 14, 15, 46, 47, 110, 111)] == [16, 16, 32, 32, 64, 64, 128]


def test_a_failure_ends_the_doubling_every_round() -> None:
    """What follows is measured with more care."""
    controller = LaneController(16)
    controller.add(0.1, 0, 1, 0.1)
    for _ in range(20):
        controller.add(0.1, 1, 0, 0.1)
    assert controller.lanes == 16


def test_a_restart_forgets_the_window() -> None:
    """A pause that the caller tells of does not look like a slow server; the same pause untold does."""

    def lanes_after(told: bool) -> int:
        clock, controller = FakeClock(), LaneController(8)
        for number in range(60):
            clock.advance(0.1 / controller.lanes)
            if number == 10:
                clock.advance(60)
                if told:
                    controller.restart(clock.now())
            controller.add(clock.now(), 1, 0, 0.1)
        return controller.lanes

    assert lanes_after(told=True) > lanes_after(told=False)


def test_all_failures_lead_to_the_fewest_lanes() -> None:
    """Nothing ends well: nothing is gained by lanes, and nothing is divided by."""
    controller = LaneController(32, fewest=2)
    for number in range(2_000):
        controller.add(number / 100, 0, 1, 0.0)
    assert controller.lanes == 2


def test_a_clock_that_stands_still_changes_nothing() -> None:
    """A window without time has no rate; it is not closed."""
    controller = LaneController()
    for _ in range(1_000):
        controller.add(5.0, 3, 0, 0.0)
    assert controller.lanes == 4


def test_response_times_of_zero() -> None:
    """Where items take no measurable time and lanes change nothing, it settles at few, and divides by nothing."""
    controller = LaneController(8)
    for number in range(400):
        controller.add(number / 100, 1, 0, 0.0)
    assert controller.settled
    assert 1 <= controller.lanes <= 8


def test_turns_stretch_the_window() -> None:
    """Where a lane takes 20 items at a time, as many turns are waited for, not as many items."""
    by_item, by_turn = LaneController(), LaneController()
    by_item.add(2.0, 20, 0, 2.0)
    by_turn.add(2.0, 20, 0, 2.0, turns=1)
    assert by_item.lanes > 4
    assert by_turn.lanes == 4


ENDS = st.tuples(
    st.floats(0, 10),  # seconds that pass
    st.integers(0, 200),
    st.integers(0, 200),
    st.floats(0, 1e6),
    st.booleans(),  # whether the window is restarted first
)


@settings(deadline=None)
@given(
    lanes=st.integers(1, 600),
    fewest=st.integers(1, 20),
    room=st.integers(0, 500),
    ends=st.lists(ENDS, max_size=120),
)
def test_bounds_hold_at_every_moment(
    lanes: int, fewest: int, room: int, ends: list[tuple[float, int, int, float, bool]]
) -> None:
    """Whatever ends, and whenever: `fewest` and `most` are never crossed, and nothing is raised."""
    clock, most = FakeClock(), fewest + room
    controller = LaneController(lanes, most=most, fewest=fewest)
    assert fewest <= controller.lanes <= most
    for seconds, completed, failed, response_seconds, restart in ends:
        clock.advance(seconds)
        if restart:
            controller.restart(clock.now())
        told = controller.add(clock.now(), completed, failed, response_seconds)
        assert told == controller.lanes
        assert fewest <= told <= most
        assert controller.knee is None or fewest <= controller.knee < most


def test_a_simulation_is_the_same_for_a_seed_and_leaves_the_server_as_it_was() -> None:
    """Same seed, same run; another seed, another run."""
    server = RateLimitedServer()
    first, again, other = (simulate(LaneController(), server, items=500, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_fake_clock_does_not_go_back() -> None:
    """It moves when told, forward."""
    clock = FakeClock(5.0)
    clock.advance(2.0)
    assert clock.now() == 7.0
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1.0)


@pytest.mark.parametrize("lumps", [1, 4])
@pytest.mark.parametrize("slots", [1, 4])
def test_too_many_lanes_at_first(slots: int, lumps: int) -> None:
    """Begun far beyond the knee, it halves its way down, and does not take the waiting line for work."""
    controller = LaneController(16)
    run = simulate(controller, SlotServer(slots), items=2000, lump=lumps)
    assert run.tail_throughput > 0.85
    assert controller.lanes <= slots * 2


class LevellingServer:
    """Throughput that goes on growing with the lanes, ever more slowly: a disk with a queue."""

    PER_SECOND = {1: 850, 2: 1400, 4: 1950, 8: 2500, 16: 2880, 32: 3100, 64: 3240}

    def throughput(self, lanes: int) -> float:
        """Return items a second, interpolated."""
        below = max(number for number in self.PER_SECOND if number <= lanes)
        above = self.PER_SECOND.get(2 * below, self.PER_SECOND[below])
        return self.PER_SECOND[below] + (above - self.PER_SECOND[below]) * (lanes / below - 1)

    def answer(self, now: float, busy: int, random: Random) -> Answer:
        """Serve all items at once (Little's law: response time = lanes / throughput)."""
        return Answer(now + busy / self.throughput(busy) * ServiceTime(1.0).draw(random), failed=False)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return items a second and lanes where it is level."""
        lanes = min(most, 64)
        return self.throughput(lanes), lanes


@pytest.mark.parametrize("used_up", [False, True])
def test_lanes_that_are_free_grow_while_it_pays_at_all(used_up: bool) -> None:
    """Where lanes burden nobody else, the last tenth of throughput is worth having, though the cores are used up."""
    runs = []
    for seed in SEEDS:
        controller = LaneController(4, known=(1, 850.0, 1 / 850), backlog=2, shortest_seconds=0.03)
        controller.local, controller.cores_used_up = True, used_up
        runs.append(simulate(controller, LevellingServer(), seed=seed))
    assert median_items(runs) <= 2_500
    assert statistics.median(run.tail_throughput for run in runs) >= 0.92


def test_new_lanes_are_judged_once_they_have_told_of_a_batch() -> None:
    """Lanes that take batches are silent until the first is over: that silence is no lack of throughput."""
    controller = LaneController(100, known=(50, 12_500.0, 0.004), shortest_seconds=0.03)
    controller.local, now = True, 0.001
    controller.add(now, 40, 1, 0.16, turns=20)  # A failure: every further step is a careful one.

    def tell(seconds: float, lanes: int) -> None:
        nonlocal now
        for _ in range(round(seconds * 1000)):
            now += 0.001
            controller.add(now, lanes // 2, 0, lanes * 0.002, turns=lanes // 4)

    while controller.lanes == 100:
        tell(0.001, 100)
    tell(batch_seconds(200), 100)  # A hundred new ones say nothing yet.
    assert controller.lanes == 200
    tell(0.3, 200)
    assert controller.lanes == 400


@pytest.mark.parametrize("slots", [1, 4, 16])
def test_free_lanes_that_bring_nothing_are_given_back(slots: int) -> None:
    """They burden nobody, but memory and files they take: thirty-two at a lock become few, at no cost."""
    runs = []
    for seed in range(15):
        controller = LaneController(32, backlog=2, shortest_seconds=0.03)
        controller.local = True
        runs.append(simulate(controller, SlotServer(slots), seed=seed))
    assert statistics.median(run.tail_lanes for run in runs) <= 12 / slots + 1.5
    assert statistics.median(run.tail_throughput for run in runs) >= 0.95


def test_a_burst_does_not_settle_a_doubt() -> None:
    """A window that told too little goes on to its end: a moment at which it would have told enough is chance."""
    controller = LaneController(8, known=(4, 100.0, 0.04), shortest_seconds=0.03)
    controller.local = True
    now = 0.0
    for _ in range(40):  # 8 turns are discarded.
        now += 0.008
        controller.add(now, 1, 0, 0.064)
    assert controller.lanes == 8
    for _ in range(8):  # As if eight lumps had come at once.
        now += 0.0001
        controller.add(now, 1, 0, 0.064)
    assert controller.lanes == 8


def test_known_throughput_of_one_lane() -> None:
    """What one lane did is enough to see at once that sixteen do no more."""
    controller = LaneController(16, known=(1, 10.0, 0.1))
    simulate(controller, SlotServer(1), items=150)
    assert controller.lanes <= 2


def test_fewer_lanes_that_plainly_do_less_are_left_after_one_window() -> None:
    """Where response times hardly vary, one window says all: three more would cost as much again."""
    run = simulate(LaneController(4), SlotServer(40, ServiceTime(variation=0.02)))
    held = run.lanes[4000:]
    base = statistics.mode(held)
    below = [len(list(turns)) for fewer, turns in groupby(held, key=lambda lanes: lanes < base) if fewer]
    assert base >= 36
    assert below  # It does try.
    assert statistics.median(below) < 3 * base  # One turn of each lane that was, two of each that is.


def test_lanes_that_take_batches_rest_no_longer() -> None:
    """A rest is so many items, however many of them end at a time."""

    def items_at_rest(lump: int) -> int:
        controller, now, items = LaneController(4, known=(2, 100.0, 0.04), shortest_seconds=0.03), 0.0, 0
        while not controller.settled or controller.lanes == controller.knee:
            now, items = now + lump * 0.01, items + lump
            controller.add(now, lump, 0, lump * 0.04, turns=1)
        return items

    assert items_at_rest(6) < 5 * items_at_rest(1)  # Windows are so many batches: those before the rest do last longer.


@pytest.mark.parametrize(("used_up", "fewest_windows"), [(True, LONGEST_REST), (False, FIRST_REST)])
def test_other_lanes_are_tried_seldom_where_cores_are_used_up(used_up: bool, fewest_windows: int) -> None:
    """Little can be gained there, and what is seen by chance is not to move the lanes about."""
    controller, now, turns = LaneController(16, known=(8, 1000.0, 0.016)), 0.0, 0
    controller.local, controller.cores_used_up = True, used_up
    settled_at = None
    while settled_at is None or controller.lanes == controller.knee:
        now, turns = now + 0.001, turns + 1
        controller.add(now, 1, 0, 0.016)
        if settled_at is None and controller.settled:
            settled_at = turns
    windows = (turns - settled_at) / (2 * (controller.knee or 1))
    assert windows >= fewest_windows
    assert used_up or windows < LONGEST_REST
