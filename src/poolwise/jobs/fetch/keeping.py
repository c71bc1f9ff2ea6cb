"""Where files are kept: on the loop, or, where that takes long, in threads beside it. Pure.

On the loop a file costs no switch of threads, but whoever is on the loop waits for the disk. A file now and then that
took long is no slow disk: it had to wait for a core, or for the GIL.
"""

from __future__ import annotations

QUICK_SECONDS = 0.002
"""Where it takes longer to keep a file, on average, that is done in threads."""

_REMEMBERED = 16  # Files that the average is of.
_MOST_SECONDS = 4 * QUICK_SECONDS  # That one of them counts for.
_LOOKED_AT = 32  # One file of so many is kept on the loop all the same, to see how long that takes now.


class Keeping:
    """Says which files are kept in threads.

    Args:
        always: all of them.
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._mean_seconds = 0.0
        self._slow = False
        self._asked = 0

    def goes_beside(self) -> bool:
        """Say whether the next file is kept in a thread."""
        if self._always or not self._slow:
            return self._always
        self._asked += 1
        return self._asked % _LOOKED_AT != 0

    def took(self, seconds: float) -> None:
        """Take in how long a file took that was kept on the loop."""
        remembered = _REMEMBERED / 4 if self._slow else _REMEMBERED  # There are few of them.
        self._mean_seconds += (min(seconds, _MOST_SECONDS) - self._mean_seconds) / remembered
        self._slow = self._mean_seconds > QUICK_SECONDS
