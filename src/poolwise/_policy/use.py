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
        self.last = self.per_second = 0.0  # Cores that were used when last looked at, and items that ended well.
        self._glance: tuple[float, float | None, float, int] | None = None
        self.used_up = False  # Hardly a core was idle lately, whatever the shape was and whoever used them.
        self.lately: Use | None = None  # The same of this process, with as many glances in a row at which it was full.

    def add(self, done: Done) -> None:
        """Take in an event: workers tell what they have used."""
        if done.process_cpu_seconds:
            self._workers_cpu[done.worker] = done.process_cpu_seconds

    @property
    def workers_seconds(self) -> float:
        """CPU seconds that worker processes have used, as far as they have told."""
        return sum(self._workers_cpu.values())

    def restart(self) -> None:
        """The shape has changed."""
        self._mark, self._looks = None, 0

    @property
    def seen(self) -> bool:
        """It is known what this shape uses."""
        return self._looks > 0

    def computes(self, room: float) -> bool:
        """Say whether this run used most of the cores that it has room on, when last looked at."""
        return self.last > _COMPUTES * min(room, self._cores)

    def glance(self, facts: Facts, good: int, full: float) -> None:
        """Bring `used_up` and `lately` up to date.

        Args:
            facts: of now.
            good: items that ended well.
            full: cores from which on this process is said to be full.
        """
        before = self._glance
        if before is not None and facts.now - before[0] < _SECONDS:
            return
        now = self._glance = (facts.now, facts.idle(), facts.cpu_seconds, good)
        if before is None:
            return
        seconds = now[0] - before[0]
        here = (now[2] - before[2]) / seconds
        idle = max(0.0, self._cores - here)
        if before[1] is not None and now[1] is not None:
            idle = min(idle, (now[1] - before[1]) / seconds)
            self.used_up = idle < IDLE * self._cores
        times = 0 if here <= full else 1 if self.lately is None else self.lately.looks + 1
        self.lately = Use(here, idle, (good - before[3]) / seconds, times)

    def look(self, facts: Facts, shape: Shape, good: int) -> Use | None:
        """Return what was used since the last look, or None while it is too early to say; `good` items ended well."""
        before, workers = self._mark, len(self._workers_cpu)
        if before is not None and before[4] == workers:
            seconds, items = facts.now - before[0], good - before[3]
            if seconds < _SECONDS or items < shape.total:
                return None
        cpu = facts.cpu_seconds + self.workers_seconds
        self._mark = (facts.now, cpu, facts.idle(), good, workers)
        if before is None or before[4] != workers:
            return None
        self._looks += 1
        self.last = (cpu - before[1]) / seconds
        idle = max(0.0, self._cores - self.last)
        if before[2] is not None and self._mark[2] is not None:
            idle = min(idle, (self._mark[2] - before[2]) / seconds)
        self.per_second = items / seconds
        return Use(self.last, idle, self.per_second, self._looks)
