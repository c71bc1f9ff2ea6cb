"""The journal: final outcomes in an SQLite file, written by one thread in group commits.

    settled parts ──record──> rows ──> writer thread ──BEGIN .. COMMIT──> run.db
                                        (after 50 ms, or 1,000 rows)

A row is one outcome: its key in the form of `_core/keys.py`, its value as JSON where that says it exactly, else
pickled, and a checksum over both, so that a damaged file gives an error and never a wrong value.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import pickle
import sqlite3
import stat
import sys
import threading
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, repeat
from typing import Any

from poolwise._core.errors import (
    JournalCorrupt,
    JournalError,
    JournalLocked,
    JournalMismatch,
    TaskError,
    TaskFailed,
    no_thread,
)
from poolwise._core.journal import MOST_VALUE_BYTES, Journal, Owner, Recorded
from poolwise._core.keys import Stored, decode, shown
from poolwise._runtime import filelock, host

APPLICATION_ID = 0x706F6F6C  # "pool"
VERSION = 1
COMMIT_SECONDS = 0.05
COMMIT_ROWS = 1000
_CHECKED_BYTES = 256 * 1024 * 1024  # A larger file is not read through at the start; its rows have checksums.
_ASKED_AT_ONCE = 500
_INSERTED_AT_ONCE = 512
_MOST_ROWS = 8 * COMMIT_ROWS  # In one commit, so that none is long.
_BUSY_SECONDS = 10.0
DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What any statement may raise on a damaged file: names and messages of SQLite quote text that cannot be decoded."""
_CACHE_BYTES = 32 * 1024 * 1024  # Texts come in any order: each may be for another page.
_CHECKPOINT_PAGES = 4000
_MAGIC = b"SQLite format 3\0"
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

