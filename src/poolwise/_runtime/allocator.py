"""The C library's allocator, in every process in which items run."""

from __future__ import annotations

import functools
import os

_BLOCK_BYTES = 31 << 20
"""Just under the largest block from which glibc learns (DEFAULT_MMAP_THRESHOLD_MAX, 32 MiB where pointers have 8
bytes)."""


@functools.cache
def keep_what_is_freed() -> None:
    """Have glibc's malloc keep what an item frees for the next one, instead of a page fault for each 4 KiB of it.

    Its thresholds slide (mallopt(3)): a freed block that was mapped by itself raises M_MMAP_THRESHOLD to its size and
    M_TRIM_THRESHOLD to twice that, up to 32 and 64 MiB. One large block that nobody touches takes them nearly there at
    once, for no memory. Where the user set them they do not slide, and stay. Other allocators have no such
    thresholds. What it gives: ``python benchmarks/overhead.py --only temporaries``, decision 0005.
    """
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return
        bytes(_BLOCK_BYTES)
    except (AttributeError, ValueError, OSError, MemoryError):  # No confstr (Windows), another libc, a limit of memory.
        return
