"""The manifest: one row for each image, as JSON lines or CSV. A view of the journal, which holds all of it."""

from __future__ import annotations

from typing import Any

from poolwise import TaskError
from poolwise._core.journal import Recorded
from poolwise.jobs._records import Manifest
from poolwise.jobs.images.errors import ImageError
from poolwise.jobs.images.freshness import Source
from poolwise.jobs.images.outcome import Converted

COLUMNS = (
    "source", "path", "action", "format", "width", "height", "frames", "bytes", "sha256", "source_bytes",
    "source_sha256", "psnr", "notes", "attempts", "seconds", "error_class", "error",
)  # fmt: skip


def row_of(outcome: Recorded) -> dict[str, Any]:
    """Return what is known of one outcome."""
    row: dict[str, Any] = {"seconds": outcome.seconds}
    value, error = outcome.value, outcome.error
    if isinstance(value, Converted):
        row |= {name: getattr(value, name) for name in (*COLUMNS[1:7], "psnr")}
        row |= {"bytes": value.result.bytes, "sha256": value.result.sha256, "notes": "; ".join(value.notes) or None}
        source: Source | None = value.source
    else:
        cause = cause_of(error) if error is not None else None
        row |= {"error_class": type(cause).__name__, "error": str(cause)}
        source = cause.source if isinstance(cause, ImageError) else None
    if source is not None:
        row |= {"source_bytes": source.bytes, "source_sha256": source.sha256}
    return row


MANIFEST = Manifest(COLUMNS, row_of)


def cause_of(error: TaskError) -> BaseException:
    """Return why a file was not processed: an ImageError, or what else went wrong with it."""
    return error.__cause__ if isinstance(error.__cause__, ImageError) else error