SCHEMA = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, finished REAL, facts TEXT NOT NULL
);
CREATE TABLE outcome (
    key PRIMARY KEY NOT NULL, value, failure TEXT, attempts INTEGER NOT NULL, started REAL NOT NULL,
    seconds REAL NOT NULL, cpu_seconds REAL, batch INTEGER NOT NULL, worker INTEGER NOT NULL, lane INTEGER NOT NULL,
    run INTEGER NOT NULL, checksum INTEGER NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""
WIDTH = 12
COLUMNS = "key, value, failure, attempts, started, seconds, cpu_seconds, batch, worker, lane, checksum"

Row = tuple[Any, ...]
"""One outcome as it is written, in the order of the table's columns."""


@functools.cache
def inserting(count: int) -> str:
    """Return the statement that inserts so many outcomes, given one after the other."""
    row = f"({','.join('?' * WIDTH)})"
    return f"INSERT OR REPLACE INTO outcome VALUES {','.join([row] * count)}"


# -- values ------------------------------------------------------------------------------------------------------------


class Unrecordable(Exception):
    """A value that the journal cannot take; the message is a sentence about it."""


_EXACT = {str, int, bool, type(None)}
_FLAT = _EXACT | {float}
_LONG_DIGITS = 4000
_LONG_INT = 10**_LONG_DIGITS  # `json.loads` refuses longer ones.


_as_json = json.JSONEncoder(separators=(",", ":")).encode
_as_lines = json.JSONEncoder(separators=("\n", ":"), allow_nan=False).encode  # No text in JSON has a newline itself.


def _is_exact(value: Any, depth: int = 20) -> bool:
    """Say whether JSON gives back the very same value."""
    kind = type(value)
    if kind in _EXACT:
        return kind is not int or -_LONG_INT < value < _LONG_INT
    if kind is float:
        return math.isfinite(value)
    if depth == 0:
        return False
    if kind is list:
        return all(_is_exact(part, depth - 1) for part in value)
    if kind is dict:
        return all(type(name) is str and _is_exact(part, depth - 1) for name, part in value.items())
    return False


def dump_value(value: Any) -> str | bytes:
    """Return a value as JSON text where that is exact, else pickled.

    Raises:
        Unrecordable: it cannot be pickled, or is larger than `MOST_VALUE_BYTES`.
    """
    text: str | bytes = _as_json(value) if _is_exact(value) else _pickled(value)
    if len(text) > MOST_VALUE_BYTES:
        size, most = len(text) / 1e6, MOST_VALUE_BYTES / 1e6
        raise Unrecordable(
            f"its value is {size:,.0f} MB long, and a journal takes up to {most:,.0f} MB; return a path instead"
        )
    return text


def dump_values(values: Sequence[Any]) -> tuple[list[str | bytes | None], dict[int, Unrecordable]]:
    """Return what `dump_value` makes of values, and by position why it can make nothing of one."""
    if set(map(type, values)) <= _FLAT:
        with contextlib.suppress(ValueError):  # An infinite one, or a very long int.
            texts = _as_lines(values)[1:-1].split("\n")
            if max(map(len, texts)) < _LONG_DIGITS:
                return texts, {}  # type: ignore[return-value]  # list is invariant.
    dumped: list[str | bytes | None] = []
    refused = {}
    for position, value in enumerate(values):
        try:
            dumped.append(dump_value(value))
        except Unrecordable as refusal:
            dumped.append(None)
            refused[position] = refusal
    return dumped, refused


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # A lambda, a class of a function: cloudpickle sends what they are.
        import cloudpickle

        try:
            return bytes(cloudpickle.dumps(value))
        except Exception as error:
            kind = type(value).__qualname__
            raise Unrecordable(
                f"its value, a {kind}, cannot be recorded ({type(error).__name__}: {error}); return what can be pickled"
            ) from None


def load_value(stored: str | bytes | None) -> Any:
    """Return the value of a row.

    Raises:
        Exception: whatever unpickling raises, where what it needs is not here.
    """
    if isinstance(stored, bytes):
        return pickle.loads(stored)
    return None if stored is None else json.loads(stored)


def checksum(key: Any, value: Any, failure: Any) -> int:
    """Return CRC-32 over what a row says: a stored key, a value as text, bytes or None, a failure as text or None."""
    if isinstance(value, bytes):
        return zlib.crc32(value, zlib.crc32(f"{key!r}\n{failure}".encode()))
    return zlib.crc32(f"{key!r}\n{failure}\n{value}".encode())


def recorded(rows: Sequence[Row], path: str, *, unreadable_fails: bool = False) -> list[Recorded]:
    """Return the outcomes of rows with `COLUMNS`.

    Args:
        rows: of the table.
        path: of the journal, for messages.
        unreadable_fails: a value that needs what is not here is a failed outcome.

    Raises:
        JournalCorrupt: a checksum is wrong.
        JournalError: a value needs what is not here, where that does not make it a failed outcome.
    """
    if not rows:
        return []
    keys, stored, failures, attempts, started, seconds, cpu, batch, worker, lane, checks = zip(*rows)
    for key, found, check in zip(keys, map(checksum, keys, stored, failures), checks):
        if found != check:
            raise JournalCorrupt(f"{path} is damaged: what it says of {key!r:.60} is not what was written{_REMEDY}")
    values: list[Any]
    errors: list[TaskError | None] = [None] * len(rows)
    if set(map(type, stored)) == {str}:
        values = json.loads(f"[{','.join(stored)}]")
    else:
        values = [None] * len(rows)
        for position, (key, value) in enumerate(zip(keys, stored)):
            try:
                values[position] = _loaded(key, value, path)
            except JournalError as error:
                if not unreadable_fails:
                    raise
                errors[position] = TaskFailed(str(error), key=decode(key), attempts=attempts[position])
    for position, (value, failure) in enumerate(zip(values, failures)):
        if failure is not None and isinstance(value, TaskError):
            values[position], errors[position] = None, value
    names, means = map(decode, keys), map(bool, batch)
    return list(map(Recorded._make, zip(names, values, errors, attempts, started, seconds, cpu, means, worker, lane)))


def _loaded(key: Stored, stored: str | bytes | None, path: str) -> Any:
    try:
        return load_value(stored)
    except Exception as error:
        raise JournalError(
            f"the value of {shown(decode(key))} in {path} cannot be read here ({type(error).__name__}: {error}); "
            "what it is made of must be importable"
        ) from error


_REMEDY = "; what can be read is saved by: poolwise show DAMAGED.db --save NEW.db"


# -- the file ----------------------------------------------------------------------------------------------------------


class Store:
    """An open journal file: the one writer's end of it.

    Args:
        journal: what was asked for.
        owner: whose outcomes it is to hold.

    Raises:
        JournalLocked: another process writes it.
        JournalMismatch: it belongs to another function or other options.
        JournalCorrupt: it is damaged.
        JournalError: it cannot be opened or made.
        BackendError: the system starts no thread, which writes it.
    """

    def __init__(self, journal: Journal, owner: Owner) -> None:
        # SQLite names the write-ahead log after the path, and so does the lock: a link must not be another name.
        self.path = os.path.realpath(journal.path)
        self.durable = journal.durable
        _check_only_name(self.path)
        with contextlib.ExitStack() as undo:
            self._lock = self._held()
            undo.callback(self._lock.release)
            self._reader = connect(self.path)
            undo.callback(self._reader.close)
            with _explained(self.path):
                self._prepare(journal, owner)
            self.writer = Writer(self.path, self.durable, self._run)
            undo.pop_all()

    def _held(self) -> filelock.FileLock:
        try:
            return filelock.FileLock(f"{self.path}.lock")
        except filelock.Held as held:
            raise JournalLocked(
                f"{self.path} is being written by {held}; wait for it, or give another path "
                f"(reading it meanwhile is fine: poolwise show {self.path})"
            ) from None
        except OSError as error:
            remedy = "make room, or give another path" if error.errno in _NO_ROOM else "give another path"
            raise JournalError(f"{self.path} cannot be written ({error.strerror or error}); {remedy}") from error

    def _prepare(self, journal: Journal, owner: Owner) -> None:
        reader = self._reader
        anew = reader.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not anew:
            check_identity(reader, self.path)
            if os.path.getsize(self.path) <= _CHECKED_BYTES:
                check_whole(reader, self.path)
            _check_owner(reader, self.path, owner, force=journal.force)
        lax = anew and not self.durable  # Nothing is in it that could be lost.
        if lax:
            reader.execute("PRAGMA synchronous=OFF")
        ahead = self._use_wal()
        if ahead and not lax:  # What begins a run waits for no disk: the writer's first commit takes it along.
            reader.execute("PRAGMA synchronous=NORMAL")
        with reader:
            reader.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";")[:-1] if anew else ():
                reader.execute(statement)
            _write_owner(reader, owner)
            cursor = reader.execute("INSERT INTO run (started, facts) VALUES (?, '{}')", (time.time(),))
        if lax:
            reader.execute(f"PRAGMA synchronous={'NORMAL' if ahead else 'FULL'}")
        self._run = int(cursor.lastrowid or 0)
        self._was_empty = not reader.execute("SELECT EXISTS (SELECT 1 FROM outcome)").fetchone()[0]
        largest = reader.execute("SELECT max(key) FROM outcome WHERE key < ''").fetchone()[0]
        self._largest_int: int = -math.inf if largest is None else largest  # type: ignore[assignment]  # Or -inf.
        self.retry_failed = journal.retry_failed
        self._again = journal.again

    def _use_wal(self) -> bool:
        """Write-ahead where that works, and say whether: its shared memory does not cross a network."""
        system = host.network_file_system(self.path)
        if system is not None:
            warnings.warn(
                f"{self.path} is on a network file system ({system}), so the journal commits without a write-ahead "
                "log: slower, and just as safe; a local path is better",
                RuntimeWarning,
                stacklevel=6,
            )
        self._reader.execute(f"PRAGMA journal_mode={'DELETE' if system is not None else 'WAL'}")
        return system is None

    def find(self, keys: Sequence[Stored]) -> dict[Stored, Recorded]:
        """Return what is committed of some keys; what is to be executed again is left out.

        Every key is asked for before its first execution: an int beyond all that were asked for cannot be there.

        Raises:
            JournalCorrupt: the file is damaged.
            JournalError: it cannot be read.
        """
        largest = self._largest_int
        asked = [key for key in keys if not (type(key) is int and key > largest)]
        if len(asked) < len(keys):
            self._largest_int = max(key for key in keys if type(key) is int)
        if self._was_empty and not self.writer.has_taken:
            return {}
        found: dict[Stored, Recorded] = {}
        only = " AND failure IS NULL" if self.retry_failed else ""
        try:
            with _explained(self.path):
                for begin in range(0, len(asked), _ASKED_AT_ONCE):
                    part = asked[begin : begin + _ASKED_AT_ONCE]
                    marks = ",".join("?" * len(part))
                    statement = f"SELECT {COLUMNS} FROM outcome WHERE key IN ({marks}){only}"
                    rows = self._reader.execute(statement, tuple(part)).fetchall()
                    pairs = zip((row[0] for row in rows), recorded(rows, self.path, unreadable_fails=True))
                    found.update(pair for pair in pairs if self._again is None or not self._again(pair[1]))
        except JournalError:
            self.writer.check_there()  # That may be why.
            raise
        if self.retry_failed:  # Of these, now, such as cannot be read here.
            return {key: outcome for key, outcome in found.items() if outcome.error is None}
        return found

    def note(self, facts: dict[str, Any], *, finished: bool) -> None:
        """Keep what the run has decided and done so far."""
        self.writer.note(json.dumps(facts, default=str), time.time() if finished else None)

    def close(self) -> None:
        """Commit what is left, and let go. Idempotent.

        Raises:
            JournalError: not all could be written.
        """
        try:
            self.writer.close()
        finally:
            self._reader.close()
            self._lock.release()


