"""Where items come from: a file of lines, JSON lines, a column of a CSV file, a glob. All but the glob are lazy.

    reader thread: os.read ─> a few chunks ─> Lines ─> numbered text ─> items: the consumer's thread

A thread of its own reads, so that Ctrl-C can end the wait for a line that may never come, and so that a run can ask
whether the next item is there before it waits for it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from poolwise.cli.interrupts import Interrupts
from poolwise.cli.terminal import CommandError, suggestion

CHUNK_BYTES = 1 << 16
CHUNKS_AHEAD = 4


class InputError(Exception):
    """The input cannot be read on; the message names the line."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where items come from, as the command line says it; exactly one of the first three.

    Args:
        items: a file of lines, or "-" for stdin.
        csv: a CSV file, or "-".
        glob: a pattern of paths.
        jsonl: the lines of `items` are JSON.
        column: the column of `csv`.
    """

    items: str | None = None
    csv: str | None = None
    glob: str | None = None
    jsonl: bool = False
    column: str | None = None

    def check(self) -> None:
        """Refuse combinations that cannot be meant.

        Raises:
            CommandError: saying which.
        """
        given = [name for name in ("items", "csv", "glob") if getattr(self, name) is not None]
        if not given:
            raise CommandError(
                "no items are given",
                hint="name a file of lines, - for stdin, --csv FILE --column NAME, or --glob PATTERN",
            )
        if len(given) > 1:
            names = " and ".join("ITEMS" if name == "items" else f"--{name}" for name in given)
            hint = "quote the pattern, or the shell spreads it over arguments" if "glob" in given else ""
            raise CommandError(f"{names} exclude each other: items come from one place", hint=hint)
        if self.jsonl and self.items is None:
            raise CommandError("--jsonl says how ITEMS is to be read, and there is no ITEMS")
        if (self.column is None) != (self.csv is None):
            raise CommandError("--csv FILE and --column NAME go together")

    @property
    def path(self) -> str | None:
        """The file that is read, "-" for stdin, None for a glob."""
        return self.items if self.items is not None else self.csv


class Lines:
    """The lines of a file, as bytes without their newline. What follows the last newline is one unless it is empty.

    Args:
        descriptor: the file, which this closes when it is read to its end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunks: SimpleQueue[bytes | OSError | None] = SimpleQueue()  # None: look up, it is over
        self._room = threading.Semaphore(CHUNKS_AHEAD)
        self._lines: deque[bytes] = deque()
        self._half: list[bytes] = []
        self._error: OSError | None = None
        self._over = False
        self._reader: threading.Thread | None = None
        self._wake: Callable[[], object] = _nothing

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._lines and not self._over:
            self._absorb(wait=True)
        if self._lines:
            return self._lines.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def ready(self) -> bool:
        """Say whether the next line, or the end, is there."""
        while not self._lines and not self._over and not self._chunks.empty():
            self._absorb(wait=False)
        self._start()
        return bool(self._lines) or self._over

    def call_when_ready(self, wake: Callable[[], object]) -> None:
        """Have a function called, by another thread, each time more has been read."""
        self._wake = wake

    def stop(self) -> None:
        """End here, in the middle of a wait if need be. May be called from a signal handler."""
        self._over = True
        self._lines.clear()
        self._chunks.put(None)  # SimpleQueue.put, unlike Queue.put, is made for being called at any moment

    def _start(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="poolwise-input", daemon=True)
            self._reader.start()

    def _read(self) -> None:
        more = True
        while more:
            self._room.acquire()
            chunk: bytes | OSError
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
                more = bool(chunk)
            except OSError as error:
                chunk, more = error, False
            self._chunks.put(chunk)
            self._wake()
        os.close(self._descriptor)

    def _absorb(self, *, wait: bool) -> None:
        """Take a chunk and split it into lines."""
        self._start()
        chunk = self._chunks.get() if wait else self._chunks.get_nowait()
        if self._over or chunk is None:
            return  # interrupted: half a line is no item
        self._room.release()
        if isinstance(chunk, OSError):
            self._error = chunk
        if isinstance(chunk, OSError) or not chunk:
            last = b"".join(self._half)
            if last and self._error is None:
                self._lines.append(last)
            self._over = True
            return
        first, *others = chunk.split(b"\n")
        self._half.append(first)
        if others:
            self._lines.append(b"".join(self._half))
            self._lines.extend(others[:-1])
            self._half = [others[-1]]


def _nothing() -> None:
    pass


class Items:
    """Items made from lines. An iterator that can say whether the next item is there.

    Args:
        values: the items.
        lines: what they are made from.
        total: how many there are, where that is known.
    """

    def __init__(self, values: Iterator[Any], lines: Lines, total: int | None = None) -> None:
        self._values = values
        self.total = total
        self.ready = lines.ready
        self.call_when_ready = lines.call_when_ready
        self.stop = lines.stop

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._values)


