"""Design 4: setup, `limits.items_per_worker`, `isolate`, `on_lost`; and crashes as the contract words them."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Limits
from zoo import items
from zoo.marks import add_line, lines
from zoo.steps import Steps
from zoo.ways import Way, in_children, plain, plain_in_children


def test_setup_runs_once_in_each_worker(way: Way, tmp_path: Path) -> None:
    """`setup` runs once in each worker, before its first item."""

    def setup() -> None:
        add_line(tmp_path / "setup", os.getpid())

    def work(x: int) -> tuple[int, bool]:
        time.sleep(0.005)
        return os.getpid(), str(os.getpid()) in lines(tmp_path / "setup")

    results = list(way.map(way.fn(work), range(30), setup=setup))
    assert all(ready for _, ready in results)
    counts = collections.Counter(map(int, lines(tmp_path / "setup")))
    assert {pid for pid, _ in results} <= set(counts)
    assert set(counts.values()) == {1}
    assert len(counts) <= way.workers


def test_failing_setup_is_a_backend_error(way: Way) -> None:
    """A setup that raises is nobody's item: `map` and `run` raise BackendError, which says what went wrong."""
    for call in (way.map, way.run):
        with pytest.raises(poolwise.BackendError, match="model file is missing"):
            list(call(way.fn(items.double), range(5), setup=items.fail_setup))


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit])
@pytest.mark.parametrize("shape", ["auto", "serial", "1x2", "2x1"])
def test_setup_that_raises_something_else(shape: str, error: type[BaseException]) -> None:
    """Nor does a setup end the caller's program by SystemExit or the like; KeyboardInterrupt stays what it is here."""

    def setup(error: type[BaseException] = error) -> None:
        raise error("model file is missing")

    with pytest.raises(poolwise.BackendError, match=f"{error.__name__}: model file is missing"):
        list(poolwise.map(items.double, range(5), shape=shape, setup=setup))
    if shape in ("serial", "1x2"):
        with pytest.raises(KeyboardInterrupt):
            list(poolwise.map(items.double, range(5), shape=shape, setup=functools.partial(setup, KeyboardInterrupt)))


async def _set_up_later() -> None:
    """Stand for a setup that nobody would await."""


@pytest.mark.parametrize("shape", ["auto", "serial", "2x1"])
def test_setup_that_nobody_awaits(shape: str) -> None:
    """A coroutine function as setup is a UsageError, and one that only returns an awaitable a BackendError."""
    with pytest.raises(poolwise.UsageError, match=r"setup is .* coroutine function"):
        poolwise.map(items.double, range(5), shape=shape, setup=functools.partial(_set_up_later))
    with pytest.raises(poolwise.BackendError, match=r"setup failed: .*awaitable"):
        list(poolwise.map(items.double, range(5), shape=shape, setup=lambda: _set_up_later()))


@in_children
def test_dying_setup_is_a_backend_error(way: Way) -> None:
    """A setup that kills its worker is a BackendError too, not an endless row of workers."""
    with pytest.raises(poolwise.BackendError):
        list(way.run(way.fn(items.double), range(5), setup=items.die_in_setup))


@in_children
def test_items_per_worker(way: Way) -> None:
    """`limits.items_per_worker` replaces each process after so many items."""
    pids = list(way.map(way.fn(items.pid_of), range(20), limits=Limits(items_per_worker=3)))
    counts = collections.Counter(pids)
    assert len(pids) == 20
    assert max(counts.values()) <= 3
    assert len(counts) >= 7


@in_children
def test_items_per_worker_with_setup(way: Way, tmp_path: Path) -> None:
    """A replaced worker runs `setup` again."""

    def setup() -> None:
        add_line(tmp_path / "setup", os.getpid())

    limits = Limits(items_per_worker=2)
    pids = set(way.map(way.fn(items.pid_of), range(8), setup=setup, limits=limits))
    assert {str(pid) for pid in pids} <= set(lines(tmp_path / "setup"))
    assert len(pids) >= 4


