"""Demands, roofs, gauges and trials as values; and how a plan is told to a person."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise import Plan, Shape
from poolwise._core.model import Done
from poolwise._policy.demands import Demands, Estimate, Knock, held_share, kind_of
from poolwise._policy.gauge import Gauge
from poolwise._policy.pack import batch_seconds
from poolwise._policy.roofs import Candidate, Ground, lanes_of_each, roofs, shortlist, throughput
from poolwise._policy.trial import Trial

exact = Estimate.exact


def demands_of(response: float, cpu: float, held: float | None, **more: float) -> Demands:
    share = None if held is None else Estimate(held, max(0.0, held - 0.05 * response), held + 0.05 * response)
    return Demands(exact(response), exact(cpu), share, items=50, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("demands", "kind"),
    [
        (demands_of(0.005, 0.00005, 0.00004), "io"),
        (demands_of(0.005, 0.005, 0.005), "gil"),
        (demands_of(0.005, 0.0, 0.005), "gil"),
        (demands_of(0.005, 0.005, 0.0001), "cpu"),
        (demands_of(0.005, 0.005, 0.0025), "mixed"),
        (demands_of(0.005, 0.003, 0.001), "mixed"),
        (demands_of(0.000001, 0.000001, None), "tiny"),
        (demands_of(0.004, 0.004, 0.0, wire=0.004, bytes=8e6), "transfer"),
        (demands_of(0.005, 0.005, None), "unknown"),
        (Demands(exact(0.005), exact(0.005), Estimate(0.003, 0.0, 0.005), items=2), "unknown"),
        (Demands(exact(0.005), exact(0.0), Estimate(0.0, 0.0, 0.004), items=1), "unknown"),
        (Demands(exact(0.0), exact(0.0)), "unknown"),
        (Demands(Estimate(0.0033, 0.0, 0.006), exact(0.00045), exact(0.0), items=50), "unknown"),  # io, when slow
        (Demands(Estimate(0.0033, 0.003, 0.0036), exact(0.00045), exact(0.0), items=50), "mixed"),
        (Demands(exact(0.002), exact(0.002), Estimate(0.00048, 0.00023, 0.00065), items=50), "unknown"),  # cached reads
        (Demands(exact(0.002), exact(0.002), Estimate(0.0008, 0.0005, 0.0011), items=50), "mixed"),
        (Demands(exact(0.002), exact(0.002), exact(0.0), items=50, stolen=0.0004), "cpu"),
        (Demands(exact(0.002), exact(0.002), exact(0.0), items=50, stolen=0.0006), "unknown"),
        (Demands(exact(0.002), exact(0.002), exact(0.002), items=50, stolen=0.0006), "unknown"),
        (Demands(exact(0.02), exact(0.0001), exact(0.0001), items=50, stolen=0.0006), "io"),
    ],
)
def test_kinds(demands: Demands, kind: str) -> None:
    """Each border between kinds, and "unknown" where the interval reaches over one."""
    assert kind_of(demands) == kind


def test_held_share_counts_only_knocks_while_items_ran() -> None:
    """What is heard between items says nothing about them."""
    spans = [(1.0, 2.0), (3.0, 4.0)]
    inside = [Knock(1.5, 0.001, 0.0, False), Knock(3.5, 0.001, 0.0, False)]
    outside = [Knock(2.5, 0.001, 0.001, True)] * 9
    share = held_share(inside + outside, spans)
    assert share is not None
    assert share.value == 0
    assert held_share(outside, spans) is None
    assert held_share([], []) is None


@given(st.lists(st.tuples(st.floats(1e-6, 1e-2), st.floats(0, 1e-2), st.booleans()), min_size=1, max_size=60))
def test_held_share_is_a_share(knocks: list[tuple[float, float, bool]]) -> None:
    """Whatever was heard, low <= value <= high, all within 0 and 1."""
    share = held_share(
        [Knock(1.0, slept, waited if held else 0.0, held) for slept, waited, held in knocks], [(0.0, 2.0)]
    )
    assert share is not None
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_roofs_are_sorted_and_name_what_binds() -> None:
    """The lowest roof comes first, with the sum that gives it."""
    found = roofs(demands_of(0.010, 0.006, 0.004), Shape(2, 4), Ground(2.0, 2), children=True)
    assert [roof.name for roof in found] == ["cores", "gil", "lanes", "wire"]
    assert found[0].per_second == pytest.approx(2 / 0.006)
    assert "2 cores" in found[0].reason
    assert roofs(demands_of(0.01, 0.0, 0.01), Shape(1, 4), Ground(2.0, 2), children=False)[0].name == "gil"


def test_no_gil_no_roof() -> None:
    """On a free-threaded interpreter threads have no GIL roof, and are preferred to processes."""
    work = demands_of(0.005, 0.005, None)
    free = Ground(4.0, 4, gil=False)
    assert all(roof.name != "gil" for roof in roofs(work, Shape(1, 4), free, children=False))
    assert shortlist(work, free, Shape(1, 1))[0].shape == Shape(1, 4)


@given(
    response=st.floats(1e-6, 10),
    cpu=st.floats(0, 1),
    held=st.floats(0, 1),
    cores=st.floats(0.5, 64),
    workers=st.integers(1, 64),
    lanes=st.integers(1, 512),
)
def test_shortlists_keep_to_the_ground(
    response: float, cpu: float, held: float, cores: float, workers: int, lanes: int
) -> None:
    """At most three, each within what is allowed, each promising more than the shape that runs."""
    work = Demands(exact(response), exact(cpu * response), exact(held * response), items=9)
    ground = Ground(cores, workers, most_lanes=lanes, most_total=lanes)
    rivals = shortlist(work, ground, Shape(1, 1))
    assert len(rivals) <= 3
    for rival in rivals:
        assert rival.shape != Shape(1, 1)
        assert rival.shape.workers <= workers
        assert rival.shape.lanes <= lanes
        assert math.isfinite(rival.predicted)


def test_gauge_counts_gaps_and_only_its_own() -> None:
    """The throughput of a lane includes its idle gaps; events of before, or of another place, do not count."""
    gauge = Gauge(2, 10.0, children=False)
    for lane in (0, 1):
        for number in range(5):
            gauge.add(Done(0, 0, [None], {}, 0, lane, 10.0 + number * 0.2, 0.1, 0.1), 1)
    gauge.add(Done(0, 0, [None] * 100, {}, 0, 0, 9.0, 0.1, 0.1), 100)
    gauge.add(Done(0, 0, [None] * 100, {}, 3, 0, 11.0, 0.1, 0.1), 100)
    assert gauge.complete
    assert gauge.rate(10.9) == pytest.approx(2 * 4 / 0.8)


def test_gauge_sees_lanes_that_starve() -> None:
    """Behind an unfair lock one lane does everything: that is no throughput of three, nor of four."""
    gauge = Gauge(4, 10.0, children=False)
    for lane, items in ((0, 101), (1, 5), (2, 1)):
        for number in range(items):
            gauge.add(Done(0, 0, [None], {}, 0, lane, 10.0 + number * 0.01, 0.01, 0.01), 1)
    assert gauge.rate(11.02) == pytest.approx(100, rel=0.1)  # While it works each lane seems to do 100 a second.


def test_gauge_is_not_misled_by_a_lane_with_quick_items() -> None:
    """Thirty items in 2 ms, and then one that takes long: all items over all lane-seconds, what is in hand included."""
    gauge = Gauge(2, 10.0, children=False)
    for lane, seconds in ((0, 0.002), (1, 0.3)):
        gauge.add(Done(0, 0, [None], {}, 0, lane, 10.0, 0.01, 0.01), 1)
        gauge.add(Done(0, 0, [None] * 30, {}, 0, lane, 10.01, seconds, 0.001), 30)
    in_hand = 0.35 - 0.012 - batch_seconds(2)  # But for what the lane may not have told of yet.
    assert gauge.rate(10.36) == pytest.approx(2 * 60 / (0.302 + in_hand), rel=0.05)


def _window(trial: Trial, now: float, per_second: float, size: float = 0.001) -> float:
    assert trial.current is not None
    shape = trial.current.shape
    trial.begin(now)
    each = shape.total / per_second
    for number in range(400):
        for lane in range(shape.total):
            worker, place = (lane // shape.lanes + 1, lane % shape.lanes) if shape.workers > 1 else (0, lane)
            trial.add(Done(0, 0, [None], {}, worker, place, now + number * each, each, size), 1)
    now += 400 * each
    assert trial.conclude(now, each)
    return now


THREADS = Candidate(Shape(1, 2), 200.0, False)
WORKERS = Candidate(Shape(2, 1), 200.0, True)


def test_trial_stops_at_a_rival_that_keeps_its_promise() -> None:
    """Where the first rival does what its roofs allow, the second is not tried."""
    trial = Trial(Candidate(Shape(1, 1), 100.0, False), 100.0, [THREADS, WORKERS])
    _window(trial, 0.0, 195.0)
    assert trial.current is None
    assert trial.best == THREADS


@pytest.mark.parametrize(("first", "second"), [(95.0, 190.0), (300.0, 400.0)], ids=["not kept", "exceeded"])
def test_trial_goes_on_where_a_promise_tells_nothing(first: float, second: float) -> None:
    """Not kept, or exceeded by half, which shows the roofs wrong: the next is tried, and the better one wins."""
    trial = Trial(Candidate(Shape(1, 1), 100.0, False), 100.0, [THREADS, WORKERS])
    now = _window(trial, 0.0, first)
    assert trial.current == WORKERS
    _window(trial, now, second)
    assert trial.best == WORKERS


@pytest.mark.parametrize(("rate", "again"), [(80.0, False), (95.0, True), (125.0, True), (135.0, False)])
def test_what_a_second_look_could_change(rate: float, again: bool) -> None:
    """A cheaper shape has won where it leads; a costlier one has to lead by more."""
    trial = Trial(Candidate(Shape(1, 1), 100.0, False), 100.0, [THREADS])
    _window(trial, 0.0, rate)
    assert (trial.current is not None) == again


@pytest.mark.parametrize(
    ("promised", "rate", "wins"), [(200.0, 112.0, False), (120.0, 112.0, True), (1000.0, 150.0, False)]
)
def test_what_keeps_little_of_its_promise_must_lead_by_more(promised: float, rate: float, wins: bool) -> None:
    """Something binds it that nobody knows: 8 % are enough for a shape that keeps all, not for one that keeps half."""
    rival = Candidate(Shape(1, 8), promised, False)
    trial = Trial(Candidate(Shape(1, 1), math.inf, False), 100.0, [rival])
    now = 0.0
    while trial.current is not None:
        now = _window(trial, now, rate if trial.current == rival else 100.0)
    assert (trial.best == rival) == wins


@pytest.mark.parametrize(("second", "size"), [(108.0, 0.001), (60.0, 0.004)], ids=["close", "other items"])
def test_trial_measures_twice_where_in_doubt(second: float, size: float) -> None:
    """Two that are close, or were seen with unlike items, run again."""
    base = Candidate(Shape(1, 1), 100.0, False)
    trial = Trial(base, 100.0, [WORKERS], base_size=0.001)
    now = _window(trial, 0.0, second, size)
    shapes = []
    while trial.current is not None:
        shapes.append(trial.current.shape)
        now = _window(trial, now, 25.0 if trial.current == base else second, 0.004)
    assert set(shapes) == {Shape(1, 1), Shape(2, 1)}
    assert trial.best == WORKERS


def test_no_rival_wins_against_a_guess() -> None:
    """Where the first items told little of the base's rate, it gets a window of its own, which replaces the guess."""
    base = Candidate(Shape(1, 1), 100.0, False)
    trial = Trial(base, 30.0, [WORKERS], base_spread=4.0)
    now = _window(trial, 0.0, 60.0)
    assert trial.current == base
    _window(trial, now, 120.0)
    assert trial.best == base
    assert trial.rates[base.shape] == [pytest.approx(120.0, rel=0.05)]


