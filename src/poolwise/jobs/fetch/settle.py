"""What becomes of a URL after an attempt: settled, or tried again, when, and whether its host is left alone. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from poolwise.jobs.fetch.errors import NameNotResolved, ServerBusy, Transient

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 60.0
_NAME_SECONDS = 5.0
_MOST_NAME_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt.

    Attributes:
        seconds: not before so long.
        park: leave the whole host alone until then.
        throttled: the host said that it is asked too often.
    """

    seconds: float
    park: bool = False
    throttled: bool = False


def decide(
    error: BaseException | None, attempts: int, most_attempts: int, longest_wait: float, rng: random.Random
) -> Again | None:
    """Say whether and when a URL is tried again; None where it is settled.

    Waits double from 0.5 s up to a minute, half of them random ("equal jitter"). A server that says how long to wait
    is believed, up to `longest_wait`. A name that was not resolved is tried once more, after 5 s: resolvers fail for
    moments, and mistyped names for ever.

    Args:
        error: the function's own, or None.
        attempts: so far, at least 1.
        most_attempts: for each URL.
        longest_wait: seconds, however long a server asks to wait.
        rng: for the jitter.
    """
    if attempts >= most_attempts:
        return None
    if isinstance(error, NameNotResolved):
        return Again(_NAME_SECONDS * (0.5 + rng.random())) if attempts < _MOST_NAME_ATTEMPTS else None
    if not isinstance(error, Transient):
        return None
    seconds = backoff(attempts, rng)
    if isinstance(error, ServerBusy):
        throttled = error.status in (429, 503)
        if error.retry_after is not None:
            asked = min(error.retry_after, longest_wait)
            return Again(asked + 0.1 * seconds, park=True, throttled=throttled)
        return Again(seconds, throttled=throttled)
    return Again(seconds)


def backoff(attempts: int, rng: random.Random) -> float:
    """Return the seconds to wait after so many attempts."""
    ceiling = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempts - 1, 30))
    return ceiling * (0.5 + 0.5 * rng.random())


def retry_after_seconds(value: str, now: float) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3); None where it is neither.

    Args:
        value: of the header.
        now: Unix time, in seconds.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    import email.utils  # It imports much, and is for dates alone.

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
