"""What poolwise costs per item, at start, and in memory, measured beside the peers that are installed.

    python benchmarks/overhead.py [--quick] [--only NAME[,NAME]] [--peers-only] [--blocks N] [--json FILE] [--list]

Needs `pip install poolwise[peers] numpy`. A row whose peer is missing is skipped, and says so. Leave the machine alone
while it runs: the load it found is printed, and written to the JSON.

**How it measures.** Every figure comes from a fresh interpreter that runs one side of one row once, checks that the
results are right, and reports seconds. The two sides of a row take turns A B B A, never both at once; the ratio is
taken inside each pair, and a row shows its median and its range. `noise` compares a pool with itself: what it shows
beside 1.00x is the noise of this machine, and no other row is to be believed more closely than that.

**Steady state** (every row but `import-*`, `cold-*`, `straggler` and `memory`) means that the start of the pool is
excluded. A peer gets a pool that has already run a few items, and the clock runs from the call of its map to its last
result. poolwise has no such call to make twice, so its iterable opens with 64 items and then pauses: the workers come
up and finish what they have, the clock starts, and only then do the measured items exist; nothing can be done ahead of
the clock, and the growth of the batches from small to large is inside the figure. `1x1` and `1x2` have no start to
speak of: there the clock simply runs from the call. Slow peers get fewer items and are compared per item.

**Settings.** Peers run as they come, except where the row's text says otherwise, and except that mpire keeps its
workers between two calls (`keep_alive=True`) and joblib streams its arrays (`return_as="generator"`): without these
they would be slower. Array items are 64-bit floats, 8 MB each, every one a new view at another offset of one buffer,
because joblib writes an array that it has seen before only once; the function returns `array + 1`.

**Reading a row.** The ratio is written the way its goal is: `1.10x the time` of the peer (less is better), `6.0x
faster` than the peer (more is better). `ok` and `MISSED` judge the median against the goal (`memory` the worst run);
rows without a goal are there for orientation. The exit code is 0 whatever the verdicts, 1 if a measurement broke.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import operator
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

from _paired import BrokenRun, Spread, pairs_of, run_python

HERE = str(Path(__file__).resolve().parent)
WARM_ITEMS = 64
WARM_SECONDS = 0.75  # two children of `python -c` are up in about 0.1 s
ARRAY_LENGTH = 1_000_000  # float64: 8 MB
STRAGGLERS_PLACE = 1_000
PEERS = ("joblib", "mpire", "pebble", "numpy")

Figures = dict[str, float]


# --- what is mapped: at module level, so that every pool can pickle it by name -------------------------------------


def add_one(number: int) -> int:
    return number + 1


def add_one_to_array(array: Any) -> Any:
    return array + 1


def add_with_temporaries(number: int) -> int:
    """Return `number + 1`, having made three arrays of 800 KB on the way."""
    import numpy

    wide = numpy.arange(100_000, dtype=numpy.float64) + number
    return int((wide * 2 - wide)[1])


def nap(seconds: float) -> float:
    """Sleep; return how long it really took."""
    started = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - started


# --- the sides: each runs alone in a fresh interpreter (see `measure`) ----------------------------------------------


def total_of(results: Iterable[int], count: int, first: int = 0) -> None:
    """Consume `count` results of `add_one` over first, first + 1, ... and check their sum."""
    total = sum(itertools.islice(results, count))
    expected = count * first + count * (count + 1) // 2
    if total != expected:
        raise AssertionError(f"wrong results: the sum is {total}, not {expected}")


def ends_of(results: Iterable[Any], count: int, first: int = 0) -> None:
    """Consume `count` arrays made by `add_one_to_array` from `arrays(first, ...)` and check both ends of each."""
    place = first
    for array in itertools.islice(results, count):
        if array.nbytes != 8 * ARRAY_LENGTH or array[0] != place * 64 + 1 or array[-1] != place * 64 + ARRAY_LENGTH:
            raise AssertionError(f"wrong result for array {place}")
        place += 1
    if place != first + count:
        raise AssertionError(f"{place - first} arrays, not {count}")


def numbers(first: int, count: int) -> Iterable[int]:
    return range(first, first + count)


def arrays(first: int, count: int) -> Iterator[Any]:
    """Return `count` different arrays of 8 MB, cut from one buffer; the buffer is filled now, not on the clock."""
    import numpy

    buffer = numpy.arange(ARRAY_LENGTH + 64 * (first + count), dtype=numpy.float64)
    return (buffer[place * 64 : place * 64 + ARRAY_LENGTH] for place in range(first, first + count))


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of items: how to make them, what to do with each, how to consume and check the results."""

    function: Callable[[Any], Any]
    items: Callable[[int, int], Iterable[Any]]
    check: Callable[[Iterable[Any], int, int], None]
    warm: int


