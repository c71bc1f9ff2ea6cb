"""The zoo: does `shape="auto"` see what kind of function it has, and what does choosing cost?

    python benchmarks/zoo.py [--quick] [--only 1,2,19-25] [--peers] [--blocks N] [--json FILE] [--grid-from FILE]
    python benchmarks/zoo.py --small          # few items: waiting, tiny, and CPU
    python benchmarks/zoo.py --measure NAME SHAPE COUNT       # one run, as a line of JSON
    python benchmarks/zoo.py --list

The workloads are in `_zoo_workloads.py`, their servers in `_zoo_servers.py`. Leave the machine alone meanwhile.

**Every run has a fresh interpreter** and is timed from the call of the map to its last result: the start of the pool
and all measuring are inside, imports and the making of items are not. Every run must give every result once, with the
checksum that other shapes gave; some functions count their calls as well. A run that exceeds its limit is cut off.

**For each workload** a few shapes run for a third of a second, to learn how many items make a run of the wanted
length (4 s; `--quick` 1.2 s). A grid of shapes runs on fewer items (0.7 s for the best), shapes that take more than
twice the best are cut off; those that promise most then run at full count, and the fastest is "the best fixed shape".

**Regret** is the time of `map(fn, items)` as it stands over that of the best fixed shape, in turn A B B A; shown are
the median of the pairs and their range. `--peers` compares with other pools at their defaults: the ratio is our time
over theirs, in one run and, where that is not shorter, in as many pairs as the regret; `<0.67` means that theirs was
cut off at 1.5 times ours, `-` that they cannot run it.

**Reading a row.** `ok?` is `right`, `unknown` (allowed) or `WRONG`; a workload without a true kind is judged by the
shape, and its truth says which are right. Speed-ups are over one lane, as the plan gives them. `cost` is the CPU time
that measuring used over the items' own time, in the costliest run. `--json` appends each
row; `--grid-from` takes counts and best shapes from such a file, and measures the regret alone. The exit code is 1 only
if something broke.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

import _zoo_workloads as zoo
from _paired import BrokenRun, Spread, pairs_of
from _zoo_workloads import BY_NAME, SKIPPED, WORKLOADS, Workload, checksum
from poolwise._bench import peers

HERE = Path(__file__).resolve().parent
TOKEN_VARIABLE = "POOLWISE_ZOO_RUN"  # marks every process of a run, so that none is left behind

GRID = ("1x1", "1x2", "1x4", "1x16", "1x64", "2x1", "2x2", "2x16", "2x64")
PROBED = ("1x1", "1x2", "1x16", "1x64", "2x1", "2x16")
QUICK_GRID = ("1x1", "1x2", "1x16", "1x64", "2x1", "2x16", "2x64")
QUICK_PROBED = ("1x1", "1x64", "2x1", "2x64")
PEERS = {"threads": "ThreadPoolExecutor", "processes": "ProcessPoolExecutor", "joblib": "joblib", "mpire": "mpire"}

REDUCED = 0.7 / 4  # the grid's share of the wanted length
HOPELESS = 4.0  # a probed shape so many times slower than the best is not run again
BEATEN = 2.0  # a shape of the grid is cut off at so many times the best
ALLOWANCE_SECONDS = 0.3  # added to that: the start of a pool is nothing to be cut off for
REGRET_CUT = 4.0
PEER_CUT = 1.5
START_SECONDS = 0.15  # of two worker processes, with the imports of their function
PEER_GOAL = 1.1
BACKSTOP_SECONDS = 60.0  # on top of a run's own limit: start, end, and what hangs there

# --- the measured process ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """What one measured process is to do.

    Attributes:
        name: of the workload.
        pool: a shape, "auto", or one of the peers.
        count: of the items.
        limit_seconds: of the map; then the process ends itself.
        window_seconds: instead of `count` items, take items for so long (to learn the rate).
        target_seconds: the wanted length of a run (tells a neighbour when to come).
    """

    name: str
    pool: str
    count: int
    limit_seconds: float
    window_seconds: float | None = None
    target_seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run gave. `first_seconds` is when the first result came; `calls` is None where they were not counted."""

    seconds: float
    first_seconds: float
    results: int
    checksum: int
    calls: int | None = None
    kind: str | None = None
    shape: str | None = None
    predicted: float | None = None
    observed: float | None = None
    serial: float | None = None
    decided_after: int | None = None
    measuring: float | None = None  # CPU seconds that measuring used, over the items' own time

    def rate(self, pool: str) -> float:
        """Return items a second, the start of processes excluded."""
        return self.results / max(self.seconds - start_seconds(pool, self), 1e-6)


