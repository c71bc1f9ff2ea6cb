"""Runs become a comparison: rows with intervals, the winner, warnings, the sentence. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from poolwise._bench.model import BenchWarning, Comparison, Design, Interval, Row, Trial
from poolwise._bench.statistics import coverage_of_range, differs, floor_of, ratio
from poolwise._bench.words import verdict

_NOISY_FLOOR = 0.05  # Of a side against itself.
_NOISY_SHARE = 0.10  # Of the cores, used by others.
_SHORT_SECONDS = 0.3
_THROTTLED_SHARE = 0.01
_ENOUGH_BLOCKS = 5


def analyse(design: Design, trials: Sequence[Trial]) -> Comparison:
    """Return what runs tell.

    Args:
        design: what was measured.
        trials: every run, in the order in which they took place. A side with a run that gave no figure has none; blocks
            in which another one is incomplete count for its median only.
    """
    broken = {trial.side: trial.broken for trial in reversed(trials) if trial.broken}
    alive = [side for side in design.sides if side not in broken and any(trial.side == side for trial in trials)]
    table = _logarithms(trials, alive)
    baseline = design.baseline if design.baseline in alive or not alive else alive[0]
    leader = min(alive, key=lambda side: math.fsum(table[side])) if table and any(table.values()) else None
    noise_floor = _noise_floor(trials, design.seed)
    rows = []
    for side in design.sides:
        if side not in alive:
            rows.append(Row(side, note=broken.get(side, "not measured yet")))
            continue
        times = _times(trials, side)
        rows.append(
            Row(
                side,
                statistics.median(times),
                len(times),
                _ratio(table, baseline, side, design.seed) if side != baseline else None,
                _ratio(table, side, leader, design.seed) if leader is not None else None,
                fastest=leader is not None and _is_fastest(table, leader, side, noise_floor, design.seed),
                shape=_commonest(trials, side),
            )
        )
    rows += [Row(peer, note=reason) for peer, reason in design.missing.items()]
    blocks = max((len(logs) for logs in table.values()), default=0)
    comparison = Comparison(
        design, tuple(trials), blocks, tuple(rows), baseline, leader, noise_floor,
        (*design.warnings, *_warnings(design, trials, alive, blocks, noise_floor)), "",
    )  # fmt: skip
    return _with_verdict(comparison)


def _with_verdict(comparison: Comparison) -> Comparison:
    from dataclasses import replace

    return replace(comparison, verdict=verdict(comparison))


def _times(trials: Sequence[Trial], side: str) -> list[float]:
    return [
        trial.measured.seconds
        for trial in trials
        if trial.side == side and not trial.twin and trial.measured is not None
    ]


def _logarithms(trials: Sequence[Trial], alive: Sequence[str]) -> dict[str, list[float]]:
    """Return for each side the mean logarithm of its time in each complete block."""
    blocks: dict[int, dict[str, list[float]]] = {}
    for trial in trials:
        if trial.side in alive and not trial.twin and trial.measured is not None:
            times = blocks.setdefault(trial.block, {}).setdefault(trial.side, [])
            times.append(math.log(max(trial.measured.seconds, 1e-9)))
    whole = [block for block in blocks.values() if all(len(block.get(side, ())) == 2 for side in alive)]
    return {side: [math.fsum(block[side]) / 2 for block in whole] for side in alive}


def _ratio(table: dict[str, list[float]], over: str, under: str, seed: int) -> Interval | None:
    """Return the time of one side over that of another."""
    differences = [above - below for above, below in zip(table[over], table[under])]
    return ratio(differences, seed) if differences else None


def _is_fastest(table: dict[str, list[float]], leader: str, side: str, noise_floor: float | None, seed: int) -> bool:
    """Say whether a side is the fastest, or cannot be told from it."""
    if side == leader:
        return True
    found = _ratio(table, side, leader, seed)
    return found is not None and found.low is not None and not differs(found, noise_floor)


def _noise_floor(trials: Sequence[Trial], seed: int) -> float | None:
    """Return how far a side is from itself: the A/A comparison. One that broke later on tells as much."""
    pairs: dict[tuple[int, str], tuple[list[float], list[float]]] = {}
    for trial in trials:
        if trial.measured is not None:
            own, twin = pairs.setdefault((trial.block, trial.side), ([], []))
            (twin if trial.twin else own).append(math.log(max(trial.measured.seconds, 1e-9)))
    differences = [sum(own) / 2 - sum(twin) / 2 for own, twin in pairs.values() if len(own) == len(twin) == 2]
    return floor_of(ratio(differences, seed)) if differences else None


def _commonest(trials: Sequence[Trial], side: str) -> str | None:
    taken = Counter(
        trial.measured.shape for trial in trials if trial.side == side and trial.measured and trial.measured.shape
    )
    return taken.most_common(1)[0][0] if taken else None


def _warnings(
    design: Design, trials: Sequence[Trial], alive: Sequence[str], blocks: int, noise_floor: float | None
) -> Iterator[BenchWarning]:
    measured = [trial for trial in trials if trial.measured is not None]
    yield from _noise(design, measured, noise_floor)
    throttled = math.fsum(trial.disturbance.throttled_seconds for trial in trials)
    whole = math.fsum(trial.measured.seconds for trial in measured if trial.measured)
    if throttled > _THROTTLED_SHARE * max(whole, 1e-9):
        cause = f"a CPU quota held processes back for {throttled:.1f} s of {whole:.1f} s"
        remedy = "raise the quota of the container, or give no shape more processes than it has cores"
        yield BenchWarning("throttled", cause, remedy)
    shortest = min((trial.measured.seconds for trial in measured if trial.measured), default=math.inf)
    if shortest < _SHORT_SECONDS:
        cause = f"the shortest run took {_brief(shortest)}, of which starting a pool is a large part"
        yield BenchWarning("short", cause, "give more items, or let runs take longer (seconds=, --seconds)")
    yield from _repeatable(trials, alive)
    if 0 < blocks < _ENOUGH_BLOCKS:
        if blocks == 1:
            cause = "one block tells nothing of how far the next one would differ"
        else:
            share = coverage_of_range(blocks)
            cause = f"the range of {blocks} blocks holds the true median in {share:.0%} of cases, not in 95%"
        yield BenchWarning("few blocks", cause, f"measure {_ENOUGH_BLOCKS} blocks or more (repeats=, --repeats)")


def _noise(design: Design, measured: Sequence[Trial], noise_floor: float | None) -> Iterator[BenchWarning]:
    known = [trial.disturbance.others_cores for trial in measured if trial.disturbance.others_cores is not None]
    others = statistics.fmean(known) if known else 0.0
    remedy = "end what else runs here, or measure more and longer (repeats=, seconds=)"
    if others > _NOISY_SHARE * design.cores:
        cause = f"other processes used {others:.1f} of {design.cores:g} cores on average"
        yield BenchWarning("noisy", cause, remedy)
    elif noise_floor is not None and noise_floor > _NOISY_FLOOR:
        yield BenchWarning("noisy", f"the same side differs from itself by up to {noise_floor:.0%}", remedy)


def _repeatable(trials: Sequence[Trial], alive: Sequence[str]) -> Iterator[BenchWarning]:
    """Warn where runs had different values, and where items failed."""
    runs = [(trial.side, trial.measured) for trial in trials if trial.side in alive and trial.measured is not None]
    remedy = "compare functions that can be repeated: the runs may have done different work"
    digests = Counter(measured.digest for _, measured in runs)
    if len(digests) > 1:
        usual = digests.most_common(1)[0][0]
        others = dict.fromkeys(side for side, measured in runs if measured.digest != usual)
        if len(digests) == len(runs):
            cause = "no two runs gave the same values"
        else:
            cause = f"runs gave different values ({', '.join(others)} among them)"
        yield BenchWarning("not repeatable", cause, remedy)
    failed = [(measured.failed, measured.first_failure) for _, measured in runs if measured.failed]
    if failed:
        least, most = min(count for count, _ in failed), max(count for count, _ in failed)
        everywhere = len(failed) == len(runs) and least == most
        many = f"{most:,}" if everywhere else f"up to {most:,}"
        cause = f"{many} items failed {'in each run' if everywhere else 'in some runs'}, the first: {failed[0][1]}"
        yield BenchWarning("failed items", cause, "compare items that succeed: to fail may take less time")


def _brief(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
