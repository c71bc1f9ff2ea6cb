"""Comparisons: order, intervals, warnings, words and files; with a measurer that makes its times up."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolwise import BackendError, Comparison, Shape, UsageError
from poolwise._bench import record, schedule
from poolwise._bench.analysis import analyse
from poolwise._bench.child import Calls
from poolwise._bench.compare import Bench, Wishes, shown
from poolwise._bench.model import Calibration, Design, Disturbance, Identity, Interval, Measured, Trial, form_of
from poolwise._bench.process import BrokenRun
from poolwise._bench.statistics import coverage_of_range, differs, floor_of, ratio, student, tail
from poolwise._bench.words import seconds_text, verdict

SIDES = ("1x1", "1x2", "2x1")
SECONDS = {"1x1": 2.0, "1x2": 1.0, "2x1": 1.5, "auto": 1.1}
IDENTITY = Identity("module:function", {"n": "1"}, "", "source", "items", 100, "CPython 3.11", "Linux, 2 cores")


def plan(kind: str = "cpu", *, response: float = 0.02, held: float = 0.001, wait: float = 0.0) -> dict[str, Any]:
    """A plan as a first look gives it."""
    demands = {"response_seconds": {"value": response}, "held_seconds": {"value": held}, "wait_seconds": wait}
    return {"kind": kind, "shape": "1x2", "demands": demands}


def design(sides: tuple[str, ...] = SIDES, **changes: Any) -> Design:
    """A design of three sides, whose second is compared with itself."""
    calibration = Calibration(plan(), 50, 0.02)
    return replace(Design(IDENTITY, 100, sides, {}, sides[1], 7, 20.0, calibration, False, 2.0), **changes)


def measured_trials(
    given: Design, seconds: Callable[[int, str, bool, int], float], blocks: int = 5, **changes: Any
) -> list[Trial]:
    """Make up the runs of some blocks, by a function of block, side, whether it is the twin, and the run's place."""
    trials = []
    for block in range(blocks):
        for place in schedule.block_order(given.sides, given.twin, given.seed, block):
            took = seconds(block, place.side, place.twin, len(trials))
            measured = replace(Measured(took, "digest"), **changes)
            trials.append(Trial(block, place.side, place.twin, measured, "", Disturbance(0.0)))
    return trials


def noisy(spread: float, table: Mapping[str, float] = SECONDS) -> Callable[[int, str, bool, int], float]:
    """Times with a log-normal error, the same at each call."""
    rng = random.Random(3)
    return lambda block, side, twin, place: table[side] * math.exp(rng.gauss(0.0, spread))


def kinds(comparison: Comparison) -> list[str]:
    """The kinds of its warnings."""
    return [warning.kind for warning in comparison.warnings]


# -- statistics


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (4, 2.776), (11, 2.201), (20, 2.086), (60, 2.000)])
def test_students_t(degrees: int, quantile: float) -> None:
    """The quantile is that of the tables."""
    assert student(degrees) == pytest.approx(quantile, abs=0.003)


def test_an_expanded_interval_cuts_off_less_than_a_percentile_interval() -> None:
    """Few blocks: nearly nothing is cut off; many: about 2.5 % at each end."""
    assert tail(5) < 0.002
    assert tail(10) < 0.011
    assert 0.024 < tail(2000) < 0.025


def test_an_interval_over_few_blocks_is_their_range() -> None:
    """With four blocks and fewer there is nothing to be cut off."""
    logs = [0.1, 0.4, 0.2, 0.3]
    found = ratio(logs, seed=1)
    assert found.value == pytest.approx(math.exp(0.25))
    assert (found.low, found.high) == (pytest.approx(math.exp(0.1)), pytest.approx(math.exp(0.4)))


def test_one_block_has_no_interval() -> None:
    """One value says nothing of its spread."""
    assert ratio([math.log(2)], seed=1) == Interval(pytest.approx(2.0))


def test_the_same_seed_gives_the_same_interval() -> None:
    """And another one another."""
    logs = [random.Random(5).gauss(0.5, 0.2) for _ in range(12)]
    logs = [log + 0.01 * place for place, log in enumerate(logs)]
    assert ratio(logs, seed=1) == ratio(logs, seed=1)
    assert ratio(logs, seed=1) != ratio(logs, seed=2)