@pytest.mark.parametrize(("rate", "again"), [(60.0, True), (160.0, False)], ids=["keeps little", "keeps its promise"])
def test_a_winner_that_keeps_little_is_held_against_a_window(rate: float, again: bool) -> None:
    """Also where the guess seemed sure: the first items of a lane may have paid for more than themselves."""
    base = Candidate(Shape(1, 1), 100.0, False)
    trial = Trial(base, 30.0, [WORKERS], base_spread=1.2)
    _window(trial, 0.0, rate)
    assert (trial.current == base) == again


@pytest.mark.parametrize(
    ("total", "served", "lanes"),
    [(32, 10.0, 16), (64, 13.5, 32), (32, 18.0, 27), (128, 55.0, 64), (16, 0.0, 8), (16, 40.0, 16), (3, 0.5, 2)],
)
def test_workers_begin_with_the_lanes_that_are_served(total: int, served: float, lanes: int) -> None:
    """Lanes that stood in line for one GIL are not taken along, but there are as many in all as before."""
    assert lanes_of_each(2, total, served, Ground(2.0, 2)) == lanes
    assert lanes_of_each(2, total, served, Ground(2.0, 2, most_total=4)) <= 2


def test_a_base_seen_without_a_window_gets_one_where_a_rival_is_near() -> None:
    """What a base did while the rival was made ready, at its best, is enough where the rival is far from that."""
    base = Candidate(Shape(1, 32), math.inf, False)
    rival = Candidate(Shape(2, 1), math.inf, True)
    far = Trial(base, 50.0, [rival], alike=True)
    far.note_base(80.0)
    far.note_base(60.0)
    assert far.current == rival
    assert far.rates[base.shape] == [pytest.approx(80.0)]
    _window(far, 0.0, 160.0)
    assert far.current is None
    assert far.best == rival
    near = Trial(base, 80.0, [rival], alike=True)
    now = _window(near, 0.0, 90.0)
    while near.current is not None:
        now = _window(near, now, 120.0 if near.current == base else 90.0)
    assert near.rates[base.shape] == [pytest.approx(120.0, rel=0.05)]
    assert near.best == base


