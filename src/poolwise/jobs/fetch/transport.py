"""HTTP requests on libcurl's multi interface and an asyncio loop, with checked addresses and every limit on.

    Transport.get ──> a redirect loop ──> a free handle ──> Multi.perform ──> Head, then the body's bytes
                                              OPENSOCKET: is this address allowed? ──no──> AddressRefused

A transport belongs to one loop. A handle is busy with one request at a time; connections, DNS answers and TLS sessions
belong to all. Redirects, retries and credentials are decided here or further up, never by libcurl.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import pycurl

from poolwise.jobs.fetch import addresses
from poolwise.jobs.fetch.encodings import Decompressor, Sink, decompressors
from poolwise.jobs.fetch.errors import (
    AddressRefused,
    BadReply,
    BadUrl,
    ConnectionFailed,
    FetchError,
    Incomplete,
    NameNotResolved,
    RedirectRefused,
    ServerBusy,
    StatusError,
    TlsFailed,
    TooLarge,
    TooSlow,
    counted,
    too_large,
)
from poolwise.jobs.fetch.limits import FetchLimits
from poolwise.jobs.fetch.multi import Multi
from poolwise.jobs.fetch.settle import retry_after_seconds
from poolwise.jobs.fetch.urls import Url, parse

MOST_IDLE = 512
"""Connections kept open while nobody uses them; libcurl closes the oldest for another."""

_BUFFER_BYTES = 128 * 1024
_DRAINED_BYTES = 64 * 1024  # So much of a body that nobody wants is read, to keep the connection.
_WEIRD_SERVER_REPLY, _HEADER_TOO_LARGE = 8, 100  # Codes of libcurl that pycurl has no names for.
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(slots=True)
class Head:
    """What comes before a body.

    Attributes:
        url: asked for, after redirects.
        status: such as 200.
        headers: names in lower case; repeated ones joined by commas.
    """

    url: Url
    status: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """How a request ended.

    Attributes:
        head: of the last response.
        bytes: of its body, as received.
        seconds: wall time of each phase: dns, connect, tls, first_byte, body.
    """

    head: Head
    bytes: int
    seconds: dict[str, float]


Receive = Callable[[Head], Sink | None]
"""Is told of a response that is wanted (2xx, 304, 416), and gives what takes its body, decompressed; None drops it.
What that raises ends the request, and is raised by `get`."""


class Transport:
    """Fetches URLs, many at a time, on the loop that runs.

    Args:
        limits: of each request.
        allow_private: connect to any address.
        user_agent: sent with each request.
        ca_file: certificates to trust instead of the system's, or None.
    """

    def __init__(self, limits: FetchLimits, *, allow_private: bool, user_agent: str, ca_file: str | None) -> None:
        self.limits = limits
        self.allow_private = allow_private
        self.user_agent = user_agent
        self.loop = asyncio.get_running_loop()
        self._certificates = _certificates(ca_file)
        self._proxies = _proxies_of_environment()
        self._multi = Multi(self.loop, most_idle=MOST_IDLE)
        self._idle: list[_Handle] = []

    async def get(self, url: Url, headers: dict[str, str], receive: Receive) -> Reply:
        """Ask for a URL, and follow where it leads.

        Args:
            url: what to ask for first; only its origin sees its user and password.
            headers: further ones to send.
            receive: see `Receive`.

        Raises:
            FetchError: saying why there is no body. Its `final_url`, `status`, `bytes` and `seconds` are set.
            Exception: what `receive`, or its sink, raised.
        """
        until = None if self.limits.total_seconds is None else time.monotonic() + self.limits.total_seconds
        asked, userinfo = url, url.userinfo
        for _ in range(self.limits.max_redirects + 1):
            try:
                reply = await self._once(asked, headers, userinfo, until, receive)
            except FetchError as error:
                error.note(final_url=asked.text)
                raise
            if reply.head.status not in _REDIRECTS:
                return reply
            target = self._redirect(reply, asked)
            if target.origin != asked.origin:
                userinfo = ""
            asked = target
        most = counted(self.limits.max_redirects, "redirect")
        endless = RedirectRefused(f"leads on and on: more than {most}, last to {asked.text}")
        endless.note(final_url=asked.text, status=reply.head.status, seconds=reply.seconds)
        raise endless

    def _redirect(self, reply: Reply, asked: Url) -> Url:
        location = reply.head.headers.get("location", "")
        try:
            if not location:
                raise RedirectRefused(f"answers {reply.head.status}, a redirect, without saying where to")
            try:
                return parse(urljoin(asked.text, location))
            except BadUrl as error:
                raise RedirectRefused(f"leads to {location[:200]!r}, which {error}") from None
            except ValueError as error:
                raise RedirectRefused(f"leads to {location[:200]!r}, which is no URL: {error}") from None
        except RedirectRefused as error:
            error.note(final_url=asked.text, status=reply.head.status, seconds=reply.seconds)
            raise

    async def _once(
        self, url: Url, headers: dict[str, str], userinfo: str, until: float | None, receive: Receive
    ) -> Reply:
        proxy = self._proxy_of(url)
        if not self.allow_private:
            self._check_literal(url)
        handle = self._idle.pop() if self._idle else _Handle(self, self._certificates)
        fine = False
        try:
            handle.ask(url, headers, userinfo, proxy, until, receive)
            problem = await self._multi.perform(handle.curl)
            reply = handle.reply(problem)
            fine = True
            return reply
        finally:
            handle.forget()
            if fine:
                self._idle.append(handle)
            else:
                handle.close()

    def _proxy_of(self, url: Url) -> str:
        """Return the proxy that the environment names for a URL, or ""."""
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all") or ""
        if not proxy:
            return ""
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # Typeshed lacks it.

        return "" if proxy_bypass_environment(f"{url.host}:{url.port}", self._proxies) else proxy

    @staticmethod
    def _check_literal(url: Url) -> None:
        address = addresses.literal(url.host)
        why = None if address is None else addresses.refusal(address)
        if why is not None:
            raise AddressRefused(_refused_sentence(str(address), why))

    def close(self) -> None:
        """Close all connections. Its loop must have ended, or be the caller's."""
        for handle in self._idle:
            handle.close()
        self._idle.clear()
        self._multi.close()


