"""Coroutines that misuse their loop: each costs at most itself, and the run never hangs."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import poolwise
from zoo.marks import wait_until

shapes = pytest.mark.parametrize("shape", ["serial", "1x2", "2x1", "2x4", "auto"])
timeouts = pytest.mark.parametrize("timeout", [None, 5.0], ids=["", "timeout"])
GUILTY = 1


async def stops(x: int) -> int:
    """Stop the loop."""
    if x == GUILTY:
        asyncio.get_running_loop().stop()
    await asyncio.sleep(0.001)
    return x


async def exits(x: int) -> int:
    """Let SystemExit out of the loop."""
    if x == GUILTY:
        asyncio.get_running_loop().call_soon(sys.exit)
    await asyncio.sleep(0.001)
    return x


async def interrupts(x: int) -> int:
    """Let KeyboardInterrupt out of the loop, by a task that nobody waits for."""

    async def interrupt() -> None:
        raise KeyboardInterrupt

    if x == GUILTY:
        task = asyncio.ensure_future(interrupt())
        await asyncio.sleep(0.001)
        task.exception()
    return x


async def closes(x: int) -> int:
    """Close the loop, which raises as it runs."""
    if x == GUILTY:
        asyncio.get_running_loop().close()
    return x


async def cancels_itself(x: int) -> int:
    """Cancel the current task, and return before that has an effect."""
    if x == GUILTY:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
    else:
        await asyncio.sleep(0.001)
    return x


@shapes
@timeouts
@pytest.mark.parametrize("fn", [stops, exits, interrupts, closes, cancels_itself])
def test_a_misused_loop(fn: Callable[[int], Coroutine[Any, Any, int]], shape: str, timeout: float | None) -> None:
    """Whatever an item does to its loop, all others arrive once."""
    outcomes = list(poolwise.run(fn, range(12), shape=shape, timeout=timeout))
    assert sorted(o.index for o in outcomes) == list(range(12))
    assert [(o.index, o.error) for o in outcomes if not o.ok and o.index != GUILTY] == []
    if fn in (stops, exits, interrupts):
        assert [o.index for o in outcomes if not o.ok] == []


@pytest.mark.parametrize("shape", ["serial", "1x2", "auto"])
def test_all_tasks_cancelled(shape: str) -> None:
    """An item that cancels every task it finds, the idle lanes of its loop among them, does not end the run."""

    async def cancel_all(x: int) -> int:
        if x == GUILTY:
            await asyncio.sleep(0.05)
            for task in asyncio.all_tasks():
                task.cancel()
        return x

    outcomes = list(poolwise.run(cancel_all, range(5), shape=shape))
    assert sorted(o.index for o in outcomes) == list(range(5))


@pytest.mark.parametrize("shape", ["1x2", "auto"])
def test_nothing_is_said_of_tasks_given_up(shape: str, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that swallows its cancellation is reported by its outcome, and by no complaint of asyncio later."""

    async def swallow(x: int) -> int:
        while x == GUILTY:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass
        return x

    outcomes = list(poolwise.run(swallow, range(4), shape=shape, timeout=0.2))
    assert [o.index for o in outcomes if not o.ok] == [GUILTY]
    del outcomes
    wait_until(lambda: not any(t.name == "poolwise-loop" for t in threading.enumerate()), "the loop has ended")
    gc.collect()
    assert caplog.messages == []
