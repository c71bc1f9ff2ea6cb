"""How soon and how near controllers of lanes come to the best throughput, in simulation: ours beside ports of others.

    python benchmarks/controllers.py [--quick] [--seeds N] [--variation CV]

No real time passes and nothing is measured on this machine: `poolwise.testing.simulate` runs 12,000 items of 0.1 s
(lognormal) through six closed systems, and a seed gives the same figures everywhere. Each cell is a median over seeds:

    items to 90 % of the best throughput, tail throughput / best : tail lanes / those of the best

"Tail" is the last third of the items. The row with a rate limit adds the share of items that were refused.

**What the ports leave out.** They were written anew from the published sources and meet lanes that are never idle.
Vegas and Gradient2 (Netflix concurrency-limits) run behind its WindowedLimit: windows of at least one second and more
than 10 items, mean response time. Left out are the guard against a limit that is not used (here all lanes always are)
and custom functions for queue size and steps. Hill climbing (.NET's thread pool) leaves out the reaction to a starved
queue, CPU use, the minimum of threads and the changes that the pool itself makes. AIMD is the textbook's: +1 a round,
x 0.9 on an error. All of them were made for servers that protect themselves, for a longer life than 12,000 items, and
start where their authors start them (20 lanes; hill climbing 2). So the comparison favours ours.
"""

from __future__ import annotations

import argparse
import cmath
import math
import statistics
from collections.abc import Callable
from random import Random

from poolwise._policy.control import LaneController
from poolwise.testing import (
    Controller,
    RateLimitedServer,
    RetrogradeServer,
    Server,
    ServiceTime,
    Simulation,
    SlotServer,
    UnlimitedServer,
    simulate,
)

MOST = 512


class Vegas:
    """TCP Vegas as in Netflix VegasLimit: the line is lanes x (1 - shortest / present response time)."""

    def __init__(self) -> None:
        self.limit = 20.0
        self._shortest = 0.0
        self._updates = 0
        self._jitter = 1.0
        self._random = Random(0)

    def update(self, response_seconds: float, dropped: bool) -> None:
        self._updates += 1
        if self._jitter * 30 * self.limit <= self._updates:  # forget the shortest now and then
            self._jitter = self._random.uniform(0.5, 1)
            self._updates = 0
            self._shortest = response_seconds
        elif self._shortest == 0 or response_seconds < self._shortest:
            self._shortest = response_seconds
        else:
            self.limit = max(1.0, min(MOST, self._changed(response_seconds, dropped)))

    def _changed(self, response_seconds: float, dropped: bool) -> float:
        step = max(1, int(math.log10(max(1.0, self.limit))))
        line = math.ceil(self.limit * (1 - self._shortest / response_seconds))
        if dropped:
            return self.limit - step
        if line <= step:
            return self.limit + 6 * step
        if line < 3 * step:
            return self.limit + step
        return self.limit - step if line > 6 * step else self.limit


class Gradient2:
    """Netflix Gradient2Limit: lanes follow the ratio of the long-term to the present response time."""

    def __init__(self) -> None:
        self.limit = 20.0
        self._long_seconds = 0.0
        self._updates = 0

    def update(self, response_seconds: float, dropped: bool) -> None:
        self._updates += 1
        weight = 1 / self._updates if self._updates <= 10 else 2 / 601
        self._long_seconds += weight * (response_seconds - self._long_seconds)
        if self._long_seconds / response_seconds > 2:
            self._long_seconds *= 0.95
        gradient = max(0.5, min(1.0, 1.5 * self._long_seconds / response_seconds))
        wanted = self.limit * gradient + 4
        self.limit = max(1.0, min(MOST, self.limit * 0.8 + wanted * 0.2))


class Windowed:
    """Netflix WindowedLimit: tells a limit of at least a second, and more than 10 items, at once."""

    def __init__(self, inner: Vegas | Gradient2) -> None:
        self._inner = inner
        self._begin(0.0)

    @property
    def lanes(self) -> int:
        return max(1, int(self._inner.limit))

    def add(self, now: float, completed: int, failed: int, seconds: float) -> None:
        self._completed += completed
        self._failed += failed
        self._seconds += seconds
        if now - self._began_at >= 1.0 and self._completed > 10:
            self._inner.update(self._seconds / self._completed, self._failed > 0)
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._began_at = now
        self._completed = self._failed = 0
        self._seconds = 0.0


class Aimd:
    """Additive increase, multiplicative decrease: knows errors only, so it grows for ever where there are none."""

    def __init__(self) -> None:
        self._limit = 20.0

    @property
    def lanes(self) -> int:
        return int(self._limit)

    def add(self, now: float, completed: int, failed: int, seconds: float) -> None:
        self._limit = max(1.0, self._limit * 0.9**failed)
        self._limit = min(float(MOST), self._limit + completed / self._limit)