class _Socket(socket.socket):
    """A socket of which libcurl takes a duplicate; the original is let go of without a warning."""

    def __del__(self) -> None:
        self.close()


class _Handle:
    """A libcurl handle, and the request that it is busy with."""

    def __init__(self, transport: Transport, certificates: dict[int, str]) -> None:
        self._transport = transport
        self._limits = limits = transport.limits
        self._lines: list[bytes] = []
        self._own: tuple[dict[str, str], str, str] | None = None  # Headers, user and proxy of the request before.
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.HTTPGET, 1)
        curl.setopt(pycurl.NOPROXY, "")  # Who goes through a proxy is decided in `_proxy_of`, and nowhere else.
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
        curl.setopt(pycurl.USERAGENT, transport.user_agent)
        # Nothing is asked for compressed, as images are that already; what comes so all the same is decompressed here.
        curl.setopt(pycurl.HTTP_CONTENT_DECODING, 0)
        # Every call into Python waits for the GIL: a header line costs an append, and nothing reports progress.
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        for option, value in certificates.items():
            curl.setopt(option, value)
        connect = limits.connect_seconds
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, 0x7FFFFFFF if connect is None else max(1, int(connect * 1000)))
        if limits.read_seconds is not None:
            curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
            curl.setopt(pycurl.LOW_SPEED_TIME, math.ceil(limits.read_seconds))
        if limits.max_bytes is not None:
            curl.setopt(pycurl.MAXFILESIZE_LARGE, limits.max_bytes)
        self.forget()

    def close(self) -> None:
        self.curl.close()

    def forget(self) -> None:
        """Be busy with nothing."""
        self._url: Url | None = None
        self._receive: Receive | None = None
        self._head: Head | None = None
        self._sink: Sink | None = None
        self._decompressors: list[Decompressor] = []
        self._error: BaseException | None = None
        self._verdict: FetchError | None = None
        self._refused: list[str] = []
        self._lines.clear()
        self._body_bytes = 0
        self._dropped = 0
        self._begun = False
        self._paced = (0.0, 0)

    def ask(
        self,
        url: Url,
        headers: dict[str, str],
        userinfo: str,
        proxy: str,
        until: float | None,
        receive: Receive,
    ) -> None:
        """Prepare a request."""
        self._url, self._receive, self._proxied = url, receive, bool(proxy)
        curl, own = self.curl, (headers, userinfo, proxy)
        curl.setopt(pycurl.URL, url.text)
        if own != self._own:
            self._own = own
            self._ask_so(headers, userinfo, proxy)
        left = None if until is None else until - time.monotonic()
        if left is not None:
            if left <= 0:
                raise TooSlow(self._too_long())
            curl.setopt(pycurl.TIMEOUT_MS, max(1, int(left * 1000)))

    def _ask_so(self, headers: dict[str, str], userinfo: str, proxy: str) -> None:
        """Set what is seldom another than for the request before."""
        curl = self.curl
        curl.setopt(pycurl.PROXY, proxy)
        sent = {"Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity", **headers}
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in sent.items()])
        if userinfo:
            user, _, password = userinfo.partition(":")
            curl.setopt(pycurl.USERNAME, user)
            curl.setopt(pycurl.PASSWORD, password)
            curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)
        else:
            curl.unsetopt(pycurl.USERNAME)
            curl.unsetopt(pycurl.PASSWORD)

    def reply(self, failed: tuple[int, str] | None) -> Reply:
        """Return the response to the request, which is over.

        Args:
            failed: what libcurl says of that: a code and a message, or None.

        Raises:
            FetchError: saying why there is none.
        """
        if failed is not None:
            problem = self._problem(*failed)
            if isinstance(problem, FetchError):
                self._note(problem)
            if problem is not None:
                raise problem
        if not self._begun:
            self._begin()
        if self._error is None:
            try:
                for each in self._decompressors:
                    each.finish()
            except Incomplete as error:
                self._error = error
        found = self._error or self._verdict
        if found is not None:
            if isinstance(found, FetchError):
                self._note(found)
            raise found
        assert self._head is not None
        return Reply(self._head, self._body_bytes, self._seconds())

    def _note(self, problem: FetchError) -> None:
        status = None if self._head is None else self._head.status
        problem.note(status=problem.status or status, bytes=self._body_bytes, seconds=self._seconds())

    # -- called by libcurl

    def _open_socket(self, purpose: int, address: Any) -> Any:  # noqa: ARG002
        family, kind, protocol, place = address
        if not self._proxied and not self._transport.allow_private:
            why = addresses.refusal(place[0])
            if why is not None:
                self._refused.append(_refused_sentence(place[0], why))
                return pycurl.SOCKET_BAD
        try:
            return _Socket(family, kind, protocol)
        except OSError:
            return pycurl.SOCKET_BAD

    def _take_body(self, chunk: bytes) -> int | None:
        if not self._begun:
            self._begin()
        if self._error is not None:
            return 0
        self._body_bytes += len(chunk)
        if self._sink is None:
            self._dropped += len(chunk)
            return 0 if self._dropped > _DRAINED_BYTES else None
        most = self._limits.max_bytes
        try:
            if most is not None and self._body_bytes > most:  # libcurl before 8.4 looks at Content-Length only.
                raise too_large(most)
            if self._limits.min_bytes_per_second is not None:
                self._check_pace(self._limits.min_bytes_per_second)
            self._sink.write(chunk)
        except BaseException as error:
            return self._refuse(error)
        return None

    def _check_pace(self, least: float) -> None:
        """Raise TooSlow where the body came slower than `least` bytes a second for `slow_seconds`."""
        now, (since, had) = time.monotonic(), self._paced
        if since == 0.0:
            self._paced = (now, self._body_bytes)
        elif now - since >= self._limits.slow_seconds:
            if self._body_bytes - had < least * (now - since):
                raise TooSlow(f"came slower than {least:g} bytes/s for {self._limits.slow_seconds:g} s")
            self._paced = (now, self._body_bytes)

    def _refuse(self, error: BaseException) -> int:
        self._error = error
        return 0

    def _begin(self) -> None:
        """Judge the response by its head."""
        self._begun = True
        assert self._url is not None
        assert self._receive is not None
        try:
            head = self._head = _head_of(self._lines, self._url, self._limits.max_header_bytes)
            if head.status in _REDIRECTS:
                return
            if head.status in (200, 203, 206, 304, 416):
                self._sink = sink = self._receive(head)
                if sink is not None and (encodings := head.headers.get("content-encoding")):
                    self._decompressors = decompressors(sink, encodings)
                    self._sink = next(iter(self._decompressors), sink)
            else:
                self._verdict = _status_error(head)
        except BaseException as error:
            self._error = error

    # -- what went wrong

    def _seconds(self) -> dict[str, float]:
        """Return the wall time of each phase; 0 for what a kept connection did not need."""
        seconds, last = {}, 0.0
        for name, info in _PHASES:
            mark = self.curl.getinfo(info)
            seconds[name] = round(mark - last, 6) if mark > last else 0.0
            last = max(last, mark)
        return seconds

    def _too_long(self) -> str:
        return f"took longer than {self._limits.total_seconds:g} s"

    def _problem(self, code: int, said: str) -> BaseException | None:
        """Return what an error of libcurl means; None where the response will do all the same."""
        if self._proxied and not self.curl.getinfo(pycurl.RESPONSE_CODE):  # What came was the proxy's own answer.
            code_of_proxy = self.curl.getinfo(pycurl.HTTP_CONNECTCODE)
            if code_of_proxy and code_of_proxy != 200:
                return ConnectionFailed(f"is not reached: the proxy answers {code_of_proxy}")
        elif self._lines and not self._lines[-1].strip() and not self._begun:
            self._begin()
        if self._error is not None:
            return self._error
        if self._begun and self._sink is None:  # The status says all, whatever became of the body.
            return self._verdict
        if self._refused and code in (pycurl.E_COULDNT_CONNECT, pycurl.E_OPERATION_TIMEDOUT):
            return AddressRefused(self._refused[0])
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return self._timeout(said)
        if code == pycurl.E_FILESIZE_EXCEEDED and self._limits.max_bytes is not None:
            return too_large(self._limits.max_bytes)
        if code == _HEADER_TOO_LARGE or (not self._begun and _is_too_large(self._lines, self._limits.max_header_bytes)):
            return _header_too_large(self._limits.max_header_bytes)
        cls, sentence = _PROBLEMS.get(code, (ConnectionFailed, "could not be fetched"))
        if self._body_bytes and code in (pycurl.E_RECV_ERROR, pycurl.E_PARTIAL_FILE):
            cls, sentence = Incomplete, f"broke off after {counted(self._body_bytes, 'byte')}"
        return cls(f"{sentence}{f' ({said})' if said else ''}")

    def _timeout(self, said: str) -> FetchError:
        limits = self._limits
        if "too slow" in said:
            if not self._begun and self.curl.getinfo(pycurl.STARTTRANSFER_TIME):
                return ConnectionFailed(f"did not come to the end of its header within {limits.read_seconds:g} s")
            return ConnectionFailed(f"sent nothing for {limits.read_seconds:g} s")
        if not self.curl.getinfo(pycurl.PRETRANSFER_TIME):
            within = min(each for each in (limits.connect_seconds, limits.total_seconds) if each is not None)
            if "Resolving" in said:
                return NameNotResolved(f"its host's address was not found within {within:g} s")
            return ConnectionFailed(f"did not take a connection within {within:g} s")
        return TooSlow(self._too_long())


