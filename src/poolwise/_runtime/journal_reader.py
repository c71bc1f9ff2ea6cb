"""Reading a journal, also while another process writes it, and saving what can be read of a damaged one."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolwise._core.errors import JournalCorrupt, JournalError
from poolwise._core.journal import Recorded
from poolwise._core.keys import Stored, decode, encode
from poolwise._runtime.filelock import FileLock, Held
from poolwise._runtime.journal import (
    COLUMNS,
    DAMAGE,
    SCHEMA,
    WIDTH,
    check_identity,
    check_whole,
    checksum,
    connect,
    explained,
    inserting,
    recorded,
)

_LARGEST_ROWID = (1 << 63) - 1
_LEAST_ROW_BYTES = 16
_MOST_RANGES = 5_000


@dataclass(frozen=True, slots=True)
class Slow:
    """An item that took long.

    Attributes:
        key: of the item.
        seconds: wall time of its last execution.
    """

    key: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Failed items of one class.

    Attributes:
        name: of the class.
        count: how many.
        sentence: of one of them.
        key: of that one.
    """

    name: str
    count: int
    sentence: str
    key: Any


@dataclass(frozen=True, slots=True)
class Execution:
    """Last executions of items, without their values: one, or those that were timed as one batch.

    Attributes:
        started: Unix time, in seconds.
        seconds: wall time, of all of them together.
        count: how many.
        failed: of these, those that did not end well.
        worker, lane: where they ran.
    """

    started: float
    seconds: float
    count: int
    failed: int
    worker: int
    lane: int