def test_a_plan_for_a_person() -> None:
    """One sentence first (what it is, where it runs, what binds, both speed-ups), then the roofs, then the reasons."""
    work = demands_of(0.003, 0.003, 0.003)
    shape = Shape(4, 1)
    found = tuple(roofs(work, shape, Ground(4.0, 4), children=True))
    plan = Plan(
        "gil",
        shape,
        ("tried",),
        demands=work,
        roofs=found,
        predicted=found[0].per_second,
        observed=1000.0,
        serial=333.0,
    )
    text = plan.explain()
    first = text.splitlines()[0]
    assert first.startswith("Computing with the GIL held (gil): 4x1 (4 worker processes), bound by ")
    assert "predicted 4.00x one lane, observed 3.00x" in first
    assert "<- binds" in text


def test_a_gap_is_named() -> None:
    """Where much less was seen than the roofs allow, the explanation says so and names the cause it can."""
    work = demands_of(0.003, 0.003, 0.0015)
    found = tuple(roofs(work, Shape(1, 2), Ground(2.0, 2), children=False))
    plan = Plan("mixed", Shape(1, 2), (), demands=work, roofs=found, predicted=666.0, observed=300.0, serial=333.0)
    assert "handing the GIL from lane to lane" in plan.explain()


def test_nothing_measured_is_said() -> None:
    """A plan that was asked for explains itself without inventing numbers."""
    text = Plan("unknown", Shape(2, 1), ("asked for",)).explain()
    assert text.splitlines()[0] == "2x1 (2 worker processes), as asked for."
    bounded = Plan("unknown", Shape(1, 2), ("asked for", "this run starts inside a worker")).explain()
    assert bounded.splitlines()[0] == "What binds it is not known: 1x2 (2 lanes in this process)."