@pytest.mark.parametrize("blocks", [6, 10])
def test_intervals_hold_the_truth_about_as_often_as_they_say(blocks: int) -> None:
    """Of 200 comparisons with a known ratio nine in ten intervals or more hold it, and not all."""
    rng = random.Random(11)
    held = 0
    for seed in range(200):
        found = ratio([rng.gauss(math.log(1.5), 0.1) for _ in range(blocks)], seed)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.5 <= found.high
    assert 0.90 <= held / 200 < 1.0


def test_noise_floor_and_difference() -> None:
    """What differs leaves 1 out of its interval, and is farther from 1 than a side is from itself."""
    assert floor_of(Interval(1.0, 0.9, 1.05)) == pytest.approx(1 / 0.9 - 1)
    assert floor_of(Interval(1.0)) is None
    assert differs(Interval(1.5, 1.4, 1.6), 0.1)
    assert not differs(Interval(1.05, 1.02, 1.08), 0.1)
    assert not differs(Interval(1.5, 0.9, 2.1), 0.1)
    assert not differs(Interval(1.5), 0.1)
    assert differs(Interval(1.05, 1.02, 1.08), None)
    assert coverage_of_range(2) == 0.5


# -- the schedule


def test_a_block_is_a_random_order_and_its_reverse() -> None:
    """Each side, and the twin, twice; the mean place is the same for all, so a steady drift falls on all alike."""
    orders = [schedule.block_order(SIDES, "2x1", 7, block) for block in range(20)]
    for order in orders:
        assert order == order[::-1]
        places: dict[schedule.Place, list[int]] = {}
        for number, place in enumerate(order):
            places.setdefault(place, []).append(number)
        assert set(places) == {schedule.Place("2x1", True), *map(schedule.Place, SIDES)}
        assert {statistics.mean(numbers) for numbers in places.values()} == {3.5}
    assert len(set(map(tuple, orders))) > 5
    assert orders == [schedule.block_order(SIDES, "2x1", 7, block) for block in range(20)]


def test_shapes_are_read_and_written_one_way() -> None:
    """Texts and Shapes, each once."""
    assert schedule.parse_shapes(["serial", Shape(1, 8), "1X8", "auto", " 4 x 1"]) == ("1x1", "1x8", "auto", "4x1")
    assert schedule.parse_shapes("2x1") == ("2x1",)


@pytest.mark.parametrize("shapes", [["fast"], [3], 3, ["1x0"]])
def test_what_is_no_shape(shapes: Any) -> None:
    """One sentence."""
    with pytest.raises(UsageError):
        schedule.parse_shapes(shapes)


def test_default_shapes() -> None:
    """One lane, threads, processes, what is advised, auto; each once."""
    assert schedule.default_shapes("1x64", 4) == ("1x1", "1x4", "4x1", "1x64", "auto")
    assert schedule.default_shapes("2x1", 1) == ("1x1", "1x2", "2x1", "auto")


@pytest.mark.parametrize(
    ("given", "each", "sides", "count"),
    [
        (10_000, 0.01, ("1x1", "1x2"), 200),  # two seconds
        (50, 0.01, ("1x1", "1x2"), 50),  # all there are
        (10_000, 0.1, ("1x1", "1x64", "joblib"), 60),  # three times as long, for the many lanes
        (10_000, 0.1, ("1x1", "1x16", "auto"), 32),  # two for each lane
        (10_000, 30.0, ("1x1", "1x16"), 4),  # two for each core, however long
        (3, 0.0, ("1x1", "1x2"), 3),
    ],
)
def test_how_many_items(given: int, each: float, sides: tuple[str, ...], count: int) -> None:
    """As many as one lane does in the wanted time, with exceptions for many lanes and slow items."""
    assert schedule.item_count(given, Calibration({}, 1, each), sides, 2, 2.0) == count


