"""Bulk download of images, or of any files, that is fast, polite, and cannot be fooled.

urls       what is written ─> what is asked for          names      what a file is called
addresses  which may be connected to                     transport  one request, on libcurl
check      is it an image, and whole?                    decoding   every pixel, in a child process
body       partial files and final names                 settle     another attempt, and when?
encodings  what comes compressed, decompressed           earlier    what earlier runs left
job        all of them together, for `poolwise.run`      manifest   a view of the journal
"""

from __future__ import annotations

import contextlib

from poolwise._api import get_ready
from poolwise.jobs.fetch.errors import (
    AddressRefused,
    BadReply,
    BadUrl,
    ConnectionFailed,
    DamagedImage,
    FetchError,
    Incomplete,
    NameNotResolved,
    NotAllowed,
    NotAnImage,
    RedirectRefused,
    ServerBusy,
    StatusError,
    StorageFailed,
    TlsFailed,
    TooLarge,
    TooSlow,
    Transient,
)
from poolwise.jobs.fetch.job import FetchOptions, fetch, fetch_stage
from poolwise.jobs.fetch.limits import FetchLimits
from poolwise.jobs.fetch.outcome import Fetched
from poolwise.jobs.fetch.urls import BadLine

__all__ = [
    "AddressRefused",
    "BadLine",
    "BadReply",
    "BadUrl",
    "ConnectionFailed",
    "DamagedImage",
    "FetchError",
    "FetchLimits",
    "FetchOptions",
    "Fetched",
    "Incomplete",
    "NameNotResolved",
    "NotAllowed",
    "NotAnImage",
    "RedirectRefused",
    "ServerBusy",
    "StatusError",
    "StorageFailed",
    "TlsFailed",
    "TooLarge",
    "TooSlow",
    "Transient",
    "fetch",
    "fetch_stage",
]

get_ready()
with contextlib.suppress(ImportError):  # `fetch` says what is missing.
    import poolwise.jobs.fetch.transport  # noqa: F401