NUMBERS = Work(add_one, numbers, total_of, WARM_ITEMS)
ARRAYS = Work(add_one_to_array, arrays, ends_of, 8)
TEMPORARIES = Work(add_with_temporaries, numbers, total_of, WARM_ITEMS)


def timed(call: Callable[[], object]) -> Figures:
    started = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - started}


def warm_then_timed(apply: Callable[[Iterable[Any]], Iterable[Any]], work: Work, count: int) -> Figures:
    """Time `count` items on a pool that has already run a few."""
    work.check(apply(work.items(0, work.warm)), work.warm, 0)
    time.sleep(0.1)
    items = work.items(0, count)
    return timed(lambda: work.check(apply(items), count, 0))


def builtin_map(count: int) -> Figures:
    return timed(lambda: total_of(map(add_one, range(count)), count))


def poolwise_map_here(shape: str, count: int) -> Figures:
    import poolwise

    def apply() -> None:
        with poolwise.map(add_one, range(count), shape=shape) as results:
            total_of(results, count)

    total_of(poolwise.map(add_one, range(4), shape=shape), 4)  # imports are not per item
    return timed(apply)


def poolwise_run_here(count: int) -> Figures:
    import poolwise

    def apply(amount: int) -> None:
        with poolwise.run(add_one, range(amount), shape="1x1") as outcomes:
            total_of(map(operator.attrgetter("value"), outcomes), amount)

    apply(4)
    return timed(lambda: apply(count))


def fail(number: int) -> int:
    """Fail as libraries do: one exception is raised because of another."""
    try:
        return {}[number]  # type: ignore[no-any-return]
    except KeyError as error:
        raise ValueError(f"there is no {number}") from error


def poolwise_run_failing(count: int) -> Figures:
    import poolwise

    def apply(amount: int) -> None:
        with poolwise.run(fail, range(amount), shape="1x1") as outcomes:
            if sum(not outcome.ok for outcome in outcomes) != amount:
                raise AssertionError("an item did not fail")

    apply(4)
    return timed(lambda: apply(count))


def formatted_exceptions(count: int) -> Figures:
    def text_of(number: int) -> str:
        try:
            return str(fail(number))
        except ValueError as error:
            return "".join(traceback.format_exception(error))

    def apply() -> None:
        if not all("there is no" in text_of(number) for number in range(count)):
            raise AssertionError("an item did not fail")

    return timed(apply)


def poolwise_map_steady(work: Work, count: int) -> Figures:
    """Time `count` items on `2x1`, from the moment the first of them exists (see "Steady state" above)."""
    import poolwise

    started = 0.0

    def opening() -> Iterator[Any]:
        nonlocal started
        yield from work.items(0, work.warm)
        time.sleep(WARM_SECONDS)
        started = time.perf_counter()

    items = itertools.chain(opening(), work.items(work.warm, count))
    with poolwise.map(work.function, items, shape="2x1") as results:
        work.check(results, work.warm + count, 0)
        return {"seconds": time.perf_counter() - started}