def start_seconds(pool: str, run: Measured) -> float:
    """Return about how long a pool took to start; never more than most of the time to its first result."""
    return 0.0 if pool.startswith("1x") else min(START_SECONDS, 0.8 * run.first_seconds)


def measure_here(task: Task) -> Measured:
    """Run a task in this interpreter."""
    workload = BY_NAME[task.name]
    function = workload.make()
    items: Iterable[Any] = workload.items(task.count)
    if task.window_seconds is not None:
        items = _items_for(task.window_seconds, list(workload.items(1_000)))
    import_all(task.pool)
    workload.ready()
    with contextlib.ExitStack() as stack:
        signal.setitimer(signal.ITIMER_REAL, task.limit_seconds)  # SIGALRM ends the process, whatever holds the GIL
        started = time.perf_counter()
        results = start(stack, task.pool, function, items, workload)
        gathered = _gather(iter(results), workload, None if task.window_seconds else task.count, started)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return Measured(*gathered, calls=_calls(workload), **_said_by(results))


def import_all(pool: str) -> None:
    """Import what a pool needs: imports are not on the clock."""
    if pool in PEERS:
        peers.import_pool(PEERS[pool])
    else:
        import poolwise

        list(poolwise.map(abs, range(2), shape="1x1"))


def start(
    stack: contextlib.ExitStack, pool: str, function: Callable[[Any], Any], items: Iterable[Any], workload: Workload
) -> Iterable[Any]:
    """Call a pool's map, with its defaults; one that would gather large results is asked for them one by one."""
    if pool == "joblib" and workload.large:
        import joblib

        return joblib.Parallel(n_jobs=-1, return_as="generator")(joblib.delayed(function)(item) for item in items)
    if pool == "mpire" and workload.large:
        import mpire

        return stack.enter_context(mpire.WorkerPool()).imap(function, items)
    if pool in PEERS:
        return peers.start(stack, PEERS[pool], function, list(items))
    import poolwise

    return stack.enter_context(poolwise.map(function, items, shape=pool, **workload.options()))


def _items_for(seconds: float, items: list[Any]) -> Iterator[Any]:
    """Repeat shuffled items for a while."""
    random.Random(7).shuffle(items)
    deadline = time.perf_counter() + seconds
    for item in itertools.cycle(items):
        yield item
        if time.perf_counter() > deadline:
            return


def _gather(
    results: Iterator[Any], workload: Workload, count: int | None, started: float
) -> tuple[float, float, int, int]:
    """Take all results; return the seconds to the last and to the first, their number, and their checksum."""
    kept: list[Any] = []
    keep = kept.append
    if workload.large:
        keep = lambda value: kept.append(workload.digest(value))  # noqa: E731
    first = last = started
    if count is None:
        for value in results:
            keep(value)
            last = time.perf_counter()
            first = last if len(kept) == 1 else first
    else:
        keep(next(results))
        first = time.perf_counter()
        rest = itertools.islice(results, count - 1)
        if workload.large:
            for value in rest:
                keep(value)
        else:
            kept.extend(rest)
        last = time.perf_counter()
        if next(results, workload) is not workload:
            raise AssertionError(f"more than {count} results")
        if len(kept) != count:
            raise AssertionError(f"{len(kept)} results for {count} items")
    return last - started, first - started, len(kept), checksum(kept if workload.large else map(workload.digest, kept))


def _calls(workload: Workload) -> int | None:
    if not workload.counted:
        return None
    return os.stat(os.environ[zoo.CALLS_VARIABLE]).st_size


def _said_by(results: Any) -> dict[str, Any]:
    plan = getattr(results, "plan", None)
    if plan is None:
        return {}
    report = results.report()
    measuring = report.probe_seconds / report.busy_seconds if report.busy_seconds else None
    figures = ("kind", "predicted", "observed", "serial", "decided_after")
    return {"shape": str(plan.shape), "measuring": measuring} | {name: getattr(plan, name) for name in figures}


# --- running it, and leaving nothing behind ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """A run that was cut off."""

    seconds: float


