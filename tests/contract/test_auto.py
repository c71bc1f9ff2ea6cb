"""`shape="auto"`: it measures while it works, so nothing that it does may cost an item or run one twice."""

from __future__ import annotations

import asyncio
import collections
import functools
import hashlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Limits
from poolwise._api import run_job
from poolwise._core.job import Job
from poolwise._runtime import host, server
from zoo.marks import add_line, lines

BLOCK = bytes(1_000_000)


def _python(x: int) -> None:
    sum(range(20_000))


def _hash(x: int) -> None:
    hashlib.sha256(BLOCK).digest()


def _sleep(x: int) -> None:
    time.sleep(0.002)


def _sleep_long(x: int) -> None:
    time.sleep(0.02)


def _mixed(x: int) -> None:
    sum(range(20_000))
    hashlib.sha256(BLOCK).digest()
    time.sleep(0.001)


def _nothing(x: int) -> None:
    pass


def _uneven(x: int) -> None:
    time.sleep(0.05 if x % 97 == 5 else 0.0005)


def _command(x: int) -> None:
    subprocess.run([sys.executable, "-S", "-E", "-c", "pass"], check=True)


WORK = {
    "python": (_python, 2500),
    "hash": (_hash, 1200),
    "sleep": (_sleep, 3000),
    "mixed": (_mixed, 700),
    "nothing": (_nothing, 30_000),
    "uneven": (_uneven, 1500),
    "command": (_command, 40),
}


def counted(folder: Path, work: Callable[[int], None], x: int) -> int:
    """Do the work, note the call, and give something to check."""
    work(x)
    add_line(folder / "calls", x)
    return x * 3


def assert_each_once(folder: Path, count: int) -> None:
    """Each item was executed exactly once, as the items themselves say."""
    calls = collections.Counter(int(line) for line in lines(folder / "calls"))
    assert calls == collections.Counter(range(count))


@pytest.mark.parametrize("hint", [None, "io", "cpu"])
@pytest.mark.parametrize("name", WORK)
def test_each_item_runs_once(name: str, hint: Any, tmp_path: Path) -> None:
    """Whatever kind of work it is and whatever is tried: every item once, every value in order."""
    work, count = WORK[name]
    results = poolwise.map(lambda x: counted(tmp_path, work, x), range(count), hint=hint)
    assert list(results) == [x * 3 for x in range(count)]
    assert_each_once(tmp_path, count)
    assert results.plan.kind in ("io", "gil", "cpu", "mixed", "tiny", "transfer", "unknown")
    assert results.plan.explain()


@pytest.mark.parametrize("name", ["python", "sleep", "uneven"])
def test_unknown_length(name: str, tmp_path: Path) -> None:
    """The same of a generator, with `run`, as outcomes come."""
    work, count = WORK[name]
    items = (x for x in range(count))
    got = {outcome.index: outcome.unwrap() for outcome in poolwise.run(lambda x: counted(tmp_path, work, x), items)}
    assert got == {x: x * 3 for x in range(count)}
    assert_each_once(tmp_path, count)


def test_coroutines_run_once(tmp_path: Path) -> None:
    """The same of a coroutine function."""

    async def work(x: int) -> int:
        await asyncio.sleep(0.002)
        add_line(tmp_path / "calls", x)
        return x * 3

    assert list(poolwise.map(work, range(2000))) == [x * 3 for x in range(2000)]
    assert_each_once(tmp_path, 2000)


def test_the_cpu_of_coroutines_in_child_processes_is_seen() -> None:
    """It is not this process that uses it."""

    async def burn(_: int) -> None:
        await asyncio.sleep(0.002)
        began = time.thread_time()
        while time.thread_time() - began < 0.003:
            pass

    run = poolwise.run(burn, range(300), isolate=True)
    assert all(outcome.ok for outcome in run)
    demands = run.report().plan.demands
    assert demands is not None
    assert demands.cpu.value > 0.0025


