"""What a journal is asked for, and what it gives back: values only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from poolwise._core.errors import TaskError, UsageError

MOST_VALUE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Journal:
    """A durable record of final outcomes, by key, from which a run goes on.

    Attributes:
        path: the file; it is made where there is none. Beside it, while a run lasts, are `-wal`, `-shm` and `.lock`.
        durable: hand each outcome over only when it is on the disk, whatever happens to the machine; otherwise at most
            100 ms or 1,000 outcomes may have to be executed again.
        retry_failed: execute again what failed before; otherwise it stays failed.
        force: go on with a journal that belongs to another function or other options.
        again: called with each outcome that is known of an item; where it returns True, the item is executed again (its
            file is gone, its source has changed). None: what has a value is not.

    Raises:
        UsageError: the path is no path.
    """

    path: str | os.PathLike[str]
    durable: bool = False
    retry_failed: bool = False
    force: bool = False
    again: Callable[[Recorded], bool] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise UsageError(f"journal is {self.path!r}; it must be the path of a file, or a Journal")
        if os.fspath(self.path) == ":memory:":
            raise UsageError('journal is ":memory:", which would be gone with the run; it must be the path of a file')
        for name in ("durable", "retry_failed", "force"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"Journal({name}={getattr(self, name)!r}): it must be True or False")
        if self.again is not None and not callable(self.again):
            raise UsageError(f"Journal(again={self.again!r}): it must be a function")

    @classmethod
    def of(cls, given: str | os.PathLike[str] | Journal) -> Journal:
        """Return what the option `journal=` means.

        Raises:
            UsageError: it is neither a path nor a Journal.
        """
        return given if isinstance(given, Journal) else cls(given)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose outcomes a journal holds.

    Attributes:
        function: where it is defined, as "package.module:qualified.name".
        options: what else its values depend on, by name, as text.
        code: a digest of a lambda's code, by which it is told from others, or "".
        source: a digest of the source, which may change, or "".
    """

    function: str
    options: tuple[tuple[str, str], ...] = ()
    code: str = ""
    source: str = ""


class Recorded(NamedTuple):
    """An outcome out of a journal.

    Attributes:
        key: of the item.
        value: what the function returned.
        error: what kept it from returning, or None.
        attempts: how many times it was executed.
        started: Unix time of the last execution, in seconds.
        seconds, cpu_seconds: of the last execution.
        batch: the times are means over a batch.
        worker, lane: where it ran.
    """

    key: Any
    value: Any
    error: TaskError | None
    attempts: int
    started: float
    seconds: float
    cpu_seconds: float | None
    batch: bool
    worker: int
    lane: int

    @property
    def finished(self) -> float:
        """Unix time of the end of the last execution, in seconds."""
        return self.started + self.seconds
