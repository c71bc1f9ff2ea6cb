"""Measuring: a fresh process for each run, and what else the machine did meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from poolwise import NotPicklableError
from poolwise._bench.child import RESULT, SUBJECT, TASK, Calls, JobRun, Task
from poolwise._bench.model import Calibration, Disturbance, Measured
from poolwise._bench.process import BrokenRun, run_program
from poolwise._bench.schedule import spread_out
from poolwise._runtime import host
from poolwise._runtime.server import interpreter, program


class Measurer(Protocol):
    """What takes the measurements of a comparison; tests put one of their own in its place."""

    def calibrate(self, seconds: float, limit_seconds: float) -> Calibration:
        """Run the first items for about `seconds`.

        Raises:
            BrokenRun: that gave nothing.
        """

    def reduce(self, count: int) -> None:
        """Have each run take so many of the items, evenly spread."""

    def measure(self, side: str, *, guarded: bool, limit_seconds: float) -> tuple[Measured, Disturbance]:
        """Run one side once.

        Raises:
            BrokenRun: there is no figure; the message says why.
        """

    def close(self) -> None:
        """Remove what is left on the disk."""


class FreshProcesses:
    """Measures each run in a fresh interpreter, which gets function and items in a file.

    Args:
        subject: what is measured.
        name: of the function, for messages.

    Raises:
        NotPicklableError: function or items cannot be sent to another process.
    """

    def __init__(self, subject: Calls | JobRun, name: str) -> None:
        self._subject = subject
        self._name = name
        self._temporary = tempfile.TemporaryDirectory(prefix="poolwise-bench-", ignore_cleanup_errors=True)
        self._folder = self._temporary.name
        try:
            self._write_subject(_shuffled(subject))
        except BaseException:
            self.close()
            raise

    def calibrate(self, seconds: float, limit_seconds: float) -> Calibration:
        result, _ = self._run(_task("", seconds=seconds), limit_seconds)
        return Calibration(**result)

    def reduce(self, count: int) -> None:
        inputs = inputs_of(self._subject)
        whole = count == len(inputs)
        self._write_subject(self._subject if whole else self._reduced(inputs, spread_out(len(inputs), count)))

    def measure(self, side: str, *, guarded: bool, limit_seconds: float) -> tuple[Measured, Disturbance]:
        result, disturbance = self._run(_task(side, guarded=guarded), limit_seconds)
        return Measured(**result), disturbance

    def close(self) -> None:
        self._temporary.cleanup()

    def _run(self, task: Task, limit_seconds: float) -> tuple[dict[str, Any], Disturbance]:
        with open(os.path.join(self._folder, TASK), "w", encoding="ascii") as file:
            json.dump(asdict(task), file)
        command = [*interpreter(), "-c", program(f"child:{self._folder!r}", "poolwise._bench")]
        watch = _Watch()
        run_program(command, limit_seconds=limit_seconds)
        disturbance = watch.disturbance()
        path = os.path.join(self._folder, RESULT)
        try:
            with open(path, encoding="ascii") as result:
                found: dict[str, Any] = json.load(result)
            os.unlink(path)
        except FileNotFoundError:
            raise BrokenRun("the process ended before it had a result: something in it calls os._exit") from None
        if "broken" in found:
            raise BrokenRun(found["broken"])
        return found, disturbance

    def _write_subject(self, subject: Calls | JobRun) -> None:
        from poolwise._runtime import wire

        try:
            blob = wire.dumps_by_value(subject, None)
        except Exception as error:
            culprit = wire.find_culprit(subject.function) if isinstance(subject, Calls) else ""
            culprit = culprit or "one of its items cannot be pickled"
            raise NotPicklableError(
                f"{self._name} cannot be sent to the fresh processes in which it is measured; {culprit} "
                f"({type(error).__name__}: {error}); create it inside the function"
            ) from error
        with open(os.path.join(self._folder, SUBJECT), "wb") as file:
            file.write(blob)

    def _reduced(self, inputs: Sequence[Any], places: Sequence[int]) -> Calls | JobRun:
        subject, some = self._subject, [inputs[place] for place in places]
        if isinstance(subject, Calls):
            return Calls(subject.function, some)
        if subject.name != "images":
            return replace(subject, source=some)
        folder = os.path.join(self._folder, "source")
        for path in some:
            copied = os.path.join(folder, path)
            os.makedirs(os.path.dirname(copied), exist_ok=True)
            _link(os.path.join(subject.source, path), copied)
        return replace(subject, source=folder)


def _task(side: str, **options: Any) -> Task:
    return Task(side, sys.path, sys.argv, os.getpid(), **options)


def _shuffled(subject: Calls | JobRun) -> Calls | JobRun:
    """Return the subject with its items in disorder: what comes first should look like all."""
    if isinstance(subject, JobRun):
        return subject
    items = list(subject.items)
    random.Random(0).shuffle(items)
    return Calls(subject.function, items)


def inputs_of(subject: Calls | JobRun) -> Sequence[Any]:
    """Return the items; of the images job the paths of its files, relative to their folder."""
    if isinstance(subject, Calls):
        return subject.items
    if subject.name != "images":
        return list(subject.source)
    from poolwise.jobs.images import find_images

    return find_images(subject.source)


def _link(original: str, copied: str) -> None:
    try:
        os.link(original, copied)
    except OSError:  # Another file system, or one without links.
        shutil.copyfile(original, copied)


class _Watch:
    """Watches what the machine does while a process runs."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._idle = host.idle_seconds()
        self._own = _cpu_seconds()
        self._throttled = host.throttled_seconds()

    def disturbance(self) -> Disturbance:
        """Return what was seen since the beginning."""
        seconds = time.perf_counter() - self._started
        idle, own, throttled = host.idle_seconds(), _cpu_seconds(), host.throttled_seconds()
        others = None
        if idle is not None and self._idle is not None and own is not None and self._own is not None and seconds > 0:
            busy = host.affinity_cores() * seconds - (idle - self._idle)
            others = max(0.0, (busy - (own - self._own)) / seconds)
        return Disturbance(others, max(0.0, throttled - self._throttled))


def _cpu_seconds() -> float | None:
    """Return the CPU time of this process and of all that has ended below it, in seconds; None where not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
