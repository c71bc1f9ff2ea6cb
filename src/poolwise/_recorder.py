"""The recorder: between the input and the engine, and between the engine and the consumer.

    input ──sift──> to be executed ──> engine ──keep──> the journal's writer, and the consumer
              ├───> recorded before ──────────────────> the consumer
              └───> a key that is on its way: waits for it, and gets the same outcome

`sift` runs in the thread that owns the input, `keep` in the one that steps the engine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from poolwise._core.errors import TaskError, TaskFailed
from poolwise._core.journal import Recorded
from poolwise._core.keys import Stored, encode
from poolwise._core.model import Settled
from poolwise._policy.outcomes import times_of
from poolwise._policy.verdict import class_of
from poolwise._runtime.journal import Row, Store, Unrecordable, dump_value

_Flight = None | list[int] | tuple[Settled, int]
"""Of a key: it runs; it runs, and later positions wait for it; it has settled, and is not committed yet."""


@dataclass(frozen=True, slots=True)
class Share:
    """Consecutive items of the input that are treated alike.

    Attributes:
        items: to be executed, or empty.
        known: their outcomes, or None.
        count: how many there are.
    """

    items: list[Any]
    known: Settled | None
    count: int


class Recorder:
    """See the module's docstring.

    Args:
        store: the open journal.
        key: the user's key function, or None where items are keys.
        epoch: seconds that turn clock readings into Unix time.
    """

    def __init__(self, store: Store, key: Callable[[Any], Any] | None, epoch: float) -> None:
        self.store = store
        self._key = key
        self._epoch = epoch
        self._lock = threading.Lock()
        self._flights: dict[Stored, _Flight] = {}
        self._keys: dict[int, tuple[Stored, Any]] = {}  # By place in the input, of what is to be executed.
        store.writer.on_commit(self._committed)

    # -- the input's side

    def sift(self, items: list[Any], first: int) -> Iterator[Share]:
        """Tell items that are to be executed from those that are not.

        Args:
            items: consecutive items of the input.
            first: place of the first of them.

        Raises:
            UsageError: an item, or its key, cannot name it for good; the shares before it have been given.
            JournalError: the journal cannot be read.
        """
        keys, error = self._keys_of(items)
        recorded = self.store.find(self._unseen([stored for stored, _ in keys]))
        with self._lock:
            verdicts = [self._verdict(first + place, *pair, recorded) for place, pair in enumerate(keys)]
        place = 0
        for kind, group in groupby(verdicts, key=lambda verdict: verdict if verdict is None else type(verdict)):
            same = list(group)
            part = items[place : place + len(same)]
            if kind is bool:
                yield Share(part, None, len(same))
            elif kind is Recorded:
                indexes = range(first + place, first + place + len(same))
                yield Share([], known_part(indexes, part, same), len(same))  # type: ignore[arg-type]
            else:
                yield Share([], None, len(same))
            place += len(same)
        if error is not None:
            raise error

    def _keys_of(self, items: list[Any]) -> tuple[list[tuple[Stored, Any]], Exception | None]:
        """Return stored form and key of each item, up to the first that has none, and why it has none."""
        keys: list[tuple[Stored, Any]] = []
        try:
            for item in items:
                key = item if self._key is None else self._key(item)
                keys.append((encode(key), key))
        except Exception as error:
            return keys, error
        return keys, None

    def _unseen(self, stored: Sequence[Stored]) -> list[Stored]:
        """Return those keys that may be in the file; ints beyond all that were seen are not."""
        largest = self.store.largest_int
        with self._lock:
            asked = [key for key in stored if key not in self._flights and not (type(key) is int and key > largest)]
        self.store.largest_int = max((key for key in stored if type(key) is int), default=largest)
        self.store.largest_int = max(self.store.largest_int, largest)
        return asked

    def _verdict(self, index: int, stored: Stored, key: Any, known: dict[Stored, Recorded]) -> bool | Recorded | None:
        """Return what is known of an item, True where it is to be executed, None where it waits for its like."""
        if stored in self._flights:
            flight = self._flights[stored]
            if isinstance(flight, tuple):
                return self._recorded_of(*flight, key)
            waiting = flight or []
            waiting.append(index)
            self._flights[stored] = waiting
            return None
        if stored in known:
            return known[stored]
        self._flights[stored] = None
        self._keys[index] = (stored, key)
        return True

    # -- the engine's side

    def keep(self, parts: list[Settled]) -> list[Settled]:
        """Record what was executed; returns all parts, with those of positions that waited for the same keys.

        A value that cannot be recorded becomes the failure of its item.

        Raises:
            JournalError: nothing more can be written.
        """
        rows: list[Row] = []
        more: list[Settled] = []
        for part in parts:
            if part.recorded is None:
                self._keep(part, rows, more)
        if rows:
            self.store.writer.add(rows)
        return [*parts, *more]

    def _keep(self, part: Settled, rows: list[Row], more: list[Settled]) -> None:
        with self._lock:
            pairs = [self._keys.pop(index) for index in part.indexes]
        part.keys = [key for _, key in pairs]
        row = self.store.writer.row
        for position, (stored, key) in enumerate(pairs):
            value, failure = self._said(part, position, key)
            rows.append(row(stored, value, failure, part.attempt, *times_of(part, position, self._epoch)))
        with self._lock:
            flights = self._flights
            before = [flights.get(stored) for stored, _ in pairs]
            flights.update((stored, (part, position)) for position, (stored, _) in enumerate(pairs))
        for position, ((_, key), waiting) in enumerate(zip(pairs, before)):
            if isinstance(waiting, list):
                outcome = self._recorded_of(part, position, key)
                item = part.items[position]
                more += [known_part([index], [item], [outcome]) for index in waiting]

    @staticmethod
    def _said(part: Settled, position: int, key: Any) -> tuple[str | bytes | None, str | None]:
        """Return value and failure of a row; what cannot be recorded turns into a failure first."""
        error = part.errors.get(position)
        if error is None:
            try:
                return dump_value(part.values[position]), None
            except Unrecordable as refusal:
                error = TaskFailed(str(refusal), attempts=part.attempt)
                part.errors = {**part.errors, position: error}
                part.values = [*part.values[:position], None, *part.values[position + 1 :]]
        error.key = key
        said = {"kind": type(error).__name__, "class": class_of(error), "sentence": str(error)}
        return dump_value(error), json.dumps(said)

    def _recorded_of(self, part: Settled, position: int, key: Any) -> Recorded:
        error = part.errors.get(position)
        value = None if error is not None else part.values[position]
        return Recorded(key, value, error, part.attempt, *times_of(part, position, self._epoch))

    def _committed(self, rows: list[Row]) -> None:
        with self._lock:
            for row in rows:
                self._flights.pop(row.key, None)

    def close(self, facts: dict[str, Any], *, complete: bool) -> None:
        """Commit what is left, with what the run has decided and done, and let go of the journal.

        Raises:
            JournalError: not everything could be written.
        """
        self.store.note(facts, finished=complete)
        self.store.close()


def known_part(indexes: Sequence[int], items: list[Any], outcomes: list[Recorded]) -> Settled:
    """Return recorded outcomes as a settled part."""
    errors: dict[int, TaskError] = {
        position: outcome.error for position, outcome in enumerate(outcomes) if outcome.error is not None
    }
    return Settled(indexes, items, [outcome.value for outcome in outcomes], errors, recorded=outcomes)
