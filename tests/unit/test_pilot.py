"""The pilot in a simulated world: work of known demands on a known machine, no time and no processes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from poolwise import Limits, Shape
from poolwise._core.model import Done
from poolwise._policy.demands import Knock, kind_of
from poolwise._policy.pilot import Facts, Move, Pilot, Stage
from poolwise._policy.plan import Circumstances, choose, ground

TRUE_KINDS = {
    "python": "gil",
    "hash": "cpu",
    "sleep": "io",
    "gil-sleep": "gil",
    "fine": "mixed",
    "parse-and-wait": "mixed",
    "tiny": "tiny",
}


@dataclass
class Work:
    """Seconds of each resource that an item needs, and what the roofs do not know.

    Attributes:
        held: computing with the GIL held.
        free: computing with the GIL released.
        wait: neither.
        held_idle: holding the GIL without computing.
        blocks: a coroutine that neither computes nor lets others run.
        thread_penalty: throughput of several lanes of a process, over what its roofs allow.
        wire: to send and fetch.
        line: of something that serves one item of all lanes and workers at a time.
        waits: how often a lane of several of a process waits for something while it executes an item.
        bucket: items a second that end well; more are refused.
    """

    held: float = 0.0
    free: float = 0.0
    wait: float = 0.0
    held_idle: float = 0.0
    blocks: float = 0.0
    thread_penalty: float = 1.0
    wire: float = 2e-6
    line: float = 0.0
    waits: int = 0
    bucket: float = math.inf

    @property
    def response(self) -> float:
        return self.held + self.free + self.wait + self.held_idle + self.blocks

    def rate(self, shape: Shape, cores: float) -> float:
        """Items a second of a shape."""
        lanes = shape.total / self.response
        gil = shape.workers / max(self.held + self.held_idle, 1e-12)
        cpu = cores / max(self.held + self.free, 1e-12)
        loop = shape.workers / max(self.blocks, 1e-12)
        bound = min(lanes, gil, cpu, loop, 1 / max(self.line, 1e-12))
        if shape.lanes > 1:
            bound *= self.thread_penalty
        return min(bound, 1 / self.wire) if shape.workers > 1 else bound


WORKS = {
    "python": Work(held=0.004),
    "hash": Work(free=0.004),
    "sleep": Work(held=0.00002, wait=0.005),
    "gil-sleep": Work(held_idle=0.004),
    "fine": Work(held=0.001, free=0.001, thread_penalty=0.6),
    "parse-and-wait": Work(held=0.006, wait=0.004),
    "tiny": Work(held=1e-7),
    "hidden-lock": Work(free=0.004, thread_penalty=0.45),
    "long-python": Work(held=0.012),
    "big-values": Work(free=0.002, wire=0.004),
}


@dataclass
class World:
    """Runs items of one kind under a pilot; after `turns_at` items, of another kind. Others keep `taken` cores busy."""

    work: Work
    items: int
    cores: float = 2.0
    known: bool = True
    refusal: str | None = None
    options: dict[str, object] = field(default_factory=lambda: {"limits": Limits()})
    turns_at: int = 1 << 60
    then: Work | None = None
    taken: float | None = None
    expected: float = 0.0

    def __post_init__(self) -> None:
        given = Circumstances("auto", self.cores, total=self.items if self.known else None, **self.options)  # type: ignore[arg-type]
        plan = choose(given)
        eager = given.hint == "io" or given.coroutine
        self.pilot = Pilot(
            plan,
            ground(given),
            coroutine=given.coroutine,
            isolate=plan.isolate,
            eager=eager,
            expected=self.expected,
        )
        self.now = 100.0
        self.done = 0
        self.cpu = 0.0
        self.idle = 0.0
        self.warm_since: float | None = None
        self.asked = False
        self.shapes: list[Shape] = [plan.shape]
        self.knocks: list[Knock] = []
        self.random = random.Random(7)
        self.held: list[tuple[Stage, float]] = []
        self.prepared_at: list[float] = []
        self.warmed: list[Shape | None] = []

    def run(self) -> Pilot:
        """Run everything; returns the pilot at the end."""
        shape = self.pilot.shape
        batch = 0
        while self.done < self.items:
            if self.done >= self.turns_at and self.then is not None:
                self.work = self.then
            rate = self.work.rate(shape, self.cores)
            count = min(self.items - self.done, max(shape.total, round(rate * 0.004)))
            each = max(1, count // shape.total)
            started = self.now
            seconds = each * shape.total / rate
            for lane in range(min(count, shape.total)):
                children = shape.workers > 1 or self.pilot.plan.isolate
                worker, number = (lane // shape.lanes + 1, lane % shape.lanes) if children else (0, lane)
                cpu = each * (self.work.held + self.work.free)
                begun, took = started, seconds
                if self.work.blocks:  # One lane after the other.
                    begun, took = started + number * each * self.work.blocks, each * self.work.blocks
                clocks = [(begun + took * n / each, took / each, cpu / each) for n in range(each)]
                waits = each * self.work.waits if shape.lanes > 1 else 0
                over = rate - self.work.bucket
                refused = sum(self.random.random() * rate < over for _ in range(each)) if over > 0 else 0
                self.pilot.observe(
                    Done(batch, 0, [None] * each, {}, worker, number, begun, took, cpu, clocks, waits=waits),
                    refused,
                    started + seconds,
                )
                self.done += each
                self.cpu += 0.0 if children else cpu
            self.idle += max(0.0, self.cores - (self.taken or 0.0) - rate * (self.work.held + self.work.free)) * seconds
            self._knock(shape, started, seconds)
            self.now = started + seconds
            shape = self._move(shape)
            self.held.append((self.pilot.stage, self.now - self.pilot.held_from))
        return self.pilot

    def _knock(self, shape: Shape, started: float, seconds: float) -> None:
        share = min(1.0, self.work.rate(shape, self.cores) / shape.workers * (self.work.held + self.work.held_idle))
        for _ in range(max(1, int(seconds / 0.002))):
            held = self.random.random() < share
            at = started + self.random.random() * seconds
            self.knocks.append(Knock(at, 0.001, 0.0, held))  # Waits of no length: the count alone tells.

    def _move(self, shape: Shape) -> Shape:
        move = self.pilot.advance(self._facts())
        if move.ask_wire:
            self.asked = True
            move = self.pilot.advance(self._facts())
        assert isinstance(move, Move)
        if move.prepare:
            self.prepared_at.append(self.now - 100.0)
        self.warmed.append(move.warm)
        if move.warm is not None and self.warm_since is None:
            self.warm_since = self.now
        if move.shape != shape:
            self.shapes.append(move.shape)
        return move.shape

    def _facts(self) -> Facts:
        def heard() -> Sequence[Knock]:
            return self.knocks[-2000:]

        return Facts(
            now=self.now,
            remaining=self.items - self.done if self.known else None,
            cpu_seconds=self.cpu,
            children_seconds=0.0,
            knocks=heard,
            ready=self.warm_since is not None and self.now - self.warm_since > 0.1,
            wire=self.work.wire if self.asked and self.refusal is None else None,
            refusal=self.refusal if self.asked else None,
            bytes=100.0,
            starved=False,
            idle=lambda: None if self.taken is None else self.idle,
        )


def _items(name: str, cores: float = 2.0, seconds: float = 4.0) -> int:
    """As many items as take that long on processes or threads for each core."""
    work = WORKS[name]
    best = max(work.rate(shape, cores) for shape in (Shape(1, 64), Shape(int(cores), 1), Shape(1, int(cores))))
    return int(seconds * best)


@pytest.mark.parametrize(("name", "kind"), TRUE_KINDS.items())
def test_kinds(name: str, kind: str) -> None:
    """Each work is named rightly."""
    pilot = World(WORKS[name], min(_items(name), 200_000)).run()
    demands = pilot.plan.demands
    assert (pilot.plan.kind if demands is None else kind_of(demands)) in (kind, "unknown" if name == "tiny" else kind)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("python", {Shape(2, 1)}),
        ("hash", {Shape(1, 2)}),
        ("gil-sleep", {Shape(2, 1)}),
        ("fine", {Shape(2, 1)}),
        ("hidden-lock", {Shape(2, 1)}),
        ("big-values", {Shape(1, 2)}),
        ("tiny", {Shape(1, 1)}),
    ],
)
def test_shapes(name: str, shapes: set[Shape]) -> None:
    """The best shape is found, also where the roofs promise more than threads keep."""
    pilot = World(WORKS[name], min(_items(name), 400_000)).run()
    assert pilot.shape in shapes


def test_waiting_work_grows_lanes() -> None:
    """Waiting work gets many lanes, and never fewer because there is less to wait for."""
    world = World(WORKS["sleep"], _items("sleep"))
    pilot = world.run()
    assert pilot.stage is Stage.LANES
    assert pilot.shape.total >= 32
    assert world.shapes[1] == Shape(1, 16)


def test_few_waiting_items_get_a_lane_each() -> None:
    """After one item that waits, a lane for each that is left."""
    world = World(Work(wait=0.05), 15)
    world.run()
    assert world.shapes[1].total >= 14


def test_hint_io_starts_with_a_lane_each() -> None:
    """With hint="io" there is no first round on one lane."""
    world = World(Work(wait=0.05), 15, options={"limits": Limits(), "hint": "io"})
    assert world.pilot.shape == Shape(1, 15)


@pytest.mark.parametrize("name", ["python", "hash", "sleep", "parse-and-wait"])
def test_short_runs_stay(name: str) -> None:
    """What is over before a change would repay itself stays where it is; threads repay themselves at once."""
    work = WORKS[name]
    world = World(work, max(3, int(0.05 / work.response)), options={"limits": Limits()})
    world.run()
    assert all(shape.workers == 1 for shape in world.shapes)
    assert world.shapes == [Shape(1, 1)] or name in ("sleep", "hash")


def test_unknown_length_waits_longer() -> None:
    """Without a length, as many items are assumed to remain as were seen; in the end it switches all the same."""
    known = World(WORKS["python"], 2000, options={"limits": Limits()})
    unknown = World(WORKS["python"], 2000, known=False, options={"limits": Limits()})
    assert known.run().shape == unknown.run().shape == Shape(2, 1)


def test_refusal_keeps_threads() -> None:
    """What cannot be sent to a child process stays in this one, and the reasons say so."""
    world = World(WORKS["python"], 1500, refusal="it captures a lock", options={"limits": Limits()})
    pilot = world.run()
    assert pilot.shape.workers == 1
    assert any("lock" in reason for reason in pilot.plan.reasons)


@pytest.mark.parametrize(
    ("limits", "check"),
    [
        (Limits(workers=1), lambda shape: shape.workers == 1),
        (Limits(lanes=1), lambda shape: shape.lanes == 1),
        (Limits(in_flight=3), lambda shape: shape.total <= 3),
        (Limits(lanes=4), lambda shape: shape.lanes <= 4),
    ],
    ids=["one worker", "one lane", "three in flight", "four lanes"],
)
@pytest.mark.parametrize("name", ["python", "hash", "sleep", "parse-and-wait"])
def test_limits_are_never_crossed(name: str, limits: Limits, check: object) -> None:
    """No shape on the way crosses a limit."""
    world = World(WORKS[name], _items(name), options={"limits": limits})
    world.run()
    assert all(check(shape) for shape in world.shapes)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"limits": Limits(workers=1)}, "limits.workers=1"),
        ({"limits": Limits(in_flight=3)}, "limits.in_flight=3"),
        ({"limits": Limits(per_second=50)}, "limits.per_second=50"),
        ({"limits": Limits(memory=1 << 20), "resident_bytes": 1 << 20}, "memory has room for 1 worker"),
        ({"limits": Limits(), "isolate": True}, "isolate"),
        ({"limits": Limits(), "hint": "io"}, "hint"),
    ],
    ids=str,
)
def test_reasons_name_what_bounds_the_choice(options: dict[str, object], word: str) -> None:
    """Each option that constrains the choice is among the reasons, from before the first item to the end."""
    world = World(WORKS["python"], 600, options=options)
    assert any(word in reason for reason in world.pilot.plan.reasons)
    assert any(word in reason for reason in world.run().plan.reasons)


@pytest.mark.parametrize("cores", [1.0, 2.0, 4.0, 16.0])
def test_cores_bound_workers(cores: float) -> None:
    """As many workers as cores for what holds the GIL; one core is left alone."""
    world = World(WORKS["python"], int(4 * cores / 0.004), cores=cores, options={"limits": Limits()})
    assert world.run().shape == Shape(int(cores), 1)


def test_isolate_never_leaves_children() -> None:
    """With isolate every shape is of workers with one lane, and waiting work may have more of them than cores."""
    world = World(WORKS["sleep"], 4000, options={"limits": Limits(), "isolate": True})
    pilot = world.run()
    assert all(shape.lanes == 1 for shape in world.shapes)
    assert pilot.shape.workers > 2


def _changed(pilot: Pilot) -> bool:
    return any("measured anew" in reason for reason in pilot.plan.reasons)


@pytest.mark.parametrize(
    ("first", "then", "check"),
    [
        ("tiny", "sleep", lambda shape: shape.total >= 16),  # What is there already is skipped; then it downloads.
        ("python", "sleep", lambda shape: shape.total >= 16),
        ("hash", "long-python", lambda shape: shape == Shape(2, 1)),
    ],
)
def test_a_held_shape_is_left_when_the_items_change(first: str, then: str, check: object) -> None:
    """Whatever the first items were, the later ones get the shape that fits them."""
    start = min(_items(first, seconds=2), 200_000)
    world = World(WORKS[first], start + _items(then), turns_at=start, then=WORKS[then])
    pilot = world.run()
    assert _changed(pilot)
    assert check(pilot.shape)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["python", "hash", "tiny", "fine"])
def test_a_held_shape_stays_while_the_items_stay(name: str) -> None:
    """Nothing is measured anew for no reason."""
    assert not _changed(World(WORKS[name], min(_items(name, seconds=20), 400_000)).run())


@pytest.mark.parametrize(
    ("name", "seconds", "early"), [("python", 4, True), ("hash", 4, False), ("sleep", 4, False), ("python", 0.3, False)]
)
def test_what_holds_the_gil_and_lasts_has_workers_prepared(name: str, seconds: float, early: bool) -> None:
    """Once, and before they are sure to be tried."""
    world = World(WORKS[name], _items(name, seconds=seconds))
    world.run()
    assert len(world.prepared_at) == early
    assert all(0.0 < at < 0.05 for at in world.prepared_at)


def test_a_shape_is_held_only_while_nothing_is_compared() -> None:
    """Batches may be long only then."""
    start = _items("hash", seconds=2)
    world = World(WORKS["hash"], start + _items("sleep"), turns_at=start, then=WORKS["sleep"])
    world.run()
    seconds = [seconds for stage, seconds in world.held if stage is Stage.HOLD]
    assert 1.0 < max(seconds) < 3.0
    compared = (Stage.PROBE, Stage.TRIAL)
    assert all(seconds == -math.inf for stage, seconds in world.held if stage in compared)
    grown = [seconds for stage, seconds in world.held if stage is Stage.LANES]
    assert grown[0] == -math.inf  # Their number is to be found.
    assert grown[-1] > 0.1
    assert min(seconds) >= 0.0 or min(seconds) == -math.inf  # The items changed, and are to be looked at.


def test_the_kind_is_kept_where_only_the_size_of_items_changed() -> None:
    """In child processes nobody knocks at the GIL; what is known of the work is not forgotten for that."""
    world = World(WORKS["python"], 4000, turns_at=1500, then=Work(held=0.02))
    pilot = world.run()
    assert _changed(pilot)
    assert pilot.plan.kind == "gil"
    assert pilot.shape == Shape(2, 1)


@pytest.mark.parametrize("taken", [0.0, 2.0])
def test_a_blocked_loop_is_left_whoever_uses_the_cores(taken: float) -> None:
    """What blocks its loop without computing needs no idle core: workers are tried beside any neighbour."""
    world = World(Work(blocks=0.004), 2_000, options={"limits": Limits(), "coroutine": True}, taken=taken)
    pilot = world.run()
    assert pilot.shape == Shape(2, 1)
    assert pilot.plan.decided_after is not None
    assert pilot.plan.decided_after < 500


def test_what_computes_is_not_tried_where_no_core_is_idle() -> None:
    """A process that is used up stays alone where others use the other core: they may be what answers its items."""
    work = Work(held=0.0004, wait=0.005)
    world = World(work, 8_000, taken=1.0)
    world.run()
    assert {shape.workers for shape in world.shapes} == {1}


class Knocked(World):
    """Notes when the GIL is knocked at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told: list[tuple[int, bool]] = []  # Items that have ended.

    def _move(self, shape: Shape) -> Shape:
        advance = self.pilot.advance

        def noted(facts: Facts) -> Move:
            move = advance(facts)
            self.told.append((self.done, move.knock))
            return move

        self.pilot.advance = noted  # type: ignore[method-assign]
        try:
            return super()._move(shape)
        finally:
            self.pilot.advance = advance  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("work", "items", "known", "knocks"),
    [
        (Work(held=0.05), 3, True, False),
        (Work(held=0.05), 40, True, True),
        (Work(held=0.05), 3, False, True),
        (Work(free=0.05), 3, True, True),
    ],
)
def test_nobody_knocks_for_what_is_nearly_over(work: Work, items: int, known: bool, knocks: bool) -> None:
    """Two items are left: lanes would not help, and worker processes would not be there in time."""
    world = Knocked(work, items, known=known)
    world.run()
    assert (1, knocks) in world.told


