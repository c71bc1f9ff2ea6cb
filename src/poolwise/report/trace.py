"""A story as a trace: JSON in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

    the run            counters: items/s, lanes, GIL held; decisions, retries and deaths as instants
    worker 0, 1, ...   a process each
      lane 0, 1, ...   a thread each: a slice for each execution, or for each batch that was timed as a whole

A pipeline has all of these for each of its stages, whose names they bear.

Times are microseconds since the run began. Slices of one track never overlap: what overlaps is not drawn. No process or
thread has the number 0, which readers take for the system's idle task.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from poolwise._core.story import Slice, Story
from poolwise.report.files import write_whole

_RUN = 1  # Process of what belongs to no worker.
_FIRST_WORKER = 100
_STAGE = 100_000  # From the numbers of one stage to those of the next.
_TICK = 0.001  # Microseconds: readers count whole nanoseconds.


def write_trace(story: Story, path: str | os.PathLike[str]) -> None:
    """Write a story as a trace.

    Args:
        story: of a run.
        path: the file, which is replaced where it exists.

    Raises:
        UsageError: the file cannot be written.
    """
    write_whole(path, trace_json(story).encode())


def trace_json(story: Story) -> str:
    """Return the trace of a story as text."""
    dump = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    head = {"displayTimeUnit": "ms", "otherData": _about(story)}
    events = ",\n".join(map(dump, trace_events(story)))
    return f'{dump(head)[:-1]},"traceEvents":[\n{events}\n]}}\n'


def trace_events(story: Story) -> list[dict[str, Any]]:
    """Return the events: names first, then all others by time."""
    parts = [_part_events(part, place * _STAGE) for place, part in enumerate(story.stages or (story,))]
    timed = sorted((event for _, events in parts for event in events), key=lambda event: event["ts"])
    return [*(name for names, _ in parts for name in names), *timed]


def _part_events(story: Story, base: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the names, and all other events, of a run or of one stage; `base` is added to numbers of processes."""
    tracks: dict[tuple[int, int], list[Slice]] = {}
    for part in story.slices:
        tracks.setdefault((part.worker, part.lane), []).append(part)
    name = story.stage or story.title.rpartition(":")[2].rpartition(".")[2] or "item"
    timed = [event for track in sorted(tracks) for event in _slices(name, tracks[track])]
    timed += _counters(story)
    timed += _instants(story)
    names = list(_names(story, sorted(tracks), base))
    for event in (*names, *timed):
        event["pid"] += base
    return names, timed


def _about(story: Story) -> dict[str, Any]:
    return {
        "function": story.title,
        "sentence": story.sentence,
        "shape": story.shape,
        "began_unix_seconds": story.began,
        "seconds": story.seconds,
        "done": story.done,
        "failed": story.failed,
        "slices_kept": story.sampled,
        "host": {name: str(fact) for name, fact in story.host.items()},
    }


def _names(story: Story, tracks: list[tuple[int, int]], first: int) -> Iterator[dict[str, Any]]:
    stage = f"{story.stage}: " if story.stage else ""
    yield _meta("process_name", _RUN, name=f"{stage}the run of {story.title}, {story.shape}")
    yield _meta("process_sort_index", _RUN, sort_index=first)
    for worker in sorted({worker for worker, _ in tracks}):
        what = "the calling process" if worker == 0 else "a child process"
        yield _meta("process_name", _FIRST_WORKER + worker, name=f"{stage}worker {worker} ({what})")
        yield _meta("process_sort_index", _FIRST_WORKER + worker, sort_index=first + 1 + worker)
    for worker, lane in tracks:
        yield _meta("thread_name", _FIRST_WORKER + worker, lane + 1, name=f"lane {lane}")
        yield _meta("thread_sort_index", _FIRST_WORKER + worker, lane + 1, sort_index=lane)


def _meta(kind: str, pid: int, tid: int | None = None, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": pid if tid is None else tid, "args": args}


def _slices(name: str, track: list[Slice]) -> Iterator[dict[str, Any]]:
    """Yield the slices of one track. One that another begins in ends there: clocks of slots are milliseconds."""
    for part, following in zip(track, [*track[1:], None]):
        start = _microseconds(part.start)
        end = _microseconds(part.start + part.seconds)
        if following is not None:
            end = min(end, _microseconds(following.start))
        yield {
            "ph": "X",
            "name": name,
            "cat": "item",
            "pid": _FIRST_WORKER + part.worker,
            "tid": part.lane + 1,
            "ts": start,
            "dur": max(0.0, round(end - start - _TICK, 3)),
            "args": {"index": part.index, "count": part.count, "failed": part.failed},
        }


def _counters(story: Story) -> Iterator[dict[str, Any]]:
    """Yield the counters. A throughput, and a share, are those of the time since the sample before."""
    since = 0.0
    for sample in story.samples:
        yield _counter("throughput", since, "items/s", sample.per_second)
        yield _counter("lanes", sample.at, "lanes", sample.lanes)
        if sample.held is not None:
            yield _counter("GIL held", since, "%", 100 * sample.held)
        since = sample.at
    if story.samples:
        yield _counter("throughput", since, "items/s", 0.0)


def _counter(name: str, at: float, unit: str, value: float) -> dict[str, Any]:
    event = {"ph": "C", "name": name, "pid": _RUN, "tid": _RUN, "ts": _microseconds(at)}
    return event | {"args": {unit: round(value, 3)}}


def _instants(story: Story) -> Iterator[dict[str, Any]]:
    for mark in story.marks:
        scope = "g" if mark.kind == "decision" else "p"
        event = {"ph": "i", "name": mark.kind, "cat": mark.kind, "pid": _RUN, "tid": _RUN, "s": scope}
        yield event | {"ts": _microseconds(mark.at), "args": {"text": mark.text}}


def _microseconds(seconds: float) -> float:
    return round(max(0.0, seconds) * 1e6, 3)
