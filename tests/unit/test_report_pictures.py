"""The pictures of a report, as values: axes, labels, rows, bars, and what they show of hostile numbers."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from poolwise._core.story import Curve, Mark, Observed, Sample, Slice, Story
from poolwise.report import pictures as made
from poolwise.report.axes import MOST, apart, doubling, linear, logarithmic
from poolwise.report.pictures import Picture, pictures
from poolwise.report.svg import draw
from poolwise.report.words import clean, duration, number, percent, size, tick
from zoo.stories import EMPTY, HOSTILE, computing, many_lanes, waiting

ODD = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-320, 1e308, 5.0)


@given(st.floats(1e-90, 1e90))
def test_a_linear_axis_has_few_round_ticks_that_reach_near_its_end(high: float) -> None:
    axis = linear("", high)
    values = [value for value, _ in axis.ticks]
    assert 2 <= len(values) <= 8
    assert values[0] == 0
    assert 0.5 * high < values[-1] <= high * 1.001


@given(st.lists(st.floats(1e-90, 1e90), min_size=1, max_size=5))
def test_a_logarithmic_axis_shows_its_values_and_has_ticks(values: list[float]) -> None:
    axis = logarithmic("", values)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert 2 <= len(axis.ticks) <= 7
    assert all(axis.low * 0.99 <= value <= axis.high * 1.01 for value, _ in axis.ticks)
    assert [axis.at(value) for value in sorted(values)] == sorted(axis.at(value) for value in values)


@given(st.floats(1, 1e9))
def test_lanes_double(high: float) -> None:
    ticks = [value for value, _ in doubling("", high).ticks]
    assert 2 <= len(ticks) <= 10
    assert ticks[0] == 1
    assert len({after / before for before, after in pairwise(ticks)}) == 1


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.3))
def test_labels_are_moved_apart_and_keep_their_order(places: list[float], gap: float) -> None:
    put = apart(places, gap)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in put)
    least = min(gap, 1 / max(1, len(places) - 1))
    assert all(after - before >= least - 1e-9 for before, after in pairwise(sorted(put)))
    assert sorted(range(len(put)), key=lambda at: (places[at], at)) == sorted(range(len(put)), key=put.__getitem__)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (number(1234.5), "1,234"), (number(12.345), "12.3"), (number(0.01234), "0.0123"),
        (number(math.nan), "not known"),
        (number(math.inf), "no bound"), (number(1e300), "1e+300"), (number(-5.0), "-5.00"), (tick(10_000.0), "10,000"),
        (tick(0.25), "0.25"), (tick(3e6), "3M"), (tick(0.1 + 0.2), "0.3"), (tick(0.0), "0"), (tick(1e-7), "1e-07"),
        (duration(0.0031), "3.1 ms"), (duration(125.4), "2 min 5 s"), (duration(7325.0), "2 h 2 min"),
        (duration(math.nan), "not known"), (duration(0.0), "0 s"), (percent(0.963), "96%"),
        (percent(None), "not known"), (percent(1e-9, 1), "under 0.1%"),
        (size(23 * 2**30), "23.0 GiB"), (size(512), "512 bytes"),
        (clean("a" * 400, 10), "aaaaaaaaaa… (400 characters)"), (clean("\u202ex\ud800\x00"), "\\u202ex\\ud800\\x00"),
    ],
)  # fmt: skip
def test_words(told: str, words: str) -> None:
    assert told == words


def test_roofs_are_lines_to_the_edge_with_labels_apart() -> None:
    """The area is below all roofs, and the last shape is told from the others."""
    picture = made.roofline(waiting())
    assert [line.label for line in picture.lines] == ["outside", "lanes", "gil", "cores"]
    assert {line.points[-1][0] for line in picture.lines} == {picture.x.high}
    assert len({line.dash for line in picture.lines}) == 4
    places = sorted(line.label_at for line in picture.lines)
    assert all(after - before >= 0.05 for before, after in pairwise(places))
    top = [(x, y) for x, y in picture.area if y > picture.y.low]
    assert all(y <= min(310.0, x / 0.055) * 1.000001 for x, y in top)
    assert max(y for _, y in top) == pytest.approx(310.0)
    assert [(point.label, point.strong) for point in picture.points if point.strong] == [("1x16", True)]
    assert "96% of the lowest roof" in picture.description
    assert len(picture.table.rows) == 8


def test_a_roof_far_above_is_named_and_not_drawn() -> None:
    story = waiting()
    picture = made.roofline(replace(story, curves=(*story.curves, Curve("wire", "", ((1.0, 5e6), (32.0, 5e6))))))
    assert [line.label for line in picture.lines] == ["outside", "lanes", "gil", "cores"]
    assert "wire (5,000,000 items a second)" in picture.notes[-1]
    assert "wire" in {row[1] for row in picture.table.rows}
    assert picture.y == made.roofline(story).y


def test_labels_of_points_never_overlap() -> None:
    """Where there is no room for a label there is none, and the shape that the run ended with has one."""
    seen = tuple(Observed(f"1x{lanes}", lanes, 100.0 + lanes / 100) for lanes in range(1, 120))
    story = replace(waiting(), observed=(*seen, Observed("1x120", 120, 103.0, final=True)))
    labels = [point for point in made.roofline(story).points if point.label]
    assert 1 < len(labels) < 30
    assert labels[-1].strong


@pytest.mark.parametrize(("workers", "lanes"), [(1, 1), (1, 16), (2, 1), (2, 64), (1, 512), (8, 64), (300, 1)])
@pytest.mark.parametrize("sampled", [1.0, 0.01])
def test_any_number_of_lanes_is_drawn_with_few_bars(workers: int, lanes: int, sampled: float) -> None:
    """Every lane is within a row, and in the table."""
    picture = made.gantt(many_lanes(workers, lanes, sampled=sampled))
    bars = [corner for bars in picture.bars for corner in bars.corners]
    assert 0 < len([corner for bars in picture.bars if bars.kind == "bar" for corner in bars.corners]) <= made.MOST_BARS
    assert len(bars) <= 2 * made.MOST_BARS
    assert picture.y.low <= 70
    assert len(picture.y.ticks) <= 30
    assert all(0 <= y1 <= picture.y.low and 0 <= y0 <= picture.y.low for _, y0, _, y1 in bars)
    assert len(picture.table.rows) == min(512, workers * lanes)
    assert f"{workers * lanes:,} lane" in picture.description
    assert any("sample" in note for note in picture.notes) == (sampled < 1)


def test_each_execution_is_a_bar_where_there_is_room() -> None:
    story = computing()
    picture = made.gantt(story)
    assert sum(len(bars.corners) for bars in picture.bars) == len(story.slices)
    failed = next(bars.corners for bars in picture.bars if bars.kind == "failed")
    assert len(failed) == sum(part.failed for part in story.slices)
    heights = {bars.kind: {round(y1 - y0, 6) for _, y0, _, y1 in bars.corners} for bars in picture.bars}
    assert max(heights["bar"]) < min(heights["failed"])  # so that colour is not all that tells them


def test_shares_are_those_of_the_time() -> None:
    """A lane that is busy for a quarter of the time has bars of a quarter of its row, also from a sample."""
    slices = tuple(Slice(place * 0.004, 0.001, 0, 0, place) for place in range(2000))
    for sampled, kept in ((1.0, slices), (0.5, slices[::2])):
        picture = made.gantt(replace(EMPTY, seconds=8.0, slices=kept, sampled=sampled))
        ((_, corners),) = ((bars.kind, bars.corners) for bars in picture.bars)
        heights = [y1 - y0 for _, y0, _, y1 in corners]
        assert sum(heights) / len(heights) == pytest.approx(0.9 * 0.25, rel=0.02)
        assert picture.table.rows[0][-1] == "25%"


def test_marks_have_rows_and_decisions_numbers() -> None:
    picture = made.gantt(waiting())
    assert [label for _, label in picture.y.ticks][-3:] == ["decisions", "retries", "deaths"]
    assert [rule.label for rule in picture.rules] == ["1", "2-3"]
    assert {point.shape for point in picture.points} == {"diamond", "tick", "cross"}
    crowded = replace(waiting(), marks=tuple(Mark(place / 1e5, "retry", "again") for place in range(50_000)))
    assert len(made.gantt(crowded).points) <= 201


def test_throughput_keeps_its_mean_where_there_are_many_samples() -> None:
    samples = tuple(Sample((place + 1) / 100, 50.0 if place % 2 else 150.0, 4) for place in range(2000))
    picture = made.throughput(replace(waiting(), samples=samples, seconds=20.0))
    assert len(picture.table.rows) <= 120
    assert {row[1] for row in picture.table.rows[:-1]} <= {"100", "97.1", "103"}


def test_slow_items_make_no_comb() -> None:
    """Four lanes finish an item of a second each, together: that is four items a second, not 80 and then nothing."""
    slices = tuple(Slice(float(second), 1.0, 0, lane, 4 * second + lane) for second in range(10) for lane in range(4))
    samples = tuple(Sample(step / 20, 80.0 if step % 20 == 0 else 0.0, 4) for step in range(1, 205))
    picture = made.throughput(replace(EMPTY, slices=slices, samples=samples, seconds=10.2))
    rates = [float(row[1]) for row in picture.table.rows]
    assert len(rates) == 10
    assert min(rates) > 3
    assert max(rates) < 5


def test_quantiles_of_the_latency() -> None:
    story = replace(EMPTY, latency=((0.001, 0), (0.01, 90), (0.1, 0), (1.0, 10)))
    picture = made.latency(story)
    half, most = (rule.x for rule in picture.rules)
    assert 0.001 < half < 0.01
    assert 0.1 < most < 1.0
    assert [bars.corners for bars in picture.bars] == [((0.001, 0.0, 0.01, 90.0), (0.1, 0.0, 1.0, 10.0))]
    assert picture.table.rows[0] == ("10 ms", "90", "90.0%")


def test_nothing_to_show_is_a_sentence() -> None:
    assert [picture.empty[-1:] for picture in pictures(EMPTY)] == ["."] * 4
    one = replace(EMPTY, observed=(Observed("2x1", 2, 99.0, final=True),))
    assert "2x1 did 99.0 items a second" in made.roofline(one).empty


def odd_story(number: float) -> Story:
    """A story in which this number is everywhere."""
    return replace(
        waiting(),
        seconds=number,
        began=number,
        busy_seconds=number,
        cpu_seconds=number,
        probe_seconds=number,
        curves=(Curve(HOSTILE, HOSTILE, ((1.0, number), (number, 3.0))), Curve("gil", "", ((1.0, 5.0), (4.0, 5.0)))),
        observed=(Observed(HOSTILE, 2, number, True), Observed("1x1", 1, 3.0)),
        latency=((number, 3), (0.5, 10**15)),
        slices=(Slice(number, 1.0, 0, 0, 0), Slice(0.5, number, 1, 3, 1, 2, 5), Slice(0.0, 1.0, 0, 0, 2)),
        samples=(Sample(number, 5.0, 1), Sample(1.0, number, 2, number)),
        marks=(Mark(number, "decision", HOSTILE), Mark(number, "unheard of", HOSTILE)),
        host={"number": number, "nested": {"a": [number, None, True]}, "huge": 10**5000},
    )


@pytest.mark.parametrize("number", ODD)
def test_odd_numbers_stay_within_the_picture(number: float) -> None:
    """What cannot be drawn is left out; what is drawn lies inside."""
    for picture in pictures(odd_story(number)):
        _check(picture)


def _check(picture: Picture) -> None:
    for axis in (picture.x, picture.y):
        assert math.isfinite(axis.low)
        assert math.isfinite(axis.high)
        assert axis.low != axis.high
    for points in (picture.area, *(line.points for line in picture.lines)):
        assert all(abs(x) < MOST and abs(y) < MOST for x, y in points)
    drawing = draw(picture)
    text = repr(drawing.bars) + repr(drawing.strokes) + repr(drawing.symbols) + repr(drawing.x_ticks) + drawing.area
    assert "inf" not in text.lower().replace("info", "")
    assert "nan" not in text.lower()
