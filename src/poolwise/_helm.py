"""The helm: carries out what policy decides about the shape. It reads the clocks, asks the backend, and nothing else.

`FixedHelm` keeps the shape that was asked for (fewer workers where memory has no room). `PilotHelm` follows a `Pilot`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Protocol

from poolwise._core.clock import Clock
from poolwise._core.errors import BackendError
from poolwise._core.model import Done, Shape
from poolwise._policy.demands import Estimate, Knock, held_share
from poolwise._policy.look import Facts
from poolwise._policy.meter import Meter
from poolwise._policy.pilot import Pilot, Stage
from poolwise._policy.plan import Plan
from poolwise._policy.roofs import Ground
from poolwise._runtime.host import core_seconds, delayed_seconds, idle_seconds
from poolwise._runtime.probe import Probe, has_gil
from poolwise.backends import Backend

_RESTLESS_SECONDS = 0.01
_REST_SECONDS = 0.95  # Between two bursts of knocks once the shape is decided: a twentieth of what the probe costs.
_SAMPLE = 16

Scout = Callable[[Sequence[Any], Sequence[Any]], tuple[float, str | None]]
"""Of some items and their values: the seconds that sending one and fetching the other take, and why that fails."""


@dataclass(frozen=True, slots=True)
class Company:
    """The other stages of a pipeline, which use the same cores, and run in the same process.

    Attributes:
        cpu_seconds: CPU seconds that their items have used in this process.
        workers: worker processes that they leave room for, or None while that is not known.
        quiet: nothing runs in them that would be in the way of a measurement.
        ahead: the next one has enough to do.
    """

    cpu_seconds: Callable[[], float]
    workers: Callable[[], int | None]
    quiet: Callable[[], bool]
    ahead: Callable[[], bool]


class Helm(Protocol):
    """Who chooses the shape of a run while it lasts."""

    @property
    def plan(self) -> Plan:
        """The plan as it stands."""

    @property
    def decision(self) -> Plan:
        """The plan as it was last decided, without what was seen since: the same object until it is decided anew."""

    @property
    def ground(self) -> Ground | None:
        """What there is to choose from, where anything is chosen."""

    @property
    def held_from(self) -> float:
        """The clock reading from which on the shape is held; infinity while others may be compared with it."""

    def start(self) -> Shape:
        """Return the shape to open the backend with."""

    def before_wait(self) -> None:
        """The backend is about to be waited for, which may execute items."""

    @property
    def deciding(self) -> bool:
        """Whether shapes are being compared."""

    @property
    def measuring(self) -> bool:
        """Whether what else computes in other stages of a pipeline would disturb a measurement."""

    def observe(self, done: Done, items: Sequence[Any], failed: int) -> None:
        """Take in an event, with the items that were executed."""

    def steer(self, shape: Shape, remaining: int | None, *, starved: bool) -> Shape:
        """Bring the backend to the shape it should have, and return that."""

    @property
    def patience(self) -> float:
        """Seconds after which `steer` wants to be called, whatever happens."""

    @property
    def probe_seconds(self) -> float:
        """CPU seconds that measuring has used."""

    @property
    def held(self) -> Estimate | None:
        """The share of time that the GIL of this process was held since the shape was decided, where that is known."""

    def held_since(self, at: float) -> Estimate | None:
        """The share of time that the GIL of this process was held since a clock reading, where that is known."""

    def close(self) -> None:
        """The run is over."""


class FixedHelm:
    """The shape that was asked for; with a memory limit, only as many workers as fit."""

    patience = float("inf")
    probe_seconds = 0.0
    held = None
    held_from = float("-inf")
    ground = None
    deciding = measuring = False

    def __init__(self, plan: Plan, backend: Backend, meter: Meter, memory_bytes: int | None) -> None:
        self.plan = self.decision = plan
        self._backend = backend
        self._meter = meter
        self._memory_bytes = memory_bytes if plan.shape.workers > 1 else None

    def start(self) -> Shape:
        shape = self.plan.shape
        return shape if self._memory_bytes is None else Shape(1, shape.lanes)  # More when it is known what one holds.

    def before_wait(self) -> None:
        pass

    def observe(self, done: Done, items: Sequence[Any], failed: int) -> None:
        pass

    def steer(self, shape: Shape, remaining: int | None, *, starved: bool) -> Shape:  # noqa: ARG002  # Others need it.
        if self._memory_bytes is None or self._meter.resident_bytes == 0:
            return shape
        wanted = self.plan.shape
        affordable = Shape(max(1, min(wanted.workers, self._memory_bytes // self._meter.resident_bytes)), wanted.lanes)
        if affordable != shape:
            self._backend.resize(affordable)
        return affordable

    def held_since(self, at: float) -> Estimate | None:  # noqa: ARG002  # Others need it.
        return None

    def close(self) -> None:
        pass


class PilotHelm:
    """Follows a pilot.

    Args:
        pilot: decides.
        backend: is moved.
        clock: what time it is.
        meter: of the same run.
        scout: says what sending costs.
        memory_bytes: that all workers may hold, or None.
        company: the other stages of a pipeline, or None.
    """

    def __init__(
        self,
        pilot: Pilot,
        backend: Backend,
        clock: Clock,
        meter: Meter,
        scout: Scout,
        memory_bytes: int | None = None,
        company: Company | None = None,
    ) -> None:
        self.pilot = pilot
        self._backend = backend
        self._clock = clock
        self._meter = meter
        self._scout = scout
        self._memory_bytes = memory_bytes
        self._company = company
        self._probe = Probe()
        self._cpu = 0.0
        self._children = 0.0
        self._last = (0.0, 0.0)
        self._attends = False
        self._warm: Shape | None = None
        self._ready = False
        self._wire: float | None = None
        self._refusal: str | None = None
        self._settled_at: float | None = None
        self._samples: tuple[Sequence[Any], Sequence[Any]] = ((), ())

    @property
    def plan(self) -> Plan:
        return self.pilot.current_plan(self._clock.now())

    @property
    def decision(self) -> Plan:
        return self.pilot.plan

    @property
    def ground(self) -> Ground | None:
        return self.pilot.ground

    @property
    def patience(self) -> float:
        return _RESTLESS_SECONDS if self.pilot.restless else float("inf")

    @property
    def held_from(self) -> float:
        return self.pilot.held_from

    @property
    def deciding(self) -> bool:
        return self.pilot.deciding

    @property
    def measuring(self) -> bool:
        return self.pilot.measuring

    def start(self) -> Shape:
        self._last = self._read()
        return self.pilot.shape

    def before_wait(self) -> None:
        """In the caller's thread only what happens inside `wait` is the items'."""
        if not self._attends:  # By now there are lanes, and something to do for them.
            self._attends = True
            attend: Callable[[], None] | None = None
            if self.pilot.stage is Stage.PROBE:  # Many lanes are looked at later, when they are all at work.
                attend = partial(self._attend, self._backend.threads())
            if not self.pilot.in_children:
                self._probe.start(first=attend)  # It reads files, which would keep this thread from its work.
            if attend is not None and not self._probe.on:
                attend()
        if self._backend.inline and self.pilot.stage is not Stage.HOLD:
            self._last = self._read()

    def _attend(self, threads: Sequence[int]) -> None:
        self.pilot.attend(self._facts(None, starved=False, threads=threads))

    def _read(self) -> tuple[float, float]:
        clocks = self._probe.clocks()
        others = 0.0 if self._company is None else self._company.cpu_seconds()
        return clocks.process_cpu - others, clocks.children_cpu

    def observe(self, done: Done, items: Sequence[Any], failed: int) -> None:
        if done.values and self._wire is None and self._settled_at is None:
            self._samples = (items[:_SAMPLE], done.values[:_SAMPLE])
        self.pilot.observe(done, failed, self._clock.now())

    def steer(self, shape: Shape, remaining: int | None, *, starved: bool) -> Shape:
        self._respect_memory(shape)
        if self._company is not None and (most := self._company.workers()) is not None:
            self.pilot.share_cores(most)
        if self.pilot.resting and shape == self.pilot.shape:
            return shape
        shape = self._follow(shape, remaining, starved)
        if self.pilot.stage in (Stage.HOLD, Stage.LANES) and self._settled_at is None:
            self._settle()
        return shape

    def _respect_memory(self, shape: Shape) -> None:
        """Workers may hold more than this process did when it was guessed how many fit."""
        if self._memory_bytes is None or shape.workers == 1 or self._meter.resident_bytes == 0:
            return
        affordable = max(1, self._memory_bytes // self._meter.resident_bytes)
        if affordable < shape.workers:
            self.pilot.cap_workers(affordable)

    def _settle(self) -> None:
        """The shape is decided, as far as it ever is: from now on knock a little now and then."""
        self._probe.stop()
        self._settled_at = self._clock.now()
        if self.pilot.stage is Stage.HOLD:  # Items and values must not be kept alive: they may be large.
            self._samples = ((), ())
        if not self.pilot.in_children:
            self._probe.start(_REST_SECONDS)

    def _unsettle(self) -> None:
        """The items are other ones than those for which the shape was decided."""
        self._probe.stop()
        self._settled_at = self._wire = None

    def _follow(self, shape: Shape, remaining: int | None, starved: bool) -> Shape:
        before, self._last = self._last, self._read()
        self._cpu += self._last[0] - before[0]
        self._children += self._last[1] - before[1]
        self._warm_up()
        move = self.pilot.advance(self._facts(remaining, starved))
        if move.ask_wire:
            self._ask_wire()
            move = self.pilot.advance(self._facts(remaining, starved))
        if self.pilot.stage is Stage.PROBE and self._settled_at is not None:
            self._unsettle()
        if move.knock is not self._probe.on and self._settled_at is None:
            (self._probe.start if move.knock else self._probe.stop)()
        if move.prepare:
            self._backend.prepare()
        if move.warm != self._warm:
            self._warm, self._ready = move.warm, False
            self._warm_up()
        if move.shape != shape:
            try:
                self._backend.resize(move.shape)
            except BackendError as error:  # Such as: no thread, no file. Whoever works goes on.
                move = self.pilot.stay(shape, f"no {move.shape}: {_first_line(error)}")
            self._last = self._read()
        if move.warm is None and self.pilot.stage is not Stage.TRIAL and self._backend.spare:
            self._backend.warm(None)
        return move.shape

    def _warm_up(self) -> None:
        if self._warm is None or self._ready or self._refusal is not None:
            return
        try:
            self._ready = self._backend.warm(self._warm)
        except BackendError as error:
            self._refusal = _first_line(error)

    def _ask_wire(self) -> None:
        items, values = self._samples
        seconds, refusal = self._scout(items, values)
        self._wire = seconds
        if refusal is not None:
            self._refusal = refusal

    def _facts(self, remaining: int | None, starved: bool, threads: Sequence[int] | None = None) -> Facts:
        return Facts(
            now=self._clock.now(),
            remaining=remaining,
            cpu_seconds=self._cpu,
            children_seconds=self._children,
            knocks=self._heard,
            ready=self._ready,
            wire=self._wire,
            refusal=self._refusal,
            bytes=self._meter.mean_bytes,
            starved=starved,
            idle=idle_seconds,
            delayed=lambda: delayed_seconds(self._backend.threads() if threads is None else threads),
            stolen=_busy_and_stolen,
            running_since=lambda at: any(task.started < at for task in self._backend.running()),
            can_knock=has_gil(),
            alone=self._company is None,
            quiet=self._company is None or self._company.quiet(),
            ahead=self._company is not None and self._company.ahead(),
        )

    @property
    def probe_seconds(self) -> float:
        return self._probe.clocks().probe_cpu

    @property
    def held(self) -> Estimate | None:
        return None if self._settled_at is None else self.held_since(self._settled_at)

    def held_since(self, at: float) -> Estimate | None:
        if self.pilot.in_children:
            return None
        return held_share(self._heard(at), [(at, self._clock.now())])

    def _heard(self, since: float = 0.0) -> Sequence[Knock]:
        knocks = self._probe.heard()
        return [Knock(*knock) for knock in knocks[bisect_left(knocks, since, key=itemgetter(0)) :]]

    def close(self) -> None:
        self._probe.stop()


def _busy_and_stolen() -> tuple[float, float] | None:
    seconds = core_seconds()
    return None if seconds is None else (seconds.busy, seconds.stolen)


def _first_line(error: BackendError) -> str:
    return str(error).partition("\n")[0]