def test_held_share_is_not_below_what_was_waited() -> None:
    """One knock that waited through most of a long item has seen the GIL held for most of it: no chance is in that."""
    share = held_share([Knock(1.01, 0.001, 0.085, True)], [(1.0, 1.1)])
    assert share is not None
    assert share.low == pytest.approx(0.80)  # Of the 85 ms, those after the switch interval.
    clipped = held_share([Knock(1.09, 0.001, 0.085, True)], [(1.0, 1.1)])
    assert clipped is not None
    assert clipped.low < 0.5  # It went on to wait when the item was over.


def test_short_waits_prove_nothing() -> None:
    """Items that let go of the GIL for 20 us take it back before the knocker is awake, for as long as an interval."""
    knocks = [Knock(1 + n * 0.006, 0.001, 0.005 * (n % 3 > 0), n % 3 > 0) for n in range(60)]
    share = held_share(knocks, [(1.0, 1.4)])
    assert share is not None
    assert share.value > 0.85
    assert share.low < 2 / 3


def test_a_wait_over_many_items_is_known_for_all_of_them() -> None:
    """Items that let go of the GIL for a moment each keep a knocker waiting through many of them."""
    items = [(1.0 + 0.003 * number, 1.003 + 0.003 * number - 1e-5) for number in range(100)]
    for at in (1.001, 0.999):  # It came while the first ran, or just before.
        share = held_share([Knock(at, 0.001, 0.299, True)], items)
        assert share is not None
        assert share.low > 0.95
    assert held_share([Knock(0.9999, 0.001, 0.001, True)], items) is None  # It had the GIL before the first was over.


