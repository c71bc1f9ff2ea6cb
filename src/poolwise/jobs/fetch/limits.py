"""The bounds of one download. Every one is on unless it is set to None."""

from __future__ import annotations

from dataclasses import dataclass, fields

from poolwise import UsageError

MOST_HEADER_BYTES = 290_000
"""libcurl itself takes up to 300 KB."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds that no download crosses.

    Args:
        connect_seconds: until a connection stands, name and TLS included.
        read_seconds: without a byte, to the next whole second.
        total_seconds: for one attempt, all its redirects included.
        min_bytes_per_second: a body that is slower than that, on average, for `slow_seconds` is ended.
        slow_seconds: see there.
        max_bytes: of a body, as received (libcurl 8.4 and later; before, only as Content-Length says).
        max_decoded_bytes: of a body, after decompression.
        max_redirects: followed.
        max_header_bytes: of one response; at most 290,000.
        min_free_bytes: that must be left on the disk of DST.
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
        zero = {"max_redirects", "max_retry_after_seconds"}
        never_off = zero | {"slow_seconds", "max_header_bytes"}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is None and name not in never_off:
                continue
            fine = isinstance(value, int | float) and not isinstance(value, bool)
            if not fine or not (0 < value < float("inf") or (value == 0 and name in zero)):
                raise UsageError(f"{name} is {value!r}; it must be a finite number above 0")
        if self.max_header_bytes > MOST_HEADER_BYTES:
            raise UsageError(
                f"max_header_bytes is {self.max_header_bytes:,}; at most {MOST_HEADER_BYTES:,} are possible"
            )
