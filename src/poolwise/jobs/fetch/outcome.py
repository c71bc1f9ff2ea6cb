"""What is known of a file that was fetched: a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole, and where it came from.

    Attributes:
        path: of the file, in DST.
        url: that was asked for, without user and fragment.
        final_url: after redirects.
        status: of the response: 200, 206 where an earlier attempt was gone on with, 304 where nothing had changed.
        bytes: size of the file.
        type: media type, by its content where that is known.
        width, height: in pixels; None where it is no image.
        sha256: of the file, in hex.
        etag, last_modified: as the server sent them, or "".
        seconds: wall time of each phase of the last request: dns, connect, tls, first_byte, body.
    """

    path: str
    url: str
    final_url: str
    status: int
    bytes: int
    type: str
    width: int | None
    height: int | None
    sha256: str
    etag: str = ""
    last_modified: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:  # That of a dataclass looks for its fields each time.
        return Fetched, tuple(map(self.__getattribute__, self.__slots__))
