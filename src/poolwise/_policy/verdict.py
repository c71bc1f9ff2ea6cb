"""What becomes of a task that did not end well: the error it gets, and who is to blame when a worker dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Literal

from poolwise._core.errors import RemoteError, TaskError, TaskFailed, TaskLost, TaskTimeout, sentence_of
from poolwise._core.model import Failure, Flight, Lost, Running

Identity = tuple[int, int]
"""(batch id, position)"""


class Verdict(Enum):
    """What becomes of a task of a dead worker."""

    RERUN = "it was not its fault"
    ALONE = "it is a suspect: run it on a worker that runs nothing else"
    LOST = "it killed its worker, or was lost with it"
    TIMEOUT = "its worker was killed because it took too long"


def suspects_of(lost: Lost, flights: Sequence[Flight]) -> set[Identity]:
    """Return the tasks that may have killed the worker: what it ran, unpacked or packed."""
    suspects = {(task.batch_id, task.position) for task in lost.running}
    doubtful = {*lost.loading, *lost.sending}
    for flight in flights:
        if flight.batch.id in doubtful:
            suspects |= {(flight.batch.id, position) for position in range(flight.next, flight.end)}
    return suspects


def judge(
    lost: Lost,
    flights: Sequence[Flight],
    stopping: Mapping[Identity, Running],
    on_lost: Literal["rerun", "fail"],
) -> Iterator[tuple[Flight, int, Verdict]]:
    """Say for each task that a dead worker still held what becomes of it.

    With one suspect the culprit is certain. With several each runs again alone, not counted as an attempt, and shows
    what it does. Where a worker was killed for a timeout while something in it held the GIL, all it ran are suspects:
    the item that seemed overdue may only have been waiting for that.

    Args:
        lost: the event.
        flights: its batches, as far as they are not accounted for.
        stopping: the tasks that were to be stopped, as they were seen then.
        on_lost: "fail" gives up everything that had been started.
    """
    suspects = suspects_of(lost, flights)
    stopped = [task for identity in suspects if (task := stopping.get(identity)) is not None]
    unclear = not lost.stopped or any(not task.responsive for task in stopped)
    for flight in flights:
        batch = flight.batch
        reached = max((position for batch_id, position in suspects if batch_id == batch.id), default=-1)
        for position in range(flight.next, flight.end):
            identity = (batch.id, position)
            task = stopping.get(identity)
            started = position <= reached and batch.id not in lost.loading
            if task is not None and task.responsive:
                verdict = Verdict.TIMEOUT
            elif (suspects == {identity} and not lost.stopped) or (started and on_lost == "fail"):
                verdict = Verdict.LOST
            else:
                verdict = Verdict.ALONE if unclear and identity in suspects else Verdict.RERUN
            yield flight, position, verdict


def timeout_error(index: int, attempt: int, seconds: float) -> TaskTimeout:
    """Make the error of an item that ran longer than `seconds`."""
    return TaskTimeout(f"item {index} ran longer than timeout={seconds:g} s", attempts=attempt)


def failed_error(index: int, attempt: int, failure: Failure) -> TaskFailed:
    """Make the error of an item whose function failed."""
    error = TaskFailed(
        f"item {index} failed: {failure.sentence}", attempts=attempt, remote_traceback=failure.traceback_text
    )
    cause = failure.error
    if cause is None and failure.traceback_text:
        cause = RemoteError(failure.traceback_text)
    elif cause is not None and cause.__traceback__ is None and cause.__cause__ is None:
        cause.__cause__ = RemoteError(failure.traceback_text)  # It crossed a process boundary without its traceback.
    error.__cause__ = cause
    return error


def decided_error(index: int, attempt: int, error: BaseException) -> TaskError:
    """Make the error of an item that a job has decided to have failed."""
    if isinstance(error, TaskError):
        return error
    made = TaskFailed(f"item {index} failed: {sentence_of(error)}", attempts=attempt)
    made.__cause__ = error
    return made


def lost_error(index: int, attempt: int, lost: Lost) -> TaskLost:
    """Make the error of an item whose worker died."""
    return TaskLost(
        f"item {index} was lost: its worker died ({how(lost)})",
        attempts=attempt,
        exitcode=lost.exitcode,
        signal=lost.signal,
    )


def how(lost: Lost) -> str:
    """Say how a worker died."""
    if lost.signal is not None:
        return f"killed by {lost.signal}"
    if lost.exitcode is not None:
        return f"exit code {lost.exitcode}"
    return "how is not known"


def class_of(error: TaskError) -> str:
    """Name the class that an error is counted under: the function's own exception where there is one."""
    cause = error.__cause__
    if type(error) is TaskFailed and cause is not None and not isinstance(cause, RemoteError):
        return type(cause).__name__
    return type(error).__name__
