"""Tracebacks as text: just what the standard library writes, and less work."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from poolwise._runtime import tracebacks
from poolwise._runtime.tracebacks import text_of


def plain() -> None:
    raise ValueError("of two\nlines")


def noted() -> None:
    error = KeyError("x")
    error.add_note("a note")
    raise error


def with_marks() -> None:
    table = {"a": {"b": None}}
    print(table["a"]["b"]["c"])  # type: ignore[index]


def because() -> None:
    try:
        plain()
    except ValueError as error:
        raise RuntimeError("then this") from error


def meanwhile() -> None:
    try:
        because()
    except RuntimeError:
        {}["gone"]


def hidden() -> None:
    try:
        plain()
    except ValueError:
        raise OSError(2, "no such thing", "file") from None


def by_cause_without_frames() -> None:
    raise RuntimeError("of one that was never raised") from ValueError("never raised")


def deep(left: int = 9) -> None:
    if left == 0:
        plain()
    deep(left - 1)


def deep_by_turns(left: int = 12) -> int:
    return left and ((left % 2 and deep_by_turns(left - 1)) or deep_by_turns(left - 1)) or {}["gone"]  # noqa: RUF021


class Equal(Exception):
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = Exception.__hash__


def of_odd_equality() -> None:
    try:
        raise Equal("one")
    except Equal as error:
        raise Equal("two") from error


def in_circles() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def misspelt() -> None:
    lenght = 1
    print(lenght, length)  # type: ignore[name-defined]  # noqa: F821


def unfinished() -> None:
    compile("a = (", "some.py", "exec")


def missing() -> None:
    import poolwise.there_is_none  # type: ignore[import-not-found]  # noqa: F401


def grouped() -> None:
    raise ExceptionGroup("both", [ValueError("one"), TypeError("two")])


def over_a_group() -> None:
    try:
        grouped()
    except ExceptionGroup as error:
        raise RuntimeError("because of several") from error


def one_of_two_lines(second: bool) -> None:
    if second:
        raise ValueError("second")
    raise ValueError("first")


def generated() -> None:
    exec(compile("def f():\n    raise ValueError('nowhere')\nf()", "<nowhere>", "exec"), {})


def caught(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as raised:
        function()
    return raised.value


@pytest.mark.parametrize(
    "function",
    [
        plain, noted, with_marks, because, meanwhile, hidden, by_cause_without_frames, deep, deep_by_turns,
        of_odd_equality, in_circles, misspelt,
        unfinished, missing, grouped, over_a_group, generated, lambda: one_of_two_lines(False),
        lambda: one_of_two_lines(True),
    ],
)  # fmt: skip
def test_it_is_what_the_standard_library_writes(function: Callable[[], object]) -> None:
    """The first time, and from what is kept."""
    for _ in range(3):
        error = caught(function)
        assert text_of(error) == "".join(traceback.format_exception(error))


def test_one_that_was_never_raised() -> None:
    assert text_of(ValueError("x")) == "ValueError: x\n"


def test_frames_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    extract = traceback.extract_tb
    monkeypatch.setattr(tracebacks, "_kept", {})
    monkeypatch.setattr(traceback, "extract_tb", lambda *given, **more: written.append(1) or extract(*given, **more))
    errors = [caught(because) for _ in range(50)]
    texts = {text_of(error) for error in errors}
    assert len(texts) == 1
    assert len(written) <= 4


def test_what_is_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_kept", {})
    monkeypatch.setattr(tracebacks, "_MOST_KEPT", 3)
    for function in [plain, noted, with_marks, because, meanwhile, hidden]:
        error = caught(function)
        assert text_of(error) == "".join(traceback.format_exception(error))
        assert len(tracebacks._kept) <= 3
