"""The pictures of a report as values: what is where, on which axes, and the same in a table. How it is drawn (SVG in a
page, or matplotlib) is not known here. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TypeVar

from poolwise._core.story import Curve, Mark, Observed, Sample, Slice, Story
from poolwise.report.axes import LEAST, MOST, Axis, apart, doubling, linear, logarithmic
from poolwise.report.words import NOT_KNOWN, clean, duration, many, number, percent

MOST_BARS = 2_000
MOST_ROWS = 200
"""Of a table; the rest is left out, evenly."""

_T = TypeVar("_T")

_MOST_LANE_ROWS = 64
_FINEST, _FEW_SLICES = 500, 50  # Of the width of a picture, what a single bar can show; so many may be wider than true.
_MOST_STEPS = 120  # Of throughput.
_LEAST_SHARE = 0.03  # Of a row that is drawn where a lane was busy at all.
_SLICES_A_CELL = 8  # Of a sample, for the share of a cell to be told from chance.
_NARROW, _WIDE = 200.0, 640.0  # Pixels of a picture on a phone and on a desk, for labels that must not overlap.

LIGHT = {
    "page": "#ffffff", "text": "#1b1f24", "muted": "#57606a", "rule": "#d5dbe1", "panel": "#f4f6f8", "line": "#3d4a57",
    "area": "#dce9f8", "bar": "#2468b8", "failed": "#b3261e", "accent": "#0b57d0",
}  # fmt: skip
DARK = {
    "page": "#14171c", "text": "#e6e9ee", "muted": "#a9b3be", "rule": "#3a434e", "panel": "#1d2229", "line": "#bcc6d0",
    "area": "#1c334f", "bar": "#6aa6f8", "failed": "#ff8a80", "accent": "#8ab4f8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points.

    Attributes:
        points: pairs of values.
        label: what it is, written at its right end, or "".
        label_at: where, from 0 (low end of the y axis) to 1.
        dash: number of the pattern by which it is told from others; 0 is a whole line.
    """

    points: tuple[tuple[float, float], ...]
    label: str = ""
    label_at: float = 0.0
    dash: int = 0


@dataclass(frozen=True, slots=True)
class Bars:
    """Rectangles of one kind, each as (x, y, x, y) of two corners.

    Attributes:
        kind: "bar" or "failed".
        corners: the rectangles.
    """

    kind: str
    corners: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A mark at one place.

    Attributes:
        x, y: values.
        shape: "circle", "diamond", "cross", "tick" or "square".
        label: text beside it, or "".
        shift: pixels right and down from the mark to the label.
        anchor: "start", "middle" or "end": which end of the label is there.
        strong: it is the one that counts.
    """

    x: float
    y: float
    shape: str = "circle"
    label: str = ""
    shift: tuple[int, int] = (0, 0)
    anchor: str = "start"
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A vertical line over the whole picture, with a label above it, which begins, ends or is centred there."""

    x: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Table:
    """The same as values; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        name: short, of letters.
        title: a heading.
        empty: why there is nothing to see, or "".
        description: what there is to see, in words.
        notes: how to read it, a sentence each.
        x, y: the axes.
        height: in pixels, of the plot.
        area: corners of a surface below lines.
        lines, bars, points, rules: what is drawn, in this order.
        table: the same, as values.
    """

    name: str
    title: str
    empty: str = ""
    description: str = ""
    notes: tuple[str, ...] = ()
    x: Axis = field(default_factory=lambda: Axis("", 0.0, 1.0))
    y: Axis = field(default_factory=lambda: Axis("", 0.0, 1.0))
    height: int = 300
    area: tuple[tuple[float, float], ...] = ()
    lines: tuple[Line, ...] = ()
    bars: tuple[Bars, ...] = ()
    points: tuple[Point, ...] = ()
    rules: tuple[Rule, ...] = ()
    table: Table = Table((), ())


def pictures(story: Story) -> list[Picture]:
    """Return the pictures of a story, in the order in which they are shown: of a pipeline, those of each stage."""
    if story.stages:
        return [
            replace(picture, name=f"stage-{place}-{picture.name}", title=f"{clean(part.stage, 40)}: {picture.title}")
            for place, part in enumerate(story.stages, 1)
            for picture in pictures(part)
        ]
    return [roofline(story), gantt(story), throughput(story), latency(story)]


