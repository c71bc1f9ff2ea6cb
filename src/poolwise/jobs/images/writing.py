"""Encoding a result, into a real file beside its place, and putting it there.

Results appear under their final name complete or not at all. Encoding goes to a real file because encoding JPEG to
memory holds the GIL (measured: 2 threads reach 0.96 times the speed of one, against 1.86 for a file).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from poolwise.jobs._files import failure_of, sync_folder
from poolwise.jobs.images import colours
from poolwise.jobs.images.canvas import Canvas
from poolwise.jobs.images.errors import NotSupported, StorageFailed
from poolwise.jobs.images.finding import OWN_PREFIX

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSY = ("JPEG", "WEBP", "AVIF")
"""Formats that have a quality."""

_MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("L", "LA", "RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
}
"""Pixels that a format keeps as they are."""

_NO_ALPHA = ("JPEG",)
_MARKED = ("PNG", "GIF", "BMP")
"""Formats that have palettes, and a colour that stands for "clear" (BMP: palettes only)."""


@dataclass(frozen=True, slots=True)
class Animation:
    """What an animation has beside its pictures.

    Attributes:
        durations: of the pictures, in milliseconds.
        loop: how often it is shown; 0 for ever, None where the file does not say (a GIF that is shown once).
        has_still: the first picture is shown only where nothing moves, and has no duration (PNG).
    """

    durations: Sequence[int]
    loop: int | None
    has_still: bool = False

    def parameters(self, image_format: str, pictures: Sequence[Image]) -> dict[str, Any]:
        """Return what `Image.save` is to be told, in that format."""
        told: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "duration": list(self.durations)}
        loop = self.loop if self.loop is not None or image_format == "GIF" else 1
        if loop is not None:
            told["loop"] = loop
        if image_format == "GIF" and any(picture.mode in ("RGBA", "LA") for picture in pictures):
            told["disposal"] = 2  # What is clear in a picture must not show the one before.
        if image_format == "PNG":
            told |= {"default_image": self.has_still, "disposal": 0, "blend": 0}  # Each picture is whole.
        return told


def fitting(canvas: Canvas, image_format: str) -> Image:
    """Return the image of a canvas in pixels that a format can hold; what is lost for that is noted.

    Raises:
        NotSupported: nothing of it could be held.
    """
    image, modes = canvas.image, _MODES.get(image_format)
    if modes is None:
        return image
    if (image.mode == "P" or "transparency" in image.info) and image_format not in _MARKED:
        image = canvas.mixable()
    if image.mode.startswith("I;16"):
        image = canvas.reduced(canvas.mixable())
    if image.mode == "CMYK" and "CMYK" not in modes:
        image = canvas.srgb(image)
        canvas.notes.append(f"CMYK became RGB, as {image_format} has no other")
    if image_format in _NO_ALPHA:
        image = _without_alpha(canvas, image)
    if image.mode in modes:
        return image
    if image.mode in ("I", "F") or image.mode not in ("1", "L", "LA", "La", "RGBa", "RGBX", "YCbCr", "HSV", "PA"):
        raise NotSupported(f"has pixels of the kind {image.mode!r}, which {image_format} cannot hold")
    clear = image.has_transparency_data
    grey = image.mode in ("1", "L", "LA") and ("LA" if clear else "L") in modes
    return image.convert(("LA" if clear else "L") if grey else "RGBA" if clear else "RGB")


def _without_alpha(canvas: Canvas, image: Image) -> Image:
    if not image.has_transparency_data:
        return image
    image = image if image.mode in ("LA", "RGBA") else image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if not colours.is_opaque(image):
        canvas.notes.append("what is clear became white, as JPEG has no transparency")
    return colours.on_white(image)


def encode(pictures: Sequence[Image], file: BinaryIO, image_format: str, parameters: dict[str, Any]) -> None:
    """Write pictures into an open file."""
    if image_format == "AVIF":
        parameters = {"max_threads": 1, **parameters}  # Lanes are the parallelism; threads of its own would thrash.
    pictures[0].save(file, format=image_format, **parameters)
    file.flush()


@contextmanager
def replacing(path: str, *, like: str | None = None, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside a path; rename it to the path at the end, or remove it where that fails.

    Args:
        path: of the result.
        like: a file whose permissions it gets; otherwise those of any new file.
        durable: have it on the disk before it has its name.

    Raises:
        StorageFailed: it cannot be written.
    """
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f"{OWN_PREFIX}{secrets.token_hex(8)}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        # Not tempfile: it would give the results the permissions 0600.
        file = open(temporary, "x+b")  # noqa: SIM115  # Stays open.
    except OSError as error:
        raise StorageFailed(f"cannot be written: {failure_of(error)}") from error
    try:
        with file:
            yield file
            with _storing():
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        with _storing():
            if like is not None:
                os.chmod(temporary, os.stat(like).st_mode & 0o7777)
            os.replace(temporary, path)
            if durable:
                sync_folder(folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"cannot be written: {failure_of(error)}") from error


@contextmanager
def explained_as_storage() -> Iterator[None]:
    """Turn what goes wrong while a result is encoded into one sentence: the system's, or the encoder's."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise StorageFailed(f"cannot be written: {failure_of(error)}") from error
        raise NotSupported(f"cannot be written: {error}") from error
    except MemoryError as error:
        raise StorageFailed("cannot be written: there is not enough memory") from error
    except Exception as error:
        raise NotSupported(f"cannot be written: {type(error).__name__}: {error}") from error


def remove_leftovers(folders: Iterable[str]) -> None:
    """Remove the temporary files that killed runs left in some folders."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(OWN_PREFIX) and entry.name.endswith(".tmp"):
                    with suppress(OSError):
                        os.unlink(entry.path)
