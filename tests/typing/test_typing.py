"""Only type-checked, by `mypy`: what the public names promise to those who use types. Nothing here runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import poolwise
from poolwise.jobs.fetch import Fetched, fetch, fetch_stage
from poolwise.jobs.images import Converted, images, images_stage


def half(x: int) -> float:
    """A plain function."""
    return x / 2


def pair(x: int, y: str) -> tuple[int, str]:
    """A function of two arguments."""
    return x, y


async def later(x: int) -> bytes:
    """A coroutine function."""
    return bytes(x)


def maybe(x: str) -> int | None:
    """A function with an optional result."""
    return len(x) or None


class Doubler:
    """A callable object."""

    def __call__(self, x: int) -> int:
        """Double."""
        return 2 * x


def check_map() -> None:
    """`map` is an iterator of what the function returns."""
    assert_type(poolwise.map(len, ["a"]), poolwise.Results[int])
    assert_type(poolwise.map(half, range(3)), poolwise.Results[float])
    assert_type(poolwise.map(pair, [1], ["a"]), poolwise.Results[tuple[int, str]])
    assert_type(poolwise.map(maybe, iter(["a"])), poolwise.Results[int | None])
    assert_type(poolwise.map(Doubler(), [1]), poolwise.Results[int])
    assert_type(poolwise.map(int, ["1"]), poolwise.Results[int])
    assert_type(list(poolwise.map(half, [1])), list[float])
    assert_type(next(poolwise.map(half, [1])), float)
    for value in poolwise.map(half, [1]):
        assert_type(value, float)


def check_coroutine_functions() -> None:
    """A coroutine function counts as what it returns in the end."""
    assert_type(poolwise.map(later, [1]), poolwise.Results[bytes])
    assert_type(poolwise.run(later, [1]), poolwise.Run[bytes])


def check_run() -> None:
    """`run` is an iterator of outcomes."""
    assert_type(poolwise.run(half, [1]), poolwise.Run[float])
    for outcome in poolwise.run(half, [1]):
        assert_type(outcome, poolwise.Outcome[float])
        assert_type(outcome.unwrap(), float)
        assert_type(outcome.value, float | None)
        assert_type(outcome.error, poolwise.TaskError | None)
        assert_type(outcome.index, int)
        assert_type(outcome.ok, bool)
        assert_type(outcome.started, float)
        assert_type(outcome.cpu_seconds, float | None)


def check_context_managers() -> None:
    """Both are context managers of themselves."""
    with poolwise.map(half, [1]) as results:
        assert_type(results, poolwise.Results[float])
        results.drain()
        results.cancel()
    with poolwise.run(half, [1]) as outcomes:
        assert_type(outcomes, poolwise.Run[float])
        assert_type(outcomes.plan, poolwise.Plan)
        assert_type(outcomes.report(), poolwise.Report)
        outcomes.drain()
        outcomes.cancel()


def check_options() -> None:
    """Every option takes what the documentation says."""
    poolwise.map(half, [1], shape="auto")
    poolwise.map(half, [1], shape="4x8", backend="local", ordered=False, hint="io")
    poolwise.map(half, [1], shape=poolwise.Shape(4, 8), hint="cpu", retry=3, timeout=1, isolate=True, on_lost="fail")
    poolwise.run(half, [1], ordered=True, retry=poolwise.Retry(3, on=(OSError, poolwise.TaskLost)), timeout=0.5)
    poolwise.run(half, [1], retry=poolwise.Retry(3, on=OSError, backoff=lambda attempt: attempt / 10))
    poolwise.run(half, [1], setup=lambda: None, limits=poolwise.Limits(workers=2, per_second=10.5), on_lost="rerun")
    poolwise.run(half, [1], key=str, progress=True, total=1)
    poolwise.run(pair, [1], ["a"], key=lambda item: Path(item[1]))


def check_wrong_options() -> None:
    """And nothing else; an ignore that is not needed is an error of its own."""
    poolwise.map(half, [1], hint="fast")  # type: ignore[call-overload]
    poolwise.map(half, [1], on_lost="ignore")  # type: ignore[call-overload]
    poolwise.map(half, [1], shape=4)  # type: ignore[call-overload]
    poolwise.map(half, [1], workers=4)  # type: ignore[call-overload]
    poolwise.map(42, [1])  # type: ignore[call-overload]
    poolwise.map(half, 42)  # type: ignore[call-overload]


def check_pipeline() -> None:
    """Stages are functions, jobs and `Stage`; outcomes say at which one they ended."""
    small = images_stage("photos", "small", fit=1200, shape="1x2")
    run = poolwise.pipeline(["a"], fetch_stage("photos", attempts=3), small, ordered=True)
    assert_type(run, poolwise.Run[Any])
    for outcome in run:
        assert_type(outcome.stage, str | None)
    stage = poolwise.Stage(half, name="half", shape="2x1", retry=3, timeout=1, limits=poolwise.Limits(workers=2))
    poolwise.pipeline([1], stage, len, later, shape="auto", journal="run.db", limits=poolwise.Limits(in_flight=8))
    poolwise.pipeline([1], 42)  # type: ignore[arg-type]
    poolwise.pipeline([1], half, workers=3)  # type: ignore[call-arg]
    poolwise.Stage(half, ordered=True)  # type: ignore[call-arg]
    assert_type([each.stage for each in run.report().stages], list[str])


def check_iterators() -> None:
    """Results fit where an iterator is wanted."""
    numbers: Iterator[float] = poolwise.map(half, [1])
    outcomes: Iterator[poolwise.Outcome[float]] = poolwise.run(half, [1])
    del numbers, outcomes


def check_errors(error: poolwise.TaskError, lost: poolwise.TaskLost) -> None:
    """Errors carry typed attributes, and are what one would catch."""
    assert_type(error.attempts, int)
    assert_type(error.remote_traceback, str)
    assert_type(error.key, Any)
    assert_type(lost.exitcode, int | None)
    assert_type(lost.signal, str | None)
    caught: type[ValueError] = poolwise.ShapeError
    root: type[poolwise.PoolwiseError] = poolwise.BackendUnavailable
    del caught, root


def check_shape() -> None:
    """Shapes are values."""
    assert_type(poolwise.Shape.parse("4x8"), poolwise.Shape)
    assert_type(poolwise.Shape(2).total, int)


def check_bench() -> None:
    """A comparison is a value with typed rows and warnings."""
    found = poolwise.bench(half, [1, 2], ["1x1", poolwise.Shape(2)], repeats=5, peers=True, save="bench.json")
    assert_type(found, poolwise.Comparison)
    assert_type(found.winner, str | None)
    assert_type(found.warnings[0], poolwise.BenchWarning)
    assert_type(found.rows[0].seconds, float | None)
    poolwise.bench(half, 3)  # type: ignore[arg-type]


def check_fetch() -> None:
    """A job's options are checked, and its outcomes hold its values."""
    run = fetch(["http://example.com/a.jpg"], "photos", attempts=3, shape="1x8")
    assert_type(run, poolwise.Run[Fetched])
    for outcome in run:
        assert_type(outcome.unwrap().width, int | None)
    fetch([], "photos", verify="deeply")  # type: ignore[arg-type]
    fetch([], "photos", no_such_option=1)  # type: ignore[call-arg]


def check_images() -> None:
    """Operations and options are checked; a value may stand where a path is wanted."""
    run = images("photos", "small", blur=15, fit=(1200, 800), format="webp", shape="1x2", hint="cpu")
    assert_type(run, poolwise.Run[Converted])
    for outcome in run:
        open(outcome.unwrap(), "rb").close()
    images("photos", in_place=True, rotate=90.0)
    images("photos", "small", blur="much")  # type: ignore[arg-type]
    images("photos", "small", no_such_option=1)  # type: ignore[call-arg]
