"""What the journal knows of earlier runs, looked up while a run lasts. Usable from any thread."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolwise._runtime.journal_reader import Reader

from poolwise._core.journal import Recorded
from poolwise.jobs.fetch.outcome import Fetched
from poolwise.jobs.fetch.urls import Url


class Earlier:
    """The outcomes in a journal; it is opened at the first question.

    Args:
        journal: its path.
    """

    def __init__(self, journal: str) -> None:
        self.journal = journal
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._owner_of: dict[str, str] | None = None

    def fetched(self, url: Url) -> Fetched | None:
        """Return what was fetched from a URL."""
        with self._lock:
            recorded = self._opened().find(url.text)
        value = None if recorded is None else recorded.value
        return value if isinstance(value, Fetched) else None

    def path_of(self, url: Url) -> str | None:
        """Return the name of the file that a URL is recorded with, or None."""
        value = self.fetched(url)
        return None if value is None else value.path

    def is_recorded(self, path: str) -> bool:
        """Say whether some URL is recorded with a file of this name."""
        return path in self._owners()

    def is_anothers(self, path: str, url: Url) -> bool:
        """Say whether another URL was recorded with a file of this name when this was asked first.

        What is recorded later need not be known: no two URLs of one run share a name.
        """
        return self._owners().get(path, url.text) != url.text

    def _owners(self) -> dict[str, str]:
        """Return the URL that each file is recorded for, "" where they are several."""
        with self._lock:
            if self._owner_of is None:
                found: dict[str, str] = {}
                for each in self._opened().outcomes():
                    if isinstance(each, Recorded) and isinstance(each.value, Fetched):
                        path, url = each.value.path, each.value.url
                        found[path] = url if found.get(path, url) == url else ""
                self._owner_of = found
            return self._owner_of

    def close(self) -> None:
        """Let go of the journal."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()

    def _opened(self) -> Reader:
        from poolwise._runtime.journal_reader import Reader

        if self._reader is None:
            self._reader = Reader(self.journal)
        return self._reader


def is_there(folder: str, value: Fetched) -> bool:
    """Say whether a file is still there, and as large as it was."""
    try:
        return os.stat(os.path.join(folder, value.path)).st_size == value.bytes
    except OSError:
        return False
