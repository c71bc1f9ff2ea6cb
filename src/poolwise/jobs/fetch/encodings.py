"""Content-Encoding: what comes compressed is decompressed on its way, in bounded steps, and must come to its end.

    Decompressor.write ─> zlib, at most 64 KB at a time ─> the sink, which stops a bomb by its own limit
    finish ─> Incomplete where the end of the compressed data never came

libcurl decompresses too, and takes data that was cut off for whole.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

from poolwise.jobs.fetch.errors import BadReply, Incomplete

MOST_ENCODINGS = 5
"""One upon another; more are an attack."""

_STEP_BYTES = 64 * 1024
_SLICE_BYTES = 16 * 1024  # zlib copies what it has not used yet, each time.
_GZIP = zlib.MAX_WBITS | 16
_KINDS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


class Sink(Protocol):
    """Takes a body."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


class Decompressor:
    """Decompresses one encoding. A gzip body may have several members (RFC 1952), nothing else may follow an end.

    Args:
        sink: takes what comes out.
        bits: "wbits" of zlib.
    """

    def __init__(self, sink: Sink, bits: int) -> None:
        self._sink = sink
        self._bits = bits
        self._zlib: Any = None
        self._start = b""
        self._begun = False

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            BadReply: they cannot be decompressed.
            Exception: what the sink raised.
        """
        self._begun = self._begun or bool(chunk)
        try:
            for at in range(0, len(chunk), _SLICE_BYTES):
                self._take(chunk[at : at + _SLICE_BYTES])
        except zlib.error as error:
            raise BadReply(f"has a body that cannot be decompressed ({error})") from None

    def _take(self, data: bytes) -> None:
        while data:
            if self._zlib is None:
                data = self._start + data
                if len(data) < 2:
                    self._start = data
                    return
                self._start = b""
                self._zlib = zlib.decompressobj(_raw_or(self._bits, data))
            elif self._zlib.eof:
                if self._bits != _GZIP:
                    raise BadReply("has a body that cannot be decompressed: something follows its end")
                self._zlib = None
                continue
            data = self._drain(data)

    def _drain(self, data: bytes) -> bytes:
        """Decompress to the end of the data, or of the stream; return what follows that."""
        more = True
        while more:
            out = self._zlib.decompress(data, _STEP_BYTES)
            data = self._zlib.unconsumed_tail
            more = bool(data) or len(out) == _STEP_BYTES
            if out:
                self._sink.write(out)
            if self._zlib.eof:
                break
        rest: bytes = self._zlib.unused_data
        return rest

    def finish(self) -> None:
        """Be told that nothing follows.

        Raises:
            Incomplete: something must.
        """
        if self._begun and (self._zlib is None or not self._zlib.eof):
            raise Incomplete("ended before its compressed data did")


def decompressors(sink: Sink, said: str) -> list[Decompressor]:
    """Return what decompresses a body, the one that takes it as it comes first; none where it is not compressed.

    Args:
        sink: takes the body.
        said: Content-Encoding, as the server said it: in the order of compressing.

    Raises:
        BadReply: nobody knows an encoding, or they are too many.
    """
    names = [name for part in said.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > MOST_ENCODINGS:
        raise BadReply(f"is compressed {len(names)} times over; {MOST_ENCODINGS} times at most are taken")
    found: list[Decompressor] = []
    for name in names:
        if name not in _KINDS:
            raise BadReply(
                f"is compressed as {name[:40]!r}, though it was asked for as it is; gzip and deflate are taken"
            )
        found.insert(0, Decompressor(found[0] if found else sink, _KINDS[name]))
    return found


def _raw_or(bits: int, start: bytes) -> int:
    """Return the bits for a beginning: many servers send deflate without the header of zlib (RFC 1950)."""
    raw = bits == zlib.MAX_WBITS and (start[0] & 15 != 8 or int.from_bytes(start[:2], "big") % 31)
    return -zlib.MAX_WBITS if raw else bits
