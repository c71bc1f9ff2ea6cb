"""What the user reads on stderr: errors, hints, notes, the summary. Data goes to stdout, and never through here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


class CommandError(Exception):
    """The command cannot go on.

    Args:
        message: one sentence, without a full stop at its end.
        hint: what to do about it, or "".
        code: the exit code.
    """

    def __init__(self, message: str, *, hint: str = "", code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


CLEAR_LINE = "\r\x1b[2K"
"""Makes room for a line where a progress bar is on a terminal; the bar draws itself again below."""

_bar_shown = False


def expect_bar() -> bool:
    """Note that a progress bar will be on stderr, and say whether it is a bar there: only on a terminal."""
    global _bar_shown
    _bar_shown = is_terminal()
    return _bar_shown


def bar_shown() -> bool:
    """Say whether a progress bar is, or was, on stderr; it says all that a summary would."""
    return _bar_shown


def say(text: str, label: str = "") -> None:
    """Write text to stderr, its control characters as escapes; a stderr that is gone is no reason to fail.

    Args:
        text: anything, also what others made.
        label: of ours, which is written before it as it is.
    """
    from poolwise.report.words import visible

    try:
        sys.stderr.write(f"{CLEAR_LINE if _bar_shown else ''}{label}{visible(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def say_from_handler(text: str) -> None:
    """Write a line to stderr from a signal handler, which may have interrupted a write to the same stream."""
    try:
        os.write(2, f"{CLEAR_LINE if _bar_shown else ''}{text}\n".encode())
    except OSError:
        pass


def say_error(message: str, hint: str = "") -> None:
    """Write `error: ...`, and `hint: ...` where there is one."""
    say(message, f"{_painted('error:', '1;31')} ")
    if hint:
        say_hint(hint)


def say_hint(hint: str) -> None:
    """Write `hint: ...`."""
    say(hint, f"{_painted('hint:', '1;36')} ")


def is_terminal() -> bool:
    """Say whether a person reads stderr as it comes."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _painted(text: str, code: str) -> str:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def one_line(text: str) -> str:
    """Return text of anybody's making as a line for a terminal: what is invisible in it is escaped as Python does."""
    from poolwise.report.words import visible

    return visible(text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t"))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to one that was not found: "did you mean 'sqrt' or 'isqrt'?", or ""."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(each) for each in close)}?" if close else ""


def failure(error: BaseException) -> tuple[str, str]:
    """Name what befell an item: the class and the message of the function's own exception where there is one.

    Args:
        error: the `error` of an outcome.

    Returns:
        The class ("ValueError", "json.decoder.JSONDecodeError", "TaskTimeout") and the message.
    """
    from poolwise import RemoteError, TaskFailed

    cause = error.__cause__
    if not isinstance(error, TaskFailed) or cause is None or isinstance(cause, RemoteError):
        return type(error).__name__, str(error)
    cls = type(cause)
    own = cls.__module__ == "builtins" or cls.__module__.startswith("poolwise.")
    return cls.__qualname__ if own else f"{cls.__module__}.{cls.__qualname__}", str(cause)


@dataclass(slots=True)
class Tally:
    """Counts outcomes as they come, for the summary and the exit code.

    Args:
        noun: what the items are, in the plural.
        loud: the summary is what the user asked for, rather than an aside.
    """

    noun: str = "items"
    loud: bool = False
    done: int = 0
    failed: int = 0
    first_failure: str = ""
    failed_types: set[str] = field(default_factory=set)

    def add(self, outcome: Any) -> None:
        """Count one outcome."""
        if outcome.ok:
            self.done += 1
            return
        self.failed += 1
        name, message = failure(outcome.error)
        self.failed_types.add(name)
        if not self.first_failure:
            self.first_failure = f"item {outcome.index}: {one_line(name)}: {shorten(message)}"

    @property
    def code(self) -> int:
        """The exit code of a run that came to its end."""
        return SOME_FAILED if self.failed else DONE

    def summary(self, seconds: float, shape: str) -> str:
        """Say how the run went, in one line: "20 items: 18 done, 2 failed in 1.31 s (shape 1x2)"."""
        total = self.done + self.failed
        noun = self.noun.removesuffix("s") if total == 1 else self.noun
        where = f" (shape {shape})" if shape else ""
        return f"{total:,} {noun}: {self.counts()} in {duration(seconds)}{where}"

    def counts(self) -> str:
        """Say how many ended in which way."""
        return f"{self.done:,} done" + (f", {self.failed:,} failed" if self.failed else "")


def duration(seconds: float) -> str:
    """Write seconds for a reader: "0.042 s", "3.14 s", "75 s", "12 min 5 s"."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    if seconds < 60:
        return f"{seconds:.2f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def shorten(text: str, length: int = 200) -> str:
    """Put text on one line of a bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
