"""`bench`: a first look, a rehearsal, then block after block; each block is saved before the next begins.

items ─list─> calibrate ─> how many items, which shapes ─> rehearse ─> blocks ─> trials ─analyse─> Comparison
             (a fresh process for every run)                             └─save─> bench.json
"""

from __future__ import annotations

import itertools
import math
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from poolwise import BackendError, Shape, UsageError
from poolwise._bench import peers as pools
from poolwise._bench import record, schedule
from poolwise._bench.analysis import analyse
from poolwise._bench.child import Calls, JobRun
from poolwise._bench.measure import FreshProcesses, Measurer, inputs_of
from poolwise._bench.model import PEERS, BenchWarning, Calibration, Comparison, Design, Identity, Measured, Trial
from poolwise._bench.process import BrokenRun
from poolwise._core.model import check_number
from poolwise._runtime import host
from poolwise._runtime.identity import digest_of, owner_of
from poolwise.report.files import check_writable

__all__ = ["Bench", "Comparison", "Wishes", "bench", "bench_of_calls", "bench_of_job"]

CALIBRATION_SECONDS = 1.0
_CALIBRATION_LIMIT_SECONDS = 60.0
_START_SECONDS = 0.3  # Of a fresh process, imports included; for the estimate of how long all will take.


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants compared, and how.

    Attributes:
        shapes: what to compare; None leaves that to the first look.
        repeats: blocks.
        peers: compare with other pools too.
        save: a file that keeps the runs, and from which they are gone on with; or None.
        seconds: the wanted length of a run on one lane; None leaves that to the number of cores.
        seed: of the order and of the bootstrap; None draws one.
        limit: seconds that a run may take; None: five times what one lane is expected to take, 20 at least.

    Raises:
        UsageError: one of them cannot be meant.
    """

    shapes: tuple[str, ...] | None = None
    repeats: int = 5
    peers: bool = False
    save: str | os.PathLike[str] | None = None
    seconds: float | None = None
    seed: int | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        check_number("repeats", self.repeats, whole=True)
        if self.seconds is not None:
            check_number("seconds", self.seconds)
        if self.limit is not None:
            check_number("limit", self.limit)
        if not isinstance(self.peers, bool):
            raise UsageError(f"peers is {self.peers!r}; it must be True or False")
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)):
            raise UsageError(f"seed is {self.seed!r}; it must be a whole number")
        if self.shapes is not None and len(self.shapes) < (1 if self.peers else 2):
            raise UsageError("a comparison needs two sides at least; name two shapes or more, or ask for peers too")
        if self.save is not None:
            if not isinstance(self.save, (str, os.PathLike)) or not os.fspath(self.save):
                raise UsageError(f"save is {self.save!r}; it must be the path of a file")
            check_writable(self.save)


def bench(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    shapes: Iterable[str | Shape] | None = None,
    repeats: int = 5,
    peers: bool = False,
    save: str | os.PathLike[str] | None = None,
    *,
    seconds: float | None = None,
    seed: int | None = None,
    limit: float | None = None,
) -> Comparison:
    """Compare shapes, and other pools, on a function and its items. The items are run again and again.

    For functions that are safe to repeat. Each run has a fresh process; what the function prints goes nowhere. Runs are
    timed from the call of the pool to the last result, the start of the pool included. They come in blocks with every
    side twice, in a random order and its reverse, never two at once. Leave the machine alone meanwhile.

    Args:
        fn: the function; called `fn(item)`. A lambda, a closure or a coroutine function will do.
        items: the input, which is taken into a list; no more than 1,000,000. Each run has as many of them, evenly
            spread, as one lane does in about `seconds`.
        shapes: such as `["1x1", "1x8", "4x1", "auto"]`. None: one lane, as many threads as cores, as many processes,
            what a first look at the function advises, and "auto".
        repeats: blocks; an interval over fewer than five is a range.
        peers: compare with ThreadPoolExecutor, ProcessPoolExecutor, joblib and mpire as well, at their defaults. One
            that is not installed, or cannot run the function, is a row that says so.
        save: a file that gets all runs after each block. Where it is there, blocks that it lacks are measured.
        seconds: the wanted length of a run on one lane, in seconds; None: 2, and more with more than four cores.
        seed: makes the order of runs, and the intervals of given times, the same each time.
        limit: seconds that a run may take; then it is ended, and its side has no figure. Five times what one lane is
            expected to take where it is None, and 20 at least.

    Returns:
        The comparison: `print(comparison)`, `.verdict`, `.rows`, `.warnings`, `.to_plot("bench.png")`,
        `.to_markdown()`, `.to_dict()`.

    Raises:
        UsageError: an argument cannot be meant; there are no items, or all of them fail; `save` is another's.
        NotPicklableError: the function or its items cannot be sent to another process.
        BackendError: the function could not be measured at all.
    """
    chosen = None if shapes is None else schedule.parse_shapes(shapes)
    wishes = Wishes(chosen, repeats, peers, save, seconds, seed, limit)
    with bench_of_calls(fn, items, wishes) as measuring:
        measuring.prepare()
        for _ in measuring.blocks():
            pass
        return measuring.comparison()


def bench_of_calls(fn: Callable[[Any], Any], items: Iterable[Any], wishes: Wishes) -> Bench:
    """Prepare the comparison for a function.

    Raises:
        UsageError: there are no items, or these are none.
        NotPicklableError: the function or its items cannot be sent to another process.
    """
    if not callable(fn):
        raise UsageError(f"fn is {fn!r}, which cannot be called")
    try:
        source = iter(items)
    except TypeError:
        raise UsageError(f"items is {items!r}; it must be iterable") from None
    taken = list(itertools.islice(source, schedule.MOST_ITEMS + 1))
    capped = len(taken) > schedule.MOST_ITEMS
    del taken[schedule.MOST_ITEMS :]
    with warnings.catch_warnings():
        if wishes.save is None:
            warnings.simplefilter("ignore", RuntimeWarning)  # There is nothing that it could differ from.
        owner = owner_of(fn, "a saved comparison")
    identity = _identity(owner.function, dict(owner.options), digest_of(taken), len(taken), owner.code, owner.source)
    bench = Bench(Calls(fn, taken), identity, wishes)
    if capped:
        cause = f"the input has more than {schedule.MOST_ITEMS:,} items, and the first {len(taken):,} were taken"
        bench.early.append(BenchWarning("capped", cause, "give a sample of it"))
    return bench


def bench_of_job(name: str, source: Any, options: Mapping[str, Any], wishes: Wishes) -> Bench:
    """Prepare the comparison for a job of `poolwise.jobs`; what it writes goes to a folder that is removed.

    Args:
        name: "images" or "fetch".
        source: a folder, or lines with URLs.
        options: of the job.
        wishes: what to compare; peers call for each image what the job does to one.

    Raises:
        UsageError: there is no input, or peers are asked for and cannot do it.
    """
    if wishes.peers and name == "fetch":
        raise UsageError("other pools call plain functions, and fetch is a coroutine function; leave peers out")
    subject = JobRun(name, source if name == "images" else list(source), dict(options))
    inputs = inputs_of(subject)
    told = {option: repr(value) for option, value in options.items()}
    if name == "images":
        told["source"] = os.path.abspath(source)
        digest = digest_of([(path, os.path.getsize(os.path.join(source, path))) for path in inputs])
    else:
        digest = digest_of(inputs)
    return Bench(subject, _identity(name, told, digest, len(inputs)), wishes)


def _identity(
    function: str, options: Mapping[str, str], items: str, given: int, code: str = "", source: str = ""
) -> Identity:
    facts = host.facts()
    machine = f"{facts['system']} {facts['machine']}, {facts['cores']:g} cores"
    return Identity(function, options, code, source, items, given, facts["python"], machine)


class Bench:
    """A comparison while it is measured. A context manager.

    Args:
        subject: what is measured.
        identity: of it.
        wishes: what to compare.
        measurer: takes the measurements; None for fresh processes.

    Attributes:
        early: warnings from before the first block.
        trials: all runs so far, those of a block that is not complete too.
        estimate_seconds: about how long all blocks take; None where they are gone on with.
    """

    def __init__(
        self, subject: Calls | JobRun, identity: Identity, wishes: Wishes, measurer: Measurer | None = None
    ) -> None:
        if identity.given == 0:
            raise UsageError("there are no items to run")
        self.early: list[BenchWarning] = []
        self.trials: list[Trial] = []
        self.estimate_seconds: float | None = None
        self._identity = identity
        self._wishes = wishes
        self._design: Design | None = None
        self._measurer: Measurer = measurer or FreshProcesses(subject, identity.function)

    @property
    def design(self) -> Design:
        """What is measured; there once `prepare` is done."""
        assert self._design is not None
        return self._design

    @property
    def prepared(self) -> bool:
        """Whether `prepare` is done."""
        return self._design is not None

    def prepare(self) -> None:
        """Read what was saved; or look at the function, and rehearse.

        Raises:
            UsageError: all items fail; what was saved is another's.
            BackendError: the function could not be measured.
        """
        path = self._wishes.save
        if path is not None and os.path.exists(path):
            design, trials = record.load(path)
            self._check(design, path)
            self._measurer.reduce(design.count)
            self._design, self.trials = design, trials
        else:
            self._design = self._designed()

    def blocks(self) -> Iterator[int]:
        """Measure the blocks that are wanted and not there; yield the number of each when it is saved."""
        for block in range(max((trial.block for trial in self.trials), default=-1) + 1, self._wishes.repeats):
            if not self._measure_block(block):
                return
            if self._wishes.save is not None:
                record.save(self._wishes.save, self.design, self.trials)
            yield block

    def comparison(self) -> Comparison:
        """Return what the runs so far tell."""
        return analyse(self.design, self.trials)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._measurer.close()

    def _check(self, design: Design, path: str | os.PathLike[str]) -> None:
        """Refuse to go on with what other things were measured for."""
        wishes = self._wishes
        different = record.difference(design.identity, self._identity)
        shapes = tuple(side for side in design.sides if side not in PEERS)
        had_peers = len(shapes) < len(design.sides) or bool(design.missing)
        if not different and wishes.shapes is not None and set(wishes.shapes) != set(shapes):
            different = f"compares {', '.join(shapes)}, not {', '.join(wishes.shapes)}"
        if not different and had_peers != wishes.peers:
            different = f"was made {'with' if had_peers else 'without'} peers"
        if not different and wishes.seed not in (None, design.seed):
            different = f"was made with seed={design.seed}, not {wishes.seed}"
        if different:
            raise UsageError(f"{os.fspath(path)!r} {different}; give another path")

    def _designed(self) -> Design:
        wishes, cores = self._wishes, host.usable_cores()
        seconds = wishes.seconds or schedule.default_seconds(cores)
        calibration = self._calibrated(seconds)
        whole = math.ceil(cores)
        shapes = wishes.shapes or schedule.default_shapes(calibration.shape, whole)
        missing = pools.missing() if wishes.peers else {}
        sides = (*shapes, *(peer for peer in PEERS if wishes.peers and peer not in missing))
        count = schedule.item_count(self._identity.given, calibration, sides, whole, seconds)
        limit = wishes.limit or schedule.run_limit(count, calibration)
        twin = calibration.shape if calibration.shape in sides else sides[0]
        self._measurer.reduce(count)
        rehearsed = self._rehearsed(twin, limit, count)
        runs = 2 * wishes.repeats
        alone = count * calibration.item_seconds
        self.estimate_seconds = runs * (alone + len(sides) * (rehearsed.seconds + _START_SECONDS))
        seed = random.SystemRandom().randrange(1 << 32) if wishes.seed is None else wishes.seed
        return Design(
            self._identity, count, sides, missing, twin, seed, limit, calibration, rehearsed.failed > 0, cores,
            tuple(self.early),
        )  # fmt: skip

    def _calibrated(self, seconds: float) -> Calibration:
        limit = self._wishes.limit or _CALIBRATION_LIMIT_SECONDS
        try:
            return self._measurer.calibrate(min(CALIBRATION_SECONDS, seconds), limit)
        except BrokenRun as broken:
            raise BackendError(
                f"{self._identity.function} cannot be measured: a first look at its items {broken}"
            ) from None

    def _rehearsed(self, side: str, limit: float, count: int) -> Measured:
        """Run the items once, before any figure counts: caches are filled, and it is seen which of them fail."""
        name = self._identity.function
        try:
            measured, _ = self._measurer.measure(side, guarded=True, limit_seconds=limit)
        except BrokenRun as broken:
            raise BackendError(f"{name} cannot be measured: a first run on {side} {broken}") from None
        if measured.failed == count:
            raise UsageError(
                f"a comparison needs items that succeed, and all {count:,} of {name} failed, the first: "
                f"{measured.first_failure}"
            )
        return measured

    def _measure_block(self, block: int) -> bool:
        """Measure every side that has figures so far; False where there is none left."""
        broken = {trial.side for trial in self.trials if trial.broken}
        alive = [side for side in self.design.sides if side not in broken]
        if not alive:
            return False
        twin = self.design.twin if self.design.twin in alive else alive[0]
        for place in schedule.block_order(alive, twin, self.design.seed, block):
            if place.side not in broken:
                trial = self._trial(block, place)
                self.trials.append(trial)
                if trial.broken:
                    broken.add(place.side)
        return True

    def _trial(self, block: int, place: schedule.Place) -> Trial:
        limit = self._wishes.limit or self.design.limit_seconds
        try:
            measured, disturbance = self._measurer.measure(place.side, guarded=self.design.guarded, limit_seconds=limit)
        except BrokenRun as reason:
            return Trial(block, place.side, place.twin, broken=str(reason))
        return Trial(block, place.side, place.twin, measured, "", disturbance)


def shown(path: str | os.PathLike[str], seed: int | None = None) -> Comparison:
    """Return what a saved comparison tells.

    Raises:
        UsageError: the file cannot be read, or is something else.
    """
    from dataclasses import replace

    design, trials = record.load(path)
    return analyse(design if seed is None else replace(design, seed=seed), trials)
