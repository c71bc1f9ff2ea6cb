"""The bounds of one download. Every one is on unless it is set to None."""

from __future__ import annotations

from dataclasses import dataclass, fields

from poolwise import UsageError
from poolwise._core.model import check_number

MOST_HEADER_BYTES = 290_000
"""libcurl itself takes up to 300 KB."""

MOST_SECONDS = 2_000_000
"""23 days: libcurl counts milliseconds, in 31 bits on some systems."""

MOST_BYTES = 2**62

_ZERO = {"max_redirects", "max_retry_after_seconds", "min_bytes_per_second", "min_free_bytes"}
_WHOLE = {"max_bytes", "max_decoded_bytes", "max_redirects", "max_header_bytes", "min_free_bytes"}
_NEVER_OFF = {"max_redirects", "max_retry_after_seconds", "slow_seconds", "max_header_bytes"}


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds that no download crosses.

    Args:
        connect_seconds: until a connection stands, name and TLS included.
        read_seconds: without a byte, to the next whole second.
        total_seconds: for one attempt, all its redirects included.
        min_bytes_per_second: a body that is slower than that, on average, for `slow_seconds` is ended; 0 is no limit.
        slow_seconds: see there.
        max_bytes: of a body, as received (libcurl 8.4 and later; before, only as Content-Length says).
        max_decoded_bytes: of a body, after decompression.
        max_redirects: followed.
        max_header_bytes: of one response; at most 290,000.
        min_free_bytes: that must be left on the disk of DST; 0 is no limit.
        max_retry_after_seconds: waited where a server asks for a pause; it may ask for years.

    Raises:
        UsageError: where a bound cannot be meant.
    """

    connect_seconds: float | None = 15.0
    read_seconds: float | None = 30.0
    total_seconds: float | None = 600.0
    min_bytes_per_second: float | None = 500.0
    slow_seconds: float = 30.0
    max_bytes: int | None = 500_000_000
    max_decoded_bytes: int | None = 500_000_000
    max_redirects: int = 10
    max_header_bytes: int = 65_536
    min_free_bytes: int | None = 100_000_000
    max_retry_after_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is None and name not in _NEVER_OFF:
                continue
            check_number(name, value, whole=name in _WHOLE, zero=name in _ZERO)
            most, unit = (MOST_SECONDS, "seconds") if name.endswith("_seconds") else (MOST_BYTES, "bytes")
            if name != "max_redirects" and value > most:
                off = "" if name in _NEVER_OFF else "; None, in Python, is no limit"
                raise UsageError(f"{name} is {value!r}; it may be {most:,} {unit} at most{off}")
        if self.max_header_bytes > MOST_HEADER_BYTES:
            raise UsageError(
                f"max_header_bytes is {self.max_header_bytes:,}; at most {MOST_HEADER_BYTES:,} are possible"
            )
