"""Which files are kept on the loop, and which in threads beside it."""

from __future__ import annotations

import pytest

from poolwise.jobs.fetch.keeping import QUICK_SECONDS, Keeping


def kept_beside(keeping: Keeping, files: int, seconds: float) -> list[bool]:
    """Keep files that take so long on the loop; return which went beside it."""
    went = []
    for _ in range(files):
        went.append(keeping.goes_beside())
        if not went[-1]:
            keeping.took(seconds)
    return went


def test_a_quick_disk() -> None:
    assert not any(kept_beside(Keeping(always=False), 1000, QUICK_SECONDS / 2))


def test_always() -> None:
    assert all(kept_beside(Keeping(always=True), 100, 0.0))


@pytest.mark.parametrize("seconds", [1.5 * QUICK_SECONDS, 1.0])
def test_a_slow_disk(seconds: float) -> None:
    """All but those by which it is seen whether it is slow still."""
    keeping = Keeping(always=False)
    kept_beside(keeping, 30, seconds)
    assert 0.9 < sum(kept_beside(keeping, 1000, seconds)) / 1000 < 1.0


def test_one_that_had_to_wait_is_no_slow_disk() -> None:
    """Such as for the GIL: two in a hundred that take a second."""
    keeping = Keeping(always=False)
    for _ in range(20):
        went = kept_beside(keeping, 49, QUICK_SECONDS / 4)
        went += kept_beside(keeping, 1, 1.0)
        assert not any(went)


def test_a_disk_that_is_quick_again() -> None:
    keeping = Keeping(always=False)
    kept_beside(keeping, 100, 1.0)
    assert any(kept_beside(keeping, 2, 1.0))
    kept_beside(keeping, 500, QUICK_SECONDS / 4)
    assert not any(kept_beside(keeping, 100, QUICK_SECONDS / 4))
