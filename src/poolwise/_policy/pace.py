"""How many executions a second a group is given, once it has said that it is asked too often.

Lanes are the wrong measure for a server that counts requests: at 10 ms a request one lane more is 100 a second more.
So a refusal sets a pace: a little below what was accepted. From there it follows the curve of CUBIC (RFC 9438):
quickly back to where refusals began, slowly around there, then faster the longer none comes.

    CUT x ceiling ──rises──> ceiling, after one horizon ──rises──> the next refusal: what was accepted is the ceiling

Where nothing has been accepted yet that could be measured, the pace is a guess that doubles until more is known. A
park costs so much that few of them must do. What a group accepts at once after a rest is its burst, not its rate: an
episode that ends within the burst only tells two bounds of the rate, and the guess is between these.

Prior art: the adaptive retry mode of the AWS SDKs, which keeps a token bucket by the same curve. Pure.
"""

from __future__ import annotations

import math
from collections import deque

CUT = 0.9  # of what was accepted
BLIND_CUT = 0.7  # of the pace, where nothing was accepted that could be measured
HORIZON_SECONDS = 5.0
GUESSES = 4.0  # times that a guess doubles in a horizon
PARKS = 20.0  # A horizon is at least so many times as long as the park that a refusal costs: 5 % of the time.
_FEWEST = 5  # acceptances that give a rate
_FEW = 20  # acceptances between two parks that tell a rate, where the pace was unknown
_SURE = 32  # acceptances that tell a rate, where no park divides them
_KNOWN = 1.5  # Bounds this near to each other tell the rate as well.
_MEASURED, _KEPT = 64, 256
_QUICK_SECONDS = 0.001  # Starts this near to each other are at once.


class Pace:
    """The pace of one group: none until it throttles."""

    __slots__ = (
        "_accepted",
        "_began",
        "_burst",
        "_ceiling",
        "_cut_at",
        "_guessed",
        "_horizon_seconds",
        "_parked_seconds",
        "_refused_start",
        "_resumed",
        "_starts",
        "_times",
    )

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MEASURED)  # When the latest accepted executions ended.
        self._starts: deque[float] = deque(maxlen=_KEPT)  # When they started, further back.
        self._ceiling = 0.0
        self._guessed = False  # The ceiling is a place between two bounds.
        self._cut_at = -math.inf
        self._horizon_seconds = HORIZON_SECONDS
        self._burst: int | None = None  # Fewest acceptances between two parks.
        self._begin(-math.inf)

    def _begin(self, now: float) -> None:
        """Begin an episode: what is started from one park to the next."""
        self._resumed = now
        self._began: float | None = None  # When the first of it was really executed.
        self._accepted = 0
        self._refused_start = math.inf
        self._parked_seconds = 0.0

    def start(self, now: float) -> None:
        """Take in that an execution is sent to a lane."""
        if self._refused_start < math.inf:  # The first one after a park: all that was in flight then has ended.
            self._conclude(now)

    def _note(self, started: float) -> None:
        if self._began is None:
            self._began = started
        if not self._times:
            self._times.append(started)

    def serve(self, now: float, started: float) -> None:
        """Take in that an execution was accepted."""
        if not self._resumed <= started <= self._refused_start:
            return
        self._note(started)
        self._accepted += 1
        self._times.append(now)
        self._starts.append(started)
        if self._guessed and self._burst is None and len(self._times) - 1 == _FEWEST:
            self._cut(now, max(self.per_second(now) or 0.0, self._lately(now) or 0.0), guessed=True)

    def throttle(self, now: float, started: float, parked_seconds: float = 0.0) -> None:
        """Take in a refusal. It counts unless it started before the last park, or before the pace was lowered last.

        Args:
            now: clock reading, in seconds.
            started: clock reading when the refused execution started.
            parked_seconds: for how long nothing is started because of it.
        """
        if started < self._resumed:
            return
        self._note(started)
        if parked_seconds > 0:
            self._refused_start = min(self._refused_start, started)
            self._parked_seconds = max(self._parked_seconds, parked_seconds)
        elif started >= self._cut_at and self._refused_start == math.inf:
            before, rate = self.per_second(now), self._lately(now)
            if rate is not None:
                self._cut(now, min(before or rate, rate), guessed=len(self._times) <= _SURE)
            elif before is None or self._guessed:  # At 1/t a second few are refused until something is known.
                seconds = max(now - self._times[0], _QUICK_SECONDS)
                self._cut(now, len(self._times) / seconds, guessed=True)
            else:
                self._cut(now, before * BLIND_CUT / CUT)

    def _lately(self, now: float) -> float | None:
        """Return the rate of acceptances that have ended, in the latest time that tells it."""
        number, seconds = len(self._times) - 1, now - self._times[0]
        return number / seconds if number >= _FEWEST and seconds > 0 else None

    def _cut(self, now: float, ceiling: float, *, guessed: bool = False) -> None:
        self._ceiling, self._guessed, self._cut_at = ceiling, guessed, now
        self._horizon_seconds = max(HORIZON_SECONDS, PARKS * self._parked_seconds)

    def _conclude(self, now: float) -> None:
        """A park is over: say what the episode before it tells, and begin the next."""
        began = self._refused_start if self._began is None else self._began
        accepted, lasted = self._accepted, max(self._refused_start - began, _QUICK_SECONDS)
        before = self.per_second(self._refused_start)
        self._burst = accepted if self._burst is None else min(self._burst, accepted)
        starts = sorted(self._starts)[-accepted:] if accepted else []
        burst = min(self._burst, len(starts) // 4)
        told = self._drained(starts, burst)
        if told and before is not None and accepted >= _KEPT:  # It was nearly right for long.
            self._cut(now, min(before, max(told, CUT * before)))
        elif told and accepted >= _FEW:
            self._cut(now, min(before or told, told), guessed=burst < self._burst)
        else:
            most = min(before or math.inf, max(1, accepted) / lasted)
            fewest = min(most, max(1, accepted) / (lasted + self._parked_seconds))
            self._cut(now, math.sqrt(fewest * most), guessed=most > _KNOWN * fewest)
        self._begin(now)

    def _drained(self, starts: list[float], burst: int) -> float:
        """Return the rate at which a bucket fills that had `burst` tokens once, and none at the first refusal."""
        rates = [
            (len(starts) - place - burst) / (self._refused_start - start)
            for place, start in enumerate(starts[: len(starts) - 2 * burst - 1])
            if self._refused_start - start > _QUICK_SECONDS
        ]
        return max(rates, default=0.0)

    def per_second(self, now: float) -> float | None:
        """Return how many executions may be started a second, at `now` seconds; None: any number."""
        if not self._ceiling:
            return None
        horizons = max(0.0, now - self._cut_at) / self._horizon_seconds
        if self._guessed:
            return self._ceiling * math.exp2(min(60.0, GUESSES * horizons))
        return float(self._ceiling * (1 + (1 - CUT) * (horizons - 1) ** 3))
