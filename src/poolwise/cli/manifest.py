"""`--manifest FILE`: what a job's journal holds, a row for each item, once the run is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Literal

from poolwise.cli.run import open_file
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed
from poolwise.cli.terminal import DONE, FAILED, say_error

if TYPE_CHECKING:
    from poolwise.jobs._records import Manifest


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