def multiprocessing_pool(work: Work, chunksize: int, count: int) -> Figures:
    with multiprocessing.Pool(2) as pool:
        return warm_then_timed(lambda items: pool.imap(work.function, items, chunksize), work, count)


def process_pool_executor(work: Work, count: int) -> Figures:
    with ProcessPoolExecutor(2) as pool:
        return warm_then_timed(lambda items: pool.map(work.function, items), work, count)


def thread_pool_executor(count: int) -> Figures:
    with ThreadPoolExecutor(2) as pool:
        return warm_then_timed(lambda items: pool.map(add_one, items), NUMBERS, count)


def joblib_parallel(count: int) -> Figures:
    from joblib import Parallel, delayed

    with Parallel(n_jobs=2) as parallel:
        return warm_then_timed(lambda items: parallel(delayed(add_one)(item) for item in items), NUMBERS, count)


def joblib_parallel_arrays(count: int) -> Figures:
    from joblib import Parallel, delayed

    with Parallel(n_jobs=2, return_as="generator") as parallel:
        return warm_then_timed(lambda items: parallel(delayed(add_one_to_array)(item) for item in items), ARRAYS, count)


def mpire_pool(count: int) -> Figures:
    from mpire import WorkerPool

    with WorkerPool(2, keep_alive=True) as pool:
        return warm_then_timed(lambda items: pool.imap(add_one, items), NUMBERS, count)


def pebble_pool(count: int) -> Figures:
    from pebble import ProcessPool

    with ProcessPool(2) as pool:
        return warm_then_timed(lambda items: pool.map(add_one, items).result(), NUMBERS, count)