@pytest.mark.parametrize("shape", ["auto", "1x1", "2x1"])
def test_isolate_never_runs_in_the_caller(shape: str) -> None:
    """`isolate=True`: every call runs in a child process, one at a time in each."""
    seen = list(poolwise.map(functools.partial(items.most_at_once, 0.005), range(30), shape=shape, isolate=True))
    assert os.getpid() not in {pid for pid, _ in seen}
    assert {most for _, most in seen} == {1}


@plain
def test_shapes_run_where_they_say(way: Way) -> None:
    """`1x1` in the caller's thread, `1xT` on threads of the calling process, everything else in child processes."""
    seen = set(way.map(items.thread_of, range(40)))
    pids = {pid for pid, _ in seen}
    if way.inline:
        assert seen == {(os.getpid(), threading.get_ident())}
    elif not way.children:
        assert pids == {os.getpid()}
        assert threading.get_ident() not in {thread for _, thread in seen}
        assert len(seen) <= way.total
    else:
        assert os.getpid() not in pids
        assert len(pids) <= way.workers


def test_auto_without_children() -> None:
    """`auto` without isolate and timeout never leaves the calling process needlessly for a tiny batch."""
    assert list(poolwise.map(items.double, range(20))) == list(range(0, 40, 2))


def _victims(folder: Path) -> Any:
    return Steps(functools.partial(items.victim, folder))


def test_on_lost_rerun(tmp_path: Path) -> None:
    """`on_lost="rerun"`: a lane-mate that was running runs again, uncounted; only the guilty item is lost."""
    outcomes = list(poolwise.run(_victims(tmp_path), range(4), shape="2x2", ordered=True))
    assert [o.value for o in outcomes] == [None, 1, 2, 3]
    assert type(outcomes[0].error) is poolwise.TaskLost
    assert outcomes[0].error.signal == "SIGKILL"
    assert {o.attempts for o in outcomes} == {1}
    calls = collections.Counter(lines(tmp_path / "calls"))
    mates = [x for x in (1, 2, 3) if lines(tmp_path / f"met-{x}")[0] == lines(tmp_path / "met-0")[0]]
    assert len(mates) == 1
    assert [calls[str(x)] for x in (1, 2, 3)] == [1 + (x in mates) for x in (1, 2, 3)]


def test_on_lost_fail(tmp_path: Path) -> None:
    """`on_lost="fail"`: the lane-mate is TaskLost too, and nothing is executed twice."""
    outcomes = list(poolwise.run(_victims(tmp_path), range(4), shape="2x2", ordered=True, on_lost="fail"))
    guilty = lines(tmp_path / "met-0")[0]
    lost = [x for x in range(4) if lines(tmp_path / f"met-{x}")[0] == guilty]
    assert len(lost) == 2
    assert [o.index for o in outcomes if not o.ok] == lost
    for x in lost:
        assert type(outcomes[x].error) is poolwise.TaskLost
        assert outcomes[x].error.signal == "SIGKILL"
    assert sorted(lines(tmp_path / "calls")) == ["0", "1", "2", "3"]


@plain_in_children
@pytest.mark.parametrize("on_lost", ["rerun", "fail"])
def test_unstarted_items_are_never_lost(way: Way, on_lost: str) -> None:
    """Items that had not started when the worker died run elsewhere, whatever `on_lost` says."""

    def die_at_3(x: int) -> int:
        time.sleep(0.06)  # so that what finished before has left the worker
        if x == 3:
            os._exit(0)
        return x

    outcomes = list(way.run(die_at_3, range(14), on_lost=on_lost, ordered=True))
    assert type(outcomes[3].error) is poolwise.TaskLost
    assert outcomes[3].error.exitcode == 0
    lost = [o.index for o in outcomes if not o.ok]
    assert lost == [3] if on_lost == "rerun" or way.total == way.workers else len(lost) <= way.total
    assert [o.value for o in outcomes if o.ok] == [x for x in range(14) if x not in lost]


