"""Ctrl-C: the first one finishes what was begun, the second one stops."""

from __future__ import annotations

import os
import select
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
        self._drain: Callable[[], object] | None = None
        self._waker, self._wake = os.pipe()

    def drain_with(self, drain: Callable[[], object]) -> None:
        """Say what the first Ctrl-C calls; it may have come already."""
        self._drain = drain
        if self.count:
            drain()

    def wait_readable(self, descriptor: int) -> bool:
        """Wait until a file can be read.

        Args:
            descriptor: of the file.

        Returns:
            False where Ctrl-C came first: then nothing more is to be read.
        """
        if self.count:
            return False
        if os.name == "nt":  # select knows only sockets there
            return True
        try:
            ready, _, _ = select.select([descriptor, self._waker], [], [])
        except ValueError:  # a descriptor of 1024 or more
            return True
        return self._waker not in ready

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        os.write(self._wake, b"!")
        say_from_handler("interrupted: finishing what was begun; press Ctrl-C again to stop at once")
        if self._drain is not None:
            self._drain()

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