_PHASES = (
    ("dns", pycurl.NAMELOOKUP_TIME),
    ("connect", pycurl.CONNECT_TIME),
    ("tls", pycurl.APPCONNECT_TIME),
    ("first_byte", pycurl.STARTTRANSFER_TIME),
    ("body", pycurl.TOTAL_TIME),
)
_PROBLEMS: dict[int, tuple[type[FetchError], str]] = {
    pycurl.E_COULDNT_RESOLVE_HOST: (NameNotResolved, "its host has no address"),
    pycurl.E_COULDNT_RESOLVE_PROXY: (ConnectionFailed, "the proxy has no address"),
    pycurl.E_COULDNT_CONNECT: (ConnectionFailed, "did not take a connection"),
    pycurl.E_PEER_FAILED_VERIFICATION: (TlsFailed, "has a certificate that is not to be trusted"),
    pycurl.E_SSL_CACERT_BADFILE: (TlsFailed, "the file of trusted certificates cannot be read"),
    pycurl.E_SSL_CONNECT_ERROR: (ConnectionFailed, "did not agree on TLS"),
    pycurl.E_GOT_NOTHING: (ConnectionFailed, "closed the connection without an answer"),
    pycurl.E_SEND_ERROR: (ConnectionFailed, "closed the connection"),
    pycurl.E_RECV_ERROR: (ConnectionFailed, "closed the connection"),
    pycurl.E_PARTIAL_FILE: (Incomplete, "broke off"),
    pycurl.E_UNSUPPORTED_PROTOCOL: (BadReply, "answers with something that is not HTTP"),
    _WEIRD_SERVER_REPLY: (BadReply, "answers with something that is not HTTP"),
    pycurl.E_URL_MALFORMAT: (BadUrl, "is no URL for libcurl"),
}