def test_a_wait_that_began_between_two_items_is_known() -> None:
    """It counts as no knock, for it was drawn at no moment of an item; but what it saw of one it saw."""
    knocks = [Knock(0.9990, 0.001, 0.139, True), Knock(1.139, 0.001, 0.012, True)]
    share = held_share(knocks, [(1.0, 1.15)])
    assert share is not None
    assert share.low > 0.90
    assert held_share(knocks[:1], [(1.0, 1.15)]) is None


def test_what_is_let_go_of_all_the_time_is_not_held_for_as_long_as_one_waits() -> None:
    """Three quarters Python and one quarter hashing, by turns of 80 us: a knocker that sleeps on never gets the GIL."""
    knocks = [Knock(1 + n * 0.03, 0.001, 0.029 * (n % 4 > 0), n % 4 > 0, missed=360 * (n % 4 > 0)) for n in range(40)]
    share = held_share(knocks, [(1.0, 2.2)])
    assert share is not None
    assert share.value == pytest.approx(0.75)
    assert share.low < 0.70
    rarely = [replace(knock, missed=10 * knock.held) for knock in knocks]  # Items of 3 ms, and a moment after each.
    share = held_share(rarely, [(1.0, 2.2)])
    assert share is not None
    assert share.value > 0.95


def test_trial_waits_for_the_shape_before() -> None:
    """While lanes that were left still work, a window tells of both: it begins when they are done, or it is late."""
    trial = Trial(Candidate(Shape(1, 1), 100.0, False), 100.0, [THREADS])
    trial.begin(10.0)
    for number in range(50):
        for lane in (0, 1):
            trial.add(Done(0, 0, [None], {}, 0, lane, 10.0 + number * 0.001, 0.001, 0.001), 1)
    trial.postpone(10.05, 0.001)
    assert trial.opened == 10.0
    assert not trial.conclude(10.06, 0.001)
    trial.postpone(99.0, 0.001)  # It is too late for that.
    assert trial.conclude(99.0, 0.001)
    assert trial.rates[THREADS.shape][-1] < 10


