"""The watchdog of every test that runs an engine: a hang becomes a failure."""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Iterator

import pytest

TEST_SECONDS = 60
SOAK_SECONDS = 1200


class Hung(BaseException):
    """A test did not end; not an Exception, so that nothing under test can take it for an item's failure."""


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    """Raise in the main thread where a test does not end, with the stacks of all threads on stderr."""
    seconds = SOAK_SECONDS if request.node.get_closest_marker("soak") else TEST_SECONDS

    def bark(number: int, frame: object) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise Hung(f"the test did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