def test_how_long_a_run_is() -> None:
    """Two seconds on one lane; longer where many cores share it."""
    assert [schedule.default_seconds(cores) for cores in (1.0, 1.5, 4.0, 16.0)] == [2.0, 2.0, 2.0, 8.0]


def test_items_are_spread_out() -> None:
    """From all of the input, each once, in order."""
    assert schedule.spread_out(10, 4) == [0, 2, 5, 7]
    assert schedule.spread_out(3, 3) == [0, 1, 2]


def test_a_run_limit() -> None:
    """Five times one lane, 20 s at least."""
    assert schedule.run_limit(10, Calibration({}, 1, 0.1)) == 20.0
    assert schedule.run_limit(100, Calibration({}, 1, 1.0)) == 500.0


@pytest.mark.parametrize(
    ("side", "taken", "form"),
    [
        ("1x1", None, "serial"), ("1x4", None, "threads"), ("4x1", None, "processes"), ("2x4", None, "both"),
        ("auto", "2x1", "processes"), ("auto", None, "serial"), ("joblib", None, "processes"),
        ("ThreadPoolExecutor", None, "threads"),
    ],
)  # fmt: skip
def test_forms(side: str, taken: str | None, form: str) -> None:
    """What a side runs on."""
    assert form_of(side, taken) == form


# -- analysis


def test_a_drift_falls_on_all_sides_alike() -> None:
    """A machine that gets slower by 3 % with each run does not change a ratio, nor the noise floor."""
    given = design()
    comparison = analyse(given, measured_trials(given, lambda block, side, twin, n: SECONDS[side] * 1.03**n))
    rows = {row.side: row for row in comparison.rows}
    assert rows["1x2"].speedup == Interval(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0))
    assert rows["2x1"].speedup == Interval(pytest.approx(4 / 3), pytest.approx(4 / 3), pytest.approx(4 / 3))
    assert comparison.noise_floor == pytest.approx(0.0, abs=1e-9)


def test_a_winner() -> None:
    """The fastest side, by how much over one lane and over the next, and why."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.01)))
    assert (comparison.winner, comparison.blocks, comparison.baseline) == ("1x2", 5, "1x1")
    assert [row.fastest for row in comparison.rows] == [False, True, False]
    assert [row.runs for row in comparison.rows] == [10, 10, 10]
    assert comparison.rows[0].of_best is not None
    assert comparison.rows[0].of_best.value == pytest.approx(2.0, rel=0.03)
    assert comparison.verdict.startswith("1x2 (2 lanes of one process) is the fastest: ")
    assert "times as fast as 1x1 and " in comparison.verdict
    assert "as fast as the next, 2x1, because an item holds the GIL for only 5% of its time" in comparison.verdict
    assert comparison.verdict.endswith(".")
    assert comparison.warnings == ()


def test_what_cannot_be_told_apart_is_not() -> None:
    """Sides that differ by less than noise are both the fastest, and the sentence says so."""
    given = design(("1x1", "1x2", "auto"))
    comparison = analyse(given, measured_trials(given, noisy(0.08, {"1x1": 2.0, "1x2": 1.0, "auto": 1.01})))
    assert [row.fastest for row in comparison.rows] == [False, True, True]
    assert "cannot be told from it" in comparison.verdict


def test_where_nothing_differs() -> None:
    """No side is named the winner where one lane is as fast as all others."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.05, dict.fromkeys(SIDES, 1.0))))
    assert all(row.fastest for row in comparison.rows)
    assert comparison.verdict.startswith("No side is faster than the others: all are within ")
    assert "because" not in comparison.verdict