def measure(task: Task) -> Measured | Cut:
    """Run a task in a fresh interpreter, beside the helper it needs; check its results.

    Raises:
        BrokenRun: it failed, hung, or gave wrong results.
    """
    workload = BY_NAME[task.name]
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, contextlib.ExitStack() as helpers:
        environment = _environment(workload, folder)
        if workload.helper and not workload.delay:
            environment[zoo.PORT_VARIABLE] = helpers.enter_context(_helper(workload.helper, folder))
            environment[zoo.CERTIFICATE_VARIABLE] = os.path.join(folder, "certificate")
        elif workload.helper:
            helpers.enter_context(_late_helper(workload, folder, task))
        text = _run_inside(asdict(task), environment, task.limit_seconds + BACKSTOP_SECONDS)
    if text is None:
        return Cut(task.limit_seconds)
    measured = Measured(**json.loads(text))
    if measured.calls is not None and measured.calls != measured.results:
        raise BrokenRun(f"{task.pool}: {measured.calls} calls for {measured.results} items")
    return measured


def _environment(workload: Workload, folder: str) -> dict[str, str]:
    environment = _plain_environment()
    environment[zoo.FOLDER_VARIABLE] = folder
    environment[zoo.CALLS_VARIABLE] = os.path.join(folder, "calls")
    for name, value in workload.environment.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def _plain_environment() -> dict[str, str]:
    """Return our environment without what would make workers compile everything again, or slow numpy down."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _run_inside(task: dict[str, Any], environment: dict[str, str], limit_seconds: float) -> str | None:
    """Run `--inside` to its end; return what it printed, or None where it cut itself off."""
    token = uuid.uuid4().hex
    environment = environment | {TOKEN_VARIABLE: token}
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "zoo.py"), "--inside", json.dumps(task)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_all(token)
            process.wait()
        if code == -signal.SIGALRM:
            return None
        if code == 0:
            stdout.seek(0)
            return stdout.read().strip().splitlines()[-1]
        stderr.seek(0)
        last = "\n".join(stderr.read().strip().splitlines()[-4:])
        why = f"hung for {limit_seconds:.0f} s" if code is None else f"ended with {code}"
        raise BrokenRun(f"{task.get('pool', task)}: {why}\n{last}")


def _end_all(token: str) -> None:
    """Kill every process that carries this run's token in its environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TOKEN_VARIABLE) == token:
                process.kill()


