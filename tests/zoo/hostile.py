"""A web server on loopback that misbehaves in every way that downloads meet. Raw sockets: nothing corrects it."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

PAUSE_SECONDS = 0.05


@dataclass
class Request:
    """What a client asked for."""

    path: str
    headers: dict[str, str]
    number: int
    stopping: threading.Event
    send: Callable[[bytes], None]


Behaviour = Callable[[Request], bool]
"""Answers a request; True keeps the connection."""


class Hostile:
    """The server; a context manager.

    Args:
        tls: of an HTTPS server, or None.

    Attributes:
        routes: what answers each path; the part before "?" counts.
        otherwise: what answers all other paths.
        asked: how often each path was asked for.
        requests: all of them, in order.
        handshakes: of TLS, that ended well.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.handshakes = 0
        self.routes: dict[str, Behaviour] = {}
        self.otherwise: Behaviour = missing
        self.asked: Counter[str] = Counter()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port = self._socket.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}" if tls is None else f"https://localhost:{self.port}"

    def __enter__(self) -> Hostile:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)

    def _start(self, call: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), self._secured(connection) as secured:
            stream = secured.makefile("rb")
            with stream:
                while (request := self._read(stream, secured.sendall)) is not None:
                    answer = self.routes.get(request.path.partition("?")[0], self.otherwise)
                    if not answer(request):
                        break
        with self._lock:
            self._connections.discard(connection)

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        secured = self._tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self.handshakes += 1
            self._connections.add(secured)
        return secured

    def _read(self, stream: io.BufferedReader, send: Callable[[bytes], None]) -> Request | None:
        words = stream.readline().split()
        if len(words) < 2:
            return None
        headers = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        path = words[1].decode("latin-1")
        with self._lock:
            self.asked[path.partition("?")[0]] += 1
            request = Request(path, headers, self.asked[path.partition("?")[0]], self._stopping, send)
            self.requests.append(request)
        return request

    def add(self, path: str, behaviour: Behaviour) -> str:
        """Have a path answered so, and return its URL."""
        self.routes[path] = behaviour
        return self.base + path


def head(status: int = 200, **headers: object) -> bytes:
    """Return a status line and headers; underscores in names are hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def missing(request: Request) -> bool:
    """Answer 404."""
    request.send(head(404, Content_Length=4) + b"gone")
    return True


def fixed(body: bytes, status: int = 200, **headers: object) -> Behaviour:
    """Answer well, always the same."""

    def answer(request: Request) -> bool:
        request.send(head(status, **{"Content_Length": len(body), **headers}) + body)
        return True

    return answer


def raw(data: bytes) -> Behaviour:
    """Send just these bytes, and close the connection."""

    def answer(request: Request) -> bool:
        request.send(data)
        return False

    return answer


def silent(request: Request) -> bool:
    """Take the request and say nothing, until the client or the test ends it."""
    request.stopping.wait(30)
    return False


def drip(first: bytes, each: bytes) -> Behaviour:
    """Send a beginning, then a little again and again, without end."""

    def answer(request: Request) -> bool:
        request.send(first)
        while not request.stopping.wait(PAUSE_SECONDS):
            request.send(each)
        return False

    return answer


def endless(first: bytes, each: bytes) -> Behaviour:
    """Send without end, as fast as it goes."""

    def answer(request: Request) -> bool:
        request.send(first)
        while not request.stopping.is_set():
            request.send(each)
        return False

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer the first request in the first way, and so on; the last way stays."""
    return lambda request: behaviours[min(request.number, len(behaviours)) - 1](request)


def resumable(body: bytes, *, etag: str, cut: int) -> Behaviour:
    """Break off after `cut` bytes; give the rest to whoever asks for it with the right validator."""

    def answer(request: Request) -> bool:
        begin = request.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
        if begin and request.headers.get("if-range") == etag:
            rest = body[int(begin) :]
            span = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            request.send(head(206, Content_Length=len(rest), Content_Range=span, ETag=etag) + rest)
            return True
        request.send(head(200, Content_Length=len(body), ETag=etag) + body[:cut])
        return False

    return answer


def jpeg(size: tuple[int, int] = (64, 48), *, progressive: bool = False, seed: int = 0) -> bytes:
    """Return a JPEG with noise."""
    noise = Image.effect_noise(size, 80 + seed % 7).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "JPEG", quality=85, progressive=progressive)
    return file.getvalue()


def large_jpeg(least: int) -> bytes:
    """Return a JPEG of so many bytes, and some more."""
    side = 256
    while len(data := jpeg((side, side))) < least:
        side *= 2
    return data


def gzip_bomb(size: int) -> bytes:
    """Return so many zeros, compressed."""
    return gzip.compress(bytes(size), 9)


def deflated(data: bytes) -> bytes:
    """Return data as `Content-Encoding: deflate` has it."""
    return zlib.compress(data)
