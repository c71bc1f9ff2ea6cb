"""The story of a journal: that of the last run that executed something, with the totals of all runs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import replace

from poolwise._core.story import FailureClass, Sample, Slowest, Story
from poolwise._policy.timeline import SMALL, Slices, bucket_of, histogram, plain_text
from poolwise._runtime.journal_reader import Execution, Reader

_SLOWEST = 10
_SAMPLES = 200
_UNTOLD = "The run ended before it could say what it had decided; this is told from its recorded outcomes."


def story_of(reader: Reader) -> Story:
    """Return the story.

    A run that was killed left none: what its outcomes show is told instead.

    Args:
        reader: of the journal.

    Raises:
        JournalError: it is damaged.
    """
    summary = reader.summary(_SLOWEST)
    lead = _lead(reader)
    executed = lead.done + lead.failed - lead.recorded
    counts: dict[int, int] = {}
    for each in reader.executions():
        bucket = bucket_of(each.seconds / each.count)
        counts[bucket] = counts.get(bucket, 0) + each.count
    return replace(
        lead,
        title=summary.function,
        done=summary.done,
        failed=summary.failed,
        recorded=max(0, summary.done + summary.failed - executed),
        failures=tuple(
            FailureClass(failed.name, failed.count, failed.sentence, plain_text(failed.key))
            for failed in reader.failures()
        ),
        slowest=tuple(Slowest(plain_text(slow.key), slow.seconds) for slow in summary.slowest),
        latency=histogram(counts),
    )


def _lead(reader: Reader) -> Story:
    """Return the story of the last run that executed something."""
    for past in reversed(reader.past()):
        if past.story is not None:
            return Story.from_dict(past.story)
        if not past.ended and (story := _untold(reader.executions(past.id))) is not None:
            return story
    return Story("", "Nothing was executed.", "unknown", "not known", 0.0, 0.0, 0, 0)


def _untold(executions: Iterable[Execution]) -> Story | None:
    """Return the story of a run that left none, or None where it executed nothing."""
    began, slices, lanes = math.inf, Slices(SMALL.slices), set()
    ends, counts = array("d"), array("q")
    failed, busy = 0, 0.0
    for place, each in enumerate(executions):
        began = min(began, each.started)
        slices.add(each.started, each.seconds, each.worker, each.lane, place, each.count, each.failed)
        lanes.add((each.worker, each.lane))
        ends.append(each.started + each.seconds)
        counts.append(each.count)
        failed += each.failed
        busy += each.seconds
    if not ends:
        return None
    seconds = max(ends) - began
    return Story(
        title="",
        sentence=_UNTOLD,
        kind="unknown",
        shape="not known",
        began=began,
        seconds=seconds,
        done=sum(counts) - failed,
        failed=failed,
        busy_seconds=busy,
        explanation=_UNTOLD,
        slices=slices.record(began),
        sampled=slices.share,
        samples=_samples([end - began for end in ends], counts, seconds, len(lanes)),
    )


def _samples(ends: Iterable[float], counts: Iterable[int], seconds: float, lanes: int) -> tuple[Sample, ...]:
    """Return the throughput in equal parts of the time; `lanes` is how many there were, at some time or other."""
    if seconds <= 0:
        return ()
    width = seconds / _SAMPLES
    settled = [0] * _SAMPLES
    for end, count in zip(ends, counts):
        settled[min(_SAMPLES - 1, int(end / width))] += count
    return tuple(Sample((place + 1) * width, count / width, lanes) for place, count in enumerate(settled))