def test_lanes_that_starve_keep_no_window_open() -> None:
    """Behind a lock one lane may do all the work: where it did plenty, what the others did not do is no matter."""
    trial = Trial(Candidate(Shape(1, 1), 100.0, False), 100.0, [Candidate(Shape(1, 6), 6000.0, False)])
    trial.begin(10.0)
    ended = 0
    while not trial.conclude(10.0 + ended * 0.001, 0.001):
        trial.add(Done(0, 0, [None], {}, 0, 3, 10.0 + ended * 0.001, 0.001, 0.001), 1)
        ended += 1
        assert ended < 120, "it waits for lanes that starve"
    assert trial.rates[Shape(1, 6)] == [pytest.approx(1000.0)]
    assert trial.is_held_up(Shape(1, 6))  # However much quicker than the one before: that was chance.


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.012344, "0.01234"),
        (12.344, "12.34"),
        (999.94, "999.9"),
        (1234.4, "1,234"),
        (26_784.0, "26,780"),
        (6.4e6, "6,400,000"),
    ],
)
def test_rates_are_written_for_people(rate: float, text: str) -> None:
    """Four digits, and never a power of ten."""
    assert throughput(rate) == text


def test_a_window_that_was_held_up_is_repeated_once() -> None:
    """What the shape before left behind may block the next: hardly an item ends, which tells nothing of the shape."""
    base = Candidate(Shape(1, 1), 100.0, False)
    trial = Trial(base, 100.0, [WORKERS], base_spread=4.0)
    now = _window(trial, 0.0, 150.0)
    assert trial.current == base
    trial.begin(now)
    assert not trial.conclude(now + 1.0, 0.01)  # Nothing has ended for long.
    assert trial.measuring
    assert trial.rates[base.shape] == [100.0]
    assert trial.conclude(now + 2.0, 0.01)  # Again nothing: so it is.
    assert trial.rates[base.shape] == [pytest.approx(0.0)]


@pytest.mark.parametrize(("size", "again"), [(0.001, True), (0.004, False)], ids=["items alike", "other items"])
def test_a_window_far_below_an_earlier_one_is_repeated_where_its_items_are_alike(size: float, again: bool) -> None:
    """A disk that stops for a moment is no property of the shape; items that cost four times as much may well be."""
    base = Candidate(Shape(1, 1), math.inf, False)
    trial = Trial(base, 100.0, [Candidate(Shape(1, 6), 600.0, False)], base_size=0.001, base_spread=1.2)
    now = _window(trial, 0.0, 120.0)
    assert trial.current == base
    trial.begin(now)
    for number in range(400):
        trial.add(Done(0, 0, [None], {}, 0, 0, now + number * 0.02, 0.02, size), 1)
    assert trial.conclude(now + 8.0, 0.01) != again
    assert trial.measuring == again
    while trial.current is not None:
        now = _window(trial, now + 8.0, 110.0 if trial.current == base else 120.0, size)
    assert (trial.mean(base.shape) > 100.0) == again


@pytest.mark.parametrize(("seconds", "again"), [((0.01, 0.01, 0.01, 0.01, 0.3), True), ((0.07,) * 5, False)])
def test_a_window_that_one_item_held_up_is_repeated(seconds: tuple[float, ...], again: bool) -> None:
    """A disk that stops for a moment, and not items that all take long in that shape."""
    base = Candidate(Shape(1, 1), math.inf, False)
    trial = Trial(base, 100.0, [Candidate(Shape(1, 6), 600.0, False)], base_size=0.001, base_spread=1.2)
    now = _window(trial, 0.0, 120.0)
    assert trial.current == base
    trial.begin(now)
    for took in seconds:
        trial.add(Done(0, 0, [None], {}, 0, 0, now, took, 0.0002, [(now, took, 0.0002)]), 1)
        now += took
    assert trial.conclude(now, 0.01) != again
    assert trial.measuring == again


def test_items_that_cost_what_they_did_do_not_drift() -> None:
    """Where the base's items cost the same later on, it is the shapes that differ: promises go on to count."""
    base = Candidate(Shape(1, 1), math.inf, False)
    rival = Candidate(Shape(1, 4), 1000.0, False)

    def run(later: float) -> Trial:
        trial = Trial(base, 100.0, [rival], base_size=0.002, base_spread=1.2)
        now = 0.0
        while trial.current is not None:
            of_base = trial.current == base
            now = _window(trial, now, 100.0 if of_base else 118.0, later if of_base else 0.001)
        return trial

    assert run(0.002).best == base  # It keeps an eighth of its promise, so it would have to lead by more.
    assert run(0.002).kept(rival.shape) == pytest.approx(0.118, rel=0.05)


