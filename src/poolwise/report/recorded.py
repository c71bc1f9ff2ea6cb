"""The story of a journal: that of the last run that executed something, with the totals of all runs."""

from __future__ import annotations

import math
from dataclasses import replace

from poolwise._core.story import FailureClass, Sample, Slowest, Story
from poolwise._policy.timeline import SMALL, Slices, bucket_of, histogram, plain_text
from poolwise._runtime.journal_reader import Reader

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
    with reader.at_one_time():
        return _story_of(reader)


def _story_of(reader: Reader) -> Story:
    summary = reader.summary(_SLOWEST)
    lead = _lead(reader)
    executed = lead.done + lead.failed - lead.recorded
    counts: dict[int, int] = {}
    for seconds in reader.seconds():
        bucket = bucket_of(seconds)
        counts[bucket] = counts.get(bucket, 0) + 1
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
        if not past.ended and (story := _untold(reader, past.id)) is not None:
            return story
    return Story("", "Nothing was executed.", "unknown", "not known", 0.0, 0.0, 0, 0)


def _untold(reader: Reader, run: int) -> Story | None:
    """Return the story of a run that left none, or None where it executed nothing."""
    began, end, lanes = math.inf, -math.inf, set()
    for each in reader.executions(run):
        began, end = min(began, each.started), max(end, each.started + each.seconds)
        lanes.add((each.worker, each.lane))
    if not lanes:
        return None
    slices, settled, width = Slices(SMALL.slices), [0] * _SAMPLES, max(end - began, 1e-9) / _SAMPLES
    count, failed, busy = 0, 0, 0.0
    for each in reader.executions(run):  # Once more, as there may be more of them than memory holds.
        slices.add(each.started, each.seconds, each.worker, each.lane, count, each.count, each.failed)
        settled[min(_SAMPLES - 1, int((each.started + each.seconds - began) / width))] += each.count
        count += each.count
        failed += each.failed
        busy += each.seconds
    return Story(
        title="",
        sentence=_UNTOLD,
        kind="unknown",
        shape="not known",
        began=began,
        seconds=end - began,
        done=count - failed,
        failed=failed,
        busy_seconds=busy,
        explanation=_UNTOLD,
        slices=slices.record(began),
        sampled=slices.share,
        # How many lanes there were is known of the whole time only.
        samples=tuple(Sample((place + 1) * width, many / width, len(lanes)) for place, many in enumerate(settled)),
    )
