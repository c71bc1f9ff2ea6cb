"""Whether a failed task is executed again, and when."""

from __future__ import annotations

import random

from poolwise._core.errors import TaskError
from poolwise._core.model import Failure, Retry

_LONGEST_SECONDS = 60.0


def wants_retry(retry: Retry | None, attempt: int, failure: Failure | None, error: TaskError | None = None) -> bool:
    """Say whether execution number `attempt` is followed by another.

    Args:
        retry: the rule, or None for none.
        attempt: executions so far.
        failure: what the function did; or
        error: a TaskTimeout or TaskLost.
    """
    if retry is None or attempt >= retry.attempts:
        return False
    if error is not None:
        return retry.wants((), error)
    return failure is not None and failure.class_names != () and retry.wants(failure.class_names, failure.error)


def delay_seconds(retry: Retry, attempt: int, rng: random.Random) -> float:
    """Return the seconds between execution number `attempt` and the next ("equal jitter", see `Retry`)."""
    if callable(retry.backoff):
        return max(0.0, float(retry.backoff(attempt)))
    ceiling = min(_LONGEST_SECONDS, retry.backoff * 2 ** min(attempt - 1, 30))
    return float(ceiling) * (0.5 + 0.5 * rng.random())
