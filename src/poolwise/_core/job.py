"""What a job may tell the engine beyond a function and its items: groups, weights, an order, and how to settle.

    input ──order──> (place, item) ──group, weight──> ready queues ──> lanes ──> Ended ──settle──> Final | RetryAfter

A group is what shares a limit that is not this machine's: for downloads the host. Everything here is called in the
calling process, never in a worker, so nothing of it needs to be picklable.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from poolwise._core.errors import TaskError, UsageError
from poolwise._core.model import check_number


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What bounds each group by itself.

    Args:
        first: lanes of a group at first, at least 1; more where they pay, up to `most`.
        most: lanes that a group may ever have, or None for as many as there are.
        per_second: most executions of a group started a second, retries included, or None.

    Raises:
        UsageError: where a bound is not a positive number.
    """

    first: int = 16
    most: int | None = None
    per_second: float | None = None

    def __post_init__(self) -> None:
        check_number("group_limits.first", self.first, whole=True)
        if self.most is not None:
            check_number("group_limits.most", self.most, whole=True)
        if self.per_second is not None:
            check_number("group_limits.per_second", self.per_second)


@dataclass(frozen=True, slots=True)
class Ended:
    """How one execution of an item ended, before anybody decided what that means.

    Attributes:
        item: the input value.
        value: what the function returned, or None.
        error: a TaskFailed (its `__cause__` is the function's own exception where that can travel), a TaskTimeout or a
            TaskLost; None where there is a value.
        attempts: executions of this item so far, this one included.
        seconds: wall time of this execution; 0 where that is not known.
        class_names: qualified names ("builtins.OSError") of the classes of the exception, its own first: known for one
            that could not travel, too. Empty where nothing was raised, and for what no second execution can change.
    """

    item: Any
    value: Any
    error: TaskError | None
    attempts: int
    seconds: float
    class_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Final:
    """A decision: the item is settled.

    Attributes:
        value: of the outcome.
        error: why there is no value, or None. What is not a TaskError becomes the cause of a TaskFailed, whose message
            names the item and quotes it.
        refused: its group did not take it, and fewer lanes might have helped (a connection that was reset at the last
            attempt). Anything else counts as served, even with an error (a page that does not exist).
    """

    value: Any = None
    error: BaseException | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """A decision: execute the item again. No lane waits meanwhile. It counts as refused by its group.

    Args:
        seconds: until it may start again, at least 0. Exactly these: whoever wants jitter adds it.
        park_group: nothing of the item's group starts before that either, and `throttled` is implied. What runs goes
            on.
        throttled: the group itself said that it is asked too often (HTTP status 429): from now on its executions are
            started at the pace that it was seen to accept. Without it (a connection that failed) the group only has
            fewer lanes, where that helps.

    Raises:
        UsageError: where `seconds` is not a number of at least 0.
    """

    seconds: float
    park_group: bool = False
    throttled: bool = False

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, zero=True)


Decision = Final | RetryAfter | None
"""None: no opinion. The user's `retry` is asked next; where it has none either, the item is settled as it ended."""

Settle = Callable[[Ended], Decision]


@dataclass(frozen=True, slots=True)
class Job:
    """What a job tells the engine. Every part may be missing, and then changes nothing.

    Where `group` or `weight` raises, the item fails with that, and is not executed. Where `settle` raises, the item
    fails with that.

    Attributes:
        group: the group of an item; it must be quick, and hashable. Tasks of a job with groups or weights travel one
            by one.
        group_limits: what bounds each group.
        weight: bytes that an item may hold while it is executed. All that are executed at a time weigh no more than
            `Limits.buffered_bytes`; one that weighs more runs alone.
        order: gets an iterator of (place in the input, item) and gives the same pairs in the order in which they are
            to be started, lazily. What it never gives comes last. Outcomes keep their place in the input.
        settle: decides, once for each execution, what becomes of the item. It is called by the thread that steps the
            engine, for one execution at a time, and must be quick.
        owner: whose outcomes a journal holds, as "module:name", where the job itself says which of them are out of date
            (`Journal.again`); "" where the function and all that it carries tell that.
        cpu_seconds: that an item is known to take of its process, whatever it waits for; 0.0 where that is to be seen.
            Where all items together take one process too long, `auto` has worker processes from the start.
    """

    group: Callable[[Any], Hashable] | None = None
    group_limits: GroupLimits = GroupLimits()
    weight: Callable[[Any], int] | None = None
    order: Callable[[Iterator[tuple[int, Any]]], Iterable[tuple[int, Any]]] | None = None
    settle: Settle | None = None
    owner: str = ""
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("group", "weight", "order", "settle"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise UsageError(f"job.{name} is {value!r}; it must be a function")
        if not isinstance(self.owner, str):
            raise UsageError(f"job.owner is {self.owner!r}; it must be a str")
        check_number("job.cpu_seconds", self.cpu_seconds, zero=True)


NO_JOB = Job()
