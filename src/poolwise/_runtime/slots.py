"""The shared memory in which each lane of a worker notes what it runs: the parent reads it when the worker died.

It has no name wherever the system allows that (a descriptor that workers inherit or are passed), so nothing is left
behind whoever is killed.
"""

from __future__ import annotations

import mmap
import os
import sys

from poolwise._runtime.channel import create_memory
from poolwise._runtime.lanes import SLOT_WORDS, milliseconds, reading_of

MOST_LANES = 2048
_BYTES_PER_LANE = SLOT_WORDS * 4


class SlotMemory:
    """Slots of one worker.

    Args:
        lanes: how many lanes it may have.
        address: where memory made by another process is ("descriptor:5" or "tag:name"); None makes some. Both must
            say the same number of lanes.
    """

    def __init__(self, lanes: int = MOST_LANES, address: str | None = None) -> None:
        self.lanes = max(lanes, MOST_LANES)
        size = (self.lanes + 1) * _BYTES_PER_LANE
        self.descriptor = -1
        kind, _, name = (address or "").partition(":")
        if sys.platform == "win32":
            self.address = address or f"tag:poolwise-{os.getpid()}-{id(self)}"
            self._map = mmap.mmap(-1, size, tagname=self.address.partition(":")[2])
        else:
            self.descriptor = int(name) if kind == "descriptor" else create_memory(size)
            self.address = f"descriptor:{self.descriptor}"
            self._map = mmap.mmap(self.descriptor, size)
        self.words = memoryview(self._map).cast("i")

    def slot(self, lane: int) -> memoryview:
        """Return the words of one lane."""
        return self.words[lane * SLOT_WORDS : (lane + 1) * SLOT_WORDS]

    @property
    def pulse(self) -> float:
        """Clock reading when a thread of the worker last had its GIL, or its loop went round, where that is noted."""
        return reading_of(self.words[self.lanes * SLOT_WORDS])

    def note_pulse(self, now: float) -> None:
        """Note it."""
        self.words[self.lanes * SLOT_WORDS] = milliseconds(now)

    def close(self) -> None:
        """Let go of the memory; views that are still held keep it mapped."""
        try:
            self.words.release()
            self._map.close()
        except BufferError:
            pass
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
