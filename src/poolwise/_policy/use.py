"""How much of the machine a run uses while its lanes work."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise._core.model import Done, Shape
from poolwise._policy.look import IDLE, Facts

_SECONDS = 0.05
_COMPUTES = 0.6


@dataclass(frozen=True, slots=True)
class Use:
    """What was used between two looks.

    Attributes:
        cores: that this run kept busy.
        idle: usable cores that nobody kept busy, other processes included.
        per_second: items that ended well.
        looks: how many in a row the shape has been this one.
    """

    cores: float
    idle: float
    per_second: float
    looks: int


class UseMeter:
    """Looks now and then.

    Args:
        cores: usable ones.
    """

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._workers_cpu: dict[int, float] = {}
        self._mark: tuple[float, float, float | None, int, int] | None = None
        self._looks = 0
        self.last = 0.0  # Cores that were used when last looked at.
        self._idle_mark: tuple[float, float | None] | None = None
        self._used_up = False

    def add(self, done: Done) -> None:
        """Take in an event: workers tell what they have used."""
        if done.process_cpu_seconds:
            self._workers_cpu[done.worker] = done.process_cpu_seconds

    def restart(self) -> None:
        """The shape has changed."""
        self._mark, self._looks = None, 0

    def computes(self, workers: int) -> bool:
        """Say whether this run used most of what so many workers could, when last looked at."""
        return self.last > _COMPUTES * min(workers, self._cores)

    def used_up(self, facts: Facts) -> bool:
        """Say whether hardly a core was idle lately, whatever the shape was and whoever used them."""
        before = self._idle_mark
        if before is None or facts.now - before[0] >= _SECONDS:
            idle = facts.idle()
            self._idle_mark = (facts.now, idle)
            if before is not None and before[1] is not None and idle is not None:
                self._used_up = (idle - before[1]) / (facts.now - before[0]) < IDLE * self._cores
        return self._used_up

    def look(self, facts: Facts, shape: Shape, good: int) -> Use | None:
        """Return what was used since the last look, or None while it is too early to say; `good` items ended well."""
        before, workers = self._mark, len(self._workers_cpu)
        if before is not None and before[4] == workers:
            seconds, items = facts.now - before[0], good - before[3]
            if seconds < _SECONDS or items < shape.total:
                return None
        cpu = facts.cpu_seconds + sum(self._workers_cpu.values())
        self._mark = (facts.now, cpu, facts.idle(), good, workers)
        if before is None or before[4] != workers:
            return None
        self._looks += 1
        self.last = (cpu - before[1]) / seconds
        idle = max(0.0, self._cores - self.last)
        if before[2] is not None and self._mark[2] is not None:
            idle = min(idle, (self._mark[2] - before[2]) / seconds)
        return Use(self.last, idle, items / seconds, self._looks)
