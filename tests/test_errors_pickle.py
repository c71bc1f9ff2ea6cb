"""Every error pickles: with all it carries where that can travel, and with its text where it cannot."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from poolwise._core import errors
from poolwise._core.errors import PoolwiseError, RemoteError, TaskError, TaskFailed, TaskLost

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def descendants(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield a class and all classes made from it."""
    yield cls
    for child in cls.__subclasses__():
        yield from descendants(child)


ALL = sorted(
    {cls for cls in (*descendants(PoolwiseError), RemoteError) if cls.__module__ == errors.__name__},
    key=lambda cls: cls.__name__,
)
TASK_ERRORS = [cls for cls in ALL if issubclass(cls, TaskError)]


class OddConstructor(Exception):
    """Pickles, and cannot be unpickled: its constructor wants more than `args` holds."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


class Unspeakable:
    """Neither pickles nor has a repr."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def sent(error: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    """Return an error as it arrives on the other side."""
    return pickle.loads(pickle.dumps(error, protocol))


def task_error(cls: type[BaseException] = TaskFailed, *, key: Any = "k", cause: BaseException | None = None) -> Any:
    """Make a task's error with everything in it."""
    more = {"exitcode": 3, "signal": "SIGKILL"} if issubclass(cls, TaskLost) else {}
    error: Any = cls("it broke", key=key, attempts=4, remote_traceback="Traceback ...", **more)  # type: ignore[call-arg]
    error.__cause__ = cause
    return error


def with_lock(cls: type[BaseException]) -> Any:
    """Make an exception that holds what cannot be pickled."""
    error: Any = cls("held")
    error.lock = threading.Lock()
    return error


def test_the_tree_is_found() -> None:
    """The walk finds the tree that the docstring of errors.py draws."""
    names = {cls.__name__ for cls in ALL}
    assert {"PoolwiseError", "TaskLost", "WorkersLost", "JournalCorrupt", "InternalError", "RemoteError"} <= names
    assert all(name in str(errors.__doc__) for name in names - {"RemoteError"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("cls", ALL)
def test_message_and_attributes_arrive(cls: Any, protocol: int) -> None:
    """Class, message, args and whatever was set on it arrive."""
    error = cls("what was wrong")
    error.more = [1, 2]
    error.add_note("a note")
    arrived = sent(error, protocol)
    assert type(arrived) is cls
    assert str(arrived) == str(error)
    assert arrived.args == error.args == ("what was wrong",)
    assert arrived.more == [1, 2]
    assert arrived.__notes__ == ["a note"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("cls", TASK_ERRORS)
def test_what_a_task_error_carries_arrives(cls: Any, protocol: int) -> None:
    """Key, attempts, remote traceback and cause arrive, and how a worker ended."""
    arrived = sent(task_error(cls, key=("a", 1), cause=KeyError("inner")), protocol)
    assert type(arrived) is cls
    assert str(arrived) == "it broke"
    assert (arrived.key, arrived.attempts, arrived.remote_traceback) == (("a", 1), 4, "Traceback ...")
    assert type(arrived.__cause__) is KeyError
    assert arrived.__cause__.args == ("inner",)
    if issubclass(cls, TaskLost):
        assert (arrived.exitcode, arrived.signal) == (3, "SIGKILL")


def test_a_chain_of_causes_arrives() -> None:
    """A task error whose cause is a task error, whose cause is a RemoteError."""
    arrived = sent(task_error(cause=task_error(TaskLost, cause=RemoteError("far away"))))
    assert type(arrived.__cause__) is TaskLost
    assert arrived.__cause__.exitcode == 3
    assert type(arrived.__cause__.__cause__) is RemoteError
    assert "far away" in str(arrived.__cause__.__cause__)


def test_no_cause_stays_no_cause() -> None:
    """Nothing is made up."""
    assert sent(task_error()).__cause__ is None


@pytest.mark.parametrize("cls", TASK_ERRORS)
def test_a_cause_that_cannot_be_pickled(cls: type[BaseException]) -> None:
    """Its text arrives, as a RemoteError; everything else is untouched."""
    arrived = sent(task_error(cls, cause=with_lock(LookupError)))
    assert type(arrived.__cause__) is RemoteError
    assert "LookupError: held" in str(arrived.__cause__)
    assert (arrived.key, arrived.attempts, arrived.remote_traceback) == ("k", 4, "Traceback ...")


def test_a_cause_that_cannot_be_unpickled() -> None:
    """What would fail on arrival is replaced before it leaves."""
    arrived = sent(task_error(cause=OddConstructor("one", "two")))
    assert type(arrived.__cause__) is RemoteError
    assert "OddConstructor: one" in str(arrived.__cause__)


def test_the_traceback_of_such_a_cause_arrives() -> None:
    """The text is the whole traceback with its chain, where there is one."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise with_lock(LookupError) from first
    except LookupError as second:
        arrived = sent(task_error(cause=second))
    text = str(arrived.__cause__)
    assert "KeyError: 'first'" in text
    assert "test_the_traceback_of_such_a_cause_arrives" in text
    assert "direct cause" in text


@pytest.mark.parametrize("cls", TASK_ERRORS)
def test_a_key_that_cannot_be_pickled(cls: type[BaseException]) -> None:
    """Its repr arrives; the cause is untouched."""
    lock = threading.Lock()
    arrived = sent(task_error(cls, key=("a", lock), cause=KeyError("inner")))
    assert arrived.key == repr(("a", lock))
    assert type(arrived.__cause__) is KeyError


def test_a_key_without_repr() -> None:
    """Even that does not keep the error from travelling."""
    assert "Unspeakable" in sent(task_error(key=Unspeakable())).key


def test_an_attribute_that_cannot_be_pickled() -> None:
    """Whatever else was set on the error is treated like a key."""
    error = task_error()
    error.handle = threading.Lock()
    arrived = sent(error)
    assert "lock" in arrived.handle
    assert arrived.key == "k"


def test_an_argument_that_cannot_be_pickled() -> None:
    """A message that is no text, and cannot travel, becomes text."""
    arrived = sent(TaskFailed(threading.Lock()))  # type: ignore[arg-type]
    assert "lock" in str(arrived)


def test_pickling_changes_nothing_here() -> None:
    """The error that was sent keeps its own cause and key."""
    lock = threading.Lock()
    cause = with_lock(LookupError)
    error = task_error(key=lock, cause=cause)
    sent(error)
    assert error.key is lock
    assert error.__cause__ is cause


def test_a_class_that_only_cloudpickle_can_send() -> None:
    """An exception class from inside a function arrives where cloudpickle is in use."""

    class Local(Exception):
        pass

    arrived = pickle.loads(cloudpickle.dumps(task_error(cause=Local("inside"))))
    assert type(arrived.__cause__).__name__ == "Local"
    assert arrived.__cause__.args == ("inside",)


def test_such_a_class_where_cloudpickle_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of the cause arrives where it cannot be loaded, and where it cannot even be sent."""

    class Local(Exception):
        pass

    pickled = pickle.dumps(task_error(cause=Local("inside")))
    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.partition(".")[0] == "cloudpickle"]:
            without.setitem(sys.modules, name, None)
        for arrived in (pickle.loads(pickled), sent(task_error(cause=Local("inside")))):
            assert type(arrived.__cause__) is RemoteError
            assert "Local: inside" in str(arrived.__cause__)


def test_a_copy() -> None:
    """copy() and deepcopy() go the same way."""
    error = task_error(TaskLost, cause=KeyError("inner"))
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert (str(twin), twin.key, twin.exitcode) == ("it broke", "k", 3)
        assert type(twin.__cause__) is KeyError