@contextlib.contextmanager
def _helper(kind: str, folder: str) -> Iterator[str]:
    """Run a server, or the neighbour, while the block lasts; it ends with its stdin even if we are killed."""
    command = [sys.executable, str(HERE / "_zoo_servers.py"), kind]
    if kind == "page":
        command.append(_certificate(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().decode().strip()
            if not port:
                raise BrokenRun(f"the server {kind!r} did not start")
            yield port
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _late_helper(workload: Workload, folder: str, task: Task) -> Iterator[None]:
    """Start a helper at a share of the run (plus 0.4 s, which an interpreter takes to begin)."""
    seconds = 0.4 + workload.delay * (task.window_seconds or task.target_seconds)
    ended = threading.Event()

    def run() -> None:
        if not ended.wait(seconds):
            with _helper(workload.helper, folder):
                ended.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _certificate(folder: str) -> str:
    """Make a self-signed certificate; certificate and key are in one file.

    Raises:
        BrokenRun: there is no `openssl`.
    """
    path = os.path.join(folder, "certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-keyout", f"{path}.key", "-out", f"{path}.crt"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BrokenRun(f"openssl made no certificate: {error}") from None
    Path(path).write_text(Path(f"{path}.crt").read_text() + Path(f"{path}.key").read_text())
    return path


# --- the best fixed shape ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    target_seconds: float
    blocks: int
    grid: tuple[str, ...]
    probed: tuple[str, ...]
    peers: bool


@dataclass(slots=True)
class Row:
    """All that was measured of one workload."""

    number: int
    name: str
    truth: str
    count: int = 0
    best: str = ""
    best_seconds: float = 0.0
    grid: dict[str, float | None] = field(default_factory=dict)  # at `grid_count`; None: cut off or failed
    grid_count: int = 0
    full: dict[str, float] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    ok: str = ""
    predicted: float | None = None
    observed: float | None = None
    decided_after: float | None = None
    measuring: float | None = None  # share of the items' own time, the largest of all runs
    pairs: list[tuple[float, float]] = field(default_factory=list)
    regret: float | None = None
    regret_low: float | None = None
    regret_high: float | None = None
    cut: bool = False
    peers: dict[str, float | None] = field(default_factory=dict)  # our time over theirs; None: theirs was cut off
    notes: list[str] = field(default_factory=list)
    load: float = 0.0  # of the machine, at the end of the row; of a quiet machine it is at most its cores
    broken: str = ""


class Keeper:
    """Runs tasks of one workload, and compares the checksums of those with the same count."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        self.workload = workload
        self.settings = settings
        self.checksums: dict[int, tuple[str, int]] = {}

    def run(self, pool: str, count: int, limit_seconds: float, share: float = 1.0) -> Measured | Cut:
        """Measure a pool; `share` is how much shorter than wanted the run is meant to be."""
        target_seconds = self.settings.target_seconds * share
        task = Task(self.workload.name, pool, count, limit_seconds, target_seconds=target_seconds)
        measured = measure(task)
        if isinstance(measured, Measured) and self.workload.repeatable:
            pool_before, before = self.checksums.setdefault(count, (pool, measured.checksum))
            if before != measured.checksum:
                raise BrokenRun(f"{pool} and {pool_before} gave different results")
        return measured

    def rates(self, shapes: Iterable[str]) -> dict[str, float]:
        """Run each shape for a moment; return items a second."""
        window = min(0.35, self.settings.target_seconds / 4)
        rates = {}
        for shape in shapes:
            measured = measure(Task(self.workload.name, shape, 0, 10.0, window_seconds=window))
            if isinstance(measured, Measured):
                rates[shape] = measured.rate(shape)
        if not rates:
            raise BrokenRun("no shape gave a result within 10 s")
        return rates


def find_best(keeper: Keeper, row: Row) -> None:
    """Fill in the count, the grid, and the best fixed shape."""
    settings = keeper.settings
    possible = [shape for shape in settings.grid if not (keeper.workload.threads_only and shape[0] != "1")]
    rates = keeper.rates(shape for shape in settings.probed if shape in possible)
    fastest = max(rates.values())
    row.grid_count = max(4, round(fastest * settings.target_seconds * REDUCED))
    hopeful = [shape for shape in possible if rates.get(shape, fastest) >= fastest / HOPELESS]
    hopeful.sort(key=lambda shape: -rates.get(shape, 0.0))
    runs = _grid(keeper, row, hopeful)
    if not runs:
        raise BrokenRun("every shape was cut off or failed: " + "; ".join(row.notes))
    row.grid |= {shape: None for shape in possible if shape not in row.grid}
    wanted_seconds = settings.target_seconds
    for _ in range(3):
        row.count = max(4, max(_count_in(wanted_seconds, shape, run) for shape, run in runs.items()))
        finals = _finals(keeper, row, runs)
        if not finals:
            wanted_seconds /= 4  # the grid promised far too much
            continue
        row.full = {shape: run.seconds for shape, run in finals.items()}
        row.best = min(row.full, key=row.full.__getitem__)
        row.best_seconds = row.full[row.best]
        if 0.75 <= row.best_seconds / settings.target_seconds <= 1.4:
            break
        runs = finals
    if not row.best:
        raise BrokenRun(f"nothing ended in time, the last at {row.count} items")


def _grid(keeper: Keeper, row: Row, shapes: Iterable[str]) -> dict[str, Measured]:
    """Run shapes on fewer items; those that are clearly beaten are cut off."""
    runs: dict[str, Measured] = {}
    for shape in shapes:
        best = min((run.seconds for run in runs.values()), default=5 * keeper.settings.target_seconds)
        try:
            run = keeper.run(shape, row.grid_count, BEATEN * best + ALLOWANCE_SECONDS, REDUCED)
        except BrokenRun as broken:
            row.notes.append(f"grid: {broken}")
            continue
        if isinstance(run, Measured):
            runs[shape] = run
            row.grid[shape] = run.seconds
    return runs


def _count_in(seconds: float, shape: str, run: Measured) -> int:
    """Return how many items a shape would do in so long, from a shorter run."""
    return round((seconds - start_seconds(shape, run)) * run.rate(shape))


def _finals(keeper: Keeper, row: Row, runs: dict[str, Measured]) -> dict[str, Measured]:
    """Run the two (or three) shapes that promise most at full count."""
    promised = {shape: start_seconds(shape, run) + row.count / run.rate(shape) for shape, run in runs.items()}
    ranked = sorted(promised, key=promised.__getitem__)
    finalists = ranked[:2] + [shape for shape in ranked[2:3] if promised[shape] <= 1.15 * promised[ranked[0]]]
    finals: dict[str, Measured] = {}
    for shape in finalists:
        best = min((run.seconds for run in finals.values()), default=4 * keeper.settings.target_seconds + 2)
        run = keeper.run(shape, row.count, BEATEN * best + ALLOWANCE_SECONDS)
        if isinstance(run, Measured):
            finals[shape] = run
    return finals


# --- what choosing costs ----------------------------------------------------------------------------------------------


class CutOff(Exception):
    """auto took so long that the run was cut off."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def find_regret(keeper: Keeper, row: Row) -> None:
    """Fill in the verdict and the regret."""
    autos: list[Measured] = []
    limit_seconds = REGRET_CUT * row.best_seconds + 2

    def run_auto() -> Measured:
        run = keeper.run("auto", row.count, limit_seconds)
        if isinstance(run, Cut):
            raise CutOff(run.seconds)
        autos.append(run)
        return run

    def run_best() -> Measured:
        run = keeper.run(row.best, row.count, 3 * limit_seconds)
        if isinstance(run, Cut):
            raise BrokenRun(f"{row.best} took {row.best_seconds:.1f} s before, and now over {run.seconds:.0f} s")
        return run

    try:
        pairs = pairs_of(run_auto, run_best, keeper.settings.blocks)
    except CutOff as cut:
        row.cut = True
        row.regret = row.regret_low = row.regret_high = cut.seconds / row.best_seconds
    else:
        row.pairs = [(auto.seconds, best.seconds) for auto, best in pairs]
        spread = Spread.of([auto / best for auto, best in row.pairs])
        row.regret, row.regret_low, row.regret_high = spread.median, spread.low, spread.high
    _note_plans(row, autos, keeper.workload)


def _note_plans(row: Row, autos: list[Measured], workload: Workload) -> None:
    row.verdicts = [run.kind or "unknown" for run in autos]
    row.shapes = [run.shape or "?" for run in autos]
    row.ok = judgement(workload, autos)
    row.predicted = _median(run.predicted / run.serial for run in autos if run.predicted and run.serial)
    row.observed = _median(run.observed / run.serial for run in autos if run.observed and run.serial)
    row.decided_after = _median(run.decided_after for run in autos if run.decided_after is not None)
    row.measuring = max((run.measuring for run in autos if run.measuring is not None), default=None)


def judgement(workload: Workload, autos: Iterable[Measured]) -> str:
    """Say `right` where every run was, `WRONG` where any was, else `unknown`."""
    each = {_judged(workload, run) for run in autos}
    return next((word for word in ("WRONG", "unknown", "right") if word in each), "unknown")


def _judged(workload: Workload, run: Measured) -> str:
    if workload.fits is None:
        kind = run.kind or "unknown"
        return "right" if kind in workload.kinds else "unknown" if kind == "unknown" else "WRONG"
    match = re.fullmatch(r"(\d+)x(\d+)", run.shape or "")
    if match is None:
        return "unknown"
    return "right" if workload.fits(int(match[1]), int(match[2])) else "WRONG"


def _median(figures: Iterable[float]) -> float | None:
    known = list(figures)
    return statistics.median(known) if known else None


def find_peers(keeper: Keeper, row: Row) -> None:
    """Compare with the peers that can run it and are installed."""
    ours = statistics.median(auto for auto, _ in row.pairs) if row.pairs else 0.0
    for peer in keeper.workload.peers if ours else ():
        if PEERS[peer] in peers.missing():
            row.notes.append(f"{peer} is not installed")
            continue
        try:
            row.peers[peer] = _against(keeper, row.count, peer, ours)
        except BrokenRun as broken:
            row.notes.append(f"peer {broken}")


def _against(keeper: Keeper, count: int, peer: str, ours: float) -> float | None:
    """Return our time over the peer's; None where the peer was cut off. A near miss is measured again, in pairs."""
    limit_seconds = PEER_CUT * ours + ALLOWANCE_SECONDS

    def seconds_of(pool: str) -> float:
        run = keeper.run(pool, count, limit_seconds if pool == peer else 3 * limit_seconds)
        return run.seconds

    run = keeper.run(peer, count, limit_seconds)
    if isinstance(run, Cut):
        return None
    ratio = ours / run.seconds
    if ratio < 1.0:
        return ratio
    pairs = pairs_of(lambda: seconds_of("auto"), lambda: seconds_of(peer), keeper.settings.blocks)
    return statistics.median(auto / theirs for auto, theirs in pairs)


def row_of(workload: Workload, settings: Settings, known: dict[str, Any] | None) -> Row:
    """Measure one workload; what goes wrong becomes the row's `broken`."""
    row = Row(workload.number, workload.name, workload.truth())
    keeper = Keeper(workload, settings)
    try:
        if known:
            row.count, row.best, row.best_seconds = known["count"], known["best"], known["best_seconds"]
            row.grid, row.grid_count, row.full = known["grid"], known["grid_count"], known["full"]
        else:
            find_best(keeper, row)
        find_regret(keeper, row)
        if settings.peers:
            find_peers(keeper, row)
    except BrokenRun as broken:
        row.broken = str(broken)
    except Exception as error:  # the rest of the zoo goes on, whatever it was
        row.broken = f"{type(error).__name__}: {error}"
    row.load = os.getloadavg()[0]
    return row


# --- the table --------------------------------------------------------------------------------------------------------

LINE = "{:>2} {:<17}{:<17}{:<13}{:<8}{:<12}{:<12}{:>7} {:>6} {:>6} {:>6} {:>5}  {:<19}{}"
HEAD = (
    "#", "workload", "truth", "verdict", "ok?", "shape", "best fixed", "items", "pred.", "obs.", "after", "cost",
    "regret",
)  # fmt: skip


def line_of(row: Row) -> str:
    if row.broken:
        return f"{row.number:>2} {row.name:<17}BROKEN  " + row.broken.replace("\n", f"\n{'':<21}")
    text = LINE.format(
        row.number,
        row.name,
        row.truth,
        _each(row.verdicts),
        row.ok,
        _each(row.shapes),
        f"{row.best} {row.best_seconds:.1f}s",
        row.count,
        _figure(row.predicted, "{:.2f}x"),
        _figure(row.observed, "{:.2f}x"),
        _figure(row.decided_after, "{:.0f}"),
        _figure(row.measuring, "{:.1%}"),
        _regret(row),
        "  ".join(f"{peer} {_ratio(ratio)}" for peer, ratio in row.peers.items()),
    ).rstrip()
    return text + "".join(f"\n{'':<21}{line}" for note in row.notes for line in note.splitlines())


def _each(words: list[str]) -> str:
    """Name what the runs said, the commonest first."""
    return ",".join(word for word, _ in Counter(words).most_common(2)) or "-"


def _figure(figure: float | None, pattern: str) -> str:
    return "-" if figure is None else pattern.format(figure)


def _regret(row: Row) -> str:
    if row.cut:
        return f">{row.regret:.1f}"
    return f"{row.regret:.2f} ({row.regret_low:.2f}-{row.regret_high:.2f})"


def _ratio(ratio: float | None) -> str:
    return f"<{1 / PEER_CUT:.2f}" if ratio is None else f"{ratio:.2f}"


def summary_of(rows: list[Row]) -> str:
    """Judge all rows against the goals."""
    whole = [row for row in rows if not row.broken]
    lines = [f"{len(rows)} workloads, {len(rows) - len(whole)} broken"]
    if whole:
        words = Counter(row.ok for row in whole)
        share = words["right"] / len(whole)
        lines.append(
            f"verdicts: {words['right']} right ({share:.0%}, goal 85 %), {words['unknown']} unknown, "
            f"{words['WRONG']} wrong (goal 0): {_mark(words['WRONG'] == 0 and share >= 0.85)}"
        )
        regrets = [row.regret for row in whole if row.regret is not None]
        near = sum(regret <= 1.15 for regret in regrets) / len(regrets)
        median, worst = statistics.median(regrets), max(regrets)
        lines.append(
            f"regret: median {median:.3f} (goal 1.05) {_mark(median <= 1.05)}, at most 1.15 on {near:.0%} "
            f"(goal 90 %) {_mark(near >= 0.9)}, worst {worst:.2f} (goal 1.4) {_mark(worst <= 1.4)}"
        )
        above = sorted((row.regret, row.name) for row in whole if row.regret is not None and row.regret > 1.15)
        if above:
            lines.append("  above 1.15: " + ", ".join(f"{name} {regret:.2f}" for regret, name in reversed(above)))
    costs = [(row.measuring, row.name) for row in whole if row.measuring is not None]
    if costs:
        cost, name = max(costs)
        lines.append(f"measuring: at most {cost:.1%} of the items' own time ({name}; goal 3 %) {_mark(cost < 0.03)}")
    ratios = [(ratio, row.name, peer) for row in whole for peer, ratio in row.peers.items() if ratio is not None]
    if ratios:
        ratio, name, peer = max(ratios)
        lines.append(f"peers: worst {ratio:.2f} ({name}, {peer}; goal {PEER_GOAL}) {_mark(ratio <= PEER_GOAL)}")
        slower = [f"{name} {peer} {ratio:.2f}" for ratio, name, peer in sorted(ratios)[::-1] if ratio > PEER_GOAL]
        if slower:
            lines.append(f"  above {PEER_GOAL}: {', '.join(slower)}")
    return "\n".join(lines)


def _mark(fine: bool) -> str:
    return "ok" if fine else "MISSED"


# --- few items --------------------------------------------------------------------------------------------------------

Figures = list[float]


def few_waiting(_: bool, hint: str | None = None) -> Figures:
    """Return how many rounds of 50 ms 15 sleeps of 50 ms take."""
    import poolwise

    started = time.perf_counter()
    if list(poolwise.map(zoo.sleep_50_ms, range(15), hint=hint)) != list(range(15)):
        raise AssertionError("wrong results")
    return [(time.perf_counter() - started) / 0.050]


def few_tiny(loop_first: bool) -> Figures:
    """Return the extra milliseconds of 10 items of 1 us: the first call of the process, and the median of 10 more."""
    extras = [(ours - loop) * 1e3 for loop, ours in _loop_and_map(zoo.one_us, 10, 11, loop_first)]
    return [extras[0], statistics.median(extras[1:])]


def few_cpu(loop_first: bool) -> Figures:
    """Return the time of 3 items of 50 ms over that of a plain loop: the first call, and the median of 4 more."""
    ratios = [ours / loop for loop, ours in _loop_and_map(zoo.cpu_50_ms, 3, 5, loop_first)]
    return [ratios[0], statistics.median(ratios[1:])]


def _loop_and_map(
    function: Callable[[int], int], count: int, times: int, loop_first: bool
) -> Iterator[tuple[float, float]]:
    """Time both so many times, in turn: what runs first after a rest may run faster, or slower."""
    import poolwise

    def loop() -> list[int]:
        return [function(number) for number in range(count)]

    def ours() -> list[int]:
        return list(poolwise.map(function, range(count)))

    def seconds_of(side: Callable[[], list[int]]) -> float:
        started = time.perf_counter()
        values = side()
        seconds = time.perf_counter() - started
        if values != expected:
            raise AssertionError("wrong results")
        return seconds

    expected = loop()
    for place in range(times):
        if (place % 2 == 0) == loop_first:
            before = seconds_of(loop)
            yield before, seconds_of(ours)
        else:
            before = seconds_of(ours)
            yield seconds_of(loop), before


SMALL: dict[str, tuple[str, str, float, Callable[[bool], Figures]]] = {
    "waiting": ("15 sleeps of 50 ms: rounds", "rounds", 3.3, few_waiting),
    "hinted": ('15 sleeps of 50 ms, hint="io": rounds', "rounds", 1.3, lambda first: few_waiting(first, "io")),
    "tiny": ("10 items of 1 us: extra over a plain loop", "ms", 1.0, few_tiny),
    "cpu": ("3 items of 50 ms CPU: over a plain loop", "x", 1.05, few_cpu),
}


def small_here(name: str, loop_first: bool) -> Figures:
    import_all("auto")
    return SMALL[name][3](loop_first)


def run_small(repeats: int) -> int:
    """Print medians over fresh interpreters, with the goals; return the exit code."""
    broken = 0
    for name, (what, unit, goal, _) in SMALL.items():
        try:
            texts = [
                _run_inside({"small": name, "loop_first": place % 2 == 0}, _plain_environment(), BACKSTOP_SECONDS)
                for place in range(repeats)
            ]
            columns = list(zip(*(json.loads(text or "[]") for text in texts)))
        except BrokenRun as failure:
            print(f"{what:<43}BROKEN {failure}", flush=True)
            broken += 1
            continue
        spreads = [Spread.of(column) for column in columns]
        fine = _mark(spreads[0].median <= goal)
        later = f"; later calls {spreads[1].text(' ' + unit)}" if len(spreads) > 1 else ""
        print(f"{what:<43}{spreads[0].text(' ' + unit):<28}goal {goal} {fine}{later}", flush=True)
    return 1 if broken else 0


# --- the command line -------------------------------------------------------------------------------------------------


def numbers_of(text: str) -> set[int | str]:
    """Read `1,2,19-25` or names."""
    wanted: set[int | str] = set()
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        wanted |= set(range(int(match[1]), int(match[2] or match[1]) + 1)) if match else {part}
    return wanted


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="what auto makes of the zoo; see the module's docstring")
    parser.add_argument("--only", metavar="1,2,19-25", default="", help="numbers or names of workloads")
    parser.add_argument("--quick", action="store_true", help="a subset, shorter runs: about five minutes")
    parser.add_argument("--peers", action="store_true", help="compare with other pools as well")
    parser.add_argument("--blocks", type=int, help="blocks of A B B A (default 2, --quick 1)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="append each row to FILE as a line of JSON")
    parser.add_argument("--grid-from", metavar="FILE", type=Path, help="counts and best shapes from an earlier --json")
    parser.add_argument("--small", action="store_true", help="measure few items instead")
    parser.add_argument("--repeats", type=int, default=8, help="fresh interpreters for each line of --small")
    parser.add_argument("--measure", nargs=3, metavar=("NAME", "SHAPE", "COUNT"), help="one run (or a peer's name)")
    parser.add_argument("--list", action="store_true", help="name the workloads and stop")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)  # the wanted length of a run
    parser.add_argument("--inside", metavar="TASK", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    wanted = numbers_of(arguments.only)
    unknown = wanted - {workload.number for workload in WORKLOADS} - set(BY_NAME)
    for one in unknown - set(SKIPPED):
        if isinstance(one, str) or not 1 <= one <= 47:
            parser.error(f"there is no workload {one}")
    if arguments.measure and arguments.measure[0] not in BY_NAME:
        parser.error(f"there is no workload {arguments.measure[0]}")
    arguments.workloads = [
        workload
        for workload in WORKLOADS
        if (not wanted or workload.number in wanted or workload.name in wanted)
        and (wanted or workload.quick or not arguments.quick)
    ]
    return arguments


def settings_of(arguments: argparse.Namespace) -> Settings:
    quick = arguments.quick
    return Settings(
        target_seconds=arguments.seconds or (1.2 if quick else 4.0),
        blocks=arguments.blocks or (1 if quick else 2),
        grid=QUICK_GRID if quick else GRID,
        probed=QUICK_PROBED if quick else PROBED,
        peers=arguments.peers,
    )


def known_rows(path: Path | None) -> dict[str, dict[str, Any]]:
    """Read the rows of an earlier `--json`; of several of one workload, the last whole one."""
    if path is None:
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {row["name"]: row for row in rows if row["best"] and row["full"]}


def end_well(*_: object) -> None:
    """End on SIGTERM as on Ctrl-C: whatever runs is ended first."""
    raise KeyboardInterrupt


def run_zoo(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    known = known_rows(arguments.grid_from)
    started = time.perf_counter()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    print(LINE.format(*HEAD, "peers: our time over theirs" if settings.peers else "").rstrip(), flush=True)
    rows = []
    for workload in arguments.workloads:
        row = row_of(workload, settings, known.get(workload.name))
        rows.append(row)
        print(line_of(row), flush=True)
        if arguments.json:
            with arguments.json.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
    print(summary_of(rows))
    for number, reason in SKIPPED.items():
        print(f"left out: {number}, {reason}")
    print(f"{time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.2f}")
    return 1 if any(row.broken for row in rows) else 0


def run_one(name: str, pool: str, count: int) -> int:
    try:
        measured = measure(Task(name, pool, count, 600.0))
    except BrokenRun as broken:
        print(f"BROKEN {broken}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(measured)))
    return 0


def run_inside(text: str) -> int:
    """Do what a fresh interpreter was started for, and print it."""
    task = json.loads(text)
    small = "small" in task
    print(
        json.dumps(small_here(task["small"], task["loop_first"]) if small else asdict(measure_here(Task(**task)))),
        flush=True,
    )
    return 0


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    if arguments.inside:
        return run_inside(arguments.inside)
    signal.signal(signal.SIGTERM, end_well)
    if arguments.measure:
        name, pool, count = arguments.measure
        return run_one(name, pool, int(count))
    if arguments.small:
        return run_small(arguments.repeats)
    if arguments.list:
        for workload in arguments.workloads:
            print(f"{workload.number:>2} {workload.name:<18}{workload.truth():<18}{'quick' if workload.quick else ''}")
        return 0
    return run_zoo(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
