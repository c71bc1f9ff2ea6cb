"""What is known of a result: a value."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.jobs.images.freshness import Source


@dataclass(frozen=True, slots=True)
class Converted:
    """A result, complete under its name. It may stand where a path is wanted: `Image.open(converted)`.

    Attributes:
        path: of the result.
        action: "converted", or "copied" byte by byte where there was nothing to change.
        format: such as "JPEG".
        width, height: in pixels.
        frames: pictures in it; 1 where it is no animation.
        result: size and SHA-256 of the result.
        source: the same of the file that it was made of.
        recipe: what was done, as `Convert.recipe` says it.
        notes: what could not be kept, in words.
        psnr: decibels between this result and the exact one, where `fast` measured that; or None.
    """

    path: str
    action: str
    format: str
    width: int
    height: int
    frames: int
    result: Source
    source: Source
    recipe: str
    notes: tuple[str, ...] = ()
    psnr: float | None = None

    def __fspath__(self) -> str:
        return self.path
