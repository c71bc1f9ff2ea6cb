"""What all jobs know of a GIF (GIF89a, 1990): its blocks, which say where it ends. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

PICTURE, TRAILER = 0x2C, 0x3B
_EXTENSION = 0x21


def blocks(data: bytes | bytearray | mmap) -> Iterator[tuple[int, int]]:
    """Give the kind and the place of each block, up to the trailer, or to one of a kind that there is not.

    Raises:
        IndexError: it ends before that.
    """
    at = 13 + _palette_bytes(data[10])
    while True:
        kind = data[at]
        yield kind, at
        if kind == PICTURE:
            at += 10 + _palette_bytes(data[at + 9]) + 1
        elif kind == _EXTENSION:
            at += 2
        else:
            return
        while length := data[at]:
            at += 1 + length
        at += 1


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
