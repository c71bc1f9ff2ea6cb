"""Tasks of groups that wait to be started: a ready queue for each group, and what each group may have now.

    add ──> queue of its group ──listed in the ring, while the group may start──> take ──> end | release
                 ^    └──parked, or ahead of its pace: a heap of times──┘               │
                 └──retries, in a heap of times, stay with their group <────────────────┘

A group is in the ring if its first task may start at once; the ring goes round, so groups share what lanes there are.
Each group has a lane controller (`control.py`) of its own, and, once it throttles, a pace (`pace.py`). Every operation
takes constant time, or that of a heap, however many groups there are; a group that has no tasks is remembered for a
while, for what was learnt of it. Pure: no clock.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from poolwise._core.job import GroupLimits
from poolwise._core.model import Span
from poolwise._policy.control import LaneController
from poolwise._policy.pace import Pace
from poolwise._policy.pending import Fault, Pending, Refusal
from poolwise._policy.rate import TokenBucket

_WINDOW_SECONDS = 0.03  # The shortest window of a lane controller.
_SOON_SECONDS = 1e-4
_REMEMBERED = 1024  # Groups without tasks.
_FED = 0.75  # Share of a group's lanes that must be in use.


class _Group:
    """One group.

    Attributes:
        key: what the group function gave.
        tasks: that are not settled, wherever they are.
        flying: of those, that are with a lane.
        parked_until: clock reading, in seconds.
        fed_at: clock reading when so many of its lanes were last in use that its throughput tells something of them.
        listed: it is in the ring.
        waits_until: of its entry in the heap of times that counts, if any.
        wanted, surplus: its part in the sums of all groups.
    """

    __slots__ = (
        "bucket",
        "control",
        "fed_at",
        "flying",
        "key",
        "listed",
        "pace",
        "parked_until",
        "queue",
        "surplus",
        "tasks",
        "waits_until",
        "wanted",
    )

    def __init__(self, key: Hashable, control: LaneController | None, per_second: float | None) -> None:
        self.key = key
        self.control = control
        self.pace = Pace()
        self.bucket = TokenBucket(per_second) if per_second is not None else None
        self.queue: deque[Span] = deque()
        self.tasks = self.flying = self.wanted = self.surplus = 0
        self.parked_until = self.fed_at = -math.inf
        self.waits_until = math.inf
        self.listed = False

    @property
    def lanes(self) -> int:
        """How many lanes it may have."""
        return self.control.lanes if self.control is not None else 1 << 30


class Groups(Pending):
    """See the module's docstring. Tasks are taken one by one.

    Args:
        group: gives the group of an item, or None for a single group without limits.
        limits: of each group.
        weight: bytes that an item may hold while it is executed, or None.
        most: lanes that all groups may have together.
        buffered_bytes: gives what all that are executed may weigh together.

    Attributes:
        lanes: that all groups want together, and never fewer than a group has at first. More at once; fewer when a
            round of them has wanted fewer.
    """

    __slots__ = (
        "_buffered_bytes",
        "_fewest",
        "_flying",
        "_flying_bytes",
        "_group",
        "_groups",
        "_idle",
        "_known",
        "_limits",
        "_most",
        "_now",
        "_peak",
        "_ring",
        "_round",
        "_times",
        "_wanted",
        "_weight",
        "lanes",
        "surplus",
    )

    singly = True

    def __init__(
        self,
        group: Callable[[Any], Hashable] | None,
        limits: GroupLimits,
        weight: Callable[[Any], int] | None,
        most: int,
        buffered_bytes: Callable[[], int],
    ) -> None:
        super().__init__()
        self._group = group
        self._limits = limits
        self._weight = weight
        self._most = most
        self._buffered_bytes = buffered_bytes
        self._groups: dict[Hashable, _Group] = {}
        self._idle: dict[Hashable, None] = {}  # Of those, the ones without tasks, the longest first.
        self._known: dict[int, tuple[_Group, int]] = {}  # Group and weight of every task that is not settled.
        self._flying: dict[int, float] = {}  # When each task was taken that is with a lane.
        self._flying_bytes = 0
        self._ring: deque[_Group] = deque()
        self._times: list[tuple[float, int, _Group]] = []
        self._now = -math.inf
        self._wanted = self._peak = self._round = 0
        self.surplus = 0
        self.lanes = self._fewest = max(1, min(most, limits.first))

    # -- tasks come

    def add(self, span: Span, *, front: bool = False) -> Sequence[Fault]:
        """Take in tasks; return those of which the group or the weight cannot be told, and why."""
        faults: list[Fault] = []
        for index, item in zip(span.indexes, span.items):
            if self._last_wanted is not None and index > self._last_wanted:
                self.forget([index])
                continue
            try:
                group = self._group_of(index, item)
            except Exception as error:
                faults.append((index, item, error))
                continue
            task = Span(range(index, index + 1), [item], span.attempt, span.alone)
            (group.queue.appendleft if front else group.queue.append)(task)
            self.count += 1
            self._list(group)
        return faults

    def _group_of(self, index: int, item: Any) -> _Group:
        """Return the group of a task, which has it until it is settled."""
        if index in self._known:
            return self._known[index][0]
        key = self._group(item) if self._group is not None else None
        weight = int(self._weight(item)) if self._weight is not None else 0
        group = self._groups.get(key)
        if group is None:
            control, limits = None, self._limits
            if self._group is not None:
                most = self._most if limits.most is None else min(self._most, limits.most)
                control = LaneController(limits.first, most=most, shortest_seconds=_WINDOW_SECONDS)
            group = self._groups[key] = _Group(key, control, limits.per_second)
        self._idle.pop(key, None)
        group.tasks += 1
        self._known[index] = (group, max(0, weight))
        return group

    # -- tasks go

    @property
    def ready(self) -> int:
        return 0 if self._first() is None else 1

    def _first(self) -> _Group | None:
        """Return the group whose task is to start next. A heavy one is waited for: light ones do not overtake it."""
        ring = self._ring
        while ring:
            group = ring[0]
            if self._may_start(group):
                weight = self._known[group.queue[0].indexes[0]][1]
                fits = not weight or not self._flying or self._flying_bytes + weight <= self._buffered_bytes()
                return group if fits else None
            ring.popleft()
            group.listed = False
            self._list(group)
        return None

    def _may_start(self, group: _Group) -> bool:
        return bool(group.queue) and group.flying < group.lanes and self._free_at(group) <= self._now

    def _free_at(self, group: _Group) -> float:
        """Return when the group may start its next task, if it has one and a lane for it."""
        if group.parked_until > self._now:
            return group.parked_until
        own, pace = self._limits.per_second, group.pace.per_second(self._now)
        if own is None and pace is None:
            return self._now
        per_second = min(own or math.inf, pace or math.inf)
        if group.bucket is None:
            group.bucket = TokenBucket(per_second)
        group.bucket.per_second = per_second
        if group.bucket.available(self._now) >= 1:
            return self._now
        return max(group.bucket.next_at(self._now), self._now + _SOON_SECONDS)

    def take(self, size: int) -> Span:  # noqa: ARG002
        """Take the next task. There must be one that is ready."""
        group = self._first()
        assert group is not None
        self._ring.popleft()
        group.listed = False
        task = group.queue.popleft()
        index = task.indexes[0]
        self.count -= 1
        group.flying += 1
        if group.flying >= _FED * group.lanes:
            group.fed_at = self._now
        if group.pace.start(self._now):
            group.bucket = TokenBucket(1.0)  # Nothing is saved up while it is parked; `_free_at` sets the pace.
        if group.bucket is not None:
            group.bucket.take(1)
        self._flying[index] = self._now
        self._flying_bytes += self._known[index][1]
        self._list(group)
        return task

    def _list(self, group: _Group) -> None:
        """Put a group where it belongs: the ring, the heap of times, or neither."""
        self._account(group)
        if group.listed or not group.queue or group.flying >= group.lanes:
            return
        free_at = self._free_at(group)
        if free_at <= self._now:
            group.listed = True
            self._ring.append(group)
        elif free_at < group.waits_until:
            group.waits_until = free_at
            heapq.heappush(self._times, (free_at, next(self._order), group))

    def _account(self, group: _Group) -> None:
        """Keep the sums of all groups."""
        waiting, parked = len(group.queue), group.parked_until > self._now
        wanted = group.flying if parked else min(group.lanes, waiting + group.flying)
        surplus = waiting if parked else max(0, waiting - group.lanes)
        self._wanted += wanted - group.wanted
        self.surplus += surplus - group.surplus
        group.wanted, group.surplus = wanted, surplus
        self._peak = max(self._peak, self._wanted)
        self.lanes = max(self.lanes, min(self._most, self._wanted))

    # -- time goes by

    def advance(self, now: float) -> None:
        """Queue retries that are due, and let groups start whose time has come, at `now` seconds."""
        self._now = now
        super().advance(now)
        while self._times and self._times[0][0] <= now:
            at, _, group = heapq.heappop(self._times)
            if group.waits_until == at:
                group.waits_until = math.inf
                self._list(group)

    @property
    def next_at(self) -> float:
        return min(super().next_at, self._times[0][0] if self._times else math.inf)

    def drop_after(self, index: int) -> None:
        self._want_none_after(index)
        for group in tuple(self._groups.values()):
            dropped = [task.indexes[0] for task in group.queue if task.indexes[0] > index]
            group.queue = deque(task for task in group.queue if task.indexes[0] <= index)
            self.count -= len(dropped)
            self.forget(dropped)
            self._account(group)

    # -- what became of them

    def release(self, indexes: Sequence[int], *, started: bool) -> None:
        """Tasks that were taken are with no lane any more, and come back.

        Args:
            indexes: which.
            started: they count as starts of their group.
        """
        for index in indexes:
            group = self._land(index)
            if not started and group.bucket is not None:
                group.bucket.take(-1)
            self._list(group)

    def _land(self, index: int) -> _Group:
        group, weight = self._known[index]
        if index in self._flying:
            del self._flying[index]
            self._flying_bytes -= weight
            group.flying -= 1
        return group

    def end(self, index: int, now: float, started: float, seconds: float, refusal: Refusal | None) -> None:
        """An execution has ended.

        Args:
            index: of the task.
            now: clock reading, in seconds.
            started: clock reading when it started.
            seconds: how long it took.
            refusal: what its group said instead of serving it, or None.
        """
        taken_at = self._flying.get(index, now)
        group = self._land(index)
        if refusal is None:
            group.pace.serve(now, started)
        elif refusal.throttled:
            parked_until = now if refusal.parked_until is None else refusal.parked_until
            group.parked_until = max(group.parked_until, parked_until)
            group.pace.throttle(now, started, max(0.0, parked_until - now))
        if group.control is not None:
            if group.fed_at < taken_at and refusal is None:
                group.control.restart(now)
            group.control.add(now, int(refusal is None), int(refusal is not None), seconds)
        self._round += 1
        if self._round >= self.lanes:
            self.lanes = max(self._fewest, min(self._most, self._peak))
            self._round, self._peak = 0, self._wanted
        self._list(group)

    def forget(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            known = self._known.pop(index, None)
            if known is None:
                continue
            group = known[0]
            group.tasks -= 1
            if not group.tasks:
                self._idle[group.key] = None
                if len(self._idle) > _REMEMBERED:
                    oldest = next(iter(self._idle))
                    del self._idle[oldest], self._groups[oldest]


class GroupLanes:
    """The lanes of a run with groups: what these want together. It stands where a lane controller would.

    The groups' own controllers learn of every end from the engine, and see for themselves whether their lanes are
    used. So what it is told itself is of no use.
    """

    at_base = True
    settled = refused = False
    knee = None

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self.local = self.cores_used_up = False

    @property
    def lanes(self) -> int:
        """How many lanes there should be now."""
        return self._groups.lanes

    def add(self, now: float, completed: int, failed: int, seconds: float, *, turns: int | None = None) -> int:  # noqa: ARG002
        """Return the lanes."""
        return self._groups.lanes

    def restart(self, now: float) -> None:
        """Forget nothing."""