@pytest.mark.parametrize(("half", "best"), [(115.0, Shape(2, 2)), (70.0, Shape(2, 4))], ids=["as well", "worse"])
def test_lanes_that_stand_in_a_line_are_halved_where_fewer_do_as_well(half: float, best: Shape) -> None:
    """The best one kept little of its promise: half its lanes are measured too, and half of those."""
    base = Candidate(Shape(1, 1), math.inf, False)
    trial = Trial(base, 90.0, [Candidate(Shape(2, 4), 400.0, True)], base_spread=1.2)
    seen, now = [], 0.0
    while trial.current is not None:
        shape = trial.current.shape
        seen.append(shape)
        now = _window(
            trial, now, {Shape(2, 4): 120.0, Shape(2, 2): half}.get(shape, 60.0 + 30.0 * (shape == base.shape))
        )
    assert Shape(2, 2) in seen
    assert (Shape(2, 1) in seen) == (half > 100)
    assert trial.best.shape == best
    assert trial.best.children


def test_a_second_look_is_as_long_as_the_first_at_another_shape() -> None:
    """What was seen for a tenth of a second stands beside what was seen for half of one."""
    base, rival = Candidate(Shape(1, 1), math.inf, False), Candidate(Shape(1, 2), 120.0, False)
    trial = Trial(base, 100.0, [rival], base_spread=1.2)
    now = _window(trial, _window(trial, 0.0, 110.0), 110.0)
    assert now < 100.0
    assert trial.current == base
    trial.begin(100.0)
    for number in range(10):  # Enough items, and long enough for a first look.
        trial.add(Done(0, 0, [None], {}, 0, 0, 100.0 + number * 0.01, 0.01, 0.001), 1)
    assert not trial.conclude(100.1, 0.01)


def test_a_shape_that_is_far_behind_has_a_short_second_look() -> None:
    """What does less than half as much needs no half a second to show it."""
    base, rival = Candidate(Shape(1, 1), math.inf, False), Candidate(Shape(1, 2), 120.0, False)
    trial = Trial(base, 100.0, [rival], base_spread=1.2)
    _window(trial, _window(trial, 0.0, 110.0), 110.0)
    trial.begin(100.0)
    for number in range(5):
        trial.add(Done(0, 0, [None], {}, 0, 0, 100.0 + number * 0.02, 0.02, 0.001), 1)
    assert trial.conclude(100.1, 0.02)


def test_fewer_lanes_than_those_in_a_line_are_tried_above_the_best() -> None:
    """One lane seemed best, as six and three were slow: two are between, and better."""
    base = Candidate(Shape(1, 1), math.inf, False)
    trial = Trial(base, 400.0, [Candidate(Shape(1, 6), 2200.0, False)], base_spread=1.2)
    rates = {1: 400.0, 2: 600.0, 3: 380.0, 6: 350.0}
    seen, now = [], 0.0
    while trial.current is not None:
        seen.append(trial.current.shape.lanes)
        now = _window(trial, now, rates[trial.current.shape.lanes])
    assert {3, 2} <= set(seen)
    assert trial.best.shape == Shape(1, 2)


def test_lanes_that_keep_little_stand_in_a_line() -> None:
    """It shows in any shape of as many workers and lanes as the best one or more, also where that promised nothing."""
    base = Candidate(Shape(1, 2), math.inf, False)
    rivals = [Candidate(Shape(1, 5), 1000.0, False), Candidate(Shape(2, 5), 1000.0, True)]
    for threads, held_up in ((105.0, True), (600.0, False)):
        trial = Trial(base, 100.0, rivals, base_spread=1.2)
        rates = {Shape(1, 1): 90.0, Shape(1, 2): 100.0, Shape(1, 5): threads}
        now = 0.0
        while trial.current is not None:
            now = _window(trial, now, rates.get(trial.current.shape, 105.0))
        assert trial.best.shape == (Shape(1, 2) if held_up else Shape(1, 5))
        assert trial.is_held_up(trial.best.shape) == held_up
        assert trial.is_held_up(Shape(2, 5))
