"""What a journal costs, and a timeline: outcomes a second, and the time of a run with it over that of one without.

    python benchmarks/journal.py [--blocks N] [--items N] [--quick]

Each figure is a fresh interpreter that maps `x + 1`, or `len`, over all items once, from the call of the map to its end
with everything committed. The journal is a new file in a temporary folder, which is removed. The two sides of a row,
with and without the journal (or `timeline=True`), take turns A B B A; a row shows medians.

    int keys, 1x1 and 2x1     1,000,000 ints; goal: at least 150,000 items/s
    text keys, 2x1            300,000 texts of 32 random letters; goal: at least 40,000 items/s
    known, 1x1                the same ints again: nothing is executed
    durable, 1x16             5,000 sleeps of 5 ms, each outcome on the disk before it is given
    timeline, tiny            4,000,000 ints; goal: at most 1.03 times the time of a run with `timeline=False`
    timeline, 50 us and 1 ms  computing for so long, each item timed itself; the same goal
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _paired import BrokenRun, pairs_of, run_python

HERE = str(Path(__file__).resolve().parent)


def add_one(number: int) -> int:
    return number + 1


def nap(number: int) -> int:
    time.sleep(0.005)
    return number


def compute(seconds: float, number: int) -> int:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    return number


def ints(count: int) -> range:
    return range(count)


def texts(count: int) -> list[str]:
    draw = random.Random(3)
    return [f"{draw.getrandbits(128):032x}" for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: of the row.
        function, items: what is mapped.
        shape: of the run.
        count: items.
        goal: items a second, or None.
        most: the time with it over that without, at most; or None.
        timeline: it is the timeline that is compared, and there is no journal.
        known: map the same items once before, off the clock.
        durable: as `Journal.durable`.
        blocks: of A B B A for each that was asked for: a run of less than a second varies by a tenth.
    """

    name: str
    function: Callable[[Any], Any]
    items: Callable[[int], Any]
    shape: str
    count: int
    goal: float | None = None
    most: float | None = None
    timeline: bool = False
    known: bool = False
    durable: bool = False
    blocks: int = 1


ROWS = [
    Row("int keys, 1x1", add_one, ints, "1x1", 1_000_000, 150_000),
    Row("int keys, 2x1", add_one, ints, "2x1", 1_000_000, 150_000),
    Row("text keys, 2x1", len, texts, "2x1", 300_000, 40_000),
    Row("known, 1x1", add_one, ints, "1x1", 1_000_000, known=True),
    Row("durable, 1x16", nap, ints, "1x16", 5_000, durable=True),
    Row("timeline, tiny 1x1", add_one, ints, "1x1", 4_000_000, most=1.03, timeline=True, blocks=4),
    Row("timeline, tiny 2x1", add_one, ints, "2x1", 4_000_000, most=1.03, timeline=True, blocks=4),
    Row("timeline, 50us 1x1", partial(compute, 50e-6), ints, "1x1", 40_000, most=1.03, timeline=True),
    Row("timeline, 50us 2x1", partial(compute, 50e-6), ints, "2x1", 80_000, most=1.03, timeline=True),
    Row("timeline, 1ms 1x1", partial(compute, 1e-3), ints, "1x1", 3_000, most=1.03, timeline=True),
    Row("timeline, 1ms 2x1", partial(compute, 1e-3), ints, "2x1", 6_000, most=1.03, timeline=True),
]


def measure_here(name: str, count: int, with_it: bool) -> None:
    """Run one side in this interpreter; print its seconds."""
    import poolwise

    row = next(row for row in ROWS if row.name == name)
    items = row.items(count)
    list(poolwise.map(abs, range(2), shape=row.shape))
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"shape": row.shape}
        if row.timeline:
            options["timeline"] = with_it
        elif with_it:
            options["journal"] = poolwise.Journal(os.path.join(folder, "run.db"), durable=row.durable)
            if row.known:
                sum(1 for _ in poolwise.map(row.function, items, **options))
        started = time.perf_counter()
        with poolwise.map(row.function, items, **options) as results:
            number = sum(1 for _ in results)
        seconds = time.perf_counter() - started
    if number != count:
        raise AssertionError(f"{number} results for {count} items")
    print(json.dumps({"seconds": seconds}))


def measured(row: Row, count: int, *, with_it: bool) -> float:
    """Run one side in a fresh interpreter; return its seconds."""
    code = f"import journal; journal.measure_here({row.name!r}, {count}, {with_it})"
    return float(json.loads(run_python(["-c", code], HERE, 600).stdout)["seconds"])


def main() -> int:
    parser = argparse.ArgumentParser(description="what a journal costs; see the module's docstring")
    parser.add_argument("--blocks", type=int, default=2, help="blocks of A B B A")
    parser.add_argument("--quick", action="store_true", help="a tenth of the items")
    parser.add_argument("--only", default="", metavar="PREFIX", help="rows whose names begin so")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    print(f"{'row':<20}{'items':>10}{'items/s':>12}{'over without':>14}  goal")
    missed = broken = False
    for row in (row for row in ROWS if row.name.startswith(arguments.only)):
        count = row.count // (10 if arguments.quick else 1)
        try:
            pairs = pairs_of(
                lambda: measured(row, count, with_it=True),  # noqa: B023
                lambda: measured(row, count, with_it=False),  # noqa: B023
                arguments.blocks * row.blocks,
            )
        except BrokenRun as error:
            print(f"{row.name:<20}BROKEN  {error}")
            broken = True
            continue
        rate = count / statistics.median(seconds for seconds, _ in pairs)
        ratio = statistics.median(seconds / without for seconds, without in pairs)
        verdict = "" if row.goal is None else f">= {row.goal:,.0f} {'ok' if rate >= row.goal else 'MISSED'}"
        if row.most is not None:
            verdict = f"<= {row.most:.2f}x {'ok' if ratio <= row.most else 'MISSED'}"
        missed |= verdict.endswith("MISSED")
        print(f"{row.name:<20}{count:>10,}{rate:>12,.0f}{ratio:>13.3f}x  {verdict}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
