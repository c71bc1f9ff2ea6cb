"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parent
ENDING_SECONDS = 3.0  # the contract says 2
FORKSERVER = "poolwise._runtime.forkserver"


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what repeats by `scale` as soak tests while soaking, so that `-m soak` finds them."""
    if _soaking():
        for item in items:
            if "scale" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.soak)


@pytest.fixture(scope="session")
def scale() -> int:
    """How often a test repeats what may go wrong rarely: 3, and 50 under `make soak`."""
    return 50 if _soaking() else 3


@pytest.fixture
def no_children_left() -> Iterator[None]:
    """Fail a test that leaves a child process behind; one forkserver without children may stay."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = _wait_for_children_to_end(before)
    descriptions = [_described(child) for child in left]
    for child in left:  # or every test that follows would be blamed as well
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    assert not descriptions, f"processes left {ENDING_SECONDS} s after the test: {descriptions}"


@pytest.fixture(autouse=True)
def _contract_and_faults_leave_no_children(request: pytest.FixtureRequest) -> None:
    """Hold every test under contract/ and faults/ to `no_children_left`."""
    if request.path.is_relative_to(TESTS / "contract") or request.path.is_relative_to(TESTS / "faults"):
        request.getfixturevalue("no_children_left")


def _soaking() -> bool:
    return os.environ.get("POOLWISE_SOAK") == "1"


def _wait_for_children_to_end(before: set[psutil.Process]) -> list[psutil.Process]:
    pause = threading.Event()
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        left = [child for child in _children() if child not in before]
        if not left or time.monotonic() > deadline:
            return left
        pause.wait(0.02)


def _children() -> list[psutil.Process]:
    """Return the processes below this one that run, but for one forkserver."""
    me = psutil.Process()
    running = [child for child in me.children(recursive=True) if _runs(child)]
    # Workers are forked from the forkserver and have its command line; only a direct child can be it.
    servers = [child for child in running if _parent(child) == me.pid and _is_forkserver(child)]
    return [child for child in running if child not in servers[:1]]


def _runs(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parent(child: psutil.Process) -> int | None:
    try:
        return child.ppid()
    except psutil.NoSuchProcess:
        return None


def _is_forkserver(child: psutil.Process) -> bool:
    try:
        return any(FORKSERVER in word for word in child.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _described(child: psutil.Process) -> str:
    try:
        return f"{child.pid} (child of {child.ppid()}, {child.status()}): {' '.join(child.cmdline())[:300]}"
    except psutil.Error:
        return str(child.pid)