@dataclass(frozen=True, slots=True)
class Past:
    """A run of a journal.

    Attributes:
        id: of its rows.
        ended: it came to tell what it did.
        story: what it told, or None.
    """

    id: int
    ended: bool
    story: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a journal holds.

    Attributes:
        path: the file.
        function: whose outcomes they are, as "module:name".
        options: what else the values depend on.
        done, failed: outcomes with a value, and without.
        failures: number of outcomes by the class of their error, the commonest first.
        slowest: the items that took longest, the slowest first.
        seconds, cpu_seconds: of the last executions together.
        first, last: Unix time of the earliest and the latest start of a recorded execution, or None.
        runs: of each run, in order, when it started and finished (Unix time; None where it did not end by itself), and
            the facts that it left, its story left out.
    """

    path: str
    function: str
    options: dict[str, str]
    done: int
    failed: int
    failures: dict[str, int]
    slowest: list[Slow]
    seconds: float
    cpu_seconds: float
    first: float | None
    last: float | None
    runs: list[dict[str, Any]]


class Reader:
    """An open journal that is only read; a context manager.

    Args:
        path: the file.

    Raises:
        JournalError: it is not there, is no journal, or is damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection = _opened(path)
        try:
            check_identity(self._connection, path)
            check_whole(self._connection, path)
        except DAMAGE as error:
            self._connection.close()
            raise explained(error, path) from error
        except JournalError:
            self._connection.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._connection.close()

    def _rows(self, statement: str, *values: Stored) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(statement, values)
        except DAMAGE as error:
            raise explained(error, self.path) from error

    def outcomes(self) -> Iterator[Recorded | tuple[Any, JournalError]]:
        """Iterate over the outcomes by key: ints, then texts, then other keys.

        Yields:
            Each outcome; for one that cannot be made here, its key and why.
        """
        for row in self._rows(f"SELECT {COLUMNS} FROM outcome ORDER BY key"):
            try:
                yield recorded([row], self.path)[0]
            except JournalCorrupt:
                raise
            except JournalError as error:
                yield decode(row[0]), error

    def find(self, key: Any) -> Recorded | None:
        """Return the outcome of one key, or None. From any thread, one at a time.

        Raises:
            JournalError: it is damaged, or cannot be made here.
        """
        rows = self._rows(f"SELECT {COLUMNS} FROM outcome WHERE key = ?", encode(key))
        return next(iter(recorded(list(rows), self.path)), None)

    @contextmanager
    def at_one_time(self) -> Iterator[None]:
        """Read everything as it is at one time, whatever is written meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def summary(self, slowest: int = 5) -> Summary:
        """Return what it holds, with so many of the slowest items."""
        about = dict(self._rows("SELECT name, value FROM about"))
        counts = (
            "SELECT count(*), count(failure), sum(seconds), sum(cpu_seconds), min(started), max(started) FROM outcome"
        )
        number, failed, seconds, cpu, first, last = next(self._rows(counts))
        classes = "SELECT json_extract(failure, '$.class'), count(*) FROM outcome WHERE failure IS NOT NULL"
        slow = f"SELECT key, seconds FROM outcome ORDER BY seconds DESC LIMIT {slowest:d}"
        runs = "SELECT started, finished, json_remove(facts, '$.story') FROM run ORDER BY id"
        return Summary(
            self.path,
            about.get("function", "?"),
            json.loads(about.get("options", "{}")),
            number - failed,
            failed,
            dict(self._rows(f"{classes} GROUP BY 1 ORDER BY 2 DESC, 1")),
            [Slow(decode(key), taken) for key, taken in self._rows(slow)],
            seconds or 0.0,
            cpu or 0.0,
            first,
            last,
            [
                {"started": started, "finished": finished, **json.loads(facts)}
                for started, finished, facts in self._rows(runs)
            ],
        )

    def failures(self) -> list[Failed]:
        """Return the failed items by class, the commonest first, with one of each."""
        fields = "json_extract(failure, '$.class'), count(*), failure, min(key)"
        rows = self._rows(f"SELECT {fields} FROM outcome WHERE failure IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1")
        # Not json_extract for the sentence: it may hold a lone surrogate, which SQLite makes into no UTF-8.
        return [
            Failed(name, count, str(json.loads(failure).get("sentence") or ""), decode(key))
            for name, count, failure, key in rows
        ]

    def executions(self, run: int) -> Iterator[Execution]:
        """Iterate over the executions of one run, in no order."""
        columns = "started, sum(seconds), count(*), count(failure), worker, lane"
        for row in self._rows(f"SELECT {columns} FROM outcome WHERE run = {run:d} GROUP BY worker, lane, started"):
            yield Execution(*row)

    def seconds(self) -> Iterator[float]:
        """Iterate over the wall seconds of the last execution of each item."""
        return (seconds for (seconds,) in self._rows("SELECT seconds FROM outcome"))

    def past(self) -> list[Past]:
        """Return the runs, in order."""
        columns = "id, json_extract(facts, '$.done') IS NOT NULL, json_extract(facts, '$.story')"
        rows = self._rows(f"SELECT {columns} FROM run ORDER BY id")
        return [Past(each, bool(ended), json.loads(story) if story else None) for each, ended, story in rows]


def salvage(path: str, target: str) -> tuple[int, int]:
    """Copy what can be read of a damaged journal into a new one.

    Args:
        path: the damaged file, which is not changed.
        target: the new one.

    Returns:
        How many outcomes were saved, and how many were passed over because their checksum was wrong.

    Raises:
        JournalError: the target exists or cannot be written, or nothing at all can be read. Nothing is left of it then.
    """
    if os.path.exists(target):
        raise JournalError(f"{target} exists already; give another path")
    try:
        with closing(_opened(path, untouched=True)) as source, closing(connect(target)) as new:
            return _copy(source, new, path)
    except BaseException as error:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(target + suffix)
        if isinstance(error, sqlite3.Error):
            raise JournalError(f"{target} cannot be written ({error}); give a path where there is room") from error
        raise


def _copy(source: sqlite3.Connection, new: sqlite3.Connection, path: str) -> tuple[int, int]:
    new.executescript(f"BEGIN; {SCHEMA} COMMIT;")
    with suppress(*DAMAGE):
        source.execute("PRAGMA writable_schema=ON")  # Reads on where the schema does not fit the file's length.
    for table, width in (("about", 2), ("run", 4)):
        rows = _until_damage(source, f"SELECT * FROM {table}")
        new.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * width)})", rows)
    new.execute("BEGIN")
    wrong = _copy_around_damage(source, new, os.path.getsize(path))
    new.execute("COMMIT")
    saved = int(new.execute("SELECT count(*) FROM outcome").fetchone()[0])
    if not saved:
        raise JournalCorrupt(f"nothing of {path} can be read")
    return saved, wrong


def _until_damage(source: sqlite3.Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    with suppress(*DAMAGE):
        yield from source.execute(statement)


def _copy_around_damage(source: sqlite3.Connection, new: sqlite3.Connection, size: int) -> int:
    """Copy rows up to the damage, from the other end down to it, and so in each half of what is left between.

    Returns:
        How many were passed over because their checksum was wrong.
    """
    wrong: set[int] = set()  # By rowid: the rows of a half-written page may turn up in more ranges than one.
    ranges = deque([(-_LARGEST_ROWID - 1, _LARGEST_ROWID)])
    for attempt in range(_MOST_RANGES):
        if not ranges:
            break
        low, high = ranges.popleft()
        bad, reached = _copy_rows(source, new, low, high, "ASC")
        wrong |= bad
        if reached is None:
            continue
        low = max(low, reached + 1)
        bad, back = _copy_rows(source, new, low, high, "DESC")
        wrong |= bad
        if back is None:  # All of it could be read from that end.
            continue
        high = min(high, back - 1)
        if attempt == 0:  # The ends of the table may be lost: it has no more rows than there is room for.
            low, high = max(low, -1), min(high, max(low, 0) + size // _LEAST_ROW_BYTES)
        if low < high:
            middle = (low + high) // 2
            ranges += [(low, middle), (middle + 1, high)]
    return len(wrong)


def _copy_rows(
    source: sqlite3.Connection, new: sqlite3.Connection, low: int, high: int, order: str
) -> tuple[set[int], int | None]:
    """Copy rows of a range until the damage.

    Returns:
        The rowids that were passed over because the row's checksum was wrong, and the last rowid before the damage: the
        end at which it began where there was none, None where there was no damage.
    """
    bad: set[int] = set()
    reached = low - 1 if order == "ASC" else high + 1
    names = ",".join(f"c{column:d}" for column in range(WIDTH + 1))  # Ours: those in the file may be damaged.
    rows_of = f"SELECT rowid, * FROM outcome WHERE rowid BETWEEN {low:d} AND {high:d}"
    statement = f"WITH part({names}) AS ({rows_of}) SELECT * FROM part ORDER BY c0 {order}"
    try:
        rows = source.execute(statement)
    except DAMAGE:
        return bad, reached
    while True:
        try:
            row = next(rows, None)
        except DAMAGE:
            return bad, reached
        if row is None:
            return bad, None
        reached, *fields = row
        if _is_whole(fields):
            new.execute(inserting(1), fields)
        else:
            bad.add(reached)


def _is_whole(fields: list[Any]) -> bool:
    try:
        return bool(checksum(fields[0], fields[1], fields[2]) == fields[-1])
    except (TypeError, ValueError):
        return False


def _opened(path: str, *, untouched: bool = False) -> sqlite3.Connection:
    """Open a journal to read it, also where nothing can be written: there SQLite wants to be told that nobody does."""
    connection = connect(path, read_only=True, untouched=untouched)
    try:
        connection.execute("PRAGMA application_id").fetchone()
    except DAMAGE as error:
        if not getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            return connection  # Who reads on is told the same.
        connection.close()
        if os.path.exists(f"{path}-wal"):
            raise JournalError(
                f"{path} cannot be read here: a part of it is in {path}-wal, and nothing can be written beside it; "
                "copy both into a folder that can be written"
            ) from error
        uri = f"{Path(path).absolute().as_uri()}?immutable=1"
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    return connection


def in_use(path: str) -> bool | None:
    """Say whether a run holds a journal, or None where that cannot be known."""
    for name in {path, os.path.realpath(path)}:
        if not os.path.exists(f"{name}.lock"):
            continue
        try:
            FileLock(f"{name}.lock").release()
        except Held:
            return True
        except OSError:
            return None
    return False
