"""Notes of what is being rewritten in place, so that a run which is killed does not do it twice.

Between the moment a result takes the place of its original and the moment the journal has that on record, nothing but
such a note tells that the file is a result already. A note is removed once the journal knows.
"""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import suppress
from typing import Any

from poolwise import JournalError
from poolwise._runtime.journal_reader import Reader
from poolwise.jobs._names import digest
from poolwise.jobs.images.errors import StorageFailed
from poolwise.jobs.images.finding import OWN_PREFIX
from poolwise.jobs.images.freshness import Source, holds
from poolwise.jobs.images.outcome import Converted

FOLDER = f"{OWN_PREFIX}partial"


@dataclasses.dataclass(frozen=True, slots=True)
class Notes:
    """The notes in a folder whose files are rewritten.

    Args:
        folder: absolute path.
    """

    folder: str

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, FOLDER, f"{digest(key)[:40]}.json")

    def write(self, key: str, outcome: Converted) -> None:
        """Note what a file is about to become.

        Raises:
            StorageFailed: that cannot be written.
        """
        path = self._path(key)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump({"key": key, **dataclasses.asdict(outcome)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
        except OSError as error:
            raise StorageFailed(f"cannot be noted before it is rewritten: {error.strerror or error}") from error

    def done(self, key: str, recipe: str) -> Converted | None:
        """Return the outcome of a file that is rewritten already, or None where it is not."""
        outcome = _read(self._path(key))[1]
        if outcome is None or outcome.recipe != recipe or not holds(outcome.path, outcome.result):
            return None
        return outcome

    def clear(self, journal: str) -> None:
        """Remove the notes that a journal makes superfluous. What cannot be read or removed stays."""
        folder = os.path.join(self.folder, FOLDER)
        with suppress(OSError, JournalError):
            names = os.listdir(folder)
            with Reader(journal) as reader:
                for name in names:
                    key, outcome = _read(os.path.join(folder, name))
                    if outcome is None or _knows(reader, key, outcome):
                        os.unlink(os.path.join(folder, name))
            os.rmdir(folder)


def _knows(reader: Reader, key: str, outcome: Converted) -> bool:
    recorded = reader.find(key)
    value = None if recorded is None else recorded.value
    return isinstance(value, Converted) and value.result.sha256 == outcome.result.sha256


def _read(path: str) -> tuple[str, Converted | None]:
    try:
        with open(path, encoding="utf-8") as file:
            said: dict[str, Any] = json.load(file)
        key = str(said.pop("key"))
        result, source = Source(**said.pop("result")), Source(**said.pop("source"))
        return key, Converted(result=result, source=source, notes=tuple(said.pop("notes")), **said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "", None