def connect(path: str, *, read_only: bool = False, untouched: bool = False) -> sqlite3.Connection:
    """Open a journal file.

    Args:
        path: the file.
        read_only: change nothing that it says.
        untouched: with that, change not a byte of it: it may be damaged.

    Raises:
        JournalError: it cannot be opened.
        JournalMismatch: it is no SQLite database.
    """
    _check_regular(path)
    try:
        with open(path, "rb") as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        start = b""
        if read_only:
            raise JournalError(f"there is no journal at {path}") from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror or error})") from error
    if start and start != _MAGIC:
        raise JournalMismatch(f"{path} is no journal (it does not begin as an SQLite file does); give another path")
    try:
        if read_only:
            # One that could write takes the write-ahead log away at its end; one that cannot would leave it there.
            free = os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)
            mode = "rw" if free and not untouched else "ro"
            uri = f"file:{_quoted(path)}?mode={mode}"
            reader = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            reader.execute("PRAGMA query_only=ON")
            return reader
        return sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be opened ({error}); is its folder there, and may it be written?") from error


def _check_regular(path: str) -> os.stat_result | None:
    """Return what the system says of a file, or None where there is none.

    Raises:
        JournalError: it is a folder, a device, or a pipe.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise JournalError(f"{path} is a folder; a journal is a file in it, such as {os.path.join(path, 'run.db')}")
    if not stat.S_ISREG(found.st_mode):
        raise JournalError(f"{path} is no regular file, as a journal must be; give another path")
    return found


def _check_only_name(path: str) -> None:
    """Raise JournalError where a journal to be written is no regular file, or has other names (hard links)."""
    found = _check_regular(path)
    if found is not None and found.st_nlink > 1:
        raise JournalError(
            f"{path} has {found.st_nlink} names (hard links), and written through two of them it would lose outcomes; "
            "copy it, and give the copy"
        )


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.path.abspath(path))


class _explained:
    """Turns what SQLite says into a sentence."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DAMAGE):
            raise explained(error, self._path) from error


