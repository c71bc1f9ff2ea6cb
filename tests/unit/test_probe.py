"""The probe's thread, and what it tells while it waits."""

from __future__ import annotations

import time

from poolwise._runtime.probe import Probe


def test_a_knock_that_still_waits_is_heard() -> None:
    """Whoever asks has the GIL; a knocker that was due long ago has been waiting for it."""
    probe = Probe()
    probe.on = True
    probe._due = time.perf_counter() - 0.4
    (at, slept, waited, held) = probe.heard()[-1]
    assert at == probe._due
    assert slept == 0.0
    assert waited >= 0.4
    assert held
    probe._due = time.perf_counter() + 1.0  # It sleeps.
    assert probe.heard() == []
    probe.on, probe._due = False, time.perf_counter() - 0.4  # Nobody knocks any more.
    assert probe.heard() == []
