"""`fast`: computing at the smallest scale that the operations permit, and what that costs in decibels.

    blur of radius r first      at 1/s, where r/s is still at least LEAST_RADIUS; then to the size that comes out
    fit or resize first         decoded at the smallest scale that is not below the size that comes out

A blurred picture has no details that a smaller one could not hold. It is not the same picture, so nothing of this is
done unless it is asked for, and the difference is measured on a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolwise.jobs.images.canvas import Canvas, Size
from poolwise.jobs.images.operations import Operation, fitted

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_RADIUS = 3.0
"""Of a blur at the smaller scale, in its pixels."""

_SCALES = (8, 4, 2)


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A quicker way to nearly the same picture.

    Attributes:
        scale: the image is made this many times smaller before anything else.
        operations: what is done then.
    """

    scale: int
    operations: tuple[Operation, ...]


def shortcut(operations: Sequence[Operation], size: Size) -> Shortcut | None:
    """Return a quicker way, or None where there is none.

    Args:
        operations: what is to be done.
        size: of the upright image.
    """
    if not operations:
        return None
    (name, value), rest = operations[0], tuple(operations[1:])
    if name == "blur":
        scale = next((each for each in _SCALES if value / each >= LEAST_RADIUS), 1)
        target, rest = _size_after(rest, size)
        operations = (("blur", value / scale), *target, *rest)
    elif name in ("fit", "resize"):
        ((_, wanted),), rest = _size_after(operations, size)
        scale = next((each for each in _SCALES if _holds(size, wanted, each)), 1)
        operations = (("resize", wanted), *rest)
    else:
        return None
    return Shortcut(scale, tuple(operations)) if scale > 1 else None


def _holds(size: Size, wanted: Size, scale: int) -> bool:
    return size[0] // scale >= wanted[0] and size[1] // scale >= wanted[1]


def _size_after(operations: Sequence[Operation], size: Size) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """Return what makes the size that comes next, and the operations after that."""
    if operations and operations[0][0] == "resize":
        return (operations[0],), tuple(operations[1:])
    if operations and operations[0][0] == "fit":
        return (("resize", fitted(size, operations[0][1])),), tuple(operations[1:])
    return (("resize", size),), tuple(operations)


def shrink(canvas: Canvas, scale: int) -> None:
    """Make the image of a canvas smaller: while it is decoded, where its format can do that, else by averaging."""
    image = canvas.image
    width, height = image.width / scale, image.height / scale
    image.draft(None, (math.ceil(width), math.ceil(height)))
    canvas.image = image
    left = max(1, round(image.width / width))
    reduced = canvas.mixable()
    if left > 1 and reduced.mode != "I;16":
        reduced = reduced.reduce(left)
    box = (0.0, 0.0, min(width, reduced.width), min(height, reduced.height))
    canvas.put(reduced, box=box if box[2:] != reduced.size else None)


def psnr(first: Image, second: Image) -> float:
    """Return the peak signal-to-noise ratio of two images of one size, in decibels, over all channels of 8 bits.

    100 where they are equal.
    """
    from PIL import ImageChops, ImageStat

    mode = "RGB" if first.mode not in ("L", "LA", "RGBA") else first.mode
    difference = ImageChops.difference(first.convert(mode), second.convert(mode))
    squares = ImageStat.Stat(difference).sum2
    error = sum(squares) / (len(squares) * first.width * first.height)
    return 100.0 if not error else min(100.0, 10 * math.log10(255**2 / error))
