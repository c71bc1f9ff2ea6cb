"""A strict reader of traces, after "Trace Event Format" (the document of chrome://tracing) and what Perfetto wants."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import Any

Event = dict[str, Any]

_KEYS = {
    "M": {"ph", "name", "pid", "tid", "args"},
    "X": {"ph", "name", "cat", "pid", "tid", "ts", "dur", "args"},
    "C": {"ph", "name", "pid", "tid", "ts", "args"},
    "i": {"ph", "name", "cat", "pid", "tid", "ts", "s", "args"},
}
_META = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}


def read_trace(text: str) -> list[Event]:
    """Check a trace of ours, every event by its phase and every track for overlaps; return its events."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    trace = json.loads(text, parse_constant=refuse)
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events: list[Event] = trace["traceEvents"]
    for event in events:
        _check(event)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    _check_tracks(events)
    return events


def _check(event: Event) -> None:
    phase = event["ph"]
    assert set(event) == _KEYS[phase], event
    assert isinstance(event["name"], str)
    assert event["name"]
    assert all(type(event[key]) is int and event[key] > 0 for key in ("pid", "tid")), event  # 0 is the idle task's.
    assert isinstance(event["args"], dict)
    if phase != "M":
        assert isinstance(event["ts"], (int, float))
        assert event["ts"] >= 0
    if phase == "M":
        name, kind = _META[event["name"]]
        assert set(event["args"]) == {name}
        assert type(event["args"][name]) is kind
    elif phase == "X":
        assert isinstance(event["dur"], (int, float))
        assert event["dur"] >= 0
        assert {name: type(value) for name, value in event["args"].items()} == {
            "index": int,
            "count": int,
            "failed": int,
        }
    elif phase == "C":
        assert event["args"]
        assert all(type(value) in (int, float) for value in event["args"].values()), event
    else:
        assert event["s"] in ("g", "p", "t")


def _check_tracks(events: list[Event]) -> None:
    tracks: dict[tuple[int, int], list[Event]] = defaultdict(list)
    named = {(event["name"], event["pid"], event["tid"]) for event in events if event["ph"] == "M"}
    for event in events:
        assert ("process_name", event["pid"], event["pid"]) in named, event
        if event["ph"] == "X":
            assert ("thread_name", event["pid"], event["tid"]) in named, event
            tracks[event["pid"], event["tid"]].append(event)
    for track in tracks.values():
        for before, after in itertools.pairwise(track):
            # In whole nanoseconds, which is how they are read.
            assert round((before["ts"] + before["dur"]) * 1000) <= round(after["ts"] * 1000), (before, after)


def of_phase(events: list[Event], phase: str) -> list[Event]:
    """Return the events of one phase, in order."""
    return [event for event in events if event["ph"] == phase]
