"""A picture as the numbers of an SVG that keeps its letters at any width: places in per cent, shapes in a square."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from poolwise.report.axes import Axis
from poolwise.report.pictures import Picture, Point

_SIDE = 1000.0
"""Of the square in which paths are; the page stretches it over the plot."""

_NARROW = 200.0
_LETTER = 6.5
_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "diamond": "M0-6 6 0 0 6-6 0z",
    "strong": "M0-9 9 0 0 9-9 0z",
    "cross": "M-5-5 5 5M-5 5 5-5",
    "tick": "M0-6V6",
    "square": "M-4-4H4V4H-4z",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick: its place in per cent, its label, and whether that has room on a phone."""

    at: str
    label: str
    narrow: bool


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line: its path, its number, and its label with the heights, in per cent, of the line's end and of the label."""

    path: str
    dash: int
    label: str
    end: str
    label_at: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """A point: its place in per cent, its shape around that, and what it is."""

    x: str
    y: str
    path: str
    point: Point


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the template writes.

    Attributes:
        picture: what is drawn.
        x_ticks, y_ticks: along the axes.
        area: the path of a surface, or "".
        strokes: lines.
        bars: pairs of kind and path.
        symbols: points.
        rules: place in per cent, label, and anchor.
    """

    picture: Picture
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    area: str
    strokes: list[Stroke]
    bars: list[tuple[str, str]]
    symbols: list[Symbol]
    rules: list[tuple[str, str, str]]


def draw(picture: Picture) -> Drawing:
    """Return the drawing of a picture."""
    x, y = picture.x, picture.y
    return Drawing(
        picture,
        _ticks(x),
        [Tick(_percent(1 - y.at(value)), label, True) for value, label in y.ticks],
        f"{_path(picture.area, x, y)}z" if picture.area else "",
        [
            Stroke(
                _path(line.points, x, y),
                line.dash % 6,
                line.label,
                _percent(1 - y.at(line.points[-1][1])),
                _percent(1 - line.label_at),
            )
            for line in picture.lines
        ],
        [(bars.kind, "".join(_rectangles(bars.corners, x, y))) for bars in picture.bars],
        [
            Symbol(
                _percent(x.at(point.x)),
                _percent(1 - y.at(point.y)),
                _SHAPES["strong" if point.strong else point.shape],
                point,
            )
            for point in picture.points
        ],
        [(_percent(x.at(rule.x)), rule.label, rule.anchor) for rule in picture.rules],
    )


def _ticks(axis: Axis) -> list[Tick]:
    """Return the ticks of the x axis; on a phone a label that would touch the one before is not shown."""
    ticks: list[Tick] = []
    free = -_NARROW
    for value, label in axis.ticks:
        place, half = axis.at(value) * _NARROW, _LETTER * len(label) / 2 + 4
        narrow = place - half >= free
        if narrow:
            free = place + half
        ticks.append(Tick(_percent(axis.at(value)), label, narrow))
    return ticks


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return "M" + " ".join(f"{_number(_SIDE * x.at(px))} {_number(_SIDE * (1 - y.at(py)))}" for px, py in points)


def _rectangles(corners: Iterable[tuple[float, float, float, float]], x: Axis, y: Axis) -> Iterable[str]:
    for x0, y0, x1, y1 in corners:
        left, top = _SIDE * x.at(x0), _SIDE * (1 - y.at(y0))
        width, height = _SIDE * x.at(x1) - left, _SIDE * (1 - y.at(y1)) - top
        yield f"M{_number(left)} {_number(top)}h{_number(width)}v{_number(height)}h{_number(-width)}z"