@plain_in_children
def test_guilty_item_runs_once_where_it_is_certain(way: Way, tmp_path: Path) -> None:
    """With one lane a worker the guilty item is known exactly: nothing is executed twice."""
    if way.total != way.workers:
        pytest.skip("with several lanes a worker the suspects run again alone")

    def die_at_5(x: int) -> int:
        add_line(tmp_path / "calls", x)
        time.sleep(0.06)
        if x == 5:
            os._exit(3)
        return x

    outcomes = list(way.run(die_at_5, range(12), ordered=True))
    assert [o.index for o in outcomes if not o.ok] == [5]
    assert lines(tmp_path / "calls").count("5") == 1


@plain_in_children
def test_map_raises_task_lost(way: Way) -> None:
    """`map` raises TaskLost in the item's place, naming the exit code."""

    def die_at_2(x: int) -> int:
        if x == 2:
            os._exit(7)
        return x

    got: list[int] = []
    with pytest.raises(poolwise.TaskLost, match="7") as caught:
        got.extend(way.map(die_at_2, range(6)))
    assert got == [0, 1]
    assert (caught.value.exitcode, caught.value.signal, caught.value.key) == (7, None, 2)


@plain_in_children
def test_every_item_dies(way: Way) -> None:
    """Where each item kills its worker, each item is TaskLost: one worker each, and an end."""
    outcomes = list(way.run(items.die, range(8)))
    assert sorted(o.index for o in outcomes) == list(range(8))
    assert {type(o.error) for o in outcomes} == {poolwise.TaskLost}
    assert {o.error.exitcode for o in outcomes} == {3}


@plain_in_children
def test_working_directory_and_path(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have the parent's working directory, sys.path and environment at the start of the run."""
    (tmp_path / "only_here.py").write_text("ANSWER = 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ONLY_HERE", "yes")

    def look(x: int) -> tuple[int, str, str | None]:
        import only_here

        return only_here.ANSWER, os.getcwd(), os.environ.get("ONLY_HERE")

    assert list(way.map(look, range(3))) == [(42, str(tmp_path), "yes")] * 3


@pytest.mark.parametrize("shape", ["2x1", "2x2"])
@pytest.mark.parametrize(("limit", "workers"), [(1 << 40, 2), (1, 1)], ids=["ample", "none"])
def test_memory_limits_workers(shape: str, limit: int, workers: int) -> None:
    """`limits.memory` adds workers while they fit: at least one, all of them children."""
    seen: set[int] = set()
    limits = poolwise.Limits(memory=limit)
    fn = functools.partial(items.pid_after, 0.002)
    with poolwise.run(fn, itertools.repeat(0), shape=shape, limits=limits) as outcomes:
        for number, outcome in enumerate(outcomes):
            seen.add(outcome.unwrap())
            if len(seen) == 2 or number == (3000 if workers == 2 else 100):
                break
    assert len(seen) == workers
    assert os.getpid() not in seen


def test_workers_see_the_callers_environment() -> None:
    """Nothing is added to what child processes start with, nor is anything lost."""

    def environment(_: int) -> dict[str, str]:
        return dict(os.environ)

    there = next(iter(poolwise.map(environment, range(2), shape="2x1", limits=Limits(workers=2))))
    assert os.environ.items() <= there.items()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc learns from what is freed")
@pytest.mark.skipif(any(name.startswith("MALLOC_") for name in os.environ), reason="malloc was configured")
@pytest.mark.parametrize("shape", ["2x1", "1x2", "1x1"])
def test_what_an_item_frees_the_next_one_takes_again(shape: str) -> None:
    """Blocks of 1 MB that each item allocates are not fetched from the system each time (decision 0005)."""

    def faults(_: int) -> tuple[int, int]:
        import resource

        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        blocks = [bytearray(b"x") * 1_000_000 for _ in range(8)]
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before, len(blocks)

    met = [count for count, _ in poolwise.map(faults, range(20), shape=shape)]
    assert min(met) < 50  # Of 1,953 pages.


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
@pytest.mark.parametrize("shape", ["1x1", "2x1", "auto"])
def test_the_working_folder_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """Nobody needs it but what is relative to it."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert list(poolwise.map(abs, range(-4, 0), shape=shape, isolate=shape == "auto")) == [4, 3, 2, 1]
