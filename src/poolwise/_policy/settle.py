"""What becomes of an execution that has ended: whoever has an opinion first decides.

The job's own `settle` is asked, then the user's `retry`, which is a settle function like any other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from poolwise._core.errors import RemoteError, TaskFailed
from poolwise._core.job import Decision, Ended, Final, RetryAfter, Settle
from poolwise._core.model import Retry
from poolwise._policy.retry import delay_seconds


def settlers(job: Settle | None, retry: Retry | None, rng: Callable[[], random.Random]) -> tuple[Settle, ...]:
    """Return who decides, in this order; `rng` is asked for where delays are drawn, as to seed one takes a while."""
    rules = () if retry is None else (by_rule(retry, rng()),)
    return rules if job is None else (job, *rules)


def decide(deciders: Sequence[Settle], ended: Ended) -> Decision:
    """Return the first opinion; None: as it ended. One that raises is the end of the item."""
    for settle in deciders:
        try:
            decision = settle(ended)
        except Exception as error:
            return Final(error=error)
        if decision is not None:
            return decision
    return None


def by_rule(retry: Retry, rng: random.Random) -> Settle:
    """Return the settle function of the user's rule: failures that it names are executed again, so many times."""

    def settle(ended: Ended) -> Decision:
        error = ended.error
        raised: BaseException | None = error
        if error is None or ended.attempts >= retry.attempts:
            return None
        if type(error) is TaskFailed:
            if not ended.class_names:
                return None
            raised = None if isinstance(error.__cause__, RemoteError) else error.__cause__
        if not retry.wants(ended.class_names, raised):
            return None
        return RetryAfter(delay_seconds(retry, ended.attempts, rng))

    return settle