# -- the roofline ------------------------------------------------------------------------------------------------------

_Roof = tuple[Curve, list[tuple[float, float]]]
_FAR = 30.0  # Times the highest that is possible, or was seen: a roof above that is not drawn.


def roofline(story: Story) -> Picture:
    """Return throughput against lanes: the roofs, and what was seen below them."""
    curves = [(curve, _drawable(curve.points)) for curve in story.curves]
    curves = [(curve, points) for curve, points in curves if points]
    seen = [one for one in story.observed if one.lanes > 0 and LEAST < one.per_second < MOST]
    title = "Roofline"
    if not curves and len(seen) < 2:
        did = "".join(f" Shape {clean(one.shape, 30)} did {number(one.per_second)} items a second." for one in seen)
        return Picture("roofline", title, f"What an item needs was not measured, so there are no roofs to show.{did}")
    drawn, far = _near(curves, seen)
    lanes = [x for _, points in drawn for x, _ in points] + [float(one.lanes) for one in seen]
    rates = [y for _, points in drawn for _, y in points] + [one.per_second for one in seen]
    x = doubling("lanes", max(lanes) * 1.15)
    y = logarithmic("items a second", rates, room=1.25)
    places = apart([y.at(_value_at(points, x.high)) for _, points in drawn], 0.055)
    lines = [
        Line(_to_the_end(points, x.high), clean(curve.name, 12), place, dash)
        for dash, ((curve, points), place) in enumerate(zip(drawn, places))
    ]
    lowest = _envelope([line.points for line in lines])
    area = (*lowest, (lowest[-1][0], y.low), (lowest[0][0], y.low)) if lowest else ()
    rows = [("roof", clean(curve.name), clean(curve.reason), _range_of(points)) for curve, points in curves]
    rows += [("seen", clean(one.shape), _final(one), f"{number(one.per_second)} at {one.lanes:,}") for one in seen]
    return Picture(
        "roofline",
        title,
        description=_roofs_in_words(curves, seen, lowest),
        notes=_roofline_notes(bool(curves), far),
        x=x,
        y=y,
        height=320,
        area=area,
        lines=tuple(lines),
        points=tuple(_labelled(seen, x, y, 320)),
        table=Table(("what", "name", "from", "items a second, at lanes"), tuple(rows)),
    )


def _near(curves: list[_Roof], seen: list[Observed]) -> tuple[list[_Roof], list[_Roof]]:
    """Return the roofs that are drawn, and those so far above all others that they would press these together."""
    lowest = [y for _, y in _envelope([points for _, points in curves])] + [one.per_second for one in seen]
    limit = _FAR * max(lowest, default=math.inf)
    near = [roof for roof in curves if min(y for _, y in roof[1]) <= limit]
    return near, [roof for roof in curves if roof not in near]


def _roofline_notes(roofs: bool, far: list[_Roof]) -> tuple[str, ...]:
    seen = "Each point is a shape that ran on real items; the large diamond is the one that the run ended with."
    if not roofs:
        return ("No roofs are known.", seen)
    each = (
        "Each line is the most that one resource allows, by what was measured; below all of them is what is possible."
    )
    above = ", ".join(f"{clean(curve.name, 12)} ({number(points[0][1])} items a second)" for curve, points in far)
    return (each, seen, f"Far above, and not drawn: {above}.") if far else (each, seen)