def open_source(source: Source, interrupts: Interrupts, *, count: bool) -> Items | list[str]:
    """Open the items.

    Args:
        source: which were asked for.
        interrupts: what ends them.
        count: find out how many there are, where a first pass over a file can tell.

    Raises:
        CommandError: where there is nothing to read.
    """
    source.check()
    if source.glob is not None:
        return matching_paths(source.glob)
    path = str(source.path)
    descriptor = _open(path)
    total = None
    if count and source.csv is None:
        total = _count_lines(descriptor, skip_blank=source.jsonl)
    lines = Lines(descriptor)
    interrupts.call_at_first(lines.stop)
    text = _numbered_text(lines, "stdin" if path == "-" else path)
    if source.csv is not None:
        return Items(_cells(text, str(source.column)), lines)
    return Items(_decoded(text) if source.jsonl else (line for _, line in text), lines, total)


def matching_paths(pattern: str) -> list[str]:
    """List the files that match a pattern (`**` crosses folders), sorted; folders where it ends with a slash.

    Raises:
        CommandError: where nothing matches.
    """
    import glob

    folders = pattern.endswith(("/", os.sep))
    paths = sorted(path for path in glob.iglob(pattern, recursive=True) if folders or not os.path.isdir(path))
    if not paths:
        raise CommandError(f"no {'folder' if folders else 'file'} matches {pattern!r} in {os.getcwd()}")
    return paths


def _open(path: str) -> int:
    if path == "-":
        from poolwise.cli.streams import claim_stdin, stdin_closed

        if stdin_closed():
            raise CommandError("cannot read stdin: it is closed")
        return claim_stdin()
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise CommandError(f"cannot read {path!r}: {error.strerror}", hint=_file_hint(path)) from error
    if os.path.isdir(path):
        os.close(descriptor)
        raise CommandError(f"cannot read {path!r}: it is a folder", hint="--glob 'FOLDER/**' takes the files in it")
    return descriptor


def _file_hint(path: str) -> str:
    folder = os.path.dirname(path) or "."
    try:
        return suggestion(os.path.basename(path), os.listdir(folder))
    except OSError:
        return ""


def _numbered_text(lines: Lines, name: str) -> Iterator[tuple[tuple[str, int], str]]:
    """Give ((file, line number), text): UTF-8, without a byte order mark, without the CR of a CRLF.

    Raises:
        InputError: at bytes that are not UTF-8, and where reading fails.
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield (name, number), line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"line {number:,} of {name} is not UTF-8 (byte 0x{byte:02x} at {error.start})") from error
    except OSError as error:
        raise InputError(f"cannot read {name} after line {number:,}: {error.strerror}") from error


def _decoded(text: Iterator[tuple[tuple[str, int], str]]) -> Iterator[Any]:
    """Decode JSON lines. A blank line holds no value, and is passed over."""
    import json

    for (name, number), line in text:
        if line.isspace() or not line:
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise InputError(f"line {number:,} of {name} is not JSON: {reason}{where}") from error
        except RecursionError as error:
            raise InputError(f"line {number:,} of {name} is nested too deeply") from error


def _cells(text: Iterator[tuple[tuple[str, int], str]], column: str) -> Iterator[str]:
    """Give one column of CSV. The first row, which names the columns, is read at once.

    Raises:
        CommandError: where there is no such column.
        InputError: where a row cannot be read, or has no such cell.
    """
    import csv
    import sys

    csv.field_size_limit(sys.maxsize)
    where = ("the CSV file", 1)

    def lines() -> Iterator[str]:
        nonlocal where
        for place, line in text:
            where = place
            yield f"{line}\n"

    def rows() -> Iterator[list[str]]:
        try:
            yield from csv.reader(lines(), strict=True)
        except csv.Error as error:
            raise InputError(f"line {where[1]:,} of {where[0]} is not CSV: {error}") from error

    table = rows()
    place = _column_place(next(table, None), column)

    def cells() -> Iterator[str]:
        for row in table:
            if len(row) > place:
                yield row[place]
            elif row:  # csv reads a blank line as a row of no cells at all
                raise InputError(f"line {where[1]:,} of {where[0]} has no cell for {column!r}, but only {len(row)}")

    return cells()


def _column_place(names: list[str] | None, column: str) -> int:
    if names is None:
        raise CommandError(f"the CSV file is empty, so it has no column {column!r}")
    if names.count(column) == 1:
        return names.index(column)
    if column in names:
        raise CommandError(f"the CSV file has {names.count(column)} columns {column!r}")
    known = suggestion(column, names) or f"its columns are {', '.join(repr(name) for name in names)}"
    raise CommandError(f"the CSV file has no column {column!r}", hint=known)


def _count_lines(descriptor: int, *, skip_blank: bool) -> int | None:
    """Count the lines of a regular file, and go back to its beginning; None for pipes and terminals."""
    import stat

    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    count = sum(1 for line in Lines(os.dup(descriptor)) if not (skip_blank and not line.strip()))
    os.lseek(descriptor, start, os.SEEK_SET)
    return count
