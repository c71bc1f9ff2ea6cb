"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets

from poolwise._core.errors import UsageError

_SQLITE = b"SQLite format 3\0"


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check, before there is anything to write, that a file could be.

    Raises:
        UsageError: it could not.
    """
    name = os.fspath(path)
    folder = os.path.dirname(name) or os.curdir
    if os.path.isdir(name):
        raise UsageError(f"cannot write {name!r}: it is a folder")
    if os.path.exists(name) and not os.path.isfile(name):  # Renaming would take away a device, or a pipe.
        raise UsageError(f"cannot write {name!r}: it is not a regular file")
    check_replaceable(name)
    if not os.path.isdir(folder):
        raise UsageError(f"cannot write {name!r}: there is no folder {folder!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {name!r}: nothing can be written into the folder {folder!r}")


def check_replaceable(name: str) -> None:
    """Check that a file, where it is there, holds nothing that must stay.

    Raises:
        UsageError: it does.
    """
    if _is_database(name):
        raise UsageError(f"cannot write {name!r}: it is a database, perhaps a journal, and stays; give another path")


def _is_database(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under another name beside it, then rename that.

    Raises:
        UsageError: it cannot be written.
    """
    check_writable(path)
    name = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(name), f".poolwise-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:  # Not tempfile: it would give the file the permissions 0600.
            file.write(content)
        os.replace(temporary, name)
    except BaseException as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        if isinstance(error, OSError):
            raise UsageError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error
        raise