@pytest.mark.parametrize(
    ("held", "items", "early"), [(0.0002, 30_000, True), (0.0002, 3_000, False), (0.00001, 30_000, False)]
)
def test_what_will_use_up_a_process_has_workers_prepared(held: float, items: int, early: bool) -> None:
    """Once, while the lanes of waiting work still grow, and long before they are sure to use it up."""
    world = Escalating(Work(held=held, wait=0.005), items, options={"limits": Limits(), "hint": "io"}, taken=0.0)
    world.run()
    assert len(world.prepared_at) == early
    assert not early or world.prepared_at[0] < world.moves[0][0] - 100.0 - 0.1


@pytest.mark.parametrize(
    ("items", "refusal", "limits", "moves"),
    [
        (4_000, None, Limits(), True),
        (1_000, None, Limits(), False),
        (4_000, "it cannot be pickled", Limits(), False),
        (4_000, None, Limits(workers=1), False),
    ],
)
def test_what_is_known_to_use_up_a_process_has_others_from_the_start(
    items: int, refusal: str | None, limits: Limits, moves: bool
) -> None:
    """As soon as they are there; nobody waits until one process is seen to be used up."""
    work, options = Work(held=0.0006, wait=0.05), {"limits": limits, "coroutine": True}
    world = Escalating(work, items, options=options, taken=0.0, refusal=refusal, expected=0.0006)
    pilot = world.run()
    early = [at for at, _ in world.moves if at < 100.25]
    assert len(early) == moves
    assert any("worker processes from the start" in reason for reason in pilot.plan.reasons) == moves
    assert pilot.stage is Stage.LANES
    assert {shape.workers for shape in world.shapes} == ({1, 2} if moves else {1})


