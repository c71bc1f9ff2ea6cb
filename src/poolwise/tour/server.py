"""A web server on loopback that answers as one far away does: after a while, and some paths with fewer slots.

It runs on an event loop in a thread of this process, and ends with its `with` block.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Mapping
from types import TracebackType

_SPREAD = 0.35
"""Of the logarithm of the latency: 95% of the answers take between half and twice the median."""


def latencies(names: list[str], seconds: float) -> dict[str, float]:
    """Return how long each answer is waited for: lognormal, the same at every run.

    Args:
        names: of the files.
        seconds: the median.
    """
    return {name: seconds * random.Random(name).lognormvariate(0.0, _SPREAD) for name in names}


class ImageServer:
    """Serves files from memory; a context manager.

    Args:
        files: contents by name.
        seconds: median of the latency.
        slots: below "/busy/", so many requests are served at a time, the others wait in line.

    Attributes:
        port: where it listens on 127.0.0.1, once it was entered.
    """

    def __init__(self, files: Mapping[str, bytes], *, seconds: float, slots: int = 8) -> None:
        self._files = files
        self._latencies = latencies(list(files), seconds)
        self._slots = slots
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="poolwise image server", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._error: OSError | None = None
        self.port = 0

    def __enter__(self) -> ImageServer:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def urls(self, *, busy: bool = False) -> list[str]:
        """Return the URL of each file; `busy` ones are served by few slots."""
        return [f"http://127.0.0.1:{self.port}/{'busy/' if busy else ''}{name}" for name in self._files]

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        self._free = asyncio.Semaphore(self._slots)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=512)
        except OSError as error:
            self._error = error
            self._ready.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        for listening in server.sockets:  # asyncio leaks what it has just accepted where its server closes.
            self._loop.remove_reader(listening.fileno())
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0)  # The loop closes their sockets now.

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = self._loop.create_task(self._serve_one(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # The client went away.
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, and say whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        _, path, version = head.partition("\r\n")[0].split(" ", 2)
        stays = version == "http/1.1" and "connection: close" not in head
        busy, name = path.startswith("/busy/"), path.partition("?")[0].rpartition("/")[2]
        content = self._files.get(name)
        if content is None:
            status, content = "404 Not Found", b"there is no such file"
        elif busy:
            status = "200 OK"
            async with self._free:
                await asyncio.sleep(self._latencies[name])
        else:
            status = "200 OK"
            await asyncio.sleep(self._latencies[name])
        kind = "image/jpeg" if status.startswith("200") else "text/plain"
        keeps = "keep-alive" if stays else "close"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
            f"Connection: {keeps}\r\n\r\n".encode()
        )
        writer.write(content)
        await writer.drain()
        return stays
