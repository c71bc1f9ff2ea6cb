"""libcurl's multi interface on an asyncio loop: a selector watches its sockets, the loop that selector and the time.

    perform ──add_handle──> libcurl ──"watch this socket"──> selector ──> loop ──socket_action──> libcurl ──> done
                                    ──"call me in 5 ms"─────────────────>

The selector is one descriptor for the loop: sockets come and go without what each costs there. Not every system has
such a selector, and not every loop can watch one (on Windows neither is so): there libcurl looks after its sockets at
short intervals.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import deque
from typing import Any

import pycurl

_INTERVAL_SECONDS = 0.005  # Between looks at the sockets, where nothing watches them.
_AT_ONCE = 16  # Sockets, in one round of the loop.
_EVENTS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
_READY = {
    selectors.EVENT_READ: pycurl.CSELECT_IN,
    selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}

pycurl.CurlMulti().close()  # The first one of a process takes longer, and no run should have to wait for that.


class Multi:
    """Performs requests on one loop, any number at a time, on connections that they share.

    Args:
        loop: where it is used, and nowhere else.
        most_idle: connections kept open while nobody uses them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, most_idle: int) -> None:
        self._loop = loop
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, most_idle)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._call_in)
        self._running: dict[Any, asyncio.Future[tuple[int, str] | None]] = {}
        self._selector = selectors.DefaultSelector()
        self._watched: set[int] = set()  # Descriptors.
        self._ready: deque[tuple[int, int]] = deque()  # Descriptors, and what they are ready for.
        self._due = math.inf  # When libcurl wants to be called, on the loop's clock.
        self._timer: asyncio.TimerHandle | None = None
        self._soon = self._looking = False
        self._can_watch = self._is_watched()

    def _is_watched(self) -> bool:
        """Have the loop watch the selector; say whether it does."""
        try:
            self._loop.add_reader(self._selector.fileno(), self._act)
        except (AttributeError, NotImplementedError):
            return False
        return True

    async def perform(self, curl: Any) -> tuple[int, str] | None:
        """Carry out the request of a handle; return libcurl's code and message where that failed."""
        future: asyncio.Future[tuple[int, str] | None] = self._loop.create_future()
        self._running[curl] = future
        try:
            self._multi.add_handle(curl)  # It asks to be called at once.
            return await future
        finally:
            del self._running[curl]
            self._multi.remove_handle(curl)

    def close(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
        if self._can_watch and not self._loop.is_closed():
            self._loop.remove_reader(self._selector.fileno())
        self._multi.close()
        self._selector.close()

    # -- called by libcurl, which must not be called back from here

    def _watch(self, what: int, descriptor: int, multi: Any, data: Any) -> None:  # noqa: ARG002
        events = _EVENTS.get(what)
        if descriptor in self._watched:
            if events is None:
                self._watched.discard(descriptor)
                self._selector.unregister(descriptor)
            else:
                self._selector.modify(descriptor, events)
        elif events is not None:
            self._watched.add(descriptor)
            self._selector.register(descriptor, events)
            if not self._can_watch:
                self._look_soon()

    def _call_in(self, milliseconds: int) -> None:
        if milliseconds < 0 or self._loop.is_closed():
            self._due = math.inf
        elif milliseconds == 0:
            self._due = math.inf
            if not self._soon:
                self._soon = True
                self._loop.call_soon(self._call_now)
        else:
            self._due = self._loop.time() + milliseconds / 1000
            if self._timer is None or self._timer.when() > self._due:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._ring)

    # -- called by the loop

    def _act(self) -> None:
        """Tell libcurl of sockets that are ready: of a few, so that requests go out before all answers are taken in."""
        ready = self._ready
        if not ready:
            ready.extend((key.fd, events) for key, events in self._selector.select(0))
        for _ in range(min(_AT_ONCE, len(ready))):
            descriptor, events = ready.popleft()
            if descriptor in self._watched:  # What came before it may have closed it.
                self._multi.socket_action(descriptor, _READY[events])
        self._settle()

    def _call_now(self) -> None:
        self._soon = False
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._settle()

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() >= self._due:
            self._due = math.inf
            self._call_now()
        elif self._due < math.inf:  # It was put off.
            self._set_timer()

    def _look_soon(self) -> None:
        if not self._looking and self._watched:
            self._looking = True
            self._loop.call_later(_INTERVAL_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = False
        for descriptor in tuple(self._watched):
            self._multi.socket_action(descriptor, 0)  # libcurl finds out itself what it is ready for.
        self._settle()
        self._look_soon()

    def _settle(self) -> None:
        """Tell of requests that are over."""
        left = 1
        while left:
            left, fine, failed = self._multi.info_read()
            for curl in fine:
                self._tell(curl, None)
            for curl, code, said in failed:
                self._tell(curl, (code, said.strip()))

    def _tell(self, curl: Any, result: tuple[int, str] | None) -> None:
        future = self._running.get(curl)
        if future is not None and not future.done():
            future.set_result(result)
