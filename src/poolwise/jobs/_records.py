"""The journal that a job keeps in its folder, and the manifest, which is a view of it: one row for each outcome."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from poolwise import Journal
from poolwise._core.journal import Recorded
from poolwise._runtime.journal_reader import Reader

JOURNAL_NAME = ".poolwise.db"
"""The journal in DST, unless `journal=` names another."""

Row = dict[str, Any]


def journal_path(given: str | os.PathLike[str] | Journal | None, destination: str | os.PathLike[str]) -> str:
    """Return the path of the journal that a job with this `journal=` and this destination keeps."""
    return os.path.join(destination, JOURNAL_NAME) if given is None else os.fspath(Journal.of(given).path)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest shows.

    Attributes:
        columns: names, the first of them that of the key.
        row_of: returns what an outcome says of each; what it leaves out is None.
    """

    columns: Sequence[str]
    row_of: Callable[[Recorded], Row]

    def lines(self, journal: str, kind: Literal["jsonl", "csv"]) -> Iterator[bytes]:
        """Give the lines of a manifest, in the order of the keys.

        Args:
            journal: path of the file; it may be in use.
            kind: "jsonl", or "csv" with a first row of names.

        Raises:
            JournalError: it is not there, is no journal, or is damaged.
        """
        if kind == "csv":
            yield _csv_line(self.columns)
        for row in self.rows(journal):
            if kind == "csv":
                yield _csv_line(["" if row[name] is None else row[name] for name in self.columns])
            else:
                yield f"{json.dumps(row)}\n".encode()

    def rows(self, journal: str) -> Iterator[Row]:
        """Give the rows of a manifest; None for what there is not."""
        with Reader(journal) as reader:
            for outcome in reader.outcomes():
                if isinstance(outcome, Recorded):
                    known = {self.columns[0]: outcome.key, "attempts": outcome.attempts, **self.row_of(outcome)}
                else:
                    key, error = outcome
                    known = {self.columns[0]: str(key), "error_class": type(error).__name__, "error": str(error)}
                yield dict.fromkeys(self.columns) | known


def _csv_line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")
