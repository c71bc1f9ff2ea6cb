"""Who may write to stdout: outcomes alone.

What the user's function prints, here, in child processes, or from C, has to go to stderr, or it would end up between
the lines of JSON. So file descriptor 1 itself is pointed at stderr, and the real stdout is kept under another number
that no child inherits. Standard input is kept from the function in the same way when it holds the items.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO

from poolwise.cli.terminal import CommandError


class OutputClosed(Exception):
    """Whoever read the outcomes has gone (`| head`); there is nobody left to work for."""


class OutputFailed(Exception):
    """The outcomes cannot be written; the message says why."""


_filled: set[int] = set()


def stdin_closed() -> bool:
    """Say whether this process was started without standard input (`<&-`)."""
    return 0 in _filled


def fill_gaps() -> None:
    """Open the standard descriptors that were closed (`2>&-`), or the next files opened would take their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(number, True)
            _filled.add(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def claim_stdout() -> Callable[[], BinaryIO]:
    """Point file descriptor 1 at stderr.

    Returns:
        What opens the real stdout, for outcomes.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what is printed belongs between the other lines of stderr
    return lambda: os.fdopen(kept, "wb")


def claim_stdin() -> int:
    """Keep standard input for the items: give the function an empty one, and return the real one's descriptor."""
    kept = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return kept


def keep_apart(*files: tuple[str | os.PathLike[str] | None, str]) -> None:
    """Refuse two uses of one file, before anything is opened.

    Args:
        files: each path, or None, or "-", and what the file is for.

    Raises:
        CommandError: one is named twice.
    """
    seen: list[tuple[str, str]] = []
    for path, use in files:
        if path is None or path == "-" or (os.path.exists(path) and not os.path.isfile(path)):  # nothing to lose
            continue
        for other, other_use in seen:
            if _is_same(path, other):
                message = f"{os.fspath(path)!r} is named as {other_use} and as {use}; each needs a file of its own"
                raise CommandError(message)
        seen.append((os.fspath(path), use))


def _is_same(path: str | os.PathLike[str], other: str) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def flush_quietly() -> None:
    """Flush stdout and stderr; where their reader is gone, keep the interpreter from complaining about it at exit."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), number)


class LineWriter:
    """Writes lines that a reader sees at once. A context manager.

    Args:
        file: an open binary file, which this closes.
        name: what the user calls it.
        prefix: written before each line.
    """

    def __init__(self, file: BinaryIO, name: str, prefix: bytes = b"") -> None:
        self._file = file
        self._name = name
        self._prefix = prefix
        self._failed = False

    def write(self, line: bytes) -> None:
        """Write a line and flush it.

        Raises:
            OutputClosed: where the reader is gone.
            OutputFailed: where the disk is full, or something of that kind.
        """
        try:
            self._file.write(self._prefix + line)
            self._file.flush()
        except OSError as error:
            self._failed = True
            raise self._translated(error) from error

    def _translated(self, error: OSError) -> Exception:
        if isinstance(error, BrokenPipeError):
            return OutputClosed()
        return OutputFailed(f"cannot write outcomes to {self._name}: {error.strerror or error}")

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as close_error:
            # What write() could not flush is tried again by close(): only the first failure is news.
            if error is None and not self._failed:
                raise self._translated(close_error) from close_error