def _head_of(lines: list[bytes], url: Url, most_bytes: int) -> Head:
    """Return the last head among header lines: before it may be that of a proxy, or of a 103.

    Raises:
        TooLarge: it has more bytes than that.
        BadReply: there is none.
    """
    first = len(lines) - 1
    while first >= 0 and not lines[first].startswith(b"HTTP/"):
        first -= 1
    words = [] if first < 0 else lines[first].split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        raise BadReply("answers with something that is not HTTP")
    if _is_too_large(lines[first:], most_bytes):
        raise _header_too_large(most_bytes)
    head = Head(url, int(words[1]))
    headers = head.headers
    for line in b"".join(lines[first + 1 :]).decode("utf-8", "replace").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            key, text = name.strip().lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return head


def _is_too_large(lines: list[bytes], most_bytes: int) -> bool:
    return sum(map(len, lines)) > most_bytes


def _header_too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"sends more than {counted(most_bytes, 'byte')} of header")


def _status_error(head: Head) -> FetchError:
    if head.status in (408, 429) or 500 <= head.status <= 599:
        busy = ServerBusy(f"answers {head.status}{_REASONS.get(head.status, '')}")
        busy.retry_after = retry_after_seconds(head.headers.get("retry-after", ""), time.time())
        busy.note(status=head.status)
        return busy
    error = StatusError(f"answers {head.status}{_REASONS.get(head.status, '')}")
    error.note(status=head.status)
    return error


_REASONS = {
    401: ": it wants a user and a password",
    403: ": forbidden",
    404: ": there is nothing there",
    410: ": it is gone",
    429: ": too many requests",
    503: ": not available now",
}


def _refused_sentence(address: str, why: str) -> str:
    return f"leads to {address}, {why}; allow_private (--allow-private) allows it"


def _proxies_of_environment() -> dict[str, str]:
    """Return the proxies that the environment names, by scheme. Mostly there are none, which is known at once."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies_environment

    return getproxies_environment()


def _certificates(ca_file: str | None) -> dict[int, str]:
    """Return where libcurl finds the certificates to trust: what was given, else what this Python trusts."""
    if ca_file is not None:
        return {pycurl.CAINFO: ca_file}
    paths = ssl.get_default_verify_paths()
    found = {}
    if paths.cafile and os.path.exists(paths.cafile):
        found[pycurl.CAINFO] = paths.cafile
    elif paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath):
        found[pycurl.CAPATH] = paths.capath
    return found
