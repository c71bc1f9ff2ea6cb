"""The supervisor: a thread that steps an engine, and hands on what settles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from poolwise._core.errors import InternalError, PoolwiseError, no_thread

if TYPE_CHECKING:
    from poolwise._engine import Engine
    from poolwise._pipeline import Pipeline

STEP_SECONDS = 60.0


class Nudge:
    """Wakes who waits for settled parts: something else has changed."""


NUDGE = Nudge()


class Supervisor(threading.Thread):
    """Steps an engine until it is finished, or its work moves into another thread.

    Args:
        engine: is stepped by nobody else meanwhile.
        put: called with each settled part, with what went wrong, and with a nudge.
        executes: it stays where work moves into the thread that steps, and executes items itself.

    Attributes:
        over: it will not touch the engine any more.
        failed: what ended it was put, and the engine is not to be stepped again.
    """

    def __init__(
        self, engine: Engine | Pipeline, put: Callable[[Any], object], *, executes: bool = False, name: str = ""
    ) -> None:
        super().__init__(name=f"poolwise-{name or 'supervisor'}", daemon=True)
        self.over = threading.Event()
        self.failed = False
        self._engine = engine
        self._put = put
        self._executes = executes
        self._begun = False

    def start(self) -> None:
        """Begin.

        Raises:
            BackendError: where the system starts no thread.
        """
        try:
            super().start()
        except RuntimeError as error:
            raise no_thread(error) from error

    def run(self) -> None:
        """Step; whatever goes wrong is for others to hear."""
        self._begun = True
        engine, put = self._engine, self._put
        try:
            while not engine.finished and (self._executes or not engine.inline):
                parts = engine.step(STEP_SECONDS)
                for part in parts:
                    put(part)
                if engine.looks_further and not parts:
                    put(NUDGE)
        except PoolwiseError as error:
            self.failed = True
            put(error)
        except BaseException as error:
            self.failed = True
            problem = InternalError(f"the engine failed ({type(error).__name__}: {error}): please report this")
            problem.__cause__ = error
            put(problem)
        finally:
            self.over.set()
            put(NUDGE)

    def outlast(self, seconds: float | None = None) -> None:
        """Wait until it is over, up to `seconds`.

        `Thread.join` raises where Ctrl-C came while the thread was being started. One that has not begun by now finds
        the engine cancelled, and does nothing.
        """
        if self._begun and threading.current_thread() is not self:
            self.over.wait(seconds)
