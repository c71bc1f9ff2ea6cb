"""What a fresh process does: run all items through one shape or pool once, and say how long that took.

folder/subject.pickle   function and items, or a job     folder/task.json   what to do with it
folder/result.json      how it went, written when all is over
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import poolwise
from poolwise import Plan
from poolwise._api import get_ready
from poolwise._bench import peers
from poolwise._bench.model import PEERS, Measured
from poolwise._bench.process import BrokenRun
from poolwise._core.errors import sentence_of
from poolwise._core.keys import shown
from poolwise._runtime.forkserver import end_with_parent

SUBJECT, TASK, RESULT = "subject.pickle", "task.json", "result.json"


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is to do.

    Attributes:
        side: a shape, "auto", a peer; or "" to look at the function for `seconds`.
        path, argv, parent: of the calling process; the last is its id.
        guarded: turn exceptions of the function into values.
        seconds: of the first look.
    """

    side: str
    path: Sequence[str]
    argv: Sequence[str]
    parent: int
    guarded: bool = False
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Calls:
    """A function and the items it is called with."""

    function: Callable[[Any], Any]
    items: Sequence[Any]


@dataclass(frozen=True, slots=True)
class JobRun:
    """A job of `poolwise.jobs`, and its input.

    Attributes:
        name: of the job.
        source: its input: a folder, or lines.
        options: of the job.
    """

    name: str
    source: Any
    options: Mapping[str, Any]


def main(folder: str) -> None:
    """Do the task in a folder."""
    with open(os.path.join(folder, TASK), encoding="ascii") as file:
        task = Task(**json.load(file))
    if not end_with_parent(task.parent) and sys.platform == "linux":
        os._exit(1)
    sys.path[:] = task.path
    sys.argv[:] = task.argv
    result: dict[str, Any]
    try:
        from poolwise._runtime import wire

        with open(os.path.join(folder, SUBJECT), "rb") as blob:
            subject = wire.loads(blob.read())
        result = asdict(_measure(subject, task, folder)) if task.side else _look(subject, task.seconds, folder)
    except BrokenRun as broken:
        result = {"broken": str(broken)}
    except Exception as error:
        result = {"broken": _sentence(error)}
    temporary = os.path.join(folder, f"{RESULT}.tmp")
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(result, file)
    os.replace(temporary, os.path.join(folder, RESULT))


def _sentence(error: BaseException) -> str:
    """Say why there is no figure: in one line."""
    said = " ".join(sentence_of(error).split())[:500]
    local = "Can't get local object" in said  # So CPython names a function that pickle cannot send, in some versions.
    return f"it cannot be pickled ({said})" if local and "pickle" not in said else said


# -- the first look ----------------------------------------------------------------------------------------------------


def _look(subject: Calls | JobRun, seconds: float, place: str) -> dict[str, Any]:
    """Run the first items as `auto` would, and return the plan, with how many were executed."""
    if isinstance(subject, Calls):
        profile = poolwise.profile(subject.function, subject.items, seconds=seconds)
        return _seen(profile.plan, profile.items, profile.seconds)
    count, busy, ends = 0, 0.0, time.perf_counter() + seconds
    with tempfile.TemporaryDirectory(dir=place) as folder, _job(subject, folder, "auto") as run:
        for outcome in run:
            count += 1
            busy += outcome.seconds
            if time.perf_counter() > ends:
                run.drain()
        return _seen(run.plan, count, busy)


def _seen(plan: Plan, items: int, seconds: float) -> dict[str, Any]:
    """Return a `Calibration`; where the plan does not know what an item takes in one lane, that is the mean."""
    from poolwise._policy.profile import plan_to_dict

    each = plan.demands.response.value if plan.demands is not None else seconds / max(items, 1)
    return {"plan": plan_to_dict(plan), "items": items, "item_seconds": each}


# -- one run -----------------------------------------------------------------------------------------------------------


def _measure(subject: Calls | JobRun, task: Task, place: str) -> Measured:
    if isinstance(subject, Calls):
        return _measure_calls(subject, task)
    if task.side in PEERS:
        return _measure_images_of_peer(subject, task, place)
    return _measure_job(subject, task.side, place)


