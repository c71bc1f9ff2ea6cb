"""`--manifest FILE`: what a job's journal holds, a row for each item, once the run is over."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Literal

from poolwise.cli.run import open_file
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed
from poolwise.cli.terminal import DONE, FAILED, say_error

if TYPE_CHECKING:
    from poolwise.jobs._records import Manifest


def check_manifest(path: str, destination: str) -> None:
    """Check, before there is anything to write, that a manifest could be.

    Args:
        path: of the file, or "-".
        destination: the real path of a folder that may still have to be made.

    Raises:
        UsageError: it could not.
    """
    from poolwise import UsageError
    from poolwise.report.files import check_replaceable, check_writable

    if path == "-" or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)):
        return
    real = os.path.realpath(path)
    if real == destination:
        raise UsageError(f"cannot write {path!r}: it is the folder for the files")
    if os.path.isfile(path):  # It is written where it is, whatever may be done to its folder.
        check_replaceable(path)
        if not os.access(path, os.W_OK):
            raise UsageError(f"cannot write {path!r}: it may not be written")
    elif os.path.dirname(real) != destination or os.path.exists(destination):
        check_writable(path)


def write_manifest(manifest: Manifest, journal: str, path: str, open_stdout: Callable[[], BinaryIO] | None) -> int:
    """Write a manifest and return the exit code.

    Args:
        manifest: what it shows.
        journal: path of the journal.
        path: of the file, "-" for stdout; CSV where it ends in .csv, otherwise JSON lines.
        open_stdout: opens the real stdout, where that is meant.
    """
    from poolwise import PoolwiseError

    kind: Literal["csv", "jsonl"] = "csv" if path.lower().endswith(".csv") else "jsonl"
    try:
        file = open_stdout() if open_stdout is not None else open_file(path)
        with LineWriter(file, "stdout" if path == "-" else path, b"") as writer:
            for line in manifest.lines(journal, kind):
                writer.write(line)
    except OutputClosed:
        return FAILED
    except (OutputFailed, PoolwiseError) as error:
        say_error(str(error))
        return FAILED
    return DONE