def straggler(apply: Callable[[list[float]], Iterable[float]], count: int) -> Figures:
    """Time `count` sleeps of 1 ms, one of them 1 s, against the ideal: the sum of what they really took, over 8."""
    alone = statistics.median(nap(0.001) for _ in range(100))
    sleeps = [0.001] * count
    sleeps[min(STRAGGLERS_PLACE, count // 10)] = 1.0
    started = time.perf_counter()
    took = list(itertools.islice(apply(sleeps), count))
    seconds = time.perf_counter() - started
    if len(took) != count or not all(real >= asked for real, asked in zip(took, sleeps, strict=True)):
        raise AssertionError("wrong results")
    ideal = max(sum(took) / 8, max(took))
    return {
        "seconds": seconds,
        "ideal_seconds": ideal,
        "sleep_in_run": statistics.median(took),
        "sleep_alone": alone,
        "ideal_by_sleep_alone": max((alone * (count - 1) + 1) / 8, 1.0),
    }


def poolwise_straggler(count: int) -> Figures:
    import poolwise

    list(poolwise.map(nap, [0.0] * 8, shape="1x8"))
    return straggler(lambda sleeps: poolwise.map(nap, sleeps, shape="1x8", ordered=True), count)


def threads_straggler(count: int) -> Figures:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(nap, [0.0] * 8))
        return straggler(lambda sleeps: pool.map(nap, sleeps), count)


def peak_bytes() -> int:
    """Return the peak resident size of this process.

    Linux's VmHWM, as ru_maxrss there starts from the size of the process that forked this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def growth_of(apply: Callable[[], object]) -> Figures:
    before = peak_bytes()
    figures = timed(apply)
    return {**figures, "grown_bytes": peak_bytes() - before}


def poolwise_memory(count: int) -> Figures:
    import poolwise

    def apply() -> None:
        with poolwise.map(add_one, range(count), shape="2x1") as results:
            total_of(results, count)

    return growth_of(apply)


def multiprocessing_memory(count: int) -> Figures:
    def apply() -> None:
        with multiprocessing.Pool(2) as pool:
            total_of(pool.imap(add_one, range(count), chunksize=1000), count)

    return growth_of(apply)


SIDES: dict[str, Callable[[int], Figures]] = {
    "builtin map": builtin_map,
    "poolwise map 1x1": partial(poolwise_map_here, "1x1"),
    "poolwise map 1x2": partial(poolwise_map_here, "1x2"),
    "poolwise run 1x1": poolwise_run_here,
    "poolwise run failing": poolwise_run_failing,
    "traceback.format_exception": formatted_exceptions,
    "poolwise map 2x1": partial(poolwise_map_steady, NUMBERS),
    "poolwise arrays": partial(poolwise_map_steady, ARRAYS),
    "poolwise temporaries": partial(poolwise_map_steady, TEMPORARIES),
    "multiprocessing.Pool": partial(multiprocessing_pool, NUMBERS, 1000),
    "multiprocessing.Pool temporaries": partial(multiprocessing_pool, TEMPORARIES, 20),
    "ProcessPoolExecutor": partial(process_pool_executor, NUMBERS),
    "ProcessPoolExecutor arrays": partial(process_pool_executor, ARRAYS),
    "ThreadPoolExecutor": thread_pool_executor,
    "joblib": joblib_parallel,
    "joblib arrays": joblib_parallel_arrays,
    "mpire": mpire_pool,
    "pebble": pebble_pool,
    "poolwise straggler": poolwise_straggler,
    "ThreadPoolExecutor straggler": threads_straggler,
    "poolwise memory": poolwise_memory,
    "multiprocessing.Pool memory": multiprocessing_memory,
}


def measure(side: str, count: int) -> None:
    """Run one side here and write its figures to stdout: the main of a measured process."""
    print(json.dumps({**SIDES[side](count), "items": count}))


def measured(side: str, count: int) -> Figures:
    """Run one side in a fresh interpreter, in which this file is a module that workers can import."""
    try:
        ended = run_python(["-c", f"import overhead; overhead.measure({side!r}, {count})"], path=HERE)
    except BrokenRun as broken:
        raise BrokenRun(f"{side}: {broken}") from None
    figures: Figures = json.loads(ended.stdout.splitlines()[-1])
    return figures


# --- cold start: whole scripts ---------------------------------------------------------------------------------------

SCRIPT = "{imports}\n\ndef add_one(number):\n    return number + 1\n\n{guard}{call}\n"
GUARD = 'if __name__ == "__main__":\n    '
SCRIPTS = {
    "poolwise": SCRIPT.format(
        imports="import poolwise", guard="", call='print(sum(poolwise.map(add_one, [1, 2], shape="2x1")))'
    ),
    "joblib": SCRIPT.format(
        imports="from joblib import Parallel, delayed",
        guard=GUARD,
        call="print(sum(Parallel(n_jobs=2)(delayed(add_one)(number) for number in [1, 2])))",
    ),
    "mpire": SCRIPT.format(
        imports="from mpire import WorkerPool",
        guard=GUARD,
        call="with WorkerPool(2) as pool:\n        print(sum(pool.map(add_one, [1, 2])))",
    ),
    "ProcessPoolExecutor": SCRIPT.format(
        imports="import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor",
        guard=GUARD,
        call='with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:\n'
        "        print(sum(pool.map(add_one, [1, 2])))",
    ),
}


def cold_start(script: str) -> Figures:
    """Run a script of two items from a folder of its own; return the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.py")
        path.write_text(SCRIPTS[script])
        try:
            ended = run_python([str(path)])
        except BrokenRun as broken:
            raise BrokenRun(f"{script} script: {broken}") from None
    if ended.stdout.split() != ["5"]:
        raise BrokenRun(f"{script} script: printed {ended.stdout!r}, not 5")
    return {"seconds": ended.seconds, "items": 2}


def import_start(code: str) -> Figures:
    return {"seconds": run_python(["-c", code]).seconds, "items": 1}


# --- the rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to run: blocks of A B B A, and a divisor of the item counts."""

    blocks: int = 3
    divisor: int = 1
    peers_only: bool = False

    def items(self, count: int) -> int:
        return count // self.divisor


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. Figures are in `unit`; `verdict` is ok, MISSED, skipped, broken or empty (no goal)."""

    name: str
    what: str
    unit: str = ""
    poolwise: float | None = None
    peer_name: str = ""
    peer: float | None = None
    ratio: str = ""
    spread: Spread | None = None
    goal: str = ""
    verdict: str = ""
    note: str = ""
    samples: list[tuple[Figures, Figures]] = field(default_factory=list)


Side = Callable[[], Figures]
PLACEHOLDER: Figures = {"seconds": float("nan"), "items": 1}


@dataclass(frozen=True, slots=True)
class Bench:
    """One row to be measured.

    Attributes:
        ours: The side of poolwise, as a function of the settings.
        peer: The other side.
        scale: Seconds an item to the unit shown (1e6: microseconds).
        compare: "time" (ours / peer), "faster" (peer / ours) or "beyond" (ours - peer, in the unit).
        at_most: The goal on that ratio or difference, or, with `absolute`, on our own figure.
        at_least: Likewise, a lower bound.
        needs: Modules without which the row is skipped.
        repeat: Times the blocks of the settings.
    """

    name: str
    what: str
    ours: Callable[[Settings], Side]
    peer_name: str
    peer: Callable[[Settings], Side]
    unit: str = "us"
    scale: float = 1e6
    compare: str = "time"
    at_most: float | None = None
    at_least: float | None = None
    absolute: bool = False
    needs: tuple[str, ...] = ()
    repeat: int = 1
    measure: Callable[[Bench, Settings], Row] | None = None

    def goal(self) -> str:
        unit = f" {self.unit}" if self.absolute or self.compare == "beyond" else f"x {self.compare}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}{unit}"
        return f">= {self.at_least:g}{unit}" if self.at_least is not None else ""

    def verdict(self, figure: float) -> str:
        if self.at_most is not None:
            return "ok" if figure <= self.at_most else "MISSED"
        if self.at_least is not None:
            return "ok" if figure >= self.at_least else "MISSED"
        return ""


def per_item(figures: Figures) -> float:
    return figures["seconds"] / figures["items"]


def sampled(bench: Bench, settings: Settings) -> list[tuple[Figures, Figures]]:
    """Run both sides in turn. With `peers_only`, our side is not run and has no figure."""
    ours: Side = (lambda: PLACEHOLDER) if settings.peers_only else bench.ours(settings)
    return pairs_of(ours, bench.peer(settings), settings.blocks * bench.repeat)


def compared(bench: Bench, samples: list[tuple[Figures, Figures]]) -> Row:
    """Compare seconds per item."""
    ours = statistics.median(per_item(mine) for mine, _ in samples) * bench.scale
    peer = statistics.median(per_item(other) for _, other in samples) * bench.scale
    if bench.compare == "faster":
        spread = Spread.of([per_item(other) / per_item(mine) for mine, other in samples])
    elif bench.compare == "beyond":
        spread = Spread.of([(per_item(mine) - per_item(other)) * bench.scale for mine, other in samples])
    else:
        spread = Spread.of([per_item(mine) / per_item(other) for mine, other in samples])
    ratio = spread.text(f" {bench.unit}", "+") if bench.compare == "beyond" else spread.text(f"x {bench.compare}")
    verdict = bench.verdict(ours if bench.absolute else spread.median)
    return _row(bench, ours, peer, ratio, spread, verdict, "", samples)


def straggler_row(bench: Bench, settings: Settings) -> Row:
    """Compare the makespan with the ideal of the same run; the peer is there to show what threads can do."""
    samples = sampled(bench, settings)
    theirs = Spread.of([other["seconds"] / other["ideal_seconds"] for _, other in samples])
    ours, spread, sides = float("nan"), Spread(*[float("nan")] * 3), [other for _, other in samples]
    note = f"ThreadPoolExecutor(8) {theirs.text('x its ideal')}"
    if not settings.peers_only:
        sides = [mine for mine, _ in samples]
        ours = statistics.median(mine["seconds"] for mine in sides)
        spread = Spread.of([mine["seconds"] / mine["ideal_seconds"] for mine in sides])
        alone = Spread.of([mine["seconds"] / mine["ideal_by_sleep_alone"] for mine in sides])
        note += f"; poolwise {alone.text('x')} the ideal of sleeps as long as in an idle process"
    in_run, by_itself = (
        statistics.median(side[key] for side in sides) * 1e3 for key in ("sleep_in_run", "sleep_alone")
    )
    note += f"; the sleep of 1 ms took {in_run:.2f} ms in the run, {by_itself:.2f} in an idle process"
    ideal = statistics.median(side["ideal_seconds"] for side in sides)
    return _row(bench, ours, ideal, spread.text("x time"), spread, bench.verdict(spread.median), note, samples)


def memory_row(bench: Bench, settings: Settings) -> Row:
    """Judge the worst growth of our own peak; the peer's is there for orientation."""
    samples = sampled(bench, settings)
    megabytes = [[side.get("grown_bytes", float("nan")) / 1e6 for side in sides] for sides in zip(*samples)]
    spread = Spread.of(megabytes[0])
    peer = statistics.median(megabytes[1])
    return _row(bench, spread.median, peer, spread.text(" MB", "+"), spread, bench.verdict(spread.high), "", samples)


def _row(
    bench: Bench,
    ours: float,
    peer: float,
    ratio: str,
    spread: Spread,
    verdict: str,
    note: str,
    samples: list[tuple[Figures, Figures]],
) -> Row:
    known = ours == ours  # not a NaN: our side was run
    return Row(
        name=bench.name,
        what=bench.what,
        unit=bench.unit,
        poolwise=ours if known else None,
        peer_name=bench.peer_name,
        peer=peer,
        ratio=ratio if known else "",
        spread=spread if known else None,
        goal=bench.goal(),
        verdict=verdict if known else "",
        note=note,
        samples=[pair for pair in samples if known],
    )


def side(name: str, count: int) -> Callable[[Settings], Side]:
    return lambda settings: partial(measured, name, settings.items(count))


def script(name: str) -> Callable[[Settings], Side]:
    def prepare(_: Settings) -> Side:
        cold_start(name)  # once unmeasured: files cached, bytecode written
        return partial(cold_start, name)

    return prepare


def importing(code: str) -> Callable[[Settings], Side]:
    def prepare(_: Settings) -> Side:
        import_start(code)
        return partial(import_start, code)

    return prepare


def against(peer_name: str, peer: str, count: int, **options: Any) -> Bench:
    """Return the row that compares `x + 1` on `2x1` with one peer."""
    what = f"x + 1, 1,000,000 ints, 2x1 (peer {count:,})"
    name = f"map-2x1-{options.pop('short')}"
    return Bench(name, what, side("poolwise map 2x1", 1_000_000), peer_name, side(peer, count), **options)


def cold(short: str, peer_name: str, peer: str, needs: tuple[str, ...] = ()) -> Bench:
    what = "whole process, two items on 2x1"
    name = f"cold-{short}"
    return Bench(name, what, script("poolwise"), peer_name, script(peer), "ms", 2e3, "time", at_most=1.0, needs=needs)


BENCHES = [
    Bench(
        "import",
        "python -c 'import poolwise'",
        importing("import poolwise"),
        "python -c pass",
        importing("pass"),
        "ms",
        1e3,
        "beyond",
        at_most=40,
        repeat=4,
    ),
    Bench(
        "import-map-run",
        "python -c 'from poolwise import map, run'",
        importing("from poolwise import map, run"),
        "python -c pass",
        importing("pass"),
        "ms",
        1e3,
        "beyond",
        repeat=4,
    ),
    Bench(
        "noise",
        "one pool against itself, 1,000,000 ints",
        side("multiprocessing.Pool", 1_000_000),
        "Pool(2).imap(chunksize=1000)",
        side("multiprocessing.Pool", 1_000_000),
    ),
    Bench(
        "map-1x1",
        "x + 1, 1,000,000 ints, 1x1",
        side("poolwise map 1x1", 1_000_000),
        "builtin map",
        side("builtin map", 1_000_000),
        at_most=0.3,
        absolute=True,
    ),
    Bench(
        "run-1x1",
        "run: x + 1, 1,000,000 ints, 1x1",
        side("poolwise run 1x1", 1_000_000),
        "builtin map",
        side("builtin map", 1_000_000),
        at_most=1.5,
        absolute=True,
    ),
    Bench(
        "fail-1x1",
        "run: 20,000 items that fail, 1x1",
        side("poolwise run failing", 20_000),
        "a loop, traceback.format_exception",
        side("traceback.format_exception", 20_000),
    ),
    against("Pool(2).imap(chunksize=1000)", "multiprocessing.Pool", 1_000_000, short="pool", at_most=1.3),
    against("mpire imap", "mpire", 100_000, short="mpire", compare="faster", at_least=5, needs=("mpire",)),
    against("joblib", "joblib", 100_000, short="joblib", compare="faster", at_least=5, needs=("joblib",)),
    against("pebble", "pebble", 10_000, short="pebble", compare="faster", at_least=5, needs=("pebble",)),
    against(
        "ProcessPoolExecutor(2).map", "ProcessPoolExecutor", 10_000, short="executor", compare="faster", at_least=50
    ),
    Bench(
        "map-1x2",
        "x + 1, 1,000,000 ints, 1x2 (peer 50,000)",
        side("poolwise map 1x2", 1_000_000),
        "ThreadPoolExecutor(2).map",
        side("ThreadPoolExecutor", 50_000),
        compare="faster",
        at_least=10,
    ),
    Bench(
        "arrays-executor",
        "array + 1, 200 of 8 MB, 2x1 (peer 100)",
        side("poolwise arrays", 200),
        "ProcessPoolExecutor(2).map",
        side("ProcessPoolExecutor arrays", 100),
        "ms",
        1e3,
        "faster",
        at_least=2.5,
        needs=("numpy",),
    ),
    Bench(
        "arrays-joblib",
        "array + 1, 200 of 8 MB, 2x1 (peer 60)",
        side("poolwise arrays", 200),
        "joblib",
        side("joblib arrays", 60),
        "ms",
        1e3,
        "faster",
        at_least=2.5,
        needs=("numpy", "joblib"),
    ),
    Bench(
        "temporaries",
        "x + 1 via arrays of 800 KB, 4,000 ints, 2x1",
        side("poolwise temporaries", 4_000),
        "Pool(2).imap(chunksize=20)",
        side("multiprocessing.Pool temporaries", 4_000),
        "us",
        1e6,
        "faster",
        at_least=1.5,
        needs=("numpy",),
    ),
    cold("joblib", "joblib", "joblib", needs=("joblib",)),
    cold("mpire", "mpire", "mpire", needs=("mpire",)),
    cold("executor", "ProcessPoolExecutor spawn", "ProcessPoolExecutor"),
    Bench(
        "straggler",
        "1 s among 10,000 x 1 ms, ordered, 1x8",
        side("poolwise straggler", 10_000),
        "the ideal makespan",
        side("ThreadPoolExecutor straggler", 10_000),
        "s",
        1.0,
        at_most=1.15,
        measure=straggler_row,
    ),
    Bench(
        "memory",
        "parent's peak RSS, 10,000,000 ints, 2x1",
        side("poolwise memory", 10_000_000),
        "Pool(2).imap(chunksize=1000)",
        side("multiprocessing.Pool memory", 10_000_000),
        "MB",
        at_most=50,
        absolute=True,
        measure=memory_row,
    ),
]


def row_of(bench: Bench, settings: Settings) -> Row:
    """Measure one row; what goes wrong becomes the row's verdict."""
    missing = [name for name in bench.needs if util.find_spec(name) is None]
    blank = Row(bench.name, bench.what, bench.unit, peer_name=bench.peer_name, goal=bench.goal())
    if missing:
        return replace(blank, verdict="skipped", note=f"{', '.join(missing)} is not installed")
    try:
        if bench.measure is not None:
            return bench.measure(bench, settings)
        return compared(bench, sampled(bench, settings))
    except BrokenRun as broken:
        return replace(blank, verdict="BROKEN", note=str(broken))


# --- the command line ------------------------------------------------------------------------------------------------

LINE = "{:<16} {:<43} {:>9}  {:<38} {:<28} {:<13} {}"


def line_of(row: Row) -> str:
    ours = "" if row.poolwise is None else f"{_number(row.poolwise)} {row.unit}"
    peer = row.peer_name if row.peer is None else f"{_number(row.peer)} {row.unit} {row.peer_name}"
    text = LINE.format(row.name, row.what, ours, peer, row.ratio, row.goal, row.verdict).rstrip()
    return text + "".join(f"\n{'':<17}{line}" for line in row.note.splitlines())


def _number(figure: float) -> str:
    digits = 3 if abs(figure) < 1 else 2 if abs(figure) < 10 else 1 if abs(figure) < 100 else 0
    return f"{figure:.{digits}f}"


def environment() -> dict[str, Any]:
    """Say what the figures were taken on."""
    versions = {}
    for name in ("poolwise", *PEERS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores,
        "load_before": os.getloadavg()[0],
        "versions": versions,
    }


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="poolwise's overhead beside its peers'; see the module's docstring")
    parser.add_argument("--quick", action="store_true", help="one block and a tenth of the items: a smoke test")
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help="rows to run; a prefix such as map-2x1 takes all of its rows"
    )
    parser.add_argument("--peers-only", action="store_true", help="measure the peers alone")
    parser.add_argument("--blocks", type=int, help="blocks of A B B A in a row (default 3)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure to FILE")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    arguments = parser.parse_args(argv)
    wanted = [name for name in (arguments.only or "").split(",") if name]
    for name in wanted:
        if not any(_matches(bench.name, name) for bench in BENCHES):
            parser.error(f"no row is called {name!r}: the rows are {', '.join(bench.name for bench in BENCHES)}")
    arguments.benches = [bench for bench in BENCHES if not wanted or any(_matches(bench.name, name) for name in wanted)]
    return arguments