def _measure_calls(subject: Calls, task: Task) -> Measured:
    function, items = subject.function, subject.items
    asynchronous = _is_coroutine_function(function)
    if task.side in PEERS and asynchronous:
        raise BrokenRun("calls plain functions, and this is a coroutine function")
    _make_findable(function)
    if task.guarded:
        function = _AsyncGuard(function) if asynchronous else _Guard(function)
    _import_all(task.side)
    with ExitStack() as stack:
        started = time.perf_counter()
        if task.side in PEERS:
            results: Any = peers.start(stack, task.side, function, items)
        else:
            results = stack.enter_context(poolwise.map(function, items, shape=task.side))
        values, seconds = _take(iter(results), len(items), started)
        shape = str(results.plan.shape) if task.side == "auto" else None
    failures = [(place, value) for place, value in enumerate(values) if isinstance(value, _Failed)]
    first = f"{shown(items[failures[0][0]])}: {failures[0][1].sentence}" if failures else ""
    from poolwise._runtime.identity import digest_of

    return Measured(seconds, digest_of(values), len(failures), first, shape)


def _take(results: Iterator[Any], count: int, started: float) -> tuple[list[Any], float]:
    """Take all values; return them with the seconds to the last. How a pool ends is not timed."""
    values = list(itertools.islice(results, count))
    seconds = time.perf_counter() - started
    if len(values) != count or next(results, results) is not results:
        raise BrokenRun(f"there are {len(values):,} results, or more, for {count:,} items")
    return values, seconds


def _import_all(side: str) -> None:
    """Import what a side needs: imports are not on the clock."""
    if side in PEERS:
        peers.import_pool(side)
    else:
        get_ready()


def _is_coroutine_function(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _make_findable(function: Any) -> None:
    """Put a function of the caller's `__main__` where pools look it up that send it by its name."""
    name = getattr(function, "__qualname__", "")
    if getattr(function, "__module__", None) == "__main__" and name.isidentifier():
        setattr(sys.modules["__main__"], name, function)


@dataclass(frozen=True, slots=True)
class _Failed:
    """In the place of a value: how its item failed."""

    sentence: str


class _Guard:
    """Calls a function; what it raises is returned."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, item: Any) -> Any:
        try:
            return self.function(item)
        except Exception as error:
            return _Failed(_sentence(error))


class _AsyncGuard(_Guard):
    async def __call__(self, item: Any) -> Any:
        try:
            return await self.function(item)
        except Exception as error:
            return _Failed(_sentence(error))


# -- jobs --------------------------------------------------------------------------------------------------------------


def _job(subject: JobRun, folder: str, shape: str) -> Any:
    from poolwise.jobs import load

    return load(subject.name)(subject.source, folder, shape=shape, **subject.options)


def _measure_job(subject: JobRun, side: str, place: str) -> Measured:
    """Run a job into a folder that is removed. Its files, by name and size, are what must be the same each time."""
    from poolwise._runtime.identity import digest_of

    _import_all(side)
    failed, first = 0, ""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        run = _job(subject, folder, side)  # Imports what it needs, and finds its items; work starts below.
        started = last = time.perf_counter()
        with run:
            for outcome in run:
                last = time.perf_counter()
                if not outcome.ok:
                    failed += 1
                    first = first or f"{shown(outcome.key)}: {_sentence(outcome.error.__cause__ or outcome.error)}"
            shape = str(run.plan.shape) if side == "auto" else None
        return Measured(last - started, digest_of(list(_files(folder))), failed, first, shape)


def _measure_images_of_peer(subject: JobRun, task: Task, place: str) -> Measured:
    """Have another pool call what the images job does to a file, for each file; as `_measure_job` otherwise."""
    from poolwise._runtime.identity import digest_of
    from poolwise.jobs.images import find_images, images_stage

    with tempfile.TemporaryDirectory(dir=place) as folder:
        function = images_stage(subject.source, folder, **subject.options).fn
        measured = _measure_calls(Calls(function, find_images(subject.source)), replace(task, guarded=True))
        return replace(measured, digest=digest_of(list(_files(folder))))


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """Iterate over the visible files below a folder, in order, with their sizes."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith("."):
                path = os.path.join(place, name)
                yield os.path.relpath(path, folder), os.path.getsize(path)
