"""libcurl's multi interface on an asyncio loop: the loop watches its sockets and keeps its time.

    perform ──add_handle──> libcurl ──"watch this socket", "call me in 5 ms"──> loop ──socket_action──> libcurl ──> done

Not every loop can watch sockets (on Windows the default one cannot): there libcurl looks after them at short intervals.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pycurl

_INTERVAL_SECONDS = 0.005  # Between looks at the sockets, where the loop cannot watch them.


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
        self._watched: dict[int, int] = {}  # Sockets, and what for.
        self._timer: asyncio.TimerHandle | None = None
        self._can_watch = True
        self._looking = False

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
        self._multi.close()

    # -- called by libcurl, which must not be called back from here

    def _watch(self, what: int, descriptor: int, multi: Any, data: Any) -> None:  # noqa: ARG002
        before = self._watched.pop(descriptor, 0)
        wanted = what if what in (pycurl.POLL_IN, pycurl.POLL_OUT, pycurl.POLL_INOUT) else 0
        if wanted:
            self._watched[descriptor] = wanted
        if self._loop.is_closed():
            return None
        if not self._can_watch:
            return self._look_soon()
        reads, writes = wanted & pycurl.POLL_IN, wanted & pycurl.POLL_OUT
        try:
            if reads:
                self._loop.add_reader(descriptor, self._act, descriptor, pycurl.CSELECT_IN)
            elif before & pycurl.POLL_IN:
                self._loop.remove_reader(descriptor)
            if writes:
                self._loop.add_writer(descriptor, self._act, descriptor, pycurl.CSELECT_OUT)
            elif before & pycurl.POLL_OUT:
                self._loop.remove_writer(descriptor)
        except NotImplementedError:
            self._can_watch = False
            self._look_soon()
        return None

    def _call_in(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if milliseconds >= 0 and not self._loop.is_closed():
            self._timer = self._loop.call_later(milliseconds / 1000, self._act, pycurl.SOCKET_TIMEOUT, 0)

    # -- called by the loop

    def _act(self, descriptor: int, what: int) -> None:
        self._multi.socket_action(descriptor, what)
        self._settle()

    def _look_soon(self) -> None:
        if not self._looking and self._watched:
            self._looking = True
            self._loop.call_later(_INTERVAL_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = False
        self._multi.socket_all()
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
