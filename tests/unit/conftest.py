"""Puts `tests/` on the path, where child processes find the module `zoo`, and guards every test against hanging."""

import sys
from pathlib import Path

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

from zoo.guards import watchdog as watchdog  # noqa: E402