def _matches(bench: str, wanted: str) -> bool:
    exact = any(other.name == wanted for other in BENCHES)
    return bench == wanted or (not exact and bench.startswith(f"{wanted}-"))


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    if arguments.list:
        print("\n".join(f"{bench.name:<16} {bench.what}  [{bench.goal() or 'no goal'}]" for bench in arguments.benches))
        return 0
    settings = Settings(
        blocks=arguments.blocks or (1 if arguments.quick else 3),
        divisor=10 if arguments.quick else 1,
        peers_only=arguments.peers_only,
    )
    about = environment()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    print(f"Python {about['python']}, {about['cores']} cores, load {about['load_before']:.2f}; {versions}")
    if arguments.quick:
        print("--quick: a tenth of the items, one block: good to see that it runs, not to judge by")
    print(LINE.format("row", "what", "poolwise", "peer", "ratio, median (range)", "goal", "verdict"), flush=True)
    started = time.perf_counter()
    rows = []
    for bench in arguments.benches:
        rows.append(row_of(bench, settings))
        print(line_of(rows[-1]), flush=True)
    seconds = time.perf_counter() - started
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("ok", "MISSED", "skipped", "BROKEN")}
    print(f"{seconds:.0f} s; " + ", ".join(f"{number} {verdict}" for verdict, number in count.items()))
    if arguments.json:
        about |= {"seconds": seconds, "load_after": os.getloadavg()[0], "quick": arguments.quick}
        arguments.json.write_text(json.dumps({"environment": about, "rows": [asdict(row) for row in rows]}, indent=1))
    return 1 if count["BROKEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