def test_many_lanes_stay_many_in_worker_processes() -> None:
    """By chance the first items did not wait. The lanes that paid since say more than these do."""
    work, then = Work(held=0.0004), Work(held=0.0004, wait=0.005)
    world = World(work, 20_000, options={"limits": Limits(), "hint": "io"}, turns_at=64, then=then, taken=0.0)
    pilot = world.run()
    assert pilot.shape.workers == 2
    assert pilot.shape.lanes > 1
    assert pilot.stage is Stage.LANES


class Escalating(World):
    """Notes when the run moves to worker processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.moves: list[tuple[float, bool]] = []  # Clock reading, and whether the lanes had found their number.

    def _move(self, shape: Shape) -> Shape:
        moved = super()._move(shape)
        if moved.workers > shape.workers:
            control = self.pilot._control
            assert control is not None
            self.moves.append((self.now, control.settled))
        return moved


def test_processes_are_tried_while_lanes_grow() -> None:
    """Lanes that use one process up need not find their number there first."""
    world = Escalating(Work(held=0.0002, wait=0.005), 30_000, taken=0.0)
    pilot = world.run()
    assert pilot.shape.workers == 2
    assert [settled for _, settled in world.moves] == [False]


def test_what_refuses_one_process_refuses_two() -> None:
    """Few lanes, and an idle process: where that is because more are refused, no process would be served better."""
    world = World(Work(held=0.00002, wait=0.01, bucket=300.0), 6_000, taken=0.0)
    world.run()
    assert min(shape.total for shape in world.shapes[2:]) <= 4
    assert {shape.workers for shape in world.shapes} == {1}


def test_processes_that_were_tried_early_are_tried_again() -> None:
    """To begin may take CPU as well; so what was no better then is asked once more, and not a third time."""
    world = Escalating(Work(held=0.0004, wait=0.005, wire=0.0005), 30_000, taken=0.0)
    pilot = world.run()
    assert pilot.shape.workers == 1
    assert not world.moves[0][1]
    assert sum("worker processes were tried" in reason for reason in pilot.plan.reasons) == 2


class Watched(World):
    """Notes what the lane controller is told of the cores, once that is known, and its lanes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told: list[tuple[Shape, float, bool]] = []  # The shape, cores that it used, and whether they are used up.

    def _move(self, shape: Shape) -> Shape:
        moved = super()._move(shape)
        control = self.pilot._control
        if control is not None and self.pilot.stage is Stage.LANES and self.pilot._use.seen:
            self.told.append((shape, self.pilot._use.last, control.cores_used_up))
        return moved


