"""What all jobs know of writing files."""

from __future__ import annotations

import errno
import os

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def failure_of(error: OSError) -> str:
    """Return why a file could not be written, as the end of a sentence."""
    return "the disk is full" if error.errno in _FULL else error.strerror or str(error)


def sync_folder(path: str) -> None:
    """Have the names in a folder on the disk, where the system can."""
    if os.name != "nt":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
