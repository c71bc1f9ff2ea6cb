"""`poolwise.bench`: what it can run in fresh processes, what it says of what it cannot, and what it leaves."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import poolwise
from poolwise import BackendError, Comparison, NotPicklableError, UsageError
from poolwise._bench.child import Calls
from poolwise._bench.measure import FreshProcesses
from poolwise._bench.process import BrokenRun, run_program
from zoo.marks import wait_until

QUICK: dict[str, Any] = {"repeats": 1, "seconds": 0.02, "seed": 1}
TWO = ["1x1", "2x1"]


@dataclass(frozen=True)
class Point:
    """An item of a class of this module."""

    x: int


def kinds(comparison: Comparison) -> set[str]:
    """The kinds of its warnings, those aside that a busy machine and tiny work give."""
    return {warning.kind for warning in comparison.warnings} - {"noisy", "throttled", "short", "few blocks"}


def notes(comparison: Comparison) -> dict[str, str]:
    """Why sides have no figure."""
    return {row.side: row.note for row in comparison.rows if row.note}


@pytest.fixture
def fresh() -> Iterator[Callable[..., FreshProcesses]]:
    """Makes measurers, and closes them."""
    opened: list[FreshProcesses] = []

    def make(function: Callable[..., Any], items: list[Any]) -> FreshProcesses:
        opened.append(FreshProcesses(Calls(function, items), "it"))
        opened[-1].reduce(len(items))
        return opened[-1]

    yield make
    for measurer in opened:
        measurer.close()


@pytest.mark.slow
def test_a_lambda_and_every_kind_of_side() -> None:
    """A closure over a local: shapes run it; pools that pickle by name are rows that say so; others go on."""
    offset = 3
    comparison = poolwise.bench(lambda n: n + offset, range(30), ["1x1", "1x2", "2x1", "auto"], peers=True, **QUICK)
    assert [row.side for row in comparison.rows][:4] == ["1x1", "1x2", "2x1", "auto"]
    assert all(row.seconds is not None and row.runs == 2 for row in comparison.rows[:4])
    assert kinds(comparison) == set()
    assert notes(comparison).keys() >= {"ProcessPoolExecutor"}
    assert "pickle" in notes(comparison)["ProcessPoolExecutor"]
    assert comparison.rows[4].side == "ThreadPoolExecutor"
    assert comparison.rows[4].seconds is not None


def test_items_of_a_generator_and_of_a_class() -> None:
    """An iterator is taken once; the items of a run are the same for all sides, tuples stay tuples."""
    items = ((Point(n), n) for n in range(12))
    comparison = poolwise.bench(lambda item: (item[0].x, item[1]), items, TWO, **QUICK)
    assert comparison.design.identity.given == 12
    assert kinds(comparison) == set()
    assert next(items, None) is None


def test_tuples_are_one_argument_for_every_peer(fresh: Callable[..., FreshProcesses]) -> None:
    """Peers give the same values as we do, in the same order."""
    measurer = fresh(len, [(1, 2), (1, 2, 3), ()])
    digests = set()
    for side in ("1x1", "2x1", "ThreadPoolExecutor", "ProcessPoolExecutor"):
        digests.add(measurer.measure(side, guarded=False, limit_seconds=60)[0].digest)
    for peer, module in (("joblib", "joblib"), ("mpire", "mpire")):
        if pytest.importorskip(module):
            digests.add(measurer.measure(peer, guarded=True, limit_seconds=60)[0].digest)
    assert len(digests) == 1


def test_a_coroutine_function() -> None:
    """It runs on asyncio lanes; other pools call plain functions, and say so."""

    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n

    comparison = poolwise.bench(later, range(8), ["1x1", "1x4"], peers=True, **QUICK)
    assert all(row.seconds is not None for row in comparison.rows[:2])
    assert all("coroutine function" in note or "not installed" in note for note in notes(comparison).values())
    assert len(notes(comparison)) == 4


def test_values_that_differ_from_run_to_run() -> None:
    """They are named as not repeatable."""
    comparison = poolwise.bench(lambda _: os.getpid(), range(4), TWO, **QUICK)
    assert kinds(comparison) == {"not repeatable"}


@pytest.mark.slow
def test_items_that_fail_are_counted_and_named() -> None:
    """Equal failures on all sides, peers too, are a warning with the first of them."""

    def half(n: int) -> float:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n / 2

    comparison = poolwise.bench(half, range(10), ["1x1", "1x2"], peers=True, **QUICK)
    (warning,) = (warning for warning in comparison.warnings if warning.kind == "failed items")
    assert warning.cause == "5 items failed in each run, the first: 1: ValueError: 1 is odd"
    assert comparison.rows[2].seconds is not None  # ThreadPoolExecutor went on past the failures
    assert comparison.design.guarded


def test_a_coroutine_function_that_fails() -> None:
    """Its failures are counted too."""

    async def fail(n: int) -> int:
        if n == 1:
            raise OSError("no")
        return n

    comparison = poolwise.bench(fail, range(4), ["1x1", "1x2"], **QUICK)
    assert kinds(comparison) == {"failed items"}


def test_items_that_all_fail() -> None:
    """There is nothing to compare."""
    with pytest.raises(UsageError, match=r"all 3 of .* failed, the first: .*: ZeroDivisionError"):
        poolwise.bench(lambda n: n / 0, [1, 2, 3], TWO, **QUICK)


def test_an_item_that_kills_its_process() -> None:
    """In child processes it costs itself: the comparison cannot go on and says why, as it would end the caller."""
    with pytest.raises(BackendError, match="cannot be measured"):
        poolwise.bench(lambda n: os._exit(3), [1, 2], ["1x1", "1x2"], **QUICK)


def test_a_side_that_hangs(fresh: Callable[..., FreshProcesses]) -> None:
    """It is ended with all that it started when its time is over."""
    measurer = fresh(lambda n: threading.Event().wait(), [1, 2])
    with pytest.raises(BrokenRun, match="took over 1 s, and was ended"):
        measurer.measure("2x1", guarded=False, limit_seconds=1.0)


@pytest.mark.slow
def test_only_some_sides_hang() -> None:
    """The others have figures; that one is a row."""
    barrier_like = functools.partial(_wait_for_company, threading.get_native_id())
    comparison = poolwise.bench(barrier_like, range(2), ["1x1", "1x2"], limit=3.0, **QUICK)
    assert comparison.winner == "1x1"
    assert notes(comparison)["1x2"].startswith("took over 3 s, and was ended")


def _wait_for_company(_number: int, item: int) -> int:
    """Hang in any thread but the main one."""
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
    return item


def test_what_cannot_be_sent() -> None:
    """An error that names what is captured; an item that cannot be pickled too."""
    lock = threading.Lock()
    with pytest.raises(NotPicklableError, match=r"it captures 'lock'.*create it inside the function"):
        poolwise.bench(lambda n: (lock, n), range(3), TWO, **QUICK)
    with pytest.raises(NotPicklableError, match="one of its items cannot be pickled"):
        poolwise.bench(id, [threading.Lock()], TWO, **QUICK)


@pytest.mark.parametrize(
    ("fn", "items", "options"),
    [
        (3, [1], {}), (abs, 3, {}), (abs, [], {}), (abs, [1], {"shapes": ["1x1"]}), (abs, [1], {"shapes": 4}),
        (abs, [1], {"repeats": 0}),
    ],
)  # fmt: skip
def test_usage(fn: Any, items: Any, options: dict[str, Any]) -> None:
    """What cannot be meant is a UsageError."""
    with pytest.raises(UsageError):
        poolwise.bench(fn, items, **options)


def test_endless_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many are taken, and that is said."""
    monkeypatch.setattr(poolwise._bench.schedule, "MOST_ITEMS", 50)
    comparison = poolwise.bench(abs, itertools.count(), TWO, **QUICK)
    assert comparison.design.identity.given == 50
    (warning,) = (warning for warning in comparison.warnings if warning.kind == "capped")
    assert "more than 50 items" in warning.cause