def test_one_lane_stays_where_another_is_no_faster_for_sure() -> None:
    """The sentence names no other winner, although one was a little faster."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.05, {"1x1": 1.01, "1x2": 1.0, "2x1": 3.0})))
    assert comparison.winner == "1x2"
    start = "No side is faster than 1x1 by more than noise explains: 1x2 (2 lanes of one process) was "
    assert comparison.verdict.startswith(start)
    assert "and a side differs from itself by up to" in comparison.verdict


def test_one_lane_is_the_fastest() -> None:
    """It is named as any other winner is, with why."""
    given = design(calibration=Calibration(plan("gil", held=0.02), 50, 0.02))
    comparison = analyse(given, measured_trials(given, noisy(0.01, {"1x1": 1.0, "1x2": 1.5, "2x1": 3.0})))
    assert comparison.verdict.startswith("1x1 (one lane) is the fastest: 1.49 (1.48 to 1.51) times")
    assert "as fast as the next, 1x2, because an item holds the GIL for 100% of its time, so threads take turns" in (
        comparison.verdict
    )


def test_a_reason_is_only_given_where_the_profile_has_one() -> None:
    """Threads that win although the GIL is held are not explained away."""
    given = design(calibration=Calibration(plan("gil", held=0.02), 50, 0.02))
    comparison = analyse(given, measured_trials(given, noisy(0.01)))
    assert "the profile does not tell why: it found 20 ms an item, the GIL held for 100% of it" in comparison.verdict


@pytest.mark.parametrize(
    ("kind", "fastest", "words"),
    [
        ("io", "1x2", "waits for 90% of its time, and waits overlap"),
        ("gil", "2x1", "each process has a GIL of its own"),
        ("tiny", "1x1", "less than handing it over costs"),
        ("transfer", "1x1", "sending items and values"),
        ("mixed", "2x1", "its parts overlap"),
        ("unknown", "2x1", "the profile does not tell why"),
    ],
)
def test_reasons(kind: str, fastest: str, words: str) -> None:
    """Each kind has its own."""
    given = design(calibration=Calibration(plan(kind, wait=0.018), 50, 0.02))
    comparison = analyse(given, measured_trials(given, noisy(0.01, {**dict.fromkeys(SIDES, 2.0), fastest: 1.0})))
    assert words in comparison.verdict


def test_one_block_names_no_winner_for_sure() -> None:
    """One block has no interval; it is said that this may be chance."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.01), blocks=1))
    assert comparison.noise_floor is None
    assert "may be chance" in comparison.verdict
    assert kinds(comparison) == ["few blocks"]


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_few_blocks_are_said_to_be_few(blocks: int) -> None:
    """A neighbour that came for half of two blocks makes any side look fast."""
    given = design()
    sentence = verdict(analyse(given, measured_trials(given, noisy(0.001), blocks=blocks)))
    assert f" was the fastest in {blocks} blocks, too few to be sure: " in sentence


def test_no_block_is_complete() -> None:
    """Single runs are shown, and nothing is compared."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.01), blocks=1)[:5])
    assert comparison.winner is None
    assert comparison.blocks == 0
    assert any(row.seconds is not None for row in comparison.rows)
    assert comparison.verdict == "No block is complete, so there is nothing to compare yet."
    assert "single runs" in str(comparison)


def test_a_side_that_broke_has_no_figure() -> None:
    """It is a row that says why; the others are compared without it."""
    given = design(missing={"mpire": "not installed: pip install 'poolwise[peers]'"})
    trials = [trial for trial in measured_trials(given, noisy(0.01)) if trial.side != "2x1" or trial.block == 0]
    trials[3:3] = [Trial(0, "2x1", broken="took over 20 s, and was ended\nlast words")]
    comparison = analyse(given, trials)
    rows = {row.side: row for row in comparison.rows}
    assert rows["2x1"].seconds is None
    assert rows["2x1"].note.startswith("took over 20 s")
    assert rows["mpire"].note.startswith("not installed")
    assert comparison.blocks == 5
    assert comparison.winner == "1x2"
    assert "pip install 'poolwise[peers]'" in str(comparison)


def test_the_baseline_broke() -> None:
    """Another side is what the others are compared with."""
    given = design()
    trials = [trial for trial in measured_trials(given, noisy(0.01)) if trial.side != "1x1"]
    comparison = analyse(given, [Trial(0, "1x1", broken="took over 20 s, and was ended"), *trials])
    assert comparison.baseline == "1x2"
    assert "times as fast as 1x2" in str(comparison)


def test_nothing_could_be_measured() -> None:
    """Then the sentence says why."""
    comparison = analyse(design(), [Trial(0, side, broken="ended with -9") for side in SIDES])
    assert comparison.winner is None
    assert comparison.verdict == "Nothing could be measured: 1x1 ended with -9."


def test_a_single_side() -> None:
    """There is nothing to compare it with."""
    trials = measured_trials(design(), noisy(0.01))
    alone = [trial for trial in trials if trial.side == "1x1"]
    comparison = analyse(design(), [*alone, *(Trial(0, side, broken="failed") for side in SIDES[1:])])
    assert comparison.verdict.startswith("Only 1x1 (one lane) could be measured")


def test_auto_is_named_with_the_shape_it_took() -> None:
    """The commonest one."""
    given = design(("1x1", "auto"))
    trials = measured_trials(given, noisy(0.01), shape="1x2")
    comparison = analyse(given, trials)
    assert comparison.rows[1].shape == "1x2"
    assert "auto (1x2)" in str(comparison)
    assert comparison.verdict.startswith("Auto (which took 1x2) is the fastest")


# -- warnings


def test_warns_of_neighbours() -> None:
    """Where other processes use the cores."""
    given = design()
    trials = [
        replace(trial, disturbance=Disturbance(0.6)) for trial in measured_trials(given, noisy(0.01))
    ]  # of two cores
    (warning,) = analyse(given, trials).warnings
    assert warning.kind == "noisy"
    assert "0.6 of 2 cores" in str(warning)
    assert warning.remedy


def test_warns_of_a_side_that_is_not_like_itself() -> None:
    """Where nobody else is seen and the A/A comparison is wide."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.3)))
    assert kinds(comparison) == ["noisy"]
    assert "differs from itself by up to" in str(comparison.warnings[0])


