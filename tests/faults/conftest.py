"""Puts `tests/` on the path, where child processes find the module `zoo`, and guards every test against hanging."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

from zoo.guards import watchdog as watchdog  # noqa: E402


@pytest.fixture(autouse=True)
def no_core_files() -> Iterator[None]:
    """Workers inherit a limit of 0 bytes for core files."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)
