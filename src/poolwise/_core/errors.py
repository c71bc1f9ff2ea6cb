"""Every error poolwise raises, as one tree. Values only: nothing here does anything.

    PoolwiseError
    ├ UsageError(ValueError)      yours, before work starts
    │ ├ ShapeError                the shape cannot be had, or contradicts another option
    │ ├ UnknownNameError          no backend, job or option of that name
    │ └ NotPicklableError         the function cannot be sent to a child process
    ├ TaskError                   one item; carries key, attempts, remote_traceback, stage
    │ ├ TaskFailed                the function raised, or its argument or result could not travel
    │ ├ TaskTimeout               it ran longer than `timeout`
    │ └ TaskLost                  its worker died (exitcode or signal)
    ├ BackendError                the workers as a whole
    │ ├ BackendUnavailable        an extra is not installed
    │ └ WorkersLost               workers die without any item being at fault
    ├ JournalError
    │ ├ JournalLocked, JournalMismatch, JournalCorrupt
    └ InternalError               ours: please report

Each of them pickles: an error is often sent from a worker to its parent, or kept in a journal.
"""

from __future__ import annotations

import signal as _signal
from typing import Any, cast


class PoolwiseError(Exception):
    """The root of everything that poolwise raises on purpose."""


class UsageError(PoolwiseError, ValueError):
    """The call was wrong; nothing has been executed."""


class ShapeError(UsageError):
    """The shape cannot be had, or contradicts another option."""


class UnknownNameError(UsageError):
    """There is no backend, job, or option of that name."""


class NotPicklableError(UsageError):
    """Something cannot be sent to a child process; the message names what."""


class TaskError(PoolwiseError):
    """One item did not end with a value.

    Attributes:
        key: the item's key (see `Outcome.key`).
        attempts: how many times the item was executed.
        remote_traceback: the traceback as text, or "" where there is none.
        stage: of a pipeline: the name of the stage at which the item failed. None outside of pipelines.
    """

    stage: str | None = None

    def __init__(self, message: str, *, key: Any = None, attempts: int = 1, remote_traceback: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.attempts = attempts
        self.remote_traceback = remote_traceback

    def __reduce__(self) -> tuple[Any, ...]:
        # What cannot travel goes as text: an error about an item must not be lost because of that item.
        args = tuple(value if _travels(value) else _text_of(value) for value in self.args)
        state = {name: value if _travels(value) else _text_of(value) for name, value in self.__dict__.items()}
        return _rebuild, (type(self), args, state, _portable(self.__cause__))


class TaskFailed(TaskError):
    """The function raised; or its argument or its result could not travel.

    `__cause__` is the function's own exception where that can travel, otherwise a `RemoteError`.
    """


class TaskTimeout(TaskError):
    """The item ran longer than `timeout` seconds, counted from the start of its execution."""


class TaskLost(TaskError):
    """The worker that executed the item died.

    Attributes:
        exitcode: the exit status of the worker, or None where a signal ended it or it is not known.
        signal: the name of the signal that ended it ("SIGKILL"), or None.
    """

    def __init__(
        self,
        message: str,
        *,
        key: Any = None,
        attempts: int = 1,
        remote_traceback: str = "",
        exitcode: int | None = None,
        signal: str | None = None,
    ) -> None:
        super().__init__(message, key=key, attempts=attempts, remote_traceback=remote_traceback)
        self.exitcode = exitcode
        self.signal = signal


class BackendError(PoolwiseError):
    """The workers as a whole cannot do the work (a setup that fails, a launcher that cannot start)."""


class BackendUnavailable(BackendError):
    """The backend, or the extra that brings it, is not installed; the message says which to install."""


class WorkersLost(BackendError):
    """Workers keep dying without an item that could be at fault."""


class JournalError(PoolwiseError):
    """The journal cannot be used."""


class JournalLocked(JournalError):
    """Another process writes this journal."""


class JournalMismatch(JournalError):
    """The journal belongs to another function or other options."""


class JournalCorrupt(JournalError):
    """The journal is damaged; the message says what can be saved."""


class InternalError(PoolwiseError):
    """A fault of poolwise itself: please report it."""


class RemoteError(Exception):
    """A traceback from a worker, as text; the `__cause__` of an exception that crossed a process boundary."""

    def __init__(self, traceback_text: str) -> None:
        super().__init__(traceback_text)

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


_Portable = BaseException | tuple[bytes, str] | None


def _rebuild(cls: type[TaskError], args: tuple[Any, ...], state: dict[str, Any], cause: _Portable) -> TaskError:
    """Make a TaskError again from its pickle; keyword-only arguments do not survive `Exception.__reduce__`."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    error.__cause__ = _unpacked(*cause) if isinstance(cause, tuple) else cause
    return error


def _unpacked(pickled: bytes, text: str) -> BaseException:
    import pickle

    try:
        return cast("BaseException", pickle.loads(pickled))
    except Exception:  # cloudpickle is not installed here, or what the class needs is not
        return RemoteError(text)


def _portable(cause: BaseException | None) -> _Portable:
    """Return a cause in a form that pickles: itself, or by cloudpickle (bytes, text), or a RemoteError of its text.

    cloudpickle (for a class from inside a function) is used only where something has imported it already.
    """
    if cause is None or isinstance(cause, TaskError) or _travels(cause):
        return cause
    import sys
    import traceback

    text = "".join(traceback.format_exception(cause))
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None and _travels(cause, cloudpickle.dumps):
        return cloudpickle.dumps(cause), text
    return RemoteError(text)


def _travels(value: Any, dumps: Any = None) -> bool:
    """Say whether a value pickles and comes back; many an exception fails only at the second (its `__init__`)."""
    if value is None or type(value) in (str, int, float, bool, bytes):
        return True
    import pickle

    try:
        pickle.loads((dumps or pickle.dumps)(value))
    except Exception:
        return False
    return True


def _text_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__}>"


def sentence_of(error: BaseException) -> str:
    """Name an exception with its text, also where that cannot be made."""
    try:
        text = str(error)
    except Exception:
        text = "<its text cannot be made>"
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


MORE_THREADS = "raise the limit of processes (ulimit -u, or that of the container)"
"""What helps where `Thread.start` raises RuntimeError."""


def no_thread(error: RuntimeError) -> BackendError:
    """Return what to raise where `Thread.start` raised this, and without that thread the work cannot be done."""
    return BackendError(f"the system starts no thread ({error}); {MORE_THREADS}")


def no_descriptor(error: OSError) -> BackendError:
    """Return what to raise where the system opens no further file or socket, and without it there is no work."""
    return BackendError(f"the system opens no further file ({error}); raise the limit of open files (ulimit -n)")


def signal_name(number: int) -> str:
    """Name a signal number: 9 is "SIGKILL"; one without a name (a real-time signal) is "signal 40"."""
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