def test_warns_of_a_quota() -> None:
    """Where processes were held back."""
    given = design()
    trials = measured_trials(given, noisy(0.01))
    trials = [replace(trial, disturbance=Disturbance(0.0, 0.2)) for trial in trials]
    assert kinds(analyse(given, trials)) == ["throttled"]


def test_warns_of_short_runs() -> None:
    """Where starting a pool is most of it."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.01, dict.fromkeys(SIDES, 0.05))))
    assert "short" in kinds(comparison)
    assert "ms" in str(comparison.warnings[0])


def test_warns_of_values_that_differ() -> None:
    """By the digest of the values: which sides, or that no two runs agree."""
    given = design()
    trials = measured_trials(given, noisy(0.01))
    odd = [
        replace(trial, measured=replace(trial.measured, digest="other")) if trial.side == "2x1" else trial
        for trial in trials
        if trial.measured is not None
    ]
    (warning,) = analyse(given, odd).warnings
    assert warning.kind == "not repeatable"
    assert "(2x1 among them)" in warning.cause
    all_odd = [
        replace(trial, measured=replace(trial.measured, digest=str(number)))
        for number, trial in enumerate(trials)
        if trial.measured is not None
    ]
    assert "no two runs" in str(analyse(given, all_odd).warnings[0])


def test_warns_of_failed_items() -> None:
    """Equal failures everywhere are fine, and said; others are said too."""
    given = design()
    trials = measured_trials(given, noisy(0.01), failed=3, first_failure="'x': ValueError: no")
    (warning,) = analyse(given, trials).warnings
    assert warning.kind == "failed items"
    assert warning.cause == "3 items failed in each run, the first: 'x': ValueError: no"
    trials[0] = replace(trials[0], measured=replace(trials[0].measured or Measured(1), failed=0))
    assert "up to 3 items failed in some runs" in analyse(given, trials).warnings[0].cause


# -- words


def test_the_table_fits_80_columns() -> None:
    """Whatever the names and the reasons are like."""
    given = design(
        ("1x1", "1x2", "64x1024", "auto", "ProcessPoolExecutor"),
        identity=replace(IDENTITY, function="a_package.with_a.long_name:and_a_function.of_it" * 2),
        missing={"joblib": "not installed: pip install 'poolwise[peers]'"},
    )
    times = {"1x1": 12345.0, "1x2": 1.0, "64x1024": 0.001, "auto": 0.002, "ProcessPoolExecutor": 99.9}
    trials = measured_trials(given, noisy(0.2, times), shape="64x1024")
    trials.append(
        Trial(5, "1x2", broken="PicklingError: Can't pickle <function <lambda> at 0x7f>: attribute lookup " * 3)
    )
    comparison = analyse(given, trials)
    assert max(map(len, str(comparison).splitlines())) <= 80
    assert "1x2 " in str(comparison)
    assert comparison.noise_floor is not None
    assert comparison.winner == "64x1024"


@pytest.mark.parametrize(("blocks", "words"), [(4, "from the least block to the most"), (5, "intervals at about 95%")])
def test_the_table_says_what_its_intervals_are(blocks: int, words: str) -> None:
    """Four blocks are too few for 95 %, and it is not said that they have it."""
    given = design()
    comparison = analyse(given, measured_trials(given, noisy(0.01), blocks=blocks))
    shown = " ".join(str(comparison).split())
    assert f"in random order and its reverse; {words}; a side differs" in shown


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.00124, "0.00124"), (0.0301, "0.0301"), (0.25, "0.250"), (12.0, "12.000"), (250.0, "250")],
)
def test_short_runs_are_told_apart(seconds: float, written: str) -> None:
    """Nothing that took time is written as 0, neither are ratios."""
    assert seconds_text(seconds) == written
    given = design(("1x1", "1x2"))
    comparison = analyse(given, measured_trials(given, noisy(0.0, {"1x1": 1e-3, "1x2": 0.43})))
    assert " 0.0023 (" in str(comparison)
    assert "| 0.0023 |" in comparison.to_markdown()


def test_markdown() -> None:
    """A table that Markdown reads: nothing of a name ends a cell or begins code."""
    given = design(identity=replace(IDENTITY, function="m:<lambda>|`x`"))
    comparison = analyse(given, measured_trials(given, noisy(0.01), blocks=2))
    text = comparison.to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(SIDES)
    assert {line.count("|") for line in rows} == {6}
    assert "m:\\<lambda\\>\\|\\`x\\`" in text
    assert comparison.verdict.split(":")[0] in text
    assert "* warning: few blocks" in text


def test_the_sentence_is_one() -> None:
    """One full stop, at the end; abbreviations and numbers aside."""
    given = design()
    sentence = verdict(analyse(given, measured_trials(given, noisy(0.01))))
    assert sentence.count(". ") == 0


# -- files


def test_a_comparison_survives_its_file(tmp_path: Path) -> None:
    """What is read is what was written, and analysed to the same."""
    given = design(missing={"mpire": "not installed"})
    trials = measured_trials(given, noisy(0.01))
    path = tmp_path / "bench.json"
    record.save(path, given, trials)
    assert record.load(path) == (given, trials)
    assert shown(path) == analyse(given, trials)
    assert shown(path, seed=1).design.seed == 1
    assert list(tmp_path.iterdir()) == [path]


def test_infinite_figures_are_written_as_none(tmp_path: Path) -> None:
    """JSON has no word for them."""
    given = design(calibration=Calibration({**plan(), "roof": [math.inf, 1.0]}, 1, 0.1))
    record.save(tmp_path / "b.json", given, [])
    assert record.load(tmp_path / "b.json")[0].calibration.plan["roof"] == [None, 1.0]
    assert json.dumps(analyse(given, []).to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "other"}', '{"format": "poolwise bench 1", "design": {}, "trials": []}']
)
def test_what_is_no_comparison(tmp_path: Path, content: str) -> None:
    """One sentence with the path."""
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"b\.json"):
        record.load(path)
    with pytest.raises(UsageError, match="cannot read"):
        record.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"function": "module:other"}, "is of module:function, not of module:other"),
        ({"options": {"n": "2"}}, "was made with n=1, which is 2 now"),
        ({"options": {}}, "was made with n=1, which is not given now"),
        ({"python": "CPython 3.13"}, "was measured by CPython 3.11, not CPython 3.13"),
        ({"source": "changed"}, "before the source of module:function was changed"),
        ({"code": "x"}, "is of another module:function: its code differs"),
        ({"items": "other"}, "was made with other items (100 then, 100 now)"),
        ({"machine": "Linux, 8 cores"}, "was measured on another machine"),
        ({}, ""),
    ],
)
def test_identities(change: dict[str, Any], words: str) -> None:
    """What may be gone on with, and what differs otherwise."""
    assert words in record.difference(IDENTITY, replace(IDENTITY, **change))
    assert bool(words) == bool(record.difference(IDENTITY, replace(IDENTITY, **change)))


# -- the whole, with times that are made up


class MadeUp:
    """A measurer without processes.

    Args:
        seconds: of each side; a side that is not there is broken.
        stop_after: raise KeyboardInterrupt at the run after so many.
        failed: items that fail.
    """

    def __init__(
        self, seconds: Mapping[str, float] = SECONDS, stop_after: float = math.inf, failed: int = 0, kind: str = "cpu"
    ) -> None:
        self.seconds = seconds
        self.stop_after = stop_after
        self.failed = failed
        self.kind = kind
        self.runs: list[tuple[str, bool]] = []
        self.count = 0
        self.closed = False

    def calibrate(self, seconds: float, limit_seconds: float) -> Calibration:
        return Calibration(plan(self.kind), 5, 0.05)

    def reduce(self, count: int) -> None:
        self.count = count

    def measure(self, side: str, *, guarded: bool, limit_seconds: float) -> tuple[Measured, Disturbance]:
        if len(self.runs) >= self.stop_after:
            raise KeyboardInterrupt
        self.runs.append((side, guarded))
        if side not in self.seconds:
            raise BrokenRun(f"took over {limit_seconds:.0f} s, and was ended")
        return Measured(self.seconds[side], "d", self.failed, "'x': E"), Disturbance(0.0)

    def close(self) -> None:
        self.closed = True


def bench_of(measurer: MadeUp, **wishes: Any) -> Bench:
    """A comparison that is measured by it."""
    given = {"shapes": SIDES, "repeats": 3, "seed": 7, **wishes}
    return Bench(Calls(abs, range(100)), IDENTITY, Wishes(**given), measurer)


def measured_by(measurer: MadeUp, **wishes: Any) -> Comparison:
    """Measure all blocks."""
    with bench_of(measurer, **wishes) as bench:
        bench.prepare()
        assert list(bench.blocks()) == list(range(len({trial.block for trial in bench.trials})))
        return bench.comparison()


def test_all_blocks_are_measured() -> None:
    """A rehearsal on what is advised, then three blocks of every side twice and the twin."""
    measurer = MadeUp()
    comparison = measured_by(measurer)
    assert measurer.closed
    assert measurer.count == comparison.design.count == 40  # two seconds of 0.05 s each
    assert measurer.runs[0] == ("1x2", True)
    assert len(measurer.runs) == 1 + 3 * 2 * 4
    assert not any(guarded for _, guarded in measurer.runs[1:])
    assert comparison.design.twin == "1x2"
    assert comparison.winner == "1x2"


def test_the_same_seed_gives_the_same_order() -> None:
    """And without one the order differs."""
    first, second, third = MadeUp(), MadeUp(), MadeUp()
    for measurer, seed in ((first, 1), (second, 1), (third, 2)):
        measured_by(measurer, seed=seed)
    assert first.runs == second.runs != third.runs
    assert measured_by(MadeUp(), seed=None).design.seed != measured_by(MadeUp(), seed=None).design.seed


def test_items_that_fail_are_guarded_in_every_run() -> None:
    """So that no pool stops at the first of them."""
    measurer = MadeUp(failed=2)
    comparison = measured_by(measurer)
    assert all(guarded for _, guarded in measurer.runs)
    assert "failed items" in kinds(comparison)


def test_items_that_all_fail() -> None:
    """There is nothing to compare."""
    with bench_of(MadeUp(failed=40)) as bench, pytest.raises(UsageError, match="items that succeed, and all 40 of"):
        bench.prepare()


def test_a_side_that_hangs_is_run_once() -> None:
    """And no more; the others go on."""
    measurer = MadeUp({"1x1": 2.0, "1x2": 1.0})
    comparison = measured_by(measurer)
    assert [side for side, _ in measurer.runs].count("2x1") == 1
    assert comparison.blocks == 3
    assert comparison.rows[2].note == "took over 20 s, and was ended"


def test_all_sides_break() -> None:
    """It ends, with the reason."""
    with bench_of(MadeUp({"1x2": 1.0})) as bench:
        bench.prepare()
        bench._measurer = MadeUp({})
        assert list(bench.blocks()) == [0]
        assert bench.comparison().verdict.startswith("Nothing could be measured")


def test_a_function_that_cannot_be_run_at_all() -> None:
    """An error that names it, with the reason."""
    with bench_of(MadeUp({})) as bench, pytest.raises(BackendError, match="module:function cannot be measured"):
        bench.prepare()


def test_it_is_saved_after_each_block_and_gone_on_with(tmp_path: Path) -> None:
    """What was interrupted ends as what was not: complete blocks are not measured again."""
    path = tmp_path / "bench.json"
    whole = measured_by(MadeUp(), repeats=4)
    with bench_of(MadeUp(stop_after=1 + 8 + 8 + 3), repeats=4, save=path) as bench:
        bench.prepare()
        with pytest.raises(KeyboardInterrupt):
            list(bench.blocks())
        assert bench.comparison().blocks == 2
        assert len(bench.trials) == 8 + 8 + 3
    assert len(record.load(path)[1]) == 16
    again = MadeUp()
    resumed = bench_of(again, repeats=4, save=path)
    resumed.prepare()
    assert resumed.estimate_seconds is None
    assert list(resumed.blocks()) == [2, 3]
    assert len(again.runs) == 16
    assert resumed.comparison().trials == whole.trials
    assert resumed.comparison().verdict == whole.verdict
    assert list(resumed.blocks()) == []


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"shapes": ("1x1", "1x4")}, "compares 1x1, 1x2, 2x1, not 1x1, 1x4"),
        ({"peers": True}, "was made without peers"),
        ({"seed": 8}, "was made with seed=7, not 8"),
    ],
)
def test_another_comparison_is_not_gone_on_with(tmp_path: Path, wishes: dict[str, Any], words: str) -> None:
    """It is left as it is, and the difference is named."""
    path = tmp_path / "bench.json"
    measured_by(MadeUp(), save=path)
    before = path.read_bytes()
    with bench_of(MadeUp(), save=path, **wishes) as bench, pytest.raises(UsageError, match=words):
        bench.prepare()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "wishes",
    [
        {"repeats": 0}, {"repeats": 2.5}, {"repeats": True}, {"seconds": 0}, {"seconds": math.inf}, {"limit": -1},
        {"peers": 1}, {"seed": "x"}, {"seed": True}, {"shapes": ("1x1",)}, {"shapes": ()}, {"save": ""}, {"save": 3},
        {"save": "/nowhere/at/all/b.json"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant(wishes: dict[str, Any]) -> None:
    """One sentence, before anything is measured."""
    with pytest.raises(UsageError):
        Wishes(**wishes)


def test_no_items() -> None:
    """There is nothing to run."""
    with pytest.raises(UsageError, match="no items"):
        Bench(Calls(abs, []), replace(IDENTITY, given=0), Wishes(), MadeUp())


def test_a_picture(tmp_path: Path) -> None:
    """It is drawn with broken sides, without a block, and with a name that looks like a formula."""
    pytest.importorskip("matplotlib")
    given = design(identity=replace(IDENTITY, function="$x:y$ \u65e5"), missing={"mpire": "not installed"})
    trials = measured_trials(given, noisy(0.01))
    for name, some in (("a.png", trials), ("b.svg", trials[:3]), ("c.pdf", [Trial(0, "1x1", broken="no")])):
        analyse(given, some).to_plot(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5_000
    assert "$x:y$" in (tmp_path / "b.svg").read_text() or (tmp_path / "b.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(UsageError, match="names no format"):
        analyse(given, trials).to_plot(tmp_path / "d.txt")
