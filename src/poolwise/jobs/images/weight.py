"""What a file costs before it is decoded: bytes of memory, from its header; time, from its size. Nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from poolwise.jobs.images.operations import Operation

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BYTES = {"1": 1, "L": 1, "P": 4, "I;16": 2}
"""Of a pixel, as Pillow holds it; a palette's are made RGBA. All other modes: 4."""

_COPIES = 3
"""Images of full size at a time: what an operation reads and makes, and what it keeps in between."""

_REDUCING_GAP = 2  # Of Image.thumbnail: it decodes a JPEG at a scale that leaves twice the size.
_EVEN = 1.25
"""Sizes that differ by a smaller factor are even: then every order ends alike."""

Placed = tuple[int, Any]


def weight_of(image: ImageFile, operations: Sequence[Operation]) -> int:
    """Return the most bytes that an opened image may take in memory while it is processed."""
    bytes_each = _BYTES.get(image.mode, 4)
    pixels = image.width * image.height
    if image.format == "JPEG" and operations and operations[0][0] == "fit":
        width, height = operations[0][1]
        scale = min(max(image.width / (width * _REDUCING_GAP), image.height / (height * _REDUCING_GAP)), 8)
        pixels //= max(each for each in (1, 2, 4, 8) if each <= max(scale, 1)) ** 2
    return pixels * bytes_each * (_COPIES + int(getattr(image, "n_frames", 1)) - 1)


def largest_first(folder: str) -> Callable[[Iterator[Placed]], Iterator[Placed]]:
    """Return an order that begins with the largest files, where they differ: a large one at the end keeps one lane busy
    while the others have nothing left (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969).

    Args:
        folder: that paths are relative to.
    """

    def order(pairs: Iterator[Placed]) -> Iterator[Placed]:
        known = [(_bytes_of(os.path.join(folder, path)), place, path) for place, path in pairs]
        sizes = [size for size, _, _ in known]
        if known and max(sizes) > _EVEN * (sum(sizes) / len(sizes)):
            known.sort(key=lambda entry: -entry[0])
        return ((place, path) for _, place, path in known)

    return order


def _bytes_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
