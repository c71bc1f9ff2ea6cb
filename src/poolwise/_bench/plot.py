"""The picture of a comparison: speed-ups with their intervals, and below them every run in its order."""

from __future__ import annotations

import math
import os
import textwrap
from typing import TYPE_CHECKING, Any

from poolwise._bench.model import Comparison, Row, Trial
from poolwise._bench.words import heading
from poolwise.report.axes import linear, logarithmic
from poolwise.report.pictures import LIGHT
from poolwise.report.plot import write_figure, write_text
from poolwise.report.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _ROW_INCHES, _RUNS_INCHES = 9.0, 0.34, 2.6
_LEFT, _RIGHT = 0.22, 0.93  # Of the plots, as shares of the width.
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")
_LEGEND_COLUMNS = 5
_FEWEST_LOG = 5.0  # Where times differ by more, their axis is logarithmic.


def write_plot(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the picture of a comparison to a file, which appears complete or not at all.

    Args:
        comparison: what came out.
        path: the file; its suffix names the format: .png, .svg or .pdf. One that is there is replaced.

    Raises:
        UsageError: the suffix is another one, or the file cannot be written.
        BackendUnavailable: matplotlib is not installed.
    """
    write_figure(lambda: _figure(comparison), path)


def _figure(comparison: Comparison) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    head = textwrap.wrap(clean(heading(comparison)), 84)
    sentence = textwrap.wrap(clean(comparison.verdict, 500), 118)
    rows = len(comparison.rows)
    top = 0.4 + 0.24 * len(head) + 0.19 * len(sentence)
    bars = _ROW_INCHES * max(2, rows) + 0.15
    legend = 0.2 * math.ceil(rows / _LEGEND_COLUMNS)
    whole = top + 0.6 + bars + 0.95 + _RUNS_INCHES + 0.45 + legend
    figure = Figure(figsize=(_WIDTH_INCHES, whole), facecolor=LIGHT["page"])
    FigureCanvasAgg(figure)
    write_text(figure, 0.03, 1 - 0.2 / whole, "\n".join(head), size=12, weight="bold", va="top")
    write_text(figure, 0.03, 1 - (0.3 + 0.24 * len(head)) / whole, "\n".join(sentence), size=10, va="top")
    width = _RIGHT - _LEFT
    bottom = whole - top - 0.6 - bars
    _draw_speedups(figure.add_axes((_LEFT, bottom / whole, width, bars / whole)), comparison, bars)
    bottom -= 0.95 + _RUNS_INCHES
    _draw_runs(figure.add_axes((_LEFT, bottom / whole, width, _RUNS_INCHES / whole)), comparison, _RUNS_INCHES)
    return figure


def _draw_speedups(axes: Axes, comparison: Comparison, height: float) -> None:
    rows = comparison.rows
    title = f"Times as fast as {comparison.baseline}"
    write_text(axes, -_LEFT / (_RIGHT - _LEFT) + 0.04, 1 + 0.25 / height, title, size=12, weight="bold",
               transform=axes.transAxes)  # fmt: skip
    highest = max([row.speedup.high or row.speedup.value for row in rows if row.speedup], default=1.0)
    scale = linear("", max(1.0, highest), room=1.28)
    axes.set_xlim(0.0, scale.high)
    axes.set_xticks([value for value, _ in scale.ticks], [label for _, label in scale.ticks])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], parse_math=False)
    _style(axes, "x")
    if comparison.noise_floor is not None:
        floor = min(comparison.noise_floor, 10.0)
        axes.axvspan(1 / (1 + floor), 1 + floor, color=LIGHT["area"], zorder=1)
        note = f"blue band: what noise alone explains, {comparison.noise_floor:.1%}"
        write_text(axes, 1.0, 1 + 0.1 / height, note, size=9, ha="right", color=LIGHT["muted"],
                   transform=axes.transAxes)  # fmt: skip
    axes.axvline(1.0, color=LIGHT["muted"], linewidth=0.9, zorder=2)
    for place, row in enumerate(rows):
        _draw_row(axes, comparison, place, row, scale.high)


def _draw_row(axes: Axes, comparison: Comparison, place: int, row: Row, end: float) -> None:
    if row.seconds is None:
        note = clean(" ".join(row.note.split()), 70)
        write_text(axes, 0.02 * end, place, note, size=9, va="center", color=LIGHT["muted"], zorder=6)
        return
    colour = LIGHT["accent"] if row.fastest else LIGHT["line"]
    value, low, high = 1.0, None, None
    if row.speedup is not None:
        value, low, high = row.speedup.value, row.speedup.low, row.speedup.high
    elif row.side != comparison.baseline:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=4)
        for edge in (low, high):
            axes.plot([edge, edge], [place - 0.13, place + 0.13], color=colour, linewidth=1.6, zorder=4)
    axes.plot([value], [place], "o", color=colour, markersize=7, markeredgecolor=LIGHT["page"], zorder=5)
    label = f"{value:.2f}" + ("  fastest" if row.side == comparison.winner else "  as fast" if row.fastest else "")
    weight = "bold" if row.fastest else "normal"
    shift = (high if high is not None else value) + 0.015 * end
    write_text(axes, shift, place, label, size=9, va="center", weight=weight, color=LIGHT["text"], zorder=6)


def _draw_runs(axes: Axes, comparison: Comparison, height: float) -> None:
    """Draw every run in its order, so that a drift, or a neighbour that came for a while, is seen."""
    left = -_LEFT / (_RIGHT - _LEFT) + 0.04
    write_text(axes, left, 1 + 0.25 / height, "Every run, in order", size=12, weight="bold", transform=axes.transAxes)
    runs = [(place, trial) for place, trial in enumerate(comparison.trials, 1) if trial.measured is not None]
    times = [_seconds(trial) for _, trial in runs] or [1.0]
    wide = max(times) / min(times) > _FEWEST_LOG
    scale = logarithmic("", times, room=1.2) if wide else linear("", max(times), room=1.1)
    axes.set_yscale("log" if wide else "linear")
    axes.set_ylim(scale.low, scale.high)
    axes.set_yticks([value for value, _ in scale.ticks], [label for _, label in scale.ticks])
    axes.minorticks_off()
    axes.set_xlim(0.4, len(comparison.trials) + 0.6)
    axes.set_xticks([])
    _style(axes, "y")
    _draw_blocks(axes, comparison.trials, height)
    sides = [row.side for row in comparison.rows if row.seconds is not None]
    for number, side in enumerate(sides):
        own = [(place, _seconds(trial)) for place, trial in runs if trial.side == side]
        strong = side == comparison.winner
        options: dict[str, Any] = {"markersize": 6, "markeredgecolor": LIGHT["accent" if strong else "line"]}
        options["markerfacecolor"] = LIGHT["accent"] if strong else LIGHT["page"] if number % 2 else LIGHT["line"]
        axes.plot(*zip(*own), linestyle="", marker=_MARKERS[number % len(_MARKERS)], label=side, zorder=4, **options)
    write_text(axes, -0.015, 1 + 0.06 / height, "seconds", size=9, ha="right", color=LIGHT["muted"],
               transform=axes.transAxes)  # fmt: skip
    if not sides:
        return
    legend = axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.22 / height), ncols=_LEGEND_COLUMNS, frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_color(LIGHT["text"])


def _draw_blocks(axes: Axes, trials: tuple[Trial, ...], height: float) -> None:
    """Draw a line between blocks, and number them."""
    begins = [place for place, trial in enumerate(trials, 1) if place == 1 or trial.block != trials[place - 2].block]
    ends = [*begins[1:], len(trials) + 1]
    for begin, end in zip(begins, ends):
        if begin > 1:
            axes.axvline(begin - 0.5, color=LIGHT["rule"], linewidth=0.8, zorder=1)
        name = f"block {trials[begin - 1].block + 1}" if len(begins) <= 10 else f"{trials[begin - 1].block + 1}"
        write_text(axes, (begin + end - 1) / 2, -0.16 / height, name, size=9, ha="center", color=LIGHT["muted"],
                   transform=axes.get_xaxis_transform())  # fmt: skip


def _seconds(trial: Trial) -> float:
    assert trial.measured is not None
    return max(trial.measured.seconds, 1e-6)


def _name(row: Row) -> str:
    return f"auto ({row.shape})" if row.shape else row.side


def _style(axes: Axes, grid: Any) -> None:
    axes.grid(visible=True, axis=grid, color=LIGHT["rule"], linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=9, labelcolor=LIGHT["text"])
    for spine in axes.spines.values():
        spine.set_color(LIGHT["rule"])
