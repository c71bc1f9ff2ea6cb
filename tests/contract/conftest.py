"""Puts `tests/` on the path, where child processes find the module `zoo`, and guards every test against hanging."""

import sys
from pathlib import Path

import pytest

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

from zoo.guards import watchdog as watchdog  # noqa: E402
from zoo.ways import WAYS, Way  # noqa: E402


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Every way to run that the contract holds on."""
    return request.param
