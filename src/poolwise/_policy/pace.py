"""How many executions a second a group is given, once it has said that it is asked too often.

Lanes are the wrong measure for a server that counts requests: at 10 ms a request one lane more is 100 a second more.
So a refusal sets a pace: a little below what was accepted. From there it follows the curve of CUBIC (RFC 9438):
quickly back to where refusals began, slowly around there, then faster the longer none comes.

    CUT x ceiling ──rises──> ceiling, after one horizon ──rises──> the next refusal: what was accepted is the ceiling

Where nothing has been accepted yet that could be measured, the pace is a guess that doubles until more is known. A
park costs so much that few of them must do. Each ends an episode, which tells what it can:

    nothing was accepted      an outage, not a rate: single probes, until one is accepted; then on as before it
    the first one             what a group accepts at once is its burst: the pace is a guess that doubles quickly
    the next ones             the bucket that fits: what came beyond the burst, or what a rest has refilled
    the pace limited nothing  what it was is forgotten: as the first one

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
QUICK_SECONDS = 0.25  # In which a guess doubles after the first park, if that is short; see `_conclude`.
SLOWER = 4.0  # So many times as long the next guess takes to double.
PROBES = 4.0  # a second
_FEWEST = 5  # acceptances that give a rate
_SURE = 32  # acceptances that tell a rate, where no park divides them
_KNOWN = 1.5  # Bounds this near to each other tell the rate as well.
_IDLE = 8.0  # A pace so many times above what was started limits nothing; a guess that doubles is up to 4 times above.
_MEASURED, _KEPT = 64, 256
_AT_ONCE_SECONDS = 0.001  # Starts this near to each other are at once.


class Pace:
    """The pace of one group: none until it throttles."""

    __slots__ = (
        "_accepted",
        "_began",
        "_burst",
        "_burst_seconds",
        "_ceiling",
        "_cut_at",
        "_double_seconds",
        "_guessed",
        "_horizon_seconds",
        "_parked_seconds",
        "_probes",
        "_refused_start",
        "_rested_since",
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
        self._double_seconds = HORIZON_SECONDS / GUESSES
        self._probes = False  # Nothing was accepted between the last two parks, and nothing since.
        self._rested_since = math.inf  # The first refusal since something was accepted.
        self._burst = 0  # Fewest acceptances between two parks; 0 before the first.
        self._burst_seconds = 0.0  # In which they came.
        self._begin(-math.inf)

    def _begin(self, now: float) -> None:
        """Begin an episode: what is started from one park to the next."""
        self._resumed = now
        self._began: float | None = None  # When the first of it was really executed.
        self._accepted = 0
        self._refused_start = math.inf
        self._parked_seconds = 0.0

    def start(self, now: float) -> bool:
        """Take in that an execution is sent to a lane; returns whether it is the first one after a park."""
        if self._refused_start == math.inf:
            return False
        self._conclude(now)
        return True

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
        self._probes = False
        self._accepted += 1
        self._times.append(now)
        self._starts.append(started)
        if self._guessed and not self._burst and len(self._times) - 1 == _FEWEST:
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
        elif not self._probes and started >= self._cut_at and self._refused_start == math.inf:
            before, rate = self.per_second(now), self._lately(now)
            if rate is not None:
                self._cut(now, min(before or rate, rate), guessed=len(self._times) <= _SURE)
            elif before is None or self._guessed:  # At 1/t a second few are refused until something is known.
                seconds = max(now - self._times[0], _AT_ONCE_SECONDS)
                self._cut(now, len(self._times) / seconds, guessed=True)
            else:
                self._cut(now, before * BLIND_CUT / CUT)

    def _lately(self, now: float) -> float | None:
        """Return the rate of acceptances that have ended, in the latest time that tells it."""
        number, seconds = len(self._times) - 1, now - self._times[0]
        return number / seconds if number >= _FEWEST and seconds > 0 else None

    def _cut(self, now: float, ceiling: float, *, guessed: bool = False, double_seconds: float | None = None) -> None:
        self._ceiling, self._guessed, self._cut_at = ceiling, guessed, now
        self._horizon_seconds = max(HORIZON_SECONDS, PARKS * self._parked_seconds)
        self._double_seconds = min(double_seconds or math.inf, self._horizon_seconds / GUESSES)

    def _conclude(self, now: float) -> None:
        """A park is over: say what the episode before it tells, and begin the next."""
        refused, accepted = self._refused_start, self._accepted
        if not accepted:  # Time has stood still for what is known.
            self._probes = True
            self._cut_at += now - self._resumed if self._ceiling else 0.0
            self._rested_since = min(self._rested_since, refused)
        else:
            lasted = max(refused - (refused if self._began is None else self._began), _AT_ONCE_SECONDS)
            starts = sorted(self._starts)[-accepted:]
            lately = len(starts) / max(refused - starts[0], _AT_ONCE_SECONDS)
            before = self.per_second(refused)
            if before is None or before > _IDLE * lately:
                most, fewest = accepted / lasted, accepted / (lasted + self._parked_seconds)
                quick = QUICK_SECONDS * (1 + self._parked_seconds) ** 0.25
                self._burst, self._burst_seconds = accepted, lasted
                self._cut(now, math.sqrt(fewest * most), guessed=True, double_seconds=quick)
            else:
                self._fit(now, starts, lasted, before)
            self._rested_since = refused
        self._begin(now)

    def _fit(self, now: float, starts: list[float], lasted: float, before: float) -> None:
        """Cut the pace to the bucket that fits an episode, which a refusal ended at the pace `before`."""
        accepted, most = self._accepted, min(before, self._accepted / lasted)
        rate, slower = self._filled(starts), None
        if rate is None:  # Too short to tell burst and rate apart; what the rest before it has refilled is less.
            rate = accepted / (lasted + max(0.0, self._resumed - self._rested_since))
            if accepted > self._burst and lasted > 2 * self._burst_seconds:
                rate = max(rate, (accepted - self._burst) / (lasted - self._burst_seconds))
            if most > _KNOWN * rate:
                slower = SLOWER * self._double_seconds
        if not self._guessed:  # It was nearly right, the more so, the longer.
            rate, slower = max(rate, before * (CUT if accepted >= _KEPT else BLIND_CUT)), None
        if not self._burst or accepted < self._burst:
            self._burst, self._burst_seconds = accepted, lasted
        self._cut(now, min(before, rate), guessed=slower is not None, double_seconds=slower)

    def _filled(self, starts: list[float]) -> float | None:
        """Return the rate at which a bucket fills that was full once, and empty at the refusal; None: not told."""
        rates = [
            (number - self._burst) / (lasted - self._burst_seconds)
            for number, lasted in ((len(starts) - place, self._refused_start - at) for place, at in enumerate(starts))
            if number >= max(_FEWEST, 2 * self._burst) and lasted > max(_AT_ONCE_SECONDS, 2 * self._burst_seconds)
        ]
        return max(rates, default=None)

    def per_second(self, now: float) -> float | None:
        """Return how many executions may be started a second, at `now` seconds; None: any number."""
        if self._probes:
            return PROBES
        if not self._ceiling:
            return None
        seconds = max(0.0, now - self._cut_at)
        if self._guessed:
            return self._ceiling * math.exp2(min(60.0, seconds / self._double_seconds))
        return float(self._ceiling * (1 + (1 - CUT) * (seconds / self._horizon_seconds - 1) ** 3))
