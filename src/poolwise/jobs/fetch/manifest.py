"""The manifest: one row for each URL, as JSON lines or CSV. A view of the journal, which holds all of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Literal

from poolwise import TaskError
from poolwise._core.journal import Recorded
from poolwise._runtime.journal_reader import Reader
from poolwise.jobs.fetch.errors import FetchError
from poolwise.jobs.fetch.outcome import Fetched

PHASES = ("dns", "connect", "tls", "first_byte", "body")
COLUMNS = (
    "url", "final_url", "path", "status", "bytes", "type", "width", "height", "sha256", "attempts",
    *(f"{phase}_seconds" for phase in PHASES), "error_class", "error",
)  # fmt: skip


def manifest_lines(journal: str, kind: Literal["jsonl", "csv"]) -> Iterator[bytes]:
    """Give the lines of a manifest, in the order of the URLs' text.

    Args:
        journal: path of the file; it may be in use.
        kind: "jsonl", or "csv" with a first row of names.

    Raises:
        JournalError: it is not there, is no journal, or is damaged.
    """
    if kind == "csv":
        yield _csv_line(COLUMNS)
    for row in rows(journal):
        if kind == "csv":
            yield _csv_line(["" if row[name] is None else row[name] for name in COLUMNS])
        else:
            yield f"{json.dumps(row)}\n".encode()


def rows(journal: str) -> Iterator[dict[str, Any]]:
    """Give the rows of a manifest: what `COLUMNS` names; None for what there is not."""
    with Reader(journal) as reader:
        for outcome in reader.outcomes():
            if isinstance(outcome, Recorded):
                yield row_of(outcome)
            else:
                key, error = outcome
                yield dict.fromkeys(COLUMNS) | {
                    "url": str(key), "error_class": type(error).__name__, "error": str(error),
                }  # fmt: skip


def row_of(outcome: Recorded) -> dict[str, Any]:
    """Return the row of one outcome."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"url": outcome.key, "attempts": outcome.attempts}
    value, error = outcome.value, outcome.error
    if isinstance(value, Fetched):
        row |= {name: getattr(value, name) for name in COLUMNS[1:9]}
        seconds = value.seconds
    else:
        cause = cause_of(error) if error is not None else None
        seconds = cause.seconds if isinstance(cause, FetchError) else {}
        if isinstance(cause, FetchError):
            row |= {"final_url": cause.final_url or None, "status": cause.status, "bytes": cause.bytes}
        row |= {"error_class": type(cause).__name__, "error": str(cause)}
    return row | {f"{phase}_seconds": seconds.get(phase) for phase in PHASES}


def cause_of(error: TaskError) -> BaseException:
    """Return why a URL was not fetched: a FetchError, or what else went wrong with it."""
    return error.__cause__ if isinstance(error.__cause__, FetchError) else error


def _csv_line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")
