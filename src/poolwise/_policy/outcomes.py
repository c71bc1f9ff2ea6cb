"""Outcomes and keys, made late: when a settled part is handed to the consumer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from poolwise._core.errors import TaskError
from poolwise._core.model import Outcome, OutcomeDraft, Settled, seal

_PLAIN_KEYS = {int, str}


def key_of(item: Any, index: int, key: Callable[[Any], Any] | None) -> Any:
    """Return the key of an item: `key(item)`, or the item where it can be one, or its index."""
    if key is not None:
        return key(item)
    return item if _is_key(item) else index


def _is_key(item: Any) -> bool:
    if isinstance(item, (str, int)):
        return True
    if isinstance(item, tuple):
        return all(map(_is_key, item))
    pathlib = sys.modules.get("pathlib")  # Who has a path has imported it; for others it is slow to import.
    return pathlib is not None and isinstance(item, pathlib.PurePath)


def outcomes(part: Settled, key: Callable[[Any], Any] | None, epoch: float) -> list[Outcome[Any]]:
    """Make the Outcomes of a part.

    Args:
        part: settled tasks.
        key: the user's key function, or None.
        epoch: seconds that turn clock readings into Unix time.
    """
    done = part.done
    if part.recorded is not None:
        return seal(
            [
                OutcomeDraft(
                    index, name, error is None, value, error, attempts, start, start + seconds, seconds, cpu,
                    "batch" if batch else "item", worker, lane, part.stage if error is None else error.stage,
                )
                for index, (name, value, error, attempts, start, seconds, cpu, batch, worker, lane) in zip(
                    part.indexes, part.recorded
                )
            ]
        )  # fmt: skip
    if done is None:
        return [_outcome_of_given_up(part, key, epoch)]
    if part.keys is not None:
        keys = part.keys
    elif key is None and set(map(type, part.items)) <= _PLAIN_KEYS:
        keys = part.items
    else:
        keys = [key_of(item, index, key) for item, index in zip(part.items, part.indexes)]
    worker, lane, attempt, stage = done.worker, done.lane, part.attempt, part.stage
    if done.clocks is not None:
        clocks = done.clocks[part.offset : part.offset + len(keys)]
        drafts = [
            OutcomeDraft(
                index, name, True, value, None, attempt, start + epoch, start + epoch + seconds, seconds, cpu, "item",
                worker, lane, stage,
            )
            for index, name, value, (start, seconds, cpu) in zip(part.indexes, keys, part.values, clocks)
        ]  # fmt: skip
    else:
        number = max(1, len(done.values))
        seconds, start = done.seconds / number, done.started + epoch
        cpu = None if done.cpu_seconds is None else done.cpu_seconds / number
        end = start + done.seconds
        drafts = [
            OutcomeDraft(
                index, name, True, value, None, attempt, start, end, seconds, cpu, "batch", worker, lane, stage
            )
            for index, name, value in zip(part.indexes, keys, part.values)
        ]
    made = seal(drafts)
    for position, error in part.errors.items():
        made[position] = _failed_outcome(made[position], error)
    return made


def _failed_outcome(made: Outcome[Any], error: TaskError) -> Outcome[Any]:
    error.key = made.key
    return Outcome(
        made.index, made.key, False, None, error, made.attempts, made.started, made.finished, made.seconds,
        made.cpu_seconds, made.clocked, made.worker, made.lane, error.stage,
    )  # fmt: skip


def _outcome_of_given_up(part: Settled, key: Callable[[Any], Any] | None, epoch: float) -> Outcome[Any]:
    assert part.at is not None
    task, now = part.at
    name = key_of(part.items[0], part.indexes[0], key) if part.keys is None else part.keys[0]
    error = part.errors.get(0)
    if error is not None:
        error.key = name
    started = task.started or now
    return Outcome(
        part.indexes[0], name, error is None, part.values[0], error, part.attempt, started + epoch, now + epoch,
        now - started, None, "item", task.worker, task.lane, part.stage if error is None else error.stage,
    )  # fmt: skip


def times_of(part: Settled, epoch: float) -> tuple[Iterable[Any], ...]:
    """Return columns: start (Unix time), wall and CPU seconds, whether these are a batch's means, worker and lane."""
    done = part.done
    if done is None:
        assert part.at is not None
        task, now = part.at
        started = task.started or now
        return tuple(map(repeat, (started + epoch, now - started, None, False, task.worker, task.lane)))
    place = repeat(done.worker), repeat(done.lane)
    if done.clocks is not None:
        starts, seconds, cpus = zip(*done.clocks[part.offset : part.offset + len(part.indexes)])
        return [start + epoch for start in starts], seconds, cpus, repeat(False), *place
    number = max(1, len(done.values))
    cpu = None if done.cpu_seconds is None else done.cpu_seconds / number
    return *map(repeat, (done.started + epoch, done.seconds / number, cpu, True)), *place
