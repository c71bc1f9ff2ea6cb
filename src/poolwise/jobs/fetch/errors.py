"""Why a URL was not fetched: one class for each kind of reason, one sentence in each error. Values only.

FetchError
├ BadUrl                  it cannot be asked for at all
├ NameNotResolved         its host has no address, or nobody answers for it
├ AddressRefused          it leads to an address that is not public
├ RedirectRefused         it leads on for ever, or to what is not http or https
├ TlsFailed               the certificate is not to be trusted
├ StatusError             the server says no (404, 403, ...)
├ NotAllowed              the server asks not to use it for this (X-Robots-Tag)
├ BadReply                what came is no HTTP, or cannot be decompressed
├ TooSlow, TooLarge       a limit
├ NotAnImage, DamagedImage
├ StorageFailed           it cannot be written here
└ Transient               another attempt may help
  ├ ConnectionFailed      refused, reset, or silent
  ├ Incomplete            the body ended too early
  └ ServerBusy            408, 429 or 5xx, with `retry_after`
"""

from __future__ import annotations

from typing import Any


class FetchError(Exception):
    """One URL was not fetched; the message is one sentence.

    Attributes:
        final_url: what was asked for last, after redirects; "" where nothing was.
        status: of the last response, or None.
        bytes: of its body that were received.
        seconds: wall time of each phase of the last request (dns, connect, tls, first_byte, body).
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.final_url = ""
        self.status: int | None = None
        self.bytes = 0
        self.seconds: dict[str, float] = {}

    def note(self, **facts: Any) -> None:
        """Set attributes that are known only further up."""
        self.__dict__.update(facts)


class BadUrl(FetchError):
    """It cannot be asked for: no URL, no http or https, no host."""


class NameNotResolved(FetchError):
    """The host has no address, or nobody answers for it."""


class AddressRefused(FetchError):
    """It leads to an address that is not public."""


class RedirectRefused(FetchError):
    """Redirects never end, or lead to what is not http or https."""


class TlsFailed(FetchError):
    """The server's certificate is not to be trusted."""


class StatusError(FetchError):
    """The server says no, with a status that another attempt will not change."""


class NotAllowed(FetchError):
    """The server asks, in X-Robots-Tag, that it is not used for machine learning."""


class BadReply(FetchError):
    """What came is no HTTP, or cannot be decompressed."""


class TooSlow(FetchError):
    """It took longer than `total_seconds`, or came slower than `min_bytes_per_second`."""


class TooLarge(FetchError):
    """Header or body are larger than the limits allow."""


class NotAnImage(FetchError):
    """What came is something else than an image."""


class DamagedImage(FetchError):
    """What came is an image, and not a whole one."""


class StorageFailed(FetchError):
    """It cannot be written: the disk is full, or DST takes nothing."""


class Transient(FetchError):
    """Another attempt may help."""


class ConnectionFailed(Transient):
    """The connection was refused or reset, or nothing came."""


class Incomplete(Transient):
    """The body ended before its end."""


class ServerBusy(Transient):
    """The server refuses for now: status 408, 429 or 5xx.

    Attributes:
        retry_after: seconds that the server asks to wait, or None.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.retry_after: float | None = None


def counted(number: int, noun: str) -> str:
    """Write a number of things: "1 byte", "65,536 bytes"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def too_large(most_bytes: int) -> TooLarge:
    """Return the error of a body that has more bytes than that."""
    return TooLarge(f"has more than {counted(most_bytes, 'byte')}")
