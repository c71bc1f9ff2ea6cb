"""Is a result up to date? By the content of source and result, and by what was to be done; never by times alone.

A file is not read again where nothing can have changed it: size, mtime, ctime and inode are those of the last time, and
were old enough then to tell (git decides so, too: "racy git"). Otherwise its SHA-256 is compared.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from typing import Any

_RACY_SECONDS = 2.0
"""Coarsest clock of a file system (FAT); what changed within it may change again unseen."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a file held when it was read.

    Attributes:
        bytes: its size.
        sha256: of its content, in hex.
        signature: mtime and ctime in nanoseconds, and inode; None where these tell nothing.
    """

    bytes: int
    sha256: str
    signature: tuple[int, int, int] | None

    @classmethod
    def of(cls, file: Any, now: float | None = None) -> Source:
        """Read an open file to its end.

        Args:
            file: open in binary, at its beginning.
            now: Unix time in seconds, by which it is told whether its times are old enough.
        """
        status = os.fstat(file.fileno())
        content = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(status.st_size, content, signature_of(status, time.time() if now is None else now))


def signature_of(status: os.stat_result, now: float) -> tuple[int, int, int] | None:
    """Return what tells a file from a changed one without reading it, or None where nothing does.

    Args:
        status: of the file.
        now: Unix time, in seconds.
    """
    if os.name == "nt" or now - max(status.st_mtime, status.st_ctime) < _RACY_SECONDS:  # Windows: no time of change.
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def holds(path: str, source: Source) -> bool:
    """Say whether a file holds what it held. It is read only where its times do not tell."""
    try:
        status = os.stat(path)
        if status.st_size != source.bytes:
            return False
        if source.signature is not None and source.signature == signature_of(status, time.time()):
            return True
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256
    except OSError:
        return False