def explained(error: sqlite3.Error | UnicodeDecodeError, path: str) -> JournalError:
    """Return the JournalError for an error of SQLite; it may quote damaged text, which cannot be decoded."""
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    damaged = isinstance(error, UnicodeDecodeError) or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
    if damaged or "malformed" in text or "not a database" in text:
        return JournalCorrupt(f"{path} is damaged ({text}){_REMEDY}")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) or "full" in text or "disk I/O" in text:
        return JournalError(
            f"the disk is full, or takes nothing more, at {path} ({text}): the run has stopped, and what is recorded "
            "stays; make room and run it again: it goes on from there"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return JournalError(f"{path} cannot be written ({text}); give a path in a folder that can")
    return JournalError(f"the journal {path} failed ({text})")


def check_identity(connection: sqlite3.Connection, path: str) -> None:
    """Raise JournalMismatch where the file is another program's, or of a later version."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JournalMismatch(f"{path} is a database, but no journal of poolwise; give another path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise JournalMismatch(f"{path} is a journal of version {version}; this poolwise reads version {VERSION}")


def check_whole(connection: sqlite3.Connection, path: str) -> None:
    """Raise JournalCorrupt where the file is not well-formed."""
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise JournalCorrupt(f"{path} is damaged ({' '.join(str(verdict).split())}){_REMEDY}")


# -- whose it is -------------------------------------------------------------------------------------------------------


def _write_owner(connection: sqlite3.Connection, owner: Owner) -> None:
    facts = {
        "function": owner.function,
        "options": json.dumps(dict(owner.options)),
        "code": owner.code,
        "source": owner.source,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", facts.items())


def _check_owner(connection: sqlite3.Connection, path: str, owner: Owner, *, force: bool) -> None:
    about = dict(connection.execute("SELECT name, value FROM about"))
    if not force:
        difference = _difference(about, owner, path)
        if difference is not None:
            raise JournalMismatch(
                f"{path} {difference}; give another path, or force=True in Journal({path!r}, ...) to go on all the same"
            )
        if about.get("source") and owner.source and about["source"] != owner.source:
            warnings.warn(
                f"the source of {owner.function} has changed since {path} was begun: what is recorded stays as it is",
                RuntimeWarning,
                stacklevel=7,
            )


def _difference(about: dict[str, str], owner: Owner, path: str) -> str | None:
    """Say how the journal's owner differs, or None."""
    if about.get("function") != owner.function:
        return f"belongs to {about.get('function')}, not to {owner.function}"
    try:
        before, now = json.loads(about.get("options", "{}")), dict(owner.options)
    except ValueError as error:
        raise JournalCorrupt(f"{path} is damaged (whose it is cannot be read){_REMEDY}") from error
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            return f"was made with {name}={before.get(name, 'not given')}, not {now.get(name, 'not given')}"
    same_python = about.get("python") == f"{sys.version_info[0]}.{sys.version_info[1]}"
    if same_python and about.get("code") != owner.code:
        return f"belongs to another {owner.function.rpartition('.')[2]}: its code differs"
    return None


# -- the writer --------------------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """Commits rows, in the order in which they came, soon after they came.

    Raises:
        BackendError: the system starts no thread.
    """

    def __init__(self, path: str, durable: bool, run: int) -> None:
        super().__init__(name="poolwise-journal", daemon=True)
        self._path = path
        self._file = os.stat(path)
        self._durable = durable
        self._run_id = run
        self._changed = threading.Condition()
        self._chunks: deque[tuple[float, list[Row]]] = deque()  # What is not committed, and when it came.
        self._note: tuple[str, float | None] | None = None
        self._taken = self._committed = 0
        self._closing = False
        self._error: JournalError | None = None
        self._done: Callable[[list[Row]], object] = list
        try:
            self.start()
        except RuntimeError as error:
            raise no_thread(error) from error

    def on_commit(self, done: Callable[[list[Row]], object]) -> None:
        """Have a function called, in the writer's thread, with rows that are committed now."""
        self._done = done

    def add(self, rows: list[Row]) -> None:
        """Take rows; waits while too much is behind, and, where the journal is durable, until they are on the disk.

        Raises:
            JournalError: nothing more can be written.
        """
        with self._changed:
            self._raise()
            self._chunks.append((time.monotonic(), rows))
            self._taken += len(rows)
            if self._durable or len(self._chunks) == 1 or self._behind >= COMMIT_ROWS:
                self._changed.notify_all()  # Else the writer has something that it waits for, and wakes for nothing.
            mine = self._taken
            while self._error is None and (
                (self._durable and self._committed < mine) or (self._behind >= COMMIT_ROWS and self._patience < 0)
            ):
                self._changed.wait(COMMIT_SECONDS)
            self._raise()

    @property
    def has_taken(self) -> bool:
        """Rows have come, committed or not."""
        return self._taken > 0

    @property
    def _behind(self) -> int:
        return self._taken - self._committed

    @property
    def _patience(self) -> float:
        """How long the oldest row may still wait, in seconds."""
        return self._chunks[0][0] + COMMIT_SECONDS - time.monotonic() if self._chunks else 0.0

    def note(self, facts: str, finished: float | None) -> None:
        """Keep facts of the run, with the next commit."""
        with self._changed:
            self._note = (facts, finished)
            self._changed.notify_all()

    def close(self) -> None:
        """Commit everything and end.

        Raises:
            JournalError: not everything could be written.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self:
            self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Write until the end; what goes wrong is told to whoever adds next."""
        try:
            with contextlib.closing(connect(self._path)) as connection, _explained(self._path):
                connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
                connection.execute(f"PRAGMA cache_size={-_CACHE_BYTES // 1024}")
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                while self._write(connection):
                    pass
        except BaseException as error:  # Whoever waits for this thread must hear of it, whatever it is.
            failure = self._failure_of(error)
            with self._changed:
                self._error = failure
                self._changed.notify_all()

    def _failure_of(self, error: BaseException) -> JournalError:
        with contextlib.suppress(OSError):
            try:
                self.check_there()
            except JournalError as gone:  # That is why.
                return gone
        if isinstance(error, JournalError):
            return error
        told = f"{type(error).__name__}: {error}"
        return JournalError(f"the journal {self._path} failed ({told}); what is recorded stays")

    def _write(self, connection: sqlite3.Connection) -> bool:
        """Wait for rows, and commit them; returns whether there may be more."""
        with self._changed:
            while not (self._chunks or self._note or self._closing):
                self._changed.wait()
            while not (self._closing or self._durable or self._behind >= COMMIT_ROWS) and (left := self._patience) > 0:
                self._changed.wait(left)
            chunks = self._next_chunks()
            note, self._note = self._note, None
            more = not self._closing
        rows = list(chain.from_iterable(chunks))
        if rows or note is not None:
            self.check_there()
            connection.execute("BEGIN IMMEDIATE")
            self._insert(connection, rows)
            if note is not None:
                connection.execute("UPDATE run SET facts = ?, finished = ? WHERE id = ?", (*note, self._run_id))
            connection.execute("COMMIT")
            self._done(rows)
        with self._changed:
            for _ in chunks:
                self._chunks.popleft()
            self._committed += len(rows)
            self._changed.notify_all()
        return more or bool(self._chunks) or self._note is not None

    def check_there(self) -> None:
        """Raise JournalError where the file has gone: SQLite would write on, to what nobody can open any more."""
        try:
            there = os.path.samestat(os.stat(self._path), self._file)
        except FileNotFoundError:
            there = False
        if not there:
            raise JournalError(
                f"{self._path} was removed while the run wrote it, and what it held has gone with it; "
                "run it again, which begins anew"
            )

    def _next_chunks(self) -> list[list[Row]]:
        """Return the oldest chunks: few enough rows to be committed soon."""
        sizes = accumulate(len(rows) for _, rows in self._chunks)
        return [
            rows for (_, rows), size in zip(self._chunks, sizes) if size <= max(_MOST_ROWS, len(self._chunks[0][1]))
        ]

    @staticmethod
    def _insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
        """Insert rows, many with one statement: each lets go of the GIL, and may wait long to have it again."""
        size = min(_INSERTED_AT_ONCE, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // WIDTH)
        begin = 0
        while begin < len(rows):
            while size > len(rows) - begin:
                size = max(1, size // 8)
            part = rows[begin : begin + size]
            connection.execute(inserting(size), tuple(chain.from_iterable(part)))
            begin += size

    def rows(
        self,
        keys: Sequence[Stored],
        values: Sequence[str | bytes | None],
        failures: Sequence[str | None],
        attempts: int,
        times: Iterable[Iterable[Any]],
    ) -> list[Row]:
        """Make rows of this run, out of columns; `times` are those from start to lane."""
        checks = map(checksum, keys, values, failures)
        return list(zip(keys, values, failures, repeat(attempts), *times, repeat(self._run_id), checks))
