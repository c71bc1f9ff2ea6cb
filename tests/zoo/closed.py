"""Groups in front of simulated servers, on a clock of their own: what the engine does with groups, and no more."""

from __future__ import annotations

import copy
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from poolwise._core.job import GroupLimits
from poolwise._core.model import Span
from poolwise._policy.groups import Groups
from poolwise._policy.pending import Refusal
from poolwise._policy.window import LOOK_AHEAD
from poolwise.testing import Answer, FakeClock, Server

REFUSAL_SECONDS = 0.001


class Outages:
    """A server that refuses everything at times.

    Args:
        server: what it is otherwise.
        times: begin and end of each outage, in seconds.
    """

    def __init__(self, server: Server, times: Sequence[tuple[float, float]]) -> None:
        self.server = server
        self.times = times

    def answer(self, now: float, busy: int, random: Random) -> Answer:
        """Refuse, or have the server answer."""
        if any(begin <= now < end for begin, end in self.times):
            return Answer(now + REFUSAL_SECONDS, True)
        return self.server.answer(now, busy, random)

    def optimum(self, most: int) -> tuple[float, int]:
        """Return the optimum of the server."""
        return self.server.optimum(most)


Item = tuple[Any, int]
"""Group and number."""


@dataclass
class End:
    """One execution that ended: when, of which group, whether it was refused."""

    at: float
    group: Any
    refused: bool


@dataclass
class Run:
    """What happened."""

    ends: list[End] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    starts: list[tuple[float, Any]] = field(default_factory=list)
    most_flying: Counter[Any] = field(default_factory=Counter)
    most_pending: int = 0

    def served(self, group: Any, begin: float = 0.0, end: float = float("inf")) -> int:
        """How many of a group were served between two times."""
        return sum(1 for e in self.ends if e.group == group and not e.refused and begin <= e.at < end)

    def per_second(self, group: Any, share: float = 1 / 3) -> float:
        """Throughput of a group after that share of its time, up to its last end."""
        last = max(e.at for e in self.ends if e.group == group)
        return self.served(group, share * last, last) / (last * (1 - share))

    def last(self, group: Any) -> float:
        """When the last of a group was served."""
        return max(e.at for e in self.ends if e.group == group and not e.refused)

    def parks(self, group: Any, seconds: float) -> int:
        """How often a group was parked, where each refusal parks it for so long."""
        parks, until = 0, -1.0
        for e in self.ends:
            if e.group == group and e.refused:
                parks += e.at >= until
                until = e.at + seconds
        return parks

    def refused_after(self, number: int) -> float:
        """Share of refused executions after the first so many."""
        later = self.ends[number:]
        return sum(e.refused for e in later) / max(1, len(later))


def run_groups(
    items: Iterable[Item],
    servers: Mapping[Any, Server],
    *,
    limits: GroupLimits | None = None,
    most: int = 512,
    retry_after: float | None = None,
    back_off: float = 0.2,
    seed: int = 0,
    until: float = float("inf"),
    weight: Callable[[Item], int] | None = None,
    buffered_bytes: int = 1 << 30,
    groups: Groups | None = None,
) -> Run:
    """Run items through servers, one a group.

    Args:
        items: the input.
        servers: by group; what refuses, throttles.
        limits: of a group.
        most: lanes.
        retry_after: seconds that a refusal parks its group for, or None: it only says that it is asked too often.
        back_off: seconds until a refused item may start again, where its group is not parked; half of it is random.
        seed: of everything random.
        until: clock reading at which to stop.
        weight: of an item.
        buffered_bytes: that what is in flight may weigh.
        groups: to be used instead of new ones.
    """
    groups = groups or Groups(lambda item: item[0], limits or GroupLimits(), weight, most, lambda: buffered_bytes)
    clock, random, run = FakeClock(), Random(seed), Run()
    servers = copy.deepcopy(servers)
    source, exhausted = enumerate(items), False
    taken: dict[int, Item] = {}
    flying: list[tuple[float, int, float, bool, int]] = []  # ends at, index, began at, failed, attempt
    busy: Counter[Any] = Counter()
    while clock.now() < until:
        while not exhausted and len(taken) < 4 * groups.lanes + min(groups.surplus, LOOK_AHEAD):
            pair = next(source, None)
            if pair is None:
                exhausted = True
                break
            taken[pair[0]] = pair[1]
            groups.add(Span(range(pair[0], pair[0] + 1), [pair[1]]))
        run.most_pending = max(run.most_pending, groups.count)
        groups.advance(clock.now())
        while groups.ready and len(flying) < groups.lanes:
            span = groups.take(1)
            key = span.items[0][0]
            busy[key] += 1
            run.most_flying[key] = max(run.most_flying[key], busy[key])
            run.starts.append((clock.now(), key))
            answer = servers[key].answer(clock.now(), busy[key], random)
            heapq.heappush(flying, (answer.ends_at, span.indexes[0], clock.now(), answer.failed, span.attempt))
        if exhausted and not taken:
            break
        at = min(flying[0][0] if flying else float("inf"), groups.next_at)
        clock.advance(max(0.0, at - clock.now()))
        while flying and flying[0][0] <= clock.now():
            _, index, began, failed, attempt = heapq.heappop(flying)
            item, now = taken[index], clock.now()
            busy[item[0]] -= 1
            run.ends.append(End(now, item[0], failed))
            if not failed:
                groups.end(index, now, began, now - began, None)
                groups.forget([index])
                run.settled.append(index)
                del taken[index]
                continue
            due = now + (back_off * (0.5 + random.random() / 2) if retry_after is None else retry_after)
            groups.end(index, now, began, now - began, Refusal(True, None if retry_after is None else due))
            groups.add_retry(due, Span([index], [item], attempt + 1))
    return run
