"""Ctrl-C: the first one takes no more items and finishes those taken, the second one stops."""

from __future__ import annotations

import signal
from collections.abc import Callable
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
