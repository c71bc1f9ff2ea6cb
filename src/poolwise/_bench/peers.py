"""Other pools, at their defaults, each called as its documentation says. Imported by the measured process alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from poolwise._bench.model import PEERS


def missing() -> dict[str, str]:
    """Return the peers that are not installed, each with what would change that."""
    return {
        peer: "not installed: pip install 'poolwise[peers]'"
        for peer, module in PEERS.items()
        if importlib.util.find_spec(module) is None
    }


def start(stack: ExitStack, peer: str, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Start a peer's map over items; its values come in input order.

    Args:
        stack: what closes the pool.
        peer: one of `PEERS`.
        function: of one item.
        items: the input.
    """
    if peer == "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return stack.enter_context(ThreadPoolExecutor()).map(function, items)
    if peer == "ProcessPoolExecutor":
        from concurrent.futures import ProcessPoolExecutor

        return stack.enter_context(ProcessPoolExecutor()).map(function, items)
    module: Any = import_pool(peer)
    if peer == "joblib":
        values: list[Any] = module.Parallel(n_jobs=-1)(module.delayed(function)(item) for item in items)
    else:
        utils: Any = importlib.import_module("mpire.utils")
        single = utils.make_single_arguments(items, generator=False)  # mpire would spread tuples over arguments.
        values = stack.enter_context(module.WorkerPool()).map(function, single)
    return iter(values)


def import_pool(peer: str) -> Any:
    """Import what a peer is in."""
    return importlib.import_module(PEERS[peer])