def test_the_function_is_as_it_was_when_gone_on_with(tmp_path: Path) -> None:
    """A saved comparison goes on for the same function and items, and for no other."""
    path = tmp_path / "bench.json"

    def add(offset: int) -> Callable[[int], int]:
        return lambda n: n + offset

    first = poolwise.bench(add(1), range(20), TWO, save=path, **QUICK)
    again = poolwise.bench(add(1), range(20), TWO, save=path, **QUICK)
    assert again.trials == first.trials
    more = poolwise.bench(add(1), range(20), save=path, **{**QUICK, "repeats": 2})
    assert more.trials[: len(first.trials)] == first.trials
    assert more.blocks == 2
    with pytest.raises(UsageError, match="was made with offset=1, which is 2 now"):
        poolwise.bench(add(2), range(20), TWO, save=path, **QUICK)
    with pytest.raises(UsageError, match="was made with other items"):
        poolwise.bench(add(1), range(21), TWO, save=path, **QUICK)


def test_a_program_that_fails_says_its_last_words() -> None:
    """The end of its stderr is in the message."""
    with pytest.raises(BrokenRun, match="ended with exit code 3\nlast words"):
        run_program([sys.executable, "-c", "import sys; sys.stderr.write('last words'); sys.exit(3)"])
    with pytest.raises(BrokenRun, match="was ended by SIGKILL"):
        run_program([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert run_program([sys.executable, "-c", "print(5)"]).stdout == "5\n"


def test_a_program_whose_start_is_interrupted_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come while the thread that starts it is being asked to: it is ended all the same."""
    submit = ThreadPoolExecutor.submit
    mark = str(tmp_path / "pid")
    code = f"import os, time; print(os.getpid(), file=open({mark!r}, 'w'), flush=True); time.sleep(600)"

    def interrupted(pool: ThreadPoolExecutor, *what: Any) -> Any:
        future = submit(pool, *what)
        if what == (int,):
            return future
        wait_until((tmp_path / "pid").exists, "the program runs")
        wait_until(lambda: (tmp_path / "pid").read_text() != "", "it has said which one it is")
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_program([sys.executable, "-c", code])
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
