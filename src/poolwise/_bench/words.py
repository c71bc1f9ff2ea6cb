"""A comparison in words: the sentence that it ends with, the table, Markdown. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from poolwise import Shape
from poolwise._bench.model import PEERS, Comparison, Design, Interval, Row, form_of
from poolwise._bench.statistics import is_range
from poolwise.report.words import clean, duration, many, tick

_WIDTH = 79


# -- the sentence ------------------------------------------------------------------------------------------------------


def verdict(comparison: Comparison) -> str:
    """Say in one sentence which side won, by how much, and why."""
    measured = [row for row in comparison.rows if row.seconds is not None]
    if not measured:
        return f"Nothing could be measured: {_first_reason(comparison.rows)}."
    leader = next((row for row in measured if row.side == comparison.winner), None)
    if leader is None:
        return "No block is complete, so there is nothing to compare yet."
    if len(measured) == 1:
        return f"Only {_named(leader)} could be measured, so there is nothing to compare it with."
    if comparison.blocks == 1:
        return (
            f"{_capital(_named(leader))} was the fastest in the only block, which is too little to name a winner: "
            "what one block shows may be chance."
        )
    equals = [row for row in measured if row.fastest and row is not leader]
    others = [row for row in measured if not row.fastest]
    if not others:
        worst = max((row.of_best.value for row in equals if row.of_best), default=1.0)
        margin = f"all are within {worst - 1:.0%} of {leader.side}"
        itself = f", and a side differs from itself by up to {comparison.noise_floor:.0%}"
        return f"No side is faster than the others: {margin}{itself if comparison.noise_floor else ''}."
    baseline = next(row for row in measured if row.side == comparison.baseline)
    if baseline.fastest and baseline is not leader:
        return f"No side is faster than {baseline.side} by more than noise explains: {_best(comparison, leader)}."
    beside = f", and {_listed([row.side for row in equals])} cannot be told from it" if equals else ""
    gains = " and ".join(_gains(comparison, leader, others))
    few = f"was the fastest in {comparison.blocks} blocks, too few to be sure"
    won = few if is_range(comparison.blocks) else "is the fastest"
    return f"{_capital(_named(leader))} {won}{beside}: {gains}{_reason(comparison, leader)}."


def _best(comparison: Comparison, leader: Row) -> str:
    floor = comparison.noise_floor
    itself = "" if floor is None else f", and a side differs from itself by up to {floor:.0%}"
    return f"{_named(leader)} was {_times(leader.speedup)} as fast{itself}"


def _gains(comparison: Comparison, leader: Row, others: Sequence[Row]) -> Iterator[str]:
    """Say how much faster it is than the baseline, and than the next one that is slower."""
    following = min(others, key=lambda row: row.of_best.value if row.of_best else 0.0)
    baseline = comparison.baseline
    if leader.side != baseline:
        yield f"{_times(leader.speedup)} as fast as {baseline}"
        if following.side == baseline:
            return
        yield f"{_plain(following.of_best)} as fast as the next, {following.side}"
    else:
        yield f"{_times(following.of_best)} as fast as the next, {following.side}"


def _reason(comparison: Comparison, row: Row) -> str:
    """Say why, by the first look; or that it does not tell."""
    plan = comparison.design.calibration.plan
    found = _explanation(plan, form_of(row.side, row.shape))
    return f", because {found}" if found else f"; the profile does not tell why: it found {_finding(plan)}"


def _explanation(plan: Mapping[str, Any], form: str) -> str:
    """Return why a form suits a kind of work, where that is known; otherwise ""."""
    kind, demands = str(plan.get("kind")), plan.get("demands") or {}
    response = _value(demands.get("response_seconds"))
    held, wait = _share(demands.get("held_seconds"), response), _share(demands.get("wait_seconds"), response)
    parallel = form != "serial"
    if kind == "io" and parallel:
        return f"an item waits for {wait} of its time, and waits overlap"
    if kind == "gil" and form == "processes":
        return f"an item holds the GIL for {held} of its time, and each process has a GIL of its own"
    if kind == "gil" and form == "serial":
        return f"an item holds the GIL for {held} of its time, so threads take turns, and processes cost what they gain"
    if kind == "cpu" and form == "threads":
        return f"an item holds the GIL for only {held} of its time, so threads compute at once and nothing is sent"
    if kind == "tiny" and form == "serial":
        return f"an item takes {duration(response)}, less than handing it over costs"
    if kind == "transfer" and form in ("serial", "threads"):
        return "sending items and values to processes costs more than computing them"
    if kind == "mixed" and parallel:
        return f"an item waits for {wait} of its time and computes for the rest: its parts overlap with those of others"
    return ""


def _finding(plan: Mapping[str, Any]) -> str:
    demands = plan.get("demands") or {}
    response = _value(demands.get("response_seconds"))
    if not response:
        return "nothing that could be measured"
    held = demands.get("held_seconds")
    parts = [f"{duration(response)} an item"]
    if held is not None:
        parts.append(f"the GIL held for {_share(held, response)} of it")
    parts.append(f"{_share(demands.get('wait_seconds'), response)} waiting")
    return ", ".join(parts)


def _value(estimate: Any) -> float:
    if isinstance(estimate, Mapping):
        return float(estimate["value"])
    return float(estimate or 0.0)


def _share(part: Any, whole: float) -> str:
    return f"{min(1.0, _value(part) / whole):.0%}" if whole > 0 else "an unknown share"


def _first_reason(rows: Sequence[Row]) -> str:
    return next((f"{row.side} {row.note.splitlines()[0]}" for row in rows if row.note), "there were no sides")


def _named(row: Row) -> str:
    """Name a side with what it means."""
    if row.side in PEERS:
        return row.side
    if row.side == "auto":
        return f"auto (which took {row.shape})" if row.shape else "auto"
    shape = Shape.parse(row.side)
    if shape.total == 1:
        return f"{row.side} (one lane)"
    if shape.workers == 1:
        return f"{row.side} ({shape.lanes} lanes of one process)"
    return f"{row.side} ({shape.workers} processes{f' of {shape.lanes} lanes' if shape.lanes > 1 else ''})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("auto") else text


def _times(ratio: Interval | None) -> str:
    """Write "1.93 (1.90 to 1.96) times"."""
    if ratio is None:
        return "as many times"
    interval = f" ({_number(ratio.low)} to {_number(ratio.high)})" if ratio.low and ratio.high else ""
    return f"{_number(ratio.value)}{interval} times"


def _plain(ratio: Interval | None) -> str:
    return "" if ratio is None else f"{_number(ratio.value)} times"


def _number(value: float) -> str:
    if value >= 9_999.5:
        return tick(float(f"{value:.2g}")) if value >= 1e6 else f"{value / 1e3:.3g}k"
    if value < 0.0995:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


# -- the table ---------------------------------------------------------------------------------------------------------


def heading(comparison: Comparison) -> str:
    """Say what was measured, in a line or two."""
    design = comparison.design
    said = f"{clean(design.identity.function, 120)}: {items_in_words(design)} in each run"
    alone = next((row.seconds for row in comparison.rows if row.side == "1x1"), None)
    return said if alone is None else f"{said}; one lane takes {duration(alone / design.count)} an item"


def items_in_words(design: Design) -> str:
    """Say how many items each run has."""
    given, count = design.identity.given, design.count
    return f"{count:,} of {many(given, 'item')}, evenly spread," if count < given else many(given, "item")


def text(comparison: Comparison) -> str:
    """Return a comparison for a terminal of 80 columns: the table, the warnings, the verdict."""
    head = f"side{'':<21}seconds  {f'times as fast as {comparison.baseline}':<26}time/best"
    lines = [*textwrap.wrap(heading(comparison), _WIDTH), "", head.rstrip()]
    for row in comparison.rows:
        lines += _line(comparison, row)
    lines += ["", *textwrap.wrap(footing(comparison), _WIDTH)]
    for warning in comparison.warnings:
        lines += textwrap.wrap(
            f"warning: {clean(str(warning))}", _WIDTH, subsequent_indent="  ", break_long_words=False
        )
    lines += ["", *textwrap.wrap(comparison.verdict, _WIDTH)]
    return "\n".join(lines)


def footing(comparison: Comparison) -> str:
    """Say what the figures rest on."""
    if comparison.blocks == 0:
        return "No block is complete: the seconds are those of single runs."
    parts = [f"{many(comparison.blocks, 'block')}, each side twice in each, in random order and its reverse"]
    if comparison.blocks > 1:
        parts.append("from the least block to the most" if is_range(comparison.blocks) else "intervals at about 95%")
    if comparison.noise_floor is not None:
        parts.append(f"a side differs from itself by up to {comparison.noise_floor:.1%}")
    return "; ".join(parts) + "."


def _line(comparison: Comparison, row: Row) -> list[str]:
    name = _label(row)
    if row.seconds is None:
        return textwrap.wrap(
            f"{name:<25}{clean(' '.join(row.note.split()))}", _WIDTH, subsequent_indent=" " * 25, drop_whitespace=True,
            break_long_words=False,
        )  # fmt: skip
    speedup = "1" if row.side == comparison.baseline else _cell(row.speedup)
    best = _number(row.of_best.value) if row.of_best else ""
    mark = "  <- fastest" if row.side == comparison.winner else "  (as fast)" if row.fastest else ""
    return [f"{name:<23}{seconds_text(row.seconds):>9}  {speedup:<25} {best:>6}{mark}".rstrip()]


def _label(row: Row) -> str:
    return f"auto ({row.shape})" if row.shape else row.side


def _cell(ratio: Interval | None) -> str:
    if ratio is None:
        return ""
    if ratio.low is None or ratio.high is None:
        return _number(ratio.value)
    return f"{_number(ratio.value)} ({_number(ratio.low)} to {_number(ratio.high)})"


def seconds_text(seconds: float) -> str:
    """Write the seconds of a run, with three digits that count or more."""
    if seconds < 0.0995:
        return f"{seconds:.3g}"
    return f"{seconds:.3f}" if seconds < 99.95 else f"{seconds:,.0f}"


def markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    lines = [
        f"**{_escaped(heading(comparison))}**",
        "",
        f"| side | seconds | times {comparison.baseline} | interval | time of best |",
        "|:---|---:|---:|:---|---:|",
    ]
    for row in comparison.rows:
        if row.seconds is None:
            lines.append(f"| {_label(row)} | - | - | {_escaped(clean(' '.join(row.note.split())))} | - |")
            continue
        speedup = Interval(1.0) if row.side == comparison.baseline else row.speedup
        known = speedup is not None and speedup.low is not None and speedup.high is not None
        interval = f"{_number(speedup.low)} to {_number(speedup.high)}" if known else ""  # type: ignore[union-attr,arg-type]
        value = _number(speedup.value) if speedup is not None else ""
        best = _number(row.of_best.value) if row.of_best else ""
        name = f"**{_label(row)}**" if row.fastest else _label(row)
        lines.append(f"| {name} | {seconds_text(row.seconds)} | {value} | {interval} | {best} |")
    lines += ["", footing(comparison), ""]
    lines += [f"* warning: {_escaped(clean(str(warning)))}" for warning in comparison.warnings]
    lines += [*([""] if comparison.warnings else []), f"**{_escaped(comparison.verdict)}**", ""]
    return "\n".join(lines)


def _escaped(line: str) -> str:
    for letter in "\\`*_|<>[]":
        line = line.replace(letter, f"\\{letter}")
    return " ".join(line.split())
