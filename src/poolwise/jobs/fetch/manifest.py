"""The manifest: one row for each URL, as JSON lines or CSV. A view of the journal, which holds all of it."""

from __future__ import annotations

from typing import Any

from poolwise import TaskError
from poolwise._core.journal import Recorded
from poolwise.jobs._records import Manifest
from poolwise.jobs.fetch.errors import FetchError
from poolwise.jobs.fetch.outcome import Fetched

PHASES = ("dns", "connect", "tls", "first_byte", "body")
COLUMNS = (
    "url", "final_url", "path", "status", "bytes", "type", "width", "height", "sha256", "attempts",
    *(f"{phase}_seconds" for phase in PHASES), "error_class", "error",
)  # fmt: skip


def row_of(outcome: Recorded) -> dict[str, Any]:
    """Return what is known of one outcome."""
    row: dict[str, Any] = {}
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


MANIFEST = Manifest(COLUMNS, row_of)


def cause_of(error: TaskError) -> BaseException:
    """Return why a URL was not fetched: a FetchError, or what else went wrong with it."""
    return error.__cause__ if isinstance(error.__cause__, FetchError) else error