class HillClimbing:
    """.NET's thread pool: a square wave on the number of lanes, and its echo in the throughput (Goertzel's filter)."""

    PERIOD, SAMPLES, FEWEST, WAVE = 4, 32, 2, 20

    def __init__(self) -> None:
        self.lanes = self.FEWEST
        self._control = float(self.FEWEST)
        self._rates: list[float] = []
        self._lanes_then: list[int] = []
        self._noise = 0.0
        self._total = self._completed = 0
        self._began_at, self._interval_seconds = 0.0, 0.1
        self._random = Random(0)

    def add(self, now: float, completed: int, failed: int, seconds: float) -> None:
        self._completed += completed
        elapsed = now - self._began_at
        if elapsed < self._interval_seconds or not self._completed:
            return
        if self._total and (self.lanes - 1) / self._completed >= 0.15:  # too few to know the rate to 15 %
            return
        self._rates = [*self._rates, self._completed / elapsed][-self.SAMPLES :]
        self._lanes_then = [*self._lanes_then, self.lanes][-self.SAMPLES :]
        self._completed, self._began_at, self._total = 0, now, self._total + 1
        self._climb(elapsed)
        self._interval_seconds = self._random.uniform(0.01, 0.2)

    def _climb(self, elapsed_seconds: float) -> None:
        ratio, confidence = self._echo()
        move = max(-1.0, min(1.0, ratio)) * max(0.0, min(1.0, confidence))
        self._control += min(20.0, math.copysign(move**2, move) * 4 * elapsed_seconds)
        height = max(1, min(self.WAVE, int(0.5 + self._control * self._noise * 6)))
        self._control = max(self.FEWEST, min(MOST - height, self._control))
        crest = self._total // (self.PERIOD // 2) % 2
        self.lanes = max(self.FEWEST, min(MOST, int(self._control + height * crest)))

    def _echo(self) -> tuple[float, float]:
        """Return by how much throughput follows the wave, less what a lane must earn, and the confidence in it."""
        count = min(self._total - 1, self.SAMPLES) // self.PERIOD * self.PERIOD
        if count <= self.PERIOD:
            return 0.0, 0.0
        rates, lanes = self._rates[-count:], self._lanes_then[-count:]
        mean_rate, mean_lanes = sum(rates) / count, sum(lanes) / count
        periods = count / self.PERIOD
        error = abs(_wave(rates, count / (periods + 1)) / mean_rate)
        if periods > 1:
            error = max(error, abs(_wave(rates, count / (periods - 1)) / mean_rate))
        self._noise = 0.01 * error + 0.99 * self._noise if self._noise else error
        of_lanes, of_rates = _wave(lanes, self.PERIOD) / mean_lanes, _wave(rates, self.PERIOD) / mean_rate
        worst = max(self._noise, error)
        confidence = abs(of_lanes) / worst / 3 if worst else 1.0
        return ((of_rates - 0.15 * of_lanes) / of_lanes).real if of_lanes else 0.0, confidence


def _wave(samples: list[float] | list[int], period: float) -> complex:
    """Return the component of this period."""
    turn = 2 * math.pi / period
    return sum(sample * cmath.exp(1j * turn * (place + 1)) for place, sample in enumerate(samples)) / len(samples)


CONTROLLERS: dict[str, Callable[[], Controller]] = {
    "Vegas": lambda: Windowed(Vegas()),
    "Gradient2": lambda: Windowed(Gradient2()),
    ".NET": HillClimbing,
    "AIMD": Aimd,
    "poolwise": lambda: LaneController(most=MOST),
}


def servers(variation: float) -> dict[str, Server]:
    service = ServiceTime(variation=variation)
    return {
        "40 slots": SlotServer(40, service),
        "4 slots": SlotServer(4, service),
        "200 slots": SlotServer(200, service),
        "retrograde (USL)": RetrogradeServer(service=service),
        "rate limit, fast 429": RateLimitedServer(service=service),
        f"unlimited (cap {MOST})": UnlimitedServer(service),
    }


def cell(runs: list[Simulation], with_errors: bool) -> str:
    """Write medians: `325  0.98:1.05`, or `never` where most runs did not reach 90 %."""
    items = statistics.median(math.inf if run.items_to_90_percent is None else run.items_to_90_percent for run in runs)
    throughput = statistics.median(run.tail_throughput for run in runs)
    lanes = statistics.median(run.tail_lanes for run in runs)
    text = f"{'never' if math.isinf(items) else f'{items:.0f}'} {throughput:.2f}:{lanes:.2f}"
    return f"{text} {statistics.median(run.error_share for run in runs):.0%}" if with_errors else text


def main() -> None:
    parser = argparse.ArgumentParser(description="Controllers of lanes, in simulation.")
    parser.add_argument("--quick", action="store_true", help="3 seeds, a few seconds")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--variation", type=float, default=0.5, help="of service times: standard deviation over mean")
    options = parser.parse_args()
    seeds = range(3 if options.quick else options.seeds)
    print("items to 90 % of the best throughput, tail throughput:tail lanes over the best's, errors under the limit")
    print(f"{'':22s}" + "".join(f"{name:>20s}" for name in CONTROLLERS))
    for name, server in servers(options.variation).items():
        cells = [
            cell(
                [simulate(make(), server, seed=seed, most=MOST) for seed in seeds],
                isinstance(server, RateLimitedServer),
            )
            for make in CONTROLLERS.values()
        ]
        print(f"{name:22s}" + "".join(f"{text:>20s}" for text in cells), flush=True)


if __name__ == "__main__":
    main()
