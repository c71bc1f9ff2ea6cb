"""The pictures of a report as one figure of matplotlib."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from poolwise._core.errors import BackendUnavailable, UsageError
from poolwise._core.story import Story
from poolwise.report.files import write_whole
from poolwise.report.pictures import LIGHT, Picture, pictures
from poolwise.report.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_DASHES = ("-", (0, (6, 3)), (0, (1.5, 2.5)), (0, (8, 3, 2, 3)), (0, (11, 4)), (0, (5, 2, 1.5, 2, 1.5, 2)))
_MARKERS = {"circle": "o", "diamond": "D", "cross": "x", "tick": "|", "square": "s"}
_SIDES = {"start": "left", "middle": "center", "end": "right"}
_WIDTH_INCHES, _MARGIN_INCHES = 9.0, 1.3  # Of the figure; of what each picture needs beside its plot.
_FOOT_INCHES = 0.6
_PIXELS = 96  # Of the page, to the inch.


def write_plot(story: Story, path: str | os.PathLike[str]) -> None:
    """Write the pictures of a run, one above the other, to a file, which appears complete or not at all.

    Args:
        story: of the run.
        path: the file; its suffix names the format: .png, .svg or .pdf. One that is there is replaced.

    Raises:
        UsageError: the suffix is another one, or the file cannot be written.
        BackendUnavailable: matplotlib is not installed.
    """
    write_figure(lambda: _figure(story), path)


def write_figure(make: Callable[[], Figure], path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, which appears complete or not at all.

    Args:
        make: makes the figure; called once it is known that matplotlib is there.
        path: the file; its suffix names the format: .png, .svg or .pdf. One that is there is replaced.

    Raises:
        UsageError: the suffix is another one, or the file cannot be written.
        BackendUnavailable: matplotlib is not installed.
    """
    suffix = check_plot(path)
    figure = make()
    metadata: dict[str, Any] = {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
    content = io.BytesIO()
    figure.savefig(content, format=suffix[1:], dpi=150, metadata=metadata)
    write_whole(path, content.getvalue())


def check_plot(path: str | os.PathLike[str]) -> str:
    """Check, before there is anything to draw, that it could be, and return the suffix of the file.

    Raises:
        UsageError: the suffix is one that names no format.
        BackendUnavailable: matplotlib is not installed.
    """
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{os.fsdecode(path)!r} names no format for pictures; end it in one of: {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(
            f"pictures need matplotlib, which cannot be imported ({error}): pip install 'poolwise[plot]'"
        ) from error
    return suffix


def _figure(story: Story) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = pictures(story)
    heights = [0.3 if picture.empty else picture.height / _PIXELS for picture in shown]
    margins = [0.5 if picture.empty else _MARGIN_INCHES for picture in shown]
    head = 0.55
    whole = head + sum(heights) + sum(margins) + _FOOT_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, whole), facecolor=LIGHT["page"])
    FigureCanvasAgg(figure)
    write_text(figure, 0.03, 1 - 0.35 / whole, clean(story.title, 80) or "A run", size=15, weight="bold")
    write_text(figure, 0.03, 1 - 0.62 / whole, _folded(clean(story.sentence, 220)), size=10, va="top")
    top = whole - head
    for picture, height, margin in zip(shown, heights, margins):
        top -= margin
        axes = figure.add_axes((0.1, (top - height) / whole, 0.8, height / whole))
        _draw(axes, picture, height)
        top -= height
    return figure


def _folded(text: str, width: int = 115) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:2])


def write_text(where: Figure | Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write text as it is: a dollar is no formula, and letters that the font has not are escaped."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    text = "".join(letter if letter == "\n" or ord(letter) in known else ascii(letter)[1:-1] for letter in text)
    where.text(x, y, text, parse_math=False, **{"color": LIGHT["text"], **options})


def _draw(axes: Axes, picture: Picture, height: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patheffects import withStroke

    write_text(axes, 0.0, 1 + 0.42 / height, picture.title, size=12, weight="bold", transform=axes.transAxes)
    if picture.empty:
        axes.set_axis_off()
        write_text(axes, 0.0, 0.5, picture.empty, size=10, transform=axes.transAxes)
        return
    _set_axes(axes, picture, height)
    if picture.area:
        axes.fill(*zip(*picture.area), color=LIGHT["area"], zorder=1)
    for bars in picture.bars:
        corners = [((x0, y0), (x1, y0), (x1, y1), (x0, y1)) for x0, y0, x1, y1 in bars.corners]
        colour = LIGHT[bars.kind]
        axes.add_collection(PolyCollection(corners, facecolor=colour, edgecolor=colour, linewidth=0.3, zorder=2))
    for line in picture.lines:
        axes.plot(*zip(*line.points), color=LIGHT["line"], linestyle=_DASHES[line.dash % len(_DASHES)], zorder=3)
        if line.label:
            _lead(axes, picture, line.points[-1][1], line.label, line.label_at)
    for rule in picture.rules:
        axes.axvline(rule.x, color=LIGHT["text"], linestyle=(0, (3, 3)), linewidth=0.8, zorder=4)
        options: dict[str, Any] = {"ha": _SIDES[rule.anchor], "size": 9, "transform": axes.get_xaxis_transform()}
        write_text(axes, rule.x, 1 + 0.05 / height, rule.label, **options)
    for point in picture.points:
        face, size = (LIGHT["accent"], 10) if point.strong else (LIGHT["page"], 6)
        edge = LIGHT["page"] if point.strong else LIGHT["text"]
        axes.plot(
            [point.x], [point.y], _MARKERS[point.shape], markersize=size, markerfacecolor=face, markeredgecolor=edge,
            clip_on=False, zorder=6,
        )  # fmt: skip
        if point.label:
            shift = (0.75 * point.shift[0], -0.75 * point.shift[1])
            axes.annotate(
                point.label, (point.x, point.y), shift, textcoords="offset points", ha=_SIDES[point.anchor], size=9,
                weight="bold", zorder=7, parse_math=False, annotation_clip=False,
                path_effects=[withStroke(linewidth=3, foreground=LIGHT["page"])],
            )  # fmt: skip


def _lead(axes: Axes, picture: Picture, end: float, label: str, at: float) -> None:
    """Write a label beside the plot, with a line from the end of what it names."""
    options: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    axes.plot([1.003, 1.015], [picture.y.at(end), at], color=LIGHT["muted"], linewidth=0.8, **options)
    write_text(axes, 1.02, at, label, va="center", size=9, weight="bold", **options)


def _set_axes(axes: Axes, picture: Picture, height: float) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    x, y = picture.x, picture.y
    for axis, scale, limits, drawn in (
        (x, axes.set_xscale, axes.set_xlim, axes.xaxis),
        (y, axes.set_yscale, axes.set_ylim, axes.yaxis),
    ):
        scale("log" if axis.log else "linear")
        limits(axis.low, axis.high)
        drawn.set_major_locator(FixedLocator([value for value, _ in axis.ticks]))
        drawn.set_major_formatter(FixedFormatter([label for _, label in axis.ticks]))
        drawn.set_minor_locator(NullLocator())
        if axis.grid:
            drawn.grid(visible=True, color=LIGHT["rule"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=9, labelcolor=LIGHT["muted"])
    for spine in axes.spines.values():
        spine.set_color(LIGHT["rule"])
    muted: dict[str, Any] = {"color": LIGHT["muted"], "size": 9, "transform": axes.transAxes}
    write_text(axes, -0.09, 1 + 0.2 / height, y.title, **muted)
    write_text(axes, 1.0, -0.38 / height, x.title, ha="right", **muted)