@pytest.mark.skipif(host.usable_cores() < 2, reason="with one core there are no further processes")
def test_what_is_known_to_take_one_process_too_long_moves_at_once(tmp_path: Path) -> None:
    """Lanes begin here, and go on in worker processes when these are there: every item once."""

    async def work(x: int) -> int:
        await asyncio.sleep(0.005)
        add_line(tmp_path / "calls", x)
        return os.getpid()

    run = run_job(work, range(3000), Job(cpu_seconds=0.01), limits=Limits(lanes=8))
    pids = {outcome.unwrap() for outcome in run}
    assert_each_once(tmp_path, 3000)
    assert pids > {os.getpid()}
    assert "worker processes from the start" in run.report().plan.explain()


@pytest.mark.parametrize(
    "options", [{"isolate": True}, {"timeout": 30.0}, {"limits": Limits(items_per_worker=50)}], ids=str
)
@pytest.mark.parametrize("name", ["python", "sleep"])
def test_options_that_ask_for_children(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Where an option asks for child processes, no item runs in this one, and each once."""
    work, _ = WORK[name]

    def where(x: int) -> int:
        counted(tmp_path, work, x)
        return os.getpid()

    pids = set(poolwise.map(where, range(600), **options))
    assert os.getpid() not in pids
    assert_each_once(tmp_path, 600)


@pytest.mark.parametrize(
    "limits",
    [Limits(workers=1), Limits(lanes=1), Limits(in_flight=3), Limits(per_second=2000), Limits(memory=1 << 40)],
    ids=str,
)
@pytest.mark.parametrize("name", ["python", "sleep", "mixed"])
def test_limits_hold(name: str, limits: Limits, tmp_path: Path) -> None:
    """With each limit: every item once."""
    work, _ = WORK[name]
    assert list(poolwise.map(lambda x: counted(tmp_path, work, x), range(500), limits=limits)) == [
        x * 3 for x in range(500)
    ]
    assert_each_once(tmp_path, 500)


def test_what_cannot_be_sent_stays_here() -> None:
    """A function that captures a lock runs in this process, and the plan says why."""
    lock = threading.Lock()

    def work(x: int) -> int:
        with lock:
            return sum(range(20_000)) and os.getpid()

    results = poolwise.map(work, range(3000))
    assert set(results) == {os.getpid()}
    reasons = " ".join(results.plan.reasons)
    assert "lock" in reasons or results.plan.shape.workers == 1


def test_values_that_cannot_be_sent_stay_here() -> None:
    """A function whose values cannot be pickled runs in this process; no item is lost to the search for speed."""

    def work(x: int) -> Any:
        sum(range(20_000))
        return threading.Lock()

    outcomes = list(poolwise.run(work, range(3000)))
    assert all(outcome.ok for outcome in outcomes)
    assert {outcome.worker for outcome in outcomes} == {0}


def test_workers_that_cannot_start_are_no_error(tmp_path: Path) -> None:
    """Where the function cannot be set up in child processes, the run goes on without them, and says so."""
    here = os.getpid()

    def only_here() -> None:
        if os.getpid() != here:
            raise RuntimeError("not in a child")

    results = poolwise.map(lambda x: counted(tmp_path, _python, x), range(3000), setup=only_here)
    assert list(results) == [x * 3 for x in range(3000)]
    assert_each_once(tmp_path, 3000)
    assert results.plan.shape.workers == 1


def test_processes_that_cannot_start_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the system starts none; asked for by name, that is one sentence."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(server, "_server", None)
    monkeypatch.setattr("subprocess.Popen", refuse)
    results = poolwise.map(functools.partial(counted, tmp_path, _python), range(3000))
    assert list(results) == [x * 3 for x in range(3000)]
    assert_each_once(tmp_path, 3000)
    assert results.plan.shape.workers == 1
    with pytest.raises(poolwise.BackendError, match=r"no process can be started: .*temporarily"):
        list(poolwise.map(abs, range(3), shape="2x1"))


def test_lanes_that_cannot_be_had_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many open files, the caller's thread works on; asked for by name, that is one sentence."""

    def refuse(*_: object, **__: object) -> None:
        refuse_file()

    monkeypatch.setattr("socket.socketpair", refuse)
    results = poolwise.map(functools.partial(counted, tmp_path, _sleep), range(50))
    assert list(results) == [x * 3 for x in range(50)]
    assert_each_once(tmp_path, 50)
    assert str(results.plan.shape) == "1x1"
    assert any("opens no further file" in reason for reason in results.plan.reasons)
    for shape in ("1x4", "2x1"):
        with pytest.raises(poolwise.BackendError, match=r"opens no further file \(.*Too many open files\); raise"):
            list(poolwise.map(abs, range(3), shape=shape))


def test_too_many_open_files_end_no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forkserver, whose end is that of all workers, stays."""
    assert list(poolwise.map(abs, range(3), shape="2x1")) == [0, 1, 2]
    process = server._server
    assert process is not None
    opened = socket.socketpair
    for most in range(4):
        left = list(range(most))
        monkeypatch.setattr(
            "socket.socketpair", lambda left=left: opened() if left and left.pop() >= 0 else refuse_file()
        )
        with pytest.raises(poolwise.BackendError, match="opens no further file"):
            list(poolwise.map(abs, range(3), shape="2x1"))
    assert server._server is process
    monkeypatch.undo()
    assert list(poolwise.map(abs, range(3), shape="2x1")) == [0, 1, 2]


def refuse_file() -> Any:
    raise OSError(24, "Too many open files")


def test_children_that_can_start_no_thread() -> None:
    """One sentence says so; a worker is not started again and again."""

    def no_thread() -> None:
        def refuse(_: object) -> None:
            raise RuntimeError("can't start new thread")

        threading.Thread.start = refuse  # type: ignore[method-assign]

    with pytest.raises(poolwise.BackendError, match=r"child process cannot be started: .*starts no thread"):
        list(poolwise.map(abs, range(9), shape="2x2", setup=no_thread))


def test_what_a_lane_stands_in_line_for_is_known_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that executes the first item is asked about while it does."""
    asked: list[tuple[list[int], int]] = []
    executed: list[int] = []
    is_asked = threading.Event()

    def delayed(threads: list[int]) -> float:
        asked.append((list(threads), len(executed)))
        is_asked.set()
        return 0.0

    def item(number: int) -> None:
        assert is_asked.wait(30.0)
        executed.append(number)

    monkeypatch.setattr("poolwise._helm.delayed_seconds", delayed)
    assert len(list(poolwise.map(item, range(5)))) == 5
    assert asked[0] == ([threading.get_native_id()], 0)


@pytest.mark.parametrize("name", ["python", "sleep", "mixed"])
def test_failures_on_the_way(name: str, tmp_path: Path) -> None:
    """Items that fail are reported, once each, whatever shape they meet; with a retry they run again, and succeed."""
    work, count = WORK[name]

    def flaky(x: int) -> int:
        counted(tmp_path, work, x)
        if x % 10 == 3:
            raise ValueError(x)
        return x

    outcomes = sorted(poolwise.run(flaky, range(count)), key=lambda outcome: outcome.index)
    assert [outcome.ok for outcome in outcomes] == [x % 10 != 3 for x in range(count)]
    assert_each_once(tmp_path, count)


def test_map_raises_at_its_place() -> None:
    """`map` gives every value before the first failed item, then its exception, also in the middle of a trial."""

    def fail_late(x: int) -> int:
        sum(range(20_000))
        if x == 400:
            raise KeyError(x)
        return x

    got: list[int] = []
    with pytest.raises(KeyError):
        got.extend(poolwise.map(fail_late, range(3000)))
    assert got == list(range(400))


@pytest.mark.parametrize("stop_at", [1, 10, 60, 150, 400])
@pytest.mark.parametrize("way", ["drain", "cancel", "drop", "input"])
def test_ends_at_any_moment(way: str, stop_at: int, tmp_path: Path) -> None:
    """Drained, cancelled, dropped, or its input failing, at any moment of the measuring: nothing runs twice."""

    def source() -> Iterator[int]:
        for x in itertools.count():
            if way == "input" and x == stop_at:
                raise OSError("the input ends here")
            yield x

    results = poolwise.map(lambda x: counted(tmp_path, _python, x), source())
    got: list[int] = []
    try:
        for value in results:
            got.append(value)
            if len(got) == stop_at and way == "drain":
                results.drain()
            if len(got) == stop_at and way == "cancel":
                results.cancel()
            if len(got) == stop_at and way == "drop":
                break
    except OSError:
        assert way == "input"
    del results
    assert got == [x * 3 for x in range(len(got))]
    calls = collections.Counter(int(line) for line in lines(tmp_path / "calls"))
    assert set(calls.values()) == {1}
    if way in ("drain", "input"):
        assert sorted(calls) == list(range(len(got)))


def test_nested_auto_stays_inside() -> None:
    """An auto run inside a worker or a lane has one lane, and no children of its own."""

    def inner(x: int) -> set[int]:
        return set(poolwise.map(lambda y: sum(range(2000)) and os.getpid(), range(50))) | {os.getpid()}

    for pids in poolwise.map(inner, range(6), shape="2x1"):
        assert len(pids) == 1


def test_profile_runs_the_first_items_once(tmp_path: Path) -> None:
    """`profile` takes items for a while, each once, says how many, and leaves the rest."""
    source = iter(range(100_000))
    profile = poolwise.profile(lambda x: counted(tmp_path, _sleep_long, x), source, seconds=0.3)
    assert_each_once(tmp_path, profile.items)
    assert next(source) == profile.items
    assert profile.kind in ("io", "mixed", "unknown")  # On a busy machine the little that it computes takes long.
    assert f"{profile.items:,} items" in profile.explain()


def test_profile_counts_failures() -> None:
    """Items that fail are counted by class; the profile raises nothing."""
    profile = poolwise.profile(lambda x: 1 / (x % 2), range(50))
    assert (profile.items, profile.failed, dict(profile.failures)) == (50, 25, {"ZeroDivisionError": 25})


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1"])
def test_profile_refuses_seconds(seconds: Any) -> None:
    """Seconds that cannot be meant are a UsageError before anything runs."""
    with pytest.raises(poolwise.UsageError, match="seconds"):
        poolwise.profile(abs, [1], seconds=seconds)


@pytest.mark.parametrize("megabytes", [1, 100_000])
def test_memory_caps_workers(megabytes: int, tmp_path: Path) -> None:
    """`limits.memory` keeps workers away that it has no room for, and costs no item."""
    limits = Limits(memory=megabytes << 20)
    results = poolwise.map(lambda x: counted(tmp_path, _python, x), range(2500), limits=limits)
    assert list(results) == [x * 3 for x in range(2500)]
    assert_each_once(tmp_path, 2500)
    if megabytes == 1:
        assert results.plan.shape.workers == 1


def test_workers_that_grow_are_capped(tmp_path: Path) -> None:
    """Workers that come to hold more than `limits.memory` has room for become fewer in the middle of the run."""
    here = os.getpid()
    kept: list[bytearray] = []

    def grow(x: int) -> int:
        if os.getpid() != here and len(kept) < 40:
            kept.append(bytearray(b"x" * 10_000_000))
        return counted(tmp_path, _python, x)

    results = poolwise.map(grow, range(6000), limits=Limits(memory=600 << 20))
    assert list(results) == [x * 3 for x in range(6000)]
    assert_each_once(tmp_path, 6000)
