"""Intervals over blocks. Pure, and of the standard library alone.

A block holds every side twice, in a random order and then in that order reversed (A B C C B A; with two sides A B B A).
The mean of a side's two places is the same for all sides, so a steady drift of the machine falls on all of them alike.
What is compared is the logarithm of time, so that "twice as fast" and "half as fast" are as far apart; a side's figure
in a block is the mean of its two logarithms. Blocks, and not runs, are what is drawn again in the bootstrap: the runs
of a block share what the machine did at that time.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence
from statistics import NormalDist

from poolwise._bench.model import Interval

_RESAMPLES = 10_000
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Quantile .975 of Student's t with 1 to 10 degrees of freedom."""


def student(degrees: int) -> float:
    """Return the quantile .975 of Student's t.

    Beyond 10 degrees by the expansion of Cornish and Fisher (Abramowitz and Stegun, 26.7.5), to .002.
    """
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def tail(blocks: int) -> float:
    """Return the share of resampled means that is cut off at each end of an interval.

    The plain percentile interval is too narrow where there are few observations. The expanded one (Hesterberg, "What
    Teachers Should Know About the Bootstrap", The American Statistician 69, 2015) cuts off less, as Student's t does.
    """
    return NormalDist().cdf(-math.sqrt(blocks / (blocks - 1)) * student(blocks - 1))


def ratio(logarithms: Sequence[float], seed: int) -> Interval:
    """Return the geometric mean of ratios, one of each block, with its bootstrap interval at about 95 %, or its range.

    Args:
        logarithms: of the ratio in each block, at least one.
        seed: makes the interval the same each time; the same blocks are drawn for all sides.
    """
    value = math.exp(math.fsum(logarithms) / len(logarithms))
    if len(logarithms) == 1:
        return Interval(value)
    return Interval(value, *_ends(tuple(logarithms), seed))


@functools.lru_cache(maxsize=64)
def _ends(logarithms: tuple[float, ...], seed: int) -> tuple[float, float]:
    """Return the ends of the interval."""
    count = len(logarithms)
    if is_range(count):
        return math.exp(min(logarithms)), math.exp(max(logarithms))
    drawn = random.Random(seed).choices(logarithms, k=count * _RESAMPLES)
    means = sorted(sum(drawn[start : start + count]) / count for start in range(0, len(drawn), count))
    cut = int(tail(count) * _RESAMPLES)
    return math.exp(means[cut]), math.exp(means[-1 - cut])


def is_range(blocks: int) -> bool:
    """Say whether an interval over so many blocks is their range: to cut off the least resample would be too much."""
    return tail(blocks) < float(blocks) ** -blocks


def coverage_of_range(blocks: int) -> float:
    """Return how often the range of so many blocks holds the true median, whatever their distribution."""
    return 1.0 - 2.0 ** (1 - blocks)


def floor_of(twin: Interval) -> float | None:
    """Return the noise floor, as a share: how far a side may be from itself, by its comparison with itself."""
    if twin.low is None or twin.high is None:
        return None
    return math.exp(max(abs(math.log(twin.low)), abs(math.log(twin.high)))) - 1.0


def differs(found: Interval, noise_floor: float | None) -> bool:
    """Say whether a ratio is not 1: its interval leaves 1 out, and it is farther from 1 than (known) noise."""
    if found.low is None or found.high is None:
        return False
    return not found.low <= 1.0 <= found.high and abs(math.log(found.value)) > math.log1p(noise_floor or 0.0)
