"""The Backend protocol, and `load(name)`. Each other file here is one backend: where workers live.

A backend takes batches and gives events. It never decides anything: what to run, when to run it again and who is to
blame is the engine's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from poolwise._core.errors import UnknownNameError
from poolwise._core.model import Batch, Event, Running, Shape, Spec

NAMES = ("local",)


class Backend(Protocol):
    """Where workers live. All methods but `wake` are called by one thread at a time."""

    def open(self, spec: Spec, shape: Shape) -> None:
        """Start moving toward workers of this shape; raise BackendError where that is hopeless."""

    def submit(self, batch: Batch) -> None:
        """Accept a batch. Never blocks, whatever is queued in either direction."""

    def wait(self, timeout: float) -> Sequence[Event]:
        """Return events, at the latest after `timeout` seconds or a `wake`. A crash is an event, not an error."""

    def running(self) -> Sequence[Running]:
        """Say what lanes execute now and since when."""

    def threads(self) -> Sequence[int]:
        """Say which threads of this process are lanes, by their native numbers; of those that are known."""

    def stop(self, tasks: Collection[Running]) -> None:
        """End the execution of these tasks; `Lost` events tell what became of their workers."""

    def wake(self) -> None:
        """End a `wait`, now or the next. May be called from any thread."""

    def resize(self, shape: Shape) -> None:
        """Move toward another shape, losing and repeating nothing."""

    def prepare(self) -> None:
        """Worker processes may be wanted soon: start what all of them need, and wait for nothing."""

    def warm(self, shape: Shape | None) -> bool:
        """Start what a resize to this shape will need, while the present lanes work on; True when it can take work.

        None lets go of what was kept for that, and of what an earlier resize left behind.

        Raises:
            BackendError: where it cannot be had; the present lanes go on.
        """

    @property
    def spare(self) -> bool:
        """Whether something is kept beside the present lanes."""

    def close(self, *, drain: bool) -> None:
        """Let go of everything; with `drain`, what was submitted is finished first (its events are dropped)."""

    @property
    def inline(self) -> bool:
        """Whether `wait` executes tasks itself, in the thread that calls it."""


def load(name: str) -> type[Backend]:
    """Import a backend by name.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    if name == "local":
        from poolwise.backends.local import LocalBackend

        return LocalBackend
    raise UnknownNameError(f"there is no backend {name!r}; there are: {', '.join(NAMES)}")