def test_lanes_that_let_go_of_the_gil_have_all_cores() -> None:
    """One process is not used up by a core's worth of them; one of those that hold the GIL is."""
    limits: dict[str, object] = {"limits": Limits(in_flight=16)}
    world = Watched(Work(held=0.0005, free=0.05, wait=0.45), 1_000, cores=4.0, taken=0.0, options=limits)
    world.run()
    assert any(0.8 < used < 2.5 for _, used, _ in world.told)
    assert not any(used_up for _, used, used_up in world.told if used < 2.5)
    limits = {"limits": Limits(workers=1)}
    world = Watched(Work(held=0.01, wait=0.45), 3_000, cores=4.0, taken=0.0, options=limits)
    world.run()
    assert any(used_up for _, used, used_up in world.told if used < 1.2)


def test_coroutines_of_one_loop_have_one_core() -> None:
    """Whatever they let go of: one thread executes them all."""
    for coroutine in (False, True):
        options: dict[str, object] = {"limits": Limits(in_flight=16), "coroutine": coroutine}
        world = World(Work(held=0.0005, free=0.05, wait=0.45), 1_000, cores=4.0, taken=0.0, options=options)
        pilot = world.run()
        assert pilot._room() == (pilot.shape.workers if coroutine else 4.0)


class Growing(World):
    """Notes whether it was known what the shape uses, whenever workers got more lanes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.known_then: list[bool] = []

    def _move(self, shape: Shape) -> Shape:
        known = self.pilot._use.seen
        moved = super()._move(shape)
        if self.pilot.stage is Stage.LANES and moved.workers == shape.workers > 1 and moved.lanes > shape.lanes:
            self.known_then.append(known)
        return moved


def test_workers_get_no_more_lanes_before_it_is_known_what_they_use() -> None:
    """What won a trial is not doubled where more lanes could not have a core."""
    world = Growing(Work(held=0.0002, wait=0.03), 60_000, cores=4.0, taken=0.0)
    world.run()
    assert world.known_then
    assert world.known_then[0]


def test_a_speedup_is_over_one_lane() -> None:
    """Also where the run begins with all lanes, as it does by hint="cpu"."""
    pilot = World(WORKS["hash"], _items("hash"), options={"limits": Limits(), "hint": "cpu"}).run()
    assert pilot.shape == Shape(1, 2)
    assert pilot.plan.predicted_speedup == pytest.approx(2.0, rel=0.1)


@dataclass
class InCompany(World):
    """Other stages of a pipeline run as well; what was in their lanes is over after so many seconds."""

    drained_after: float = 0.0
    ahead_until: int = 0

    def _facts(self) -> Facts:
        quiet = self.now - 100.0 >= self.drained_after
        return replace(super()._facts(), alone=False, quiet=quiet, ahead=self.done < self.ahead_until)


def test_nothing_is_foreseen_in_company() -> None:
    """The other stages want cores as well, and may use one process up themselves."""
    options = {"limits": Limits(), "coroutine": True}
    for kind, moves in ((World, True), (InCompany, False)):
        world = kind(Work(held=0.0006, wait=0.05), 4_000, options=options, taken=0.0, expected=0.0006)
        reasons = world.run().plan.reasons
        assert any("from the start" in reason for reason in reasons) == moves


def test_what_is_soon_over_waits_for_no_workers() -> None:
    """They are not there when what is left has become too little: they are let go of, and nothing else hears of it."""
    options = {"limits": Limits(), "coroutine": True}
    world = World(Work(held=0.0001, wait=0.002), 2_000, options=options, taken=0.0, expected=0.0006)
    pilot = world.run()
    first = next(place for place, warm in enumerate(world.warmed) if warm is not None)
    assert world.warmed[-1] is None
    assert pilot._warm is None
    assert len(set(world.warmed[first:])) == 2
    assert {shape.workers for shape in world.shapes} == {1}
    assert pilot.stage is Stage.LANES


@pytest.mark.parametrize("name", ["python", "many-lanes"])
def test_a_stage_that_is_ahead_compares_nothing(name: str) -> None:
    """To be quicker would bring nothing: shapes are compared once the next stage wants more."""
    works = {"python": WORKS["python"], "many-lanes": Work(held=0.002, wait=0.05)}
    for ahead_until, workers in ((1 << 60, {1}), (1000, {1, 2}), (0, {1, 2})):
        world = InCompany(works[name], 3000, taken=0.0, ahead_until=ahead_until)
        pilot = world.run()
        assert {shape.workers for shape in world.shapes} == workers, ahead_until
        if ahead_until == 1 << 60 and name == "python":
            assert "the next stage has enough to do" in pilot.plan.reasons


def test_what_stands_in_line_in_company_gets_no_more_lanes() -> None:
    """Where the others use the cores up, items seem to wait: that is looked at again when less is in the way."""
    options = {"limits": Limits(), "hint": "cpu"}
    crowd = Work(free=0.02, wait=0.02)
    world = InCompany(crowd, 2000, options=options, taken=1.0, turns_at=1000, then=Work(free=0.02))
    pilot = world.run()
    assert set(world.shapes) == {Shape(1, 2)}
    assert pilot.stage is Stage.HOLD  # Which is decided once the others are over.
    assert "this stage and the others use the cores up, so more lanes are no use yet" not in pilot.plan.reasons
    roomy = InCompany(crowd, 2000, options=options, taken=0.0)
    roomy.run()
    assert any(shape.total > 2 for shape in roomy.shapes)  # What waits while cores are idle does get more.


def test_a_look_begins_when_the_others_have_drained() -> None:
    """What ran beside tasks that they had begun is not what the choice goes by; nobody waits for them for ever."""
    options = {"limits": Limits(), "hint": "cpu"}
    disturbed, clean = Work(free=0.02, wait=0.02), Work(free=0.02)
    world = InCompany(disturbed, 400, options=options, taken=0.0, turns_at=30, then=clean, drained_after=0.7)
    assert world.run().stage is Stage.HOLD
    assert world.shapes == [Shape(1, 2)]
    endless = InCompany(disturbed, 400, options=options, taken=0.0, drained_after=1e9)
    endless.run()
    assert any(shape.total > 2 for shape in endless.shapes)


@pytest.mark.parametrize(("line", "held"), [(0.0055, True), (0.0012, False)])
def test_lanes_in_a_line_are_not_made_more(line: float, held: bool) -> None:
    """Where lanes that wait do much less than the roofs allow, they stand in a line: what was tried is all."""
    world = World(Work(free=0.002, wait=0.004, line=line), 4000)
    pilot = world.run()
    assert (pilot.stage is Stage.HOLD) == held
    assert (pilot.shape == Shape(1, 1)) == held
    assert (max(shape.total for shape in world.shapes) > 12) is not held, world.shapes


@pytest.mark.parametrize(
    ("held", "kept", "waits", "tried"),
    [(0.0, 0.8, 0, False), (0.0, 0.45, 0, True), (0.003, 0.8, 0, True), (0.0, 0.8, 5, True)],
)
def test_processes_are_tried_only_for_what_threads_lack(held: float, kept: float, waits: int, tried: bool) -> None:
    """What keeps threads that let go of the GIL from their promise binds processes too, where it is no lock."""
    world = World(Work(held=held, free=0.008 - held, thread_penalty=kept, waits=waits), 1000)
    world.run()
    assert any(shape.workers > 1 for shape in world.shapes) == tried, world.shapes
