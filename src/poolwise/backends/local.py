"""The local backend: the caller's thread, threads of the calling process, child processes, or several at a time.

    submit ──> site ──────────────────────────> lanes ──> events ──> wait
               InlineSite  (1x1)                 in the thread that calls wait
               ThreadSite  (1xT, coroutines)     threads, or a loop, of this process
               ProcessSite (PxT, isolate)        backlog ─> least loaded worker ─> socket ─> its lanes
                                                          <─ Done, or the launcher's word that it died ─> Lost

A resize within a kind of site changes that site. Across kinds it opens a new one; the old one gives back what it has
not started and stays until it has finished what it runs. Child processes are kept then, as a *spare* (they are dear),
until `warm(None)`; `warm(shape)` makes the spare ahead of time. Every batch is in exactly one place at any time.
"""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from poolwise._core.errors import BackendError, no_descriptor
from poolwise._core.model import Batch, Event, Running, Shape, Spec
from poolwise._runtime.lanes import describe, set_up
from poolwise._runtime.server import open_pair, prestart
from poolwise._runtime.sites import InlineSite, Site, ThreadSite

if TYPE_CHECKING:
    from poolwise._runtime.processes import ProcessSite


class LocalBackend:
    """Workers on this machine. See `poolwise.backends.Backend` for what each method promises."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._selector: selectors.BaseSelector | None = None
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._woken = False
        self._is_set_up = False
        self._retiring: list[Site] = []
        self._site = Site()
        self._spare: ProcessSite | None = None
        self._refusal: BackendError | None = None
        self._spec: Spec

    # -- the protocol

    def open(self, spec: Spec, shape: Shape) -> None:
        self._spec = spec
        if spec.fed:
            self._selecting()
        self._site = self._open_site(shape)

    @property
    def inline(self) -> bool:
        return isinstance(self._site, InlineSite)

    def submit(self, batch: Batch) -> None:
        self._site.submit(batch)

    def wait(self, timeout: float) -> Sequence[Event]:
        if self._site.work():
            timeout = 0.0
        if self._selector is not None:
            if self._events:
                timeout = 0.0
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    self._drain_waker()
                else:
                    self._react(key.data)
        for site in tuple(self._retiring):
            if site.idle:
                self._retiring.remove(site)
                site.close(drain=True)
        events: list[Event] = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def _react(self, react: Callable[[], None]) -> None:
        try:
            react()
        except BackendError as error:
            spare = self._spare
            if spare is None or not spare.idle or self._in_children:
                raise
            self._spare, self._refusal = None, error  # Nobody needs it: the present lanes go on.
            spare.close(drain=False)

    @property
    def _in_children(self) -> bool:
        return not isinstance(self._site, (InlineSite, ThreadSite))

    def _sites(self) -> list[Site]:
        return [self._site, *self._retiring, *([] if self._spare is None else [self._spare])]

    def running(self) -> Sequence[Running]:
        return [found for site in self._sites() for found in site.running()]

    def threads(self) -> Sequence[int]:
        return self._site.threads()

    def stop(self, tasks: Collection[Running]) -> None:
        for site in self._sites():
            site.stop(tasks)

    def wake(self) -> None:
        if self._waker is not None and not self._woken:
            self._woken = True
            try:
                self._waker[1].send(b"x")
            except OSError:  # Full, which wakes as well; or closed.
                pass

    def resize(self, shape: Shape) -> None:
        if self._site.resize(shape):
            return
        old, self._site = self._site, self._open_site(shape)
        for batch in old.take_back():
            self._site.submit(batch)
        if isinstance(old, (InlineSite, ThreadSite)):
            self._retiring.append(old)
        else:
            self._spare = cast("ProcessSite", old)

    def prepare(self) -> None:
        try:
            prestart()
        except (BackendError, OSError):
            pass  # Whoever wants them in the end learns why there are none.

    def warm(self, shape: Shape | None) -> bool:
        if shape is None:
            spare, self._spare = self._spare, None
            if spare is not None:
                self._retiring.append(spare)  # `wait` closes it once it is idle.
            return False
        if self._refusal is not None:
            raise self._refusal
        if self._in_children or not self._needs_children(shape):
            return True
        if self._spare is None:
            self._spare = self._open_children(shape)
        return self._spare.ready(shape)

    @property
    def spare(self) -> bool:
        return self._spare is not None

    def close(self, *, drain: bool) -> None:
        for site in self._sites():
            site.close(drain=drain)
        self._retiring.clear()
        self._spare = None
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if self._waker is not None:
            for sock in self._waker:
                sock.close()

    # -- what sites use

    def emit(self, event: Event) -> None:
        """Take an event from any thread."""
        self._events.append(event)
        self.wake()

    def watch(self, source: Any, events: int, react: Callable[[], None]) -> None:
        """Have `react` called by `wait` when the source is ready."""
        selector = self._selecting()
        try:
            selector.modify(source, events, react)
        except KeyError:
            selector.register(source, events, react)

    def unwatch(self, source: Any) -> None:
        """Stop watching."""
        if self._selector is not None:
            try:
                self._selector.unregister(source)
            except (KeyError, ValueError):
                pass

    def set_up(self, spec: Spec) -> None:
        """Call `setup` in this process, once."""
        if self._is_set_up:
            return
        self._is_set_up = True
        try:
            set_up(spec.setup)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BackendError(f"setup failed: {describe(error).sentence}") from error

    def _selecting(self) -> selectors.BaseSelector:
        if self._selector is None:
            self._waker = self._waker or open_pair()  # Before the selector: one without it would never be woken.
            try:
                self._selector = selectors.DefaultSelector()
            except OSError as error:
                raise no_descriptor(error) from error
            for sock in self._waker:
                sock.setblocking(False)
            self._selector.register(self._waker[0], selectors.EVENT_READ, None)
        return self._selector

    def _drain_waker(self) -> None:
        assert self._waker is not None
        try:
            while self._waker[0].recv(4096):
                pass
        except (BlockingIOError, InterruptedError):
            pass
        # After reading: a wake before this line sends no byte, but what it tells of is looked at after this line.
        self._woken = False

    def _open_site(self, shape: Shape) -> Site:
        if self._needs_children(shape):
            spare = self._spare
            if spare is None:
                return self._open_children(shape)
            spare.resume(shape)
            self._spare = None
            return spare
        if shape.lanes == 1 and not self._spec.coroutine:
            return InlineSite(self, self._for(shape))
        self._selecting()
        return ThreadSite(self, self._for(shape), shape)

    def _needs_children(self, shape: Shape) -> bool:
        return shape.workers > 1 or self._spec.isolate

    def _open_children(self, shape: Shape) -> ProcessSite:
        from poolwise._runtime.processes import ProcessSite

        self._selecting()
        return ProcessSite(self, self._for(shape), shape)

    def _for(self, shape: Shape) -> Spec:
        """Return the spec with the native threads that leave every lane of this shape its share of the cores."""
        return replace(self._spec, threads_per_lane=max(1, int(self._spec.cores // shape.total)))
