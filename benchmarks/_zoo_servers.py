"""The loopback servers and the neighbour of the zoo: each is a process of its own that ends when its stdin does.

    python _zoo_servers.py KIND [CERTIFICATE]      # prints its port, then serves until stdin is closed

A request is 8 bytes, a number. A reply is a status byte (0 fine, 1 refused), a number that depends on the request's,
and a length with as many bytes of payload. All waiting happens here, on one asyncio loop; asyncio rounds delays up to
whole milliseconds.

| KIND | what it does with a request |
|---|---|
| `delay` | replies after 3 ms |
| `slots` | works on 40 requests at a time, 20 ms each; the others queue |
| `retrograde` | the more requests are inside, the slower each (universal scalability law); 16 are best |
| `bucket` | lets 400 requests a second through, after 10 ms; refuses the others at once |
| `silent` | replies after 5 ms, or never: to one request in 20 |
| `page` | over TLS: replies after 15 ms with 100 KB of JSON |
| `neighbour` | is no server: burns one core |
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable

from _zoo_workloads import FINE, REFUSED, REPLY, REQUEST, scramble

SLOTS = 40
SLOT_SECONDS = 0.020
RETROGRADE_SECONDS = 0.010
CONTENTION, COHERENCY = 0.02, 0.004  # of the universal scalability law: the peak is at sqrt((1 - .02) / .004) = 15.7
BUCKET_PER_SECOND = 400
BUCKET_SIZE = 10
SILENT_EVERY = 20


def is_silent(number: int) -> bool:
    """Say whether the `silent` server leaves this request without a reply."""
    return scramble(number) % SILENT_EVERY == 0


def page() -> bytes:
    """Return 100 KB of JSON."""
    return json.dumps(
        [{"id": n, "name": f"item {n}", "tags": [n, n + 1], "size": n / 7} for n in range(1_400)]
    ).encode()


Reply = Callable[[int], None]


class Server:
    """One behaviour; `serve` is called for each request and calls `reply(status)` when its time has come."""

    payload = b""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def serve(self, number: int, reply: Reply) -> None:
        self.loop.call_later(0.003, reply, FINE)


class Slots(Server):
    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self.queue: deque[Reply] = deque()

    def serve(self, number: int, reply: Reply) -> None:
        if self.busy == SLOTS:
            self.queue.append(reply)
        else:
            self.busy += 1
            self.loop.call_later(SLOT_SECONDS, self.finish, reply)

    def finish(self, reply: Reply) -> None:
        reply(FINE)
        if self.queue:
            self.loop.call_later(SLOT_SECONDS, self.finish, self.queue.popleft())
        else:
            self.busy -= 1


class Retrograde(Server):
    inside = 0

    def serve(self, number: int, reply: Reply) -> None:
        self.inside += 1
        others = self.inside - 1
        slowdown = 1 + CONTENTION * others + COHERENCY * self.inside * others
        self.loop.call_later(RETROGRADE_SECONDS * slowdown, self.finish, reply)

    def finish(self, reply: Reply) -> None:
        self.inside -= 1
        reply(FINE)


class Bucket(Server):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = float(BUCKET_SIZE)
        self.filled_at = self.loop.time()

    def serve(self, number: int, reply: Reply) -> None:
        now = self.loop.time()
        self.tokens = min(BUCKET_SIZE, self.tokens + (now - self.filled_at) * BUCKET_PER_SECOND)
        self.filled_at = now
        if self.tokens < 1:
            reply(REFUSED)
        else:
            self.tokens -= 1
            self.loop.call_later(0.010, reply, FINE)


class Silent(Server):
    def serve(self, number: int, reply: Reply) -> None:
        if not is_silent(number):
            self.loop.call_later(0.005, reply, FINE)


class Page(Server):
    def __init__(self) -> None:
        super().__init__()
        self.payload = page()

    def serve(self, number: int, reply: Reply) -> None:
        self.loop.call_later(0.015, reply, FINE)


SERVERS = {
    "delay": Server,
    "slots": Slots,
    "retrograde": Retrograde,
    "bucket": Bucket,
    "silent": Silent,
    "page": Page,
}


class Connection(asyncio.BufferedProtocol):
    """Cuts what arrives into requests.

    It is received into a buffer that stays. asyncio would make one of 256 KB for each piece, which malloc maps anew
    until the first connection is closed, and not from then on: runs that close one would meet another server.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.rest = b""
        self.buffer = memoryview(bytearray(4096))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self.rest + self.buffer[:nbytes]
        while len(data) >= REQUEST.size:
            (number,) = REQUEST.unpack_from(data)
            data = data[REQUEST.size :]
            self.server.serve(number, self.replier(number))
        self.rest = data

    def replier(self, number: int) -> Reply:
        payload = self.server.payload

        def reply(status: int) -> None:
            if not self.transport.is_closing():
                self.transport.write(REPLY.pack(status, scramble(number), len(payload)) + payload)

        return reply


async def serve(kind: str, certificate: str | None) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    behaviour = SERVERS[kind]()
    context = None
    if kind == "page":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(str(certificate))
    server = await loop.create_server(lambda: Connection(behaviour), "127.0.0.1", 0, ssl=context, backlog=1024)
    ended = asyncio.Event()
    loop.add_reader(0, lambda: os.read(0, 1) or ended.set())
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


def burn() -> None:
    """Keep one core busy until stdin ends."""

    def end_with_stdin() -> None:
        os.read(0, 1)
        os._exit(0)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(0, flush=True)
    while True:
        sum(range(10_000))


def main() -> None:
    kind, certificate = (*sys.argv[1:], None)[:2]
    if kind == "neighbour":
        burn()
    else:
        asyncio.run(serve(str(kind), certificate))
    os._exit(0)


if __name__ == "__main__":
    main()
