"""Why a file was not processed: one class for each kind of reason, one sentence in each error. Values only.

ImageError
├ Unreadable        it cannot be opened, is empty, or is no file at all
├ NotAnImage        it is something else, or of a format that is not allowed
├ DamagedImage      it is an image, and not a whole one
├ TooLarge          it holds more pixels or pictures than is allowed
├ NotSupported      it cannot be done to this image, or not be kept in that format
├ FunctionFailed    the function of `apply` did not give an image
└ StorageFailed     the result cannot be written
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolwise.jobs.images.freshness import Source


class ImageError(Exception):
    """One file was not processed; the message is one sentence.

    Attributes:
        source: what the file held, where it could be read; or None.
        recipe: what was to be done, as `Convert.recipe` says it; "" where that does not matter.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.source: Source | None = None
        self.recipe = ""

    @property
    def may_pass(self) -> bool:
        """The same file may be processed another time: the disk, the bounds, the memory may be others then."""
        return self.source is None or isinstance(self, StorageFailed | TooLarge)


class Unreadable(ImageError):
    """It cannot be opened, is empty, or is no regular file."""


class NotAnImage(ImageError):
    """It is something else, or of a format that is not allowed."""


class DamagedImage(ImageError):
    """It is an image, and not a whole one."""


class TooLarge(ImageError):
    """It holds more pixels or pictures than is allowed, or than there is memory for."""


class NotSupported(ImageError):
    """It cannot be done to this image, or the result cannot be kept in that format."""


class FunctionFailed(ImageError):
    """The function of `apply` raised, or returned something else than an image."""


class StorageFailed(ImageError):
    """The result cannot be written."""
