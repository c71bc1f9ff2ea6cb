"""How long a failed task waits until it is executed again."""

from __future__ import annotations

import random

from poolwise._core.model import Retry

_LONGEST_SECONDS = 60.0


def delay_seconds(retry: Retry, attempt: int, rng: random.Random) -> float:
    """Return the seconds between execution number `attempt` and the next ("equal jitter", see `Retry`)."""
    if callable(retry.backoff):
        return max(0.0, float(retry.backoff(attempt)))
    ceiling = min(_LONGEST_SECONDS, retry.backoff * 2 ** min(attempt - 1, 30))
    return float(ceiling) * (0.5 + 0.5 * rng.random())
