"""Sites: the kinds of place where lanes are. The caller's thread and the threads of this process are here; child
processes are in `processes.py`.

A site takes batches and emits events to its host (the local backend). A batch is in one site at any time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from typing import Any, Protocol

from poolwise._core.model import Batch, Event, Lost, Running, Shape, Spec
from poolwise._runtime import blas
from poolwise._runtime.lanes import InlineGroup, LaneGroup, ThreadGroup


class Host(Protocol):
    """What a site may ask of the backend that it belongs to."""

    def emit(self, event: Event) -> None:
        """Take an event, from any thread."""

    def watch(self, source: Any, events: int, react: Callable[[], None]) -> None:
        """Have `react` called by the thread that waits, when the source is ready for these selector events."""

    def unwatch(self, source: Any) -> None:
        """Stop watching."""

    def set_up(self, spec: Spec) -> None:
        """Call `setup` in this process, once."""


class Site:
    """A place where lanes are. The defaults are those of one that has nothing to do."""

    def submit(self, batch: Batch) -> None:
        raise NotImplementedError  # Each site says how.

    def work(self) -> bool:
        """Execute something in this thread; False where there was nothing."""
        return False

    def running(self) -> list[Running]:
        return []

    def threads(self) -> list[int]:
        """Say which threads of this process are lanes, by their native numbers."""
        return []

    def stop(self, tasks: Collection[Running]) -> None:
        """End the execution of those of the tasks that are here."""

    def resize(self, shape: Shape) -> bool:  # noqa: ARG002  # Others need it.
        """Move toward the shape; False where another kind of site is needed."""
        return False

    def take_back(self) -> list[Batch]:
        """Give back the batches that have not been started."""
        return []

    @property
    def idle(self) -> bool:
        """Nothing submitted here is unfinished."""
        return True

    def close(self, *, drain: bool) -> None:
        """Let go of everything."""


class GroupSite(Site):
    """Lanes of the calling process."""

    group: LaneGroup

    def __init__(self, backend: Host, spec: Spec) -> None:
        self._backend = backend
        self._unfinished: set[int] = set()
        self._pid = os.getpid()
        backend.set_up(spec)

    def submit(self, batch: Batch) -> None:
        self._unfinished.add(batch.id)
        self.group.put(batch)

    def emit(self, event: Event, *, more: bool = False) -> None:  # noqa: ARG002  # Worker processes use it.
        if isinstance(event, Lost):
            self._unfinished.difference_update(event.batch_ids)
        elif event.final:
            self._unfinished.discard(event.batch_id)
        self._backend.emit(event)

    def running(self) -> list[Running]:
        return self.group.running()

    def threads(self) -> list[int]:
        return self.group.threads()

    def take_back(self) -> list[Batch]:
        batches = self.group.take_back()
        self._unfinished.difference_update(batch.id for batch in batches)
        return batches

    @property
    def idle(self) -> bool:
        return not self._unfinished

    def close(self, *, drain: bool) -> None:  # noqa: ARG002  # Others need it.
        if os.getpid() == self._pid:
            self.group.close()


class InlineSite(GroupSite):
    """The caller's own thread: `work` executes a batch."""

    def __init__(self, backend: Host, spec: Spec) -> None:
        super().__init__(backend, spec)
        self.group: InlineGroup = InlineGroup(spec, self.emit)

    def work(self) -> bool:
        return self.group.run_next()

    def resize(self, shape: Shape) -> bool:
        return shape == Shape(1, 1)


class ThreadSite(GroupSite):
    """Threads of this process, or asyncio tasks on a loop thread."""

    def __init__(self, backend: Host, spec: Spec, shape: Shape) -> None:
        super().__init__(backend, spec)
        self._spec = spec
        self._limited = False
        self._seen_modules = 0
        if spec.coroutine:
            from poolwise._runtime.async_lanes import AsyncGroup

            self.group: Any = AsyncGroup(spec, self.emit)
        else:
            self.group = ThreadGroup(spec, self.emit)
            blas.calling_process.hold(spec.threads_per_lane)
            self._limited = True
        try:
            self.group.resize(shape.lanes)
        except BaseException:  # Ctrl-C, or no thread to be had: nobody else knows of the lanes that there are by now.
            self.close(drain=False)
            raise

    def submit(self, batch: Batch) -> None:
        if self._limited and len(sys.modules) != self._seen_modules:  # An item may have loaded a BLAS.
            self._seen_modules = len(sys.modules)
            blas.calling_process.again(self._spec.threads_per_lane)
        super().submit(batch)

    def stop(self, tasks: Collection[Running]) -> None:
        self.group.abandon([task for task in tasks if task.worker == 0])

    def resize(self, shape: Shape) -> bool:
        if shape.workers > 1 or (shape.lanes == 1 and not self._spec.coroutine):
            return False
        self.group.resize(shape.lanes)
        return True

    def close(self, *, drain: bool) -> None:
        super().close(drain=drain)
        if self._limited:
            self._limited = False
            blas.calling_process.release()
