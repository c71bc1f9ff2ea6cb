"""Numbers, times and foreign text for a reader. What users named is cut, and nothing in it is invisible."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from poolwise._policy import roofs

NOT_KNOWN = "not known"
MOST_CHARACTERS = 300
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def visible(text: object) -> str:
    """Return text in which nothing is invisible.

    Control characters, marks that turn the direction of writing, and lone surrogates are escaped as Python does.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text).replace("\r\n", "\n"))


def clean(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return text of anybody's making as it may stand in a page: visible, and cut.

    Args:
        text: anything; what is no text is taken by its `str`.
        most: characters to keep.
    """
    whole = str(text)
    return visible(whole) if len(whole) <= most else f"{visible(whole[:most])}… ({len(whole):,} characters)"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count, at least: "1,234", "12.3", "0.0123"."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    if math.isinf(value):
        return "no bound"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power >= 12 or power < -6:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - power)}f}" if power < digits - 1 else f"{value:,.0f}"


def tick(value: float) -> str:
    """Return a round number as short as it can be: "0.25", "10,000", "3M"."""
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if size <= abs(value) < 1e12:
            return f"{value / size:.4g}{unit}"
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.3g}"
    return f"{float(f'{value:.4g}'):,.7f}".rstrip("0").rstrip(".")


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share of 1 in per cent: "96%", "under 0.1%"."""
    if share is None or not math.isfinite(share):
        return NOT_KNOWN
    least = 10.0 ** -(digits + 2)
    return f"under {least:.{digits}%}" if 0 < share < least / 2 else f"{share:.{digits}%}"


def size(count: float) -> str:
    """Return a number of bytes: "512 bytes", "23 GiB"."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{number(count / 2**power)} {unit}"
    return f"{number(count)} bytes"


def duration(seconds: float | None) -> str:
    """Return a time: "3.1 ms", "12 s", "5 min 20 s", "3 h 2 min"."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds <= 0:
        return "0 s"
    if seconds < 99.95:
        return roofs.duration(seconds)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def moment(unix_seconds: float) -> str:
    """Return a point in time, in UTC: the same page for everybody."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return NOT_KNOWN


def many(count: int, what: str) -> str:
    """Return "1 item", "2,000 items"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}{'es' if what.endswith('s') else 's'}"