def _drawable(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return sorted((x, y) for x, y in points if 1 <= x < MOST and LEAST < y < MOST)


def _to_the_end(points: list[tuple[float, float]], end: float) -> tuple[tuple[float, float], ...]:
    return (*points, (end, _value_at(points, end))) if points[-1][0] < end else tuple(points)


def _value_at(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return the height of a curve, which is straight between its points on logarithmic axes, and goes on so."""
    place = min(max(1, bisect_left(points, (x, 0.0))), len(points) - 1)
    if len(points) == 1:
        return points[0][1]
    (x0, y0), (x1, y1) = points[place - 1], points[place]
    if x1 <= x0:
        return y1
    share = (math.log(x) - math.log(x0)) / (math.log(x1) - math.log(x0))
    return math.exp(math.log(y0) + share * (math.log(y1) - math.log(y0)))


def _envelope(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the lowest of the lines over all lanes that all of them cover."""
    if not lines:
        return []
    low, high = max(points[0][0] for points in lines), min(points[-1][0] for points in lines)
    if low >= high:
        return []
    between = [low * (high / low) ** (step / 96) for step in range(97)]
    places = sorted({*between, *(x for points in lines for x, _ in points if low <= x <= high)})
    return [(x, min(_value_at(points, x) for points in lines)) for x in places]


def _range_of(points: Sequence[tuple[float, float]]) -> str:
    (x0, y0), (x1, y1) = points[0], points[-1]
    first = f"{number(y0)} at {x0:,.0f}"
    return first if x1 == x0 else f"{first}, {number(y1)} at {x1:,.0f}"


def _final(one: Observed) -> str:
    return "the shape that the run ended with" if one.final else "tried on real items"


def _roofs_in_words(
    curves: list[tuple[Curve, list[tuple[float, float]]]], seen: list[Observed], lowest: list[tuple[float, float]]
) -> str:
    said = []
    if curves:
        names = ", ".join(clean(curve.name, 12) for curve, _ in curves)
        said.append(f"{many(len(curves), 'roof')} over throughput for each number of lanes: {names}.")
    for one in seen:
        if one.final:
            said.append(f"The run ended with shape {clean(one.shape, 30)} at {number(one.per_second)} items a second")
            if lowest and lowest[0][0] <= one.lanes <= lowest[-1][0]:
                roof = min(_value_at(points, one.lanes) for _, points in curves)
                said[-1] += f", {percent(one.per_second / roof)} of the lowest roof"
            said[-1] += "."
    others = [one for one in seen if not one.final]
    if others:
        shapes = ", ".join(f"{clean(one.shape, 30)} at {number(one.per_second)}" for one in others[:8])
        said.append(f"Also seen: {shapes}{' and more' if len(others) > 8 else ''}.")
    return " ".join(said)


_SIDES = ((9, 4, "start"), (-9, 4, "end"), (0, -10, "middle"), (0, 19, "middle"), (9, -8, "start"), (-9, -8, "end"))


def _labelled(seen: list[Observed], x: Axis, y: Axis, height: int) -> list[Point]:
    """Return the points, the last shape on top, each with its label where it covers nothing; else without."""
    placed: list[Point] = []
    taken = [[_box(x.at(one.lanes) * width, (1 - y.at(one.per_second)) * height, 0, 0, "middle", 12) for one in seen]
             for width in (_NARROW, _WIDE)]  # fmt: skip
    for one in sorted(seen, key=lambda one: not one.final):
        label = clean(one.shape, 12)
        left, top = x.at(one.lanes), (1 - y.at(one.per_second)) * height
        for dx, dy, anchor in _SIDES:
            boxes = [_box(left * width, top, dx, dy - 4, anchor, 7.5 * len(label)) for width in (_NARROW, _WIDE)]
            inside = all(box[0] >= 0 and box[2] <= width and box[1] >= -4 and box[3] <= height + 4
                         for box, width in zip(boxes, (_NARROW, _WIDE)))  # fmt: skip
            covers = any(_meet(box, other) for box, others in zip(boxes, taken) for other in others)
            if inside and (one.final or not covers):
                for box, others in zip(boxes, taken):
                    others.append(box)
                break
        else:
            label, dx, dy, anchor = "", 0, 0, "start"
        shape = "diamond" if one.final else "circle"
        placed.append(Point(float(one.lanes), one.per_second, shape, label, (dx, dy), anchor, one.final))
    return placed[::-1]


_Box = tuple[float, float, float, float]


def _box(x: float, y: float, dx: float, dy: float, anchor: str, width: float) -> _Box:
    left = x + dx - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    return left, y + dy - 6.5, left + width, y + dy + 6.5


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# -- lanes over time ---------------------------------------------------------------------------------------------------

_EVENTS = {
    "decision": ("decisions", "diamond"), "retry": ("retries", "tick"), "death": ("deaths", "cross"),
    "journal": ("journal", "square"),
}  # fmt: skip
_EVENT_PIXELS = 17  # Of a row with a label.
_Rows = dict[tuple[int, int], list[Slice]]


def gantt(story: Story) -> Picture:
    """Return what each lane did when, with the retries, deaths and decisions."""
    title = "Lanes over time"
    slices = [part for part in story.slices if _is_sound(part)]
    if not slices:
        return Picture("gantt", title, "No execution of this run was timed, so there are no lanes to show.")
    rows: _Rows = {}
    for part in slices:
        rows.setdefault((part.worker, part.lane), []).append(part)
    rows = dict(sorted(rows.items()))
    events = [kind for kind in _EVENTS if any(mark.kind == kind for mark in story.marks)]
    span = max(max(part.start + part.seconds for part in slices), _finite(story.seconds))
    x = _time_axis(span)
    group = math.ceil(len(rows) / _MOST_LANE_ROWS)
    thin = sum(part.seconds < span / _FINEST for part in slices) > len(slices) / 2
    whole = group == 1 and len(slices) <= MOST_BARS and story.sampled >= 1 and not (thin and len(slices) > _FEW_SLICES)
    groups = _groups(list(rows), group)
    ok, bad = _whole_bars(groups, rows) if whole else _shared_bars(groups, rows, span, story.sampled)
    one_worker = len({worker for worker, _ in rows}) == 1
    names = [_row_name(group, one_worker) for group in groups]
    step = math.ceil(len(names) / 24)
    ticks = [(place + 0.5, name) for place, name in enumerate(names) if place % step == 0]
    row_pixels = max(9, min(32, 400 // (len(names) + len(events))))
    event_rows = max(1.0, _EVENT_PIXELS / row_pixels)
    middles = {kind: len(names) + (place + 0.5) * event_rows for place, kind in enumerate(events)}
    ticks += [(middle, _EVENTS[kind][0]) for kind, middle in middles.items()]
    bottom = len(names) + event_rows * len(events)
    y = Axis("lane" if one_worker else "worker/lane", bottom, 0.0, ticks=tuple(ticks), grid=False)
    failed = sum(part.failed for part in slices)
    return Picture(
        "gantt",
        title,
        description=_gantt_in_words(rows, story, span),
        notes=_gantt_notes(whole, group, story.sampled, failed > 0, "decision" in events),
        x=x,
        y=y,
        height=round(max(60.0, bottom * row_pixels)),
        bars=tuple(bars for bars in (Bars("bar", ok), Bars("failed", bad)) if bars.corners),
        points=tuple(
            Point(at, middle, _EVENTS[kind][1])
            for kind, middle in middles.items()
            for at in _thinned([mark.at for mark in story.marks if mark.kind == kind], span)
        ),
        rules=decision_rules(story.marks, x),
        table=_gantt_table(rows, span, story.sampled),
    )


def _is_sound(part: Slice) -> bool:
    return 0 <= part.start < MOST and 0 <= part.seconds < MOST


def _finite(value: float) -> float:
    return value if 0 < value < MOST else 0.0


_UNITS = (("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0))


def _time_axis(span: float) -> Axis:
    unit, size = next(((unit, size) for unit, size in _UNITS if span < 300 * size), _UNITS[-1])
    axis = linear("", span / size)
    ticks = tuple((value * size, label) for value, label in axis.ticks)
    return Axis(f"time since work began ({unit})", 0.0, axis.high * size, ticks=ticks)


def _groups(keys: list[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    """Return lanes in groups of so many; a group has lanes of several workers only where these are many."""
    groups: list[list[tuple[int, int]]] = []
    mixed = len({worker for worker, _ in keys}) > _MOST_LANE_ROWS // 2
    for key in keys:
        if groups and (mixed or groups[-1][0][0] == key[0]) and len(groups[-1]) < size:
            groups[-1].append(key)
        else:
            groups.append([key])
    return groups


def _row_name(group: list[tuple[int, int]], one_worker: bool) -> str:
    (worker, first), (other, last) = group[0], group[-1]
    if worker != other:
        return f"{worker}-{other}"
    lanes = f"{first}" if len(group) == 1 else f"{first}-{last}"
    return lanes if one_worker else f"{worker}/{lanes}"


_Corner = tuple[float, float, float, float]
_Corners = tuple[_Corner, ...]


def _whole_bars(groups: list[list[tuple[int, int]]], rows: _Rows) -> tuple[_Corners, _Corners]:
    """Return a bar for each slice; one with failures fills its whole row."""
    ok: list[_Corner] = []
    bad: list[_Corner] = []
    for place, (key,) in enumerate(groups):
        for part in rows[key]:
            room = 0.04 if part.failed else 0.22
            (bad if part.failed else ok).append((part.start, place + room, part.start + part.seconds, place + 1 - room))
    return tuple(ok), tuple(bad)


def _shared_bars(
    groups: list[list[tuple[int, int]]], rows: _Rows, span: float, sampled: float
) -> tuple[_Corners, _Corners]:
    """Return bars as high as the share of the time that the lanes of a row were busy; failures are on top."""
    parts = sum(map(len, rows.values()))
    most = MOST_BARS // len(groups)
    columns = max(5, min(most, 120, parts // (_SLICES_A_CELL * len(groups)) if sampled < 1 else most))
    width = span / columns
    ok: list[_Corner] = []
    bad: list[_Corner] = []
    for place, group in enumerate(groups):
        busy, failing = [0.0] * columns, [0.0] * columns
        for key in group:
            for part in rows[key]:
                _spread(part, busy, failing, width)
        for column in range(columns):
            whole = len(group) * width * max(min(sampled, 1.0), 1e-9)
            share = min(1.0, busy[column] / whole)
            share = max(share, _LEAST_SHARE) if share > 0 else 0.0
            lost = share * failing[column] / busy[column] if share > 0 else 0.0
            left, right, base = column * width, (column + 1) * width, place + 0.96
            if share > lost:
                ok.append((left, base - 0.9 * (share - lost), right, base))
            if lost > 0:
                bad.append((left, base - 0.9 * share, right, base - 0.9 * (share - lost)))
    return tuple(ok), tuple(bad)


def _spread(part: Slice, busy: list[float], failing: list[float], width: float) -> None:
    """Add the time of a slice to the columns that it lies in."""
    last = len(busy) - 1
    end = part.start + part.seconds
    share = min(1.0, part.failed / max(1, part.count))
    for column in range(min(last, int(part.start / width)), min(last, int(end / width)) + 1):
        inside = min(end, (column + 1) * width) - max(part.start, column * width)
        busy[column] += max(0.0, inside)
        failing[column] += share * max(0.0, inside)


def _thinned(times: list[float], span: float, most: int = 200) -> list[float]:
    """Return the times, of those close to each other one."""
    cells = {int(at / span * most): at for at in sorted(times, reverse=True) if 0 <= at <= span}
    return sorted(cells.values())


def decision_rules(marks: Sequence[Mark], x: Axis) -> tuple[Rule, ...]:
    """Return a line for each decision, with its number; those close to each other share one: "2-4"."""
    rules: list[Rule] = []
    first = 0
    for place, mark in enumerate(decisions(marks), 1):
        if not 0 <= mark.at <= x.high:
            continue
        if rules and x.at(mark.at) - x.at(rules[-1].x) < 0.09:
            rules[-1] = Rule(rules[-1].x, f"{first}-{place}")
        else:
            first = place
            rules.append(Rule(mark.at, str(place)))
    return tuple(rules)


def decisions(marks: Sequence[Mark]) -> list[Mark]:
    """Return the decisions among the marks."""
    return [mark for mark in marks if mark.kind == "decision"]


def _gantt_in_words(rows: _Rows, story: Story, span: float) -> str:
    workers = len({worker for worker, _ in rows})
    said = [f"{many(len(rows), 'lane')} of {many(workers, 'worker')} over {duration(span)}."]
    shares = sorted(_busy(parts, story.sampled) / span for parts in rows.values()) if span > 0 else []
    if shares:
        least, most = percent(min(1.0, shares[0])), percent(min(1.0, shares[-1]))
        said.append(f"A lane was busy for {least}{f' to {most}' if most != least else ''} of that time.")
    for kind, (plural, _) in _EVENTS.items():
        count = sum(mark.kind == kind for mark in story.marks)
        if count:
            said.append(f"{plural.capitalize()}: {count:,}.")
    return " ".join(said)


def _busy(parts: list[Slice], sampled: float) -> float:
    return sum(part.seconds for part in parts) / max(min(sampled, 1.0), 1e-9)


def _gantt_notes(whole: bool, group: int, sampled: float, failed: bool, decided: bool) -> tuple[str, ...]:
    notes = []
    if whole:
        notes.append(
            "A bar is an execution, or a batch of them that was timed as a whole; between bars a lane is idle."
        )
    else:
        lanes = f"{group} lanes of a row were" if group > 1 else "lane was"
        notes.append(f"The height of a bar is the share of the time that the {lanes} busy.")
    if sampled < 1:
        notes.append(f"It is estimated from a sample: {sampled:.2g} of all executions.")
    if failed:
        notes.append("Failures are red, and " + ("as high as their row." if whole else "on top of the bars."))
    if decided:
        notes.append("The numbers above are those of the decisions below.")
    return tuple(notes)


def _gantt_table(rows: _Rows, span: float, sampled: float) -> Table:
    def line(key: tuple[int, int], parts: list[Slice]) -> tuple[str, ...]:
        busy = _busy(parts, sampled)
        executed = sum(part.count for part in parts)
        failed = sum(part.failed for part in parts)
        share = percent(min(1.0, busy / span)) if span > 0 else NOT_KNOWN
        return f"{key[0]}/{key[1]}", f"{executed:,}", f"{failed:,}", duration(busy), share

    shown = "executions" if sampled >= 1 else "executions in the sample"
    columns = ("worker/lane", shown, "of these failed", "busy", "share of the time")
    return Table(columns, tuple(line(key, parts) for key, parts in _some(list(rows.items()), 512)))


def _some(values: Sequence[_T], most: int = MOST_ROWS) -> Sequence[_T]:
    return values[:: math.ceil(len(values) / most)] if len(values) > most else values


# -- throughput over time ----------------------------------------------------------------------------------------------


def throughput(story: Story) -> Picture:
    """Return items a second over time, with the decisions."""
    title = "Throughput over time"
    valid = [one for one in story.samples if 0 <= one.at < MOST and 0 <= one.per_second < MOST]
    samples = _coarse(valid, _usual_seconds(story))
    if not samples:
        return Picture("throughput", title, "Throughput was not sampled: the run was too short, or was not recorded.")
    span = max(samples[-1].at, _finite(story.seconds))
    x = _time_axis(span)
    y = linear("items a second", max(one.per_second for one in samples), room=1.05)
    points: list[tuple[float, float]] = [(0.0, samples[0].per_second)]
    for one in samples:  # A sample tells of the time before it.
        points += [(points[-1][0], one.per_second), (one.at, one.per_second)]
    mean = _mean(story)
    words = f"Between {number(min(one.per_second for one in samples))} and "
    words += f"{number(max(one.per_second for one in samples))} items a second"
    words += f", {number(mean)} on average." if mean is not None else "."
    lanes = {one.lanes for one in samples}
    words += f" On {min(lanes):,} to {max(lanes):,} lanes." if len(lanes) > 1 else f" On {many(max(lanes), 'lane')}."
    return Picture(
        "throughput",
        title,
        description=words,
        notes=("The numbers above are those of the decisions below.",) if decision_rules(story.marks, x) else (),
        x=x,
        y=y,
        height=180,
        lines=(Line(tuple(points)),),
        rules=decision_rules(story.marks, x),
        table=Table(
            ("time", "items a second", "lanes", "GIL held"),
            tuple((duration(one.at), number(one.per_second), f"{one.lanes:,}", percent(one.held)) for one in samples),
        ),
    )


def _coarse(samples: list[Sample], least: float) -> list[Sample]:
    """Return at most so many samples: several are one, with their mean throughput and the last one's lanes.

    Args:
        samples: by time.
        least: seconds of which each must tell; fewer would show when items end, rather than how many.
    """
    size = math.ceil(len(samples) / _MOST_STEPS)
    groups: list[list[Sample]] = [[]]
    since = 0.0
    for one in samples:
        if len(groups[-1]) >= size and groups[-1][-1].at - since >= least:
            since = groups[-1][-1].at
            groups.append([])
        groups[-1].append(one)
    if len(groups) > 1 and groups[-1][-1].at - since < least:
        rest = groups.pop()
        groups[-1] += rest
    coarse: list[Sample] = []
    since = 0.0
    for group in groups if samples else ():
        times = [one.at - before for one, before in zip(group, [since, *(one.at for one in group)])]
        settled = sum(one.per_second * time for one, time in zip(group, times))
        held = [one.held for one in group if one.held is not None]
        since = group[-1].at
        rate = settled / sum(times) if sum(times) > 0 else group[-1].per_second
        coarse.append(Sample(since, rate, group[-1].lanes, sum(held) / len(held) if held else None))
    return coarse


def _usual_seconds(story: Story) -> float:
    """Return the median time of an execution, or of a batch that was timed as one; 0 where none is known."""
    return median([_finite(each.seconds) for each in story.slices] or [0.0])


def executed(story: Story) -> int:
    """Return how many items the run executed itself."""
    return max(0, story.done + story.failed - story.recorded)


def _mean(story: Story) -> float | None:
    return executed(story) / story.seconds if _finite(story.seconds) else None


# -- latency -----------------------------------------------------------------------------------------------------------


def latency(story: Story) -> Picture:
    """Return how long executions took."""
    title = "How long items took"
    bins = [(edge, count) for edge, count in sorted(story.latency) if edge > LEAST and not math.isnan(edge)]
    total = sum(count for _, count in bins)
    if total <= 0:
        return Picture("latency", title, "No execution was timed.")
    edges = _edges([edge for edge, _ in bins])
    held = [place for place, (_, count) in enumerate(bins) if count > 0]
    shown = range(held[0], held[-1] + 1)
    x = logarithmic("time of an execution", [edges[shown[0]], edges[shown[-1] + 1]], duration, most=6)
    y = linear("executions", max(count for _, count in bins), room=1.05)
    y = Axis(y.title, y.low, y.high, ticks=tuple(tick for tick in y.ticks if tick[0] == int(tick[0])))
    half, most = (_quantile(bins, edges, share) for share in (0.5, 0.95))
    words = (
        f"{many(total, 'execution')}: half took less than about {duration(half)}, 95% less than about {duration(most)}."
    )
    return Picture(
        "latency",
        title,
        description=words,
        notes=("The dashed lines are where half, and 95%, of the executions took less.",),
        x=x,
        y=y,
        height=200,
        bars=(Bars("bar", tuple((edges[at], 0.0, edges[at + 1], float(bins[at][1])) for at in shown if bins[at][1])),),
        rules=(Rule(half, "50%", "end"), Rule(most, "95%", "start")),
        table=Table(
            ("less than", "executions", "share"),
            tuple((_edge(bins[at][0]), f"{bins[at][1]:,}", percent(bins[at][1] / total, 1)) for at in shown),
        ),
    )


def _edge(seconds: float) -> str:
    return duration(seconds) if math.isfinite(seconds) else "any time"


def _edges(uppers: list[float]) -> list[float]:
    """Return the edges of the bins, with one below the first; the width of an open bin is that of its neighbour."""
    finite = [edge for edge in uppers if edge < MOST]
    if not finite:
        return [1.0] + [2.0 * (place + 1) for place in range(len(uppers))]
    ratio = finite[1] / finite[0] if len(finite) > 1 else 2.0
    edges = [finite[0] / max(ratio, 1.01), *finite]
    while len(edges) <= len(uppers):
        edges.append(edges[-1] * max(ratio, 1.01))
    return edges


def _quantile(bins: list[tuple[float, int]], edges: list[float], share: float) -> float:
    wanted = share * sum(count for _, count in bins)
    sums = [0]
    for _, count in bins:
        sums.append(sums[-1] + count)
    place = min(max(0, bisect_right(sums, wanted) - 1), len(bins) - 1)
    part = (wanted - sums[place]) / max(1, bins[place][1])
    return edges[place] * math.pow(edges[place + 1] / edges[place], min(1.0, part))
