"""Stories of runs that never were, the same each time: for tests of what is told from them."""

from __future__ import annotations

import random
from dataclasses import replace

from poolwise._core.story import Curve, FailureClass, Mark, Observed, Sample, Slice, Slowest, Story

HOSTILE = "<script>window.pwned=1</script>\"'&{{7*7}}\u202egnp.exe\x00\x1b[31m\ud800 \u05d0\u05d1 ${x}$ ]]>"
"""What a key, an error or a name may hold."""

EMPTY = Story("module:function", "", "unknown", "", 0.0, 0.0, 0, 0)


def waiting() -> Story:
    """A run of waiting work that has everything to tell."""
    draw = random.Random(1)
    slices = lanes_at_work({(0, lane): 50 for lane in range(16)})
    seconds = max(part.start + part.seconds for part in slices)
    failed = sum(part.failed for part in slices)
    grid = [1, 2, 3, 4, 6, 8, 11, 16, 23, 32]
    return Story(
        title="shop.fetch:download",
        sentence="Waiting work (io): 1x16 (16 lanes in this process), bound by something outside.",
        kind="io",
        shape="1x16",
        began=1_764_100_000.5,
        seconds=seconds,
        done=len(slices) - failed,
        failed=failed,
        retried=3,
        workers_lost=1,
        busy_seconds=sum(part.seconds for part in slices),
        cpu_seconds=0.9,
        probe_seconds=0.01,
        explanation="Waiting work (io): 1x16.\n\nroof      items/s  from\n" + "outside       310  seen " + "x" * 200,
        reasons=("its items wait, so many lanes", "more lanes do not pay"),
        curves=(
            Curve("outside", "what it waits for does no more", tuple((n, 310.0) for n in grid)),
            Curve("lanes", "16 lanes / 55 ms", tuple((n, n / 0.055) for n in grid)),
            Curve("gil", "1 GIL / 300 us held", tuple((n, 1 / 0.0003) for n in grid)),
            Curve("cores", "2 cores / 500 us CPU", tuple((n, 2 / 0.0005) for n in grid)),
        ),
        observed=(
            Observed("1x1", 1, 17.0),
            Observed("1x8", 8, 130.0),
            Observed("1x32", 32, 300.0),
            Observed("1x16", 16, 280.0, final=True),
        ),
        latency=((0.01, 0), *((round(0.01 * 10 ** (step / 10), 6), 40 + 30 * (step % 4)) for step in range(1, 15))),
        failures=(
            FailureClass(
                "TimeoutError", failed - 1, "the server did not answer", "https://example.org/" + "long/" * 40
            ),
            FailureClass("ValueError", 1, HOSTILE, HOSTILE),
        ),
        slowest=(Slowest("https://example.org/slow", 0.4), Slowest("x" * 400, 0.3)),
        slices=slices,
        samples=tuple(
            Sample(step * seconds / 60, 280 + draw.gauss(0, 40), 8 if step < 10 else 16, 0.05) for step in range(1, 61)
        ),
        marks=(
            Mark(0.0, "decision", "1x8; a coroutine function"),
            Mark(seconds * 0.1, "decision", "1x8 -> 1x16; its items wait"),
            Mark(seconds * 0.12, "decision", "more lanes do not pay"),
            Mark(seconds * 0.5, "retry", "item 3 failed: TimeoutError; attempt 2 follows"),
            Mark(seconds * 0.8, "death", "worker 1 died (killed by SIGKILL)"),
        ),
        host={"python": "CPython 3.11.7", "cores": 2.0, "available_memory_bytes": 23 * 2**30, "container": None},
    )


def computing() -> Story:
    """A run on 2x1 with failures, whose shape was asked for."""
    slices = lanes_at_work({(1, 0): 40, (2, 0): 40})
    return replace(waiting(), title="jobs:crunch", shape="2x1", slices=slices, curves=(), observed=(), marks=())


def many_lanes(workers: int, lanes: int, *, sampled: float = 1.0) -> Story:
    """A run on workers x lanes, each of which executes a few items."""
    where = {(worker, lane): 8 for worker in range(workers) for lane in range(lanes)}
    return replace(waiting(), shape=f"{workers}x{lanes}", slices=lanes_at_work(where), sampled=sampled)


def lanes_at_work(items: dict[tuple[int, int], int]) -> tuple[Slice, ...]:
    """Slices of lanes, each of which executes so many items; one of 25 fails."""
    draw = random.Random(2)
    slices = []
    for (worker, lane), count in items.items():
        start = 0.001
        for index in range(count):
            seconds = draw.lognormvariate(-3, 0.5)
            slices.append(Slice(start, seconds, worker, lane, index, 1, int(index % 25 == 7)))
            start += seconds + 0.003
    return tuple(sorted(slices, key=lambda part: part.start))
