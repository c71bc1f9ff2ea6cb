"""Signals. Ctrl-C: the first one takes no more items and finishes those taken, the second one stops."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from poolwise.cli.terminal import say_from_handler


class Interrupts:
    """Turns SIGINT into `drain`, then into KeyboardInterrupt. A context manager, for the main thread.

    A third SIGINT finds the system's default action, which ends the process whatever it is busy with.

    Attributes:
        count: how many came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._calls: list[Callable[[], object]] = []

    def call_at_first(self, call: Callable[[], object]) -> None:
        """Have a function called by the first Ctrl-C, or now if it came already."""
        self._calls.append(call)
        if self.count:
            call()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        say_from_handler("interrupted: finishing the items already taken; press Ctrl-C again to stop at once")
        for call in self._calls:
            call()

    def __enter__(self) -> Interrupts:
        # A SIGINT that is ignored (nohup, a background job of a script) stays ignored.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def termination() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a command as Ctrl-C does, so that its temporary folders go.

    A second one ends it at once. What is ignored (nohup) stays ignored.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows: the first.
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, action in before.items():
            if action is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
