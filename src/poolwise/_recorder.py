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
from functools import cached_property
from itertools import groupby, repeat
from typing import Any

from poolwise._core.errors import TaskError, TaskFailed, UsageError
from poolwise._core.journal import Recorded
from poolwise._core.keys import Stored, encode_all, shown
from poolwise._core.model import Settled
from poolwise._policy.outcomes import times_of
from poolwise._policy.verdict import class_of
from poolwise._runtime.journal import Row, Store, dump_value, dump_values


class _Landed:
    """A part that has settled, and is not committed yet."""

    def __init__(self, part: Settled, stored: Sequence[Stored], epoch: float) -> None:
        self._part = part
        self._stored = stored
        self._epoch = epoch

    @cached_property
    def outcomes(self) -> dict[Stored, Recorded]:
        """What a journal holds of it, by key: made when one of its keys comes again."""
        part = self._part
        assert part.keys is not None
        errors = map(part.errors.get, range(len(part.keys)))
        columns = zip(part.keys, part.values, errors, repeat(part.attempt), *times_of(part, self._epoch))
        return dict(zip(self._stored, map(Recorded._make, columns)))


_Flight = None | list[int] | _Landed
"""Of a key: it runs; it runs, and later positions wait for it; it has settled."""

_Verdict = Recorded | bool | None
"""Of an item: its outcome, True where it is to be executed, None where it waits for its like."""


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

    Attributes:
        facts: what the run has decided and done, for `close` to keep; empty where that is not known.
    """

    def __init__(self, store: Store, key: Callable[[Any], Any] | None, epoch: float) -> None:
        self.store = store
        self.facts: dict[str, Any] = {}
        self._key = key
        self._epoch = epoch
        self._lock = threading.Lock()
        self._flights: dict[Stored, _Flight] = {}
        self._keys: dict[int, Any] = {}  # By place in the input, of what is to be executed; none where items are keys.
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
        keys, error = self._keys_of(items, first)
        stored, no_key = encode_all(keys)
        if no_key is not None:
            error = UsageError(f"item {first + len(stored)}: {no_key}")
        # What is in flight may be committed any time, so it is asked first. What is not stays so: only this adds to it.
        with self._lock:
            verdicts = {
                place: self._verdict(first + place, key) for place, key in enumerate(stored) if key in self._flights
            }
        known = self.store.find([key for place, key in enumerate(stored) if place not in verdicts])
        place = 0
        for kind, group in groupby(self._verdicts(first, stored, verdicts, known), key=type):
            same = list(group)
            indexes = range(first + place, first + place + len(same))
            part = items[place : place + len(same)]
            if kind is bool:
                if self._key is not None:
                    self._keys.update(zip(indexes, keys[place : place + len(same)]))
                yield Share(part, None, len(same))
            elif kind is Recorded:
                named = _renamed(same, keys[place : place + len(same)])  # type: ignore[arg-type]
                yield Share([], known_part(indexes, part, named), len(same))
            else:
                yield Share([], None, len(same))
            place += len(same)
        if error is not None:
            raise error

    def _keys_of(self, items: list[Any], first: int) -> tuple[list[Any], UsageError | None]:
        """Return the key of each item, up to the first that has none, and why it has none."""
        if self._key is None:
            return items, None
        keys: list[Any] = []
        try:
            keys.extend(map(self._key, items))  # Keeps what came before an error.
            if len(keys) < len(items):
                raise StopIteration  # It did: that ends `map`, and would go unseen.
        except Exception as error:
            name = getattr(self._key, "__qualname__", type(self._key).__qualname__)
            why = UsageError(
                f"key={name} raised {type(error).__name__}: {error} for item {first + len(keys)} "
                f"({shown(items[len(keys)])}); it must name every item"
            )
            why.__cause__ = error
            return keys, why
        return keys, None

    def _verdicts(
        self, first: int, stored: Sequence[Stored], verdicts: dict[int, _Verdict], known: dict[Stored, Recorded]
    ) -> list[_Verdict]:
        """Return what to do with each item, where that is said for those whose keys were in flight."""
        with self._lock:
            if not verdicts and not known and len(fresh := dict.fromkeys(stored)) == len(stored):
                self._flights.update(fresh)
                return [True] * len(stored)
            return [
                verdicts[place] if place in verdicts else known.get(key) or self._verdict(first + place, key)
                for place, key in enumerate(stored)
            ]

    def _verdict(self, index: int, key: Stored) -> _Verdict:
        if key not in self._flights:
            self._flights[key] = None
            return True
        flight = self._flights[key]
        if isinstance(flight, _Landed):
            return flight.outcomes[key]
        if flight is None:
            flight = self._flights[key] = []
        flight.append(index)
        return None

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
        part.keys = part.items if self._key is None else list(map(self._keys.pop, part.indexes))
        stored, _ = encode_all(part.keys)
        values, failures = self._said(part, part.keys)
        rows += self.store.writer.rows(stored, values, failures, part.attempt, times_of(part, self._epoch))
        landed = _Landed(part, stored, self._epoch)
        with self._lock:
            before = list(map(self._flights.get, stored))
            self._flights.update(dict.fromkeys(stored, landed))
        for key, item, waiting in zip(stored, part.items, before) if any(before) else ():
            if isinstance(waiting, list):
                more += [known_part([index], [item], [landed.outcomes[key]]) for index in waiting]

    @staticmethod
    def _said(part: Settled, keys: Sequence[Any]) -> tuple[list[str | bytes | None], list[str | None]]:
        """Return values and failures of rows; what cannot be recorded turns into a failure first."""
        values, refused = dump_values(part.values)
        if refused:
            refusals = {place: TaskFailed(str(why), attempts=part.attempt) for place, why in refused.items()}
            part.errors = {**part.errors, **refusals}
            part.values = [None if place in refused else value for place, value in enumerate(part.values)]
        failures: list[str | None] = [None] * len(values)
        for place, error in part.errors.items():
            error.key = keys[place]
            values[place] = dump_value(error)
            said = {"kind": type(error).__name__, "class": class_of(error), "sentence": str(error)}
            failures[place] = json.dumps(said)
        return values, failures

    def _committed(self, rows: list[Row]) -> None:
        with self._lock:
            for key, *_ in rows:
                self._flights.pop(key, None)

    def close(self, *, complete: bool) -> None:
        """Commit what is left, with `facts`, and let go of the journal.

        Args:
            complete: the run has come to its end.

        Raises:
            JournalError: not everything could be written.
        """
        self.store.note(self.facts, finished=complete and bool(self.facts))
        self.store.close()


def _renamed(outcomes: list[Recorded], keys: Sequence[Any]) -> list[Recorded]:
    """Return outcomes with the keys as they are given now: a path that opens files, a member of an enum."""
    for outcome, key in zip(outcomes, keys):
        if outcome.error is not None:
            outcome.error.key = key
    if set(map(type, keys)) <= {int, str}:  # These are stored as they are.
        return outcomes
    return [outcome._replace(key=key) for outcome, key in zip(outcomes, keys)]


def known_part(indexes: Sequence[int], items: list[Any], outcomes: list[Recorded]) -> Settled:
    """Return recorded outcomes as a settled part."""
    errors: dict[int, TaskError] = {
        position: outcome.error for position, outcome in enumerate(outcomes) if outcome.error is not None
    }
    return Settled(indexes, items, [outcome.value for outcome in outcomes], errors, recorded=outcomes)
