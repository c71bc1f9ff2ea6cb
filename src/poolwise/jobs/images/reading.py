"""Opening a file that may be anything: nothing waits, nothing unexpected is decoded, nothing is larger than allowed.

Formats are tried from a list of allowed ones, whatever the file is called: no EPS renamed .jpg reaches Ghostscript.
Pillow's own guard (`MAX_IMAGE_PIXELS`) is one number for the whole process, so sizes are checked here instead.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any, BinaryIO

from poolwise import UsageError
from poolwise.jobs import _gif
from poolwise.jobs.images.errors import DamagedImage, ImageError, NotAnImage, NotSupported, TooLarge, Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""Formats that are decoded by default, as Pillow calls them."""

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats of which several pictures are one animation, and not pages."""

_START_BYTES = 16

KEPT_BYTES = 192 << 20
"""What a lane may keep of one image for the next ones: three copies of 16 megapixels."""

_KEPT_PIECE_BYTES, _RETURNED_PIECE_BYTES = 1 << 20, 64 << 20
"""Of the pieces in which Pillow has an image in memory; its own are of 16 MB. Small ones that are freed glibc's malloc
keeps for the thread, which meets few page faults in its next image, and holds on to as much as its largest image took.
Those above 32 MB go back to the system."""


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file that is there to be read.

    Raises:
        Unreadable: it is a folder, a FIFO, empty, or not to be read.
    """
    try:
        if os.path.isdir(path):
            os.listdir(path)  # Why it is listed as a file: it cannot be read.
            raise Unreadable("is a folder")
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  # Stays open.
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file")
        if status.st_size == 0:
            raise Unreadable("is empty")
        yield file


def _open_without_waiting(path: str, flags: int) -> int:
    """Open without waiting for a writer, should it be a FIFO that is called .jpg."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever Pillow raises (it raises nearly anything on damaged files) into one sentence."""
    from PIL import Image

    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"has too many pixels: {error}") from error
    except MemoryError as error:
        raise TooLarge(f"{what}: there is not enough memory") from error
    except OSError as error:
        raise DamagedImage(f"{what}: {error.strerror or error}") from error
    except Exception as error:
        raise DamagedImage(f"{what}: {type(error).__name__}: {error}") from error


def known_formats(more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the allowed formats, by Pillow's names, that this Pillow has (AVIF came with 11.3).

    Args:
        more: formats that are allowed beyond `FORMATS`, in any case.

    Raises:
        UsageError: Pillow has none of that name.
    """
    from PIL import Image

    Image.init()
    wanted = [name.upper() for name in more]
    for name in wanted:
        if name not in Image.OPEN:
            known = ", ".join(sorted(Image.OPEN))
            raise UsageError(f"also is {name.lower()!r}, which this Pillow does not read; it reads {known}")
    return tuple(name for name in dict.fromkeys((*FORMATS, *wanted)) if name in Image.OPEN)


class Pieces:
    """The size of the pieces in which Pillow has images, in this process: small, until an image is large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set_bytes = 0

    def prepare_for(self, weight_bytes: int, kept_bytes: int) -> None:
        """Set it before the pixels of an image are read, unless the user did (`PILLOW_BLOCK_SIZE`).

        Args:
            weight_bytes: what the image may take in memory.
            kept_bytes: what may be kept of it.
        """
        from PIL import Image

        if "PILLOW_BLOCK_SIZE" in os.environ:
            return
        wanted = _RETURNED_PIECE_BYTES if weight_bytes > kept_bytes else _KEPT_PIECE_BYTES
        with self._lock:
            if wanted > self._set_bytes:
                Image.core.set_block_size(wanted)  # type: ignore[attr-defined]  # As that variable does.
                self._set_bytes = wanted


pieces = Pieces()


def open_image(file: BinaryIO, formats: Iterable[str]) -> ImageFile:
    """Read the header of an image.

    Args:
        file: open in binary; it must stay open while the image is used.
        formats: allowed ones.

    Raises:
        NotAnImage: it is none of these.
    """
    from PIL import Image

    Image.init()
    file.seek(0)
    start = file.read(_START_BYTES)
    for name in formats:
        factory, accept = Image.OPEN[name]
        accepted = accept(start) if accept is not None else True
        if not accepted or isinstance(accepted, str):
            continue
        file.seek(0)
        try:
            image: Any = factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # As Image.open does: what is no such image.
            continue
        return image  # type: ignore[no-any-return]
    raise NotAnImage(f"is not an image, or not of a format that is read here ({', '.join(formats)})")


def count_frames(image: ImageFile, *, max_pixels: int, max_frames: int) -> int:
    """Return how many pictures a file holds: 1, or those of an animation.

    An MPO is a JPEG with further pictures behind it; previews of the first one are no loss.

    Raises:
        TooLarge: there are more pixels, all pictures together, or more pictures than is allowed.
        NotSupported: the pictures are no animation.
    """
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise TooLarge(f"has {pixels:,} pixels; at most {max_pixels:,} are processed (max_pixels, --max-pixels)")
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or (image.format == "MPO" and _has_only_previews(image)):
        return 1
    if image.format not in ANIMATED:
        raise NotSupported(f"holds {frames:,} pictures that are no animation, and only single ones are processed")
    if frames > max_frames:
        raise TooLarge(f"holds {frames:,} pictures; at most {max_frames:,} are processed (max_frames, --max-frames)")
    if pixels * frames > max_pixels:
        raise TooLarge(
            f"holds {frames:,} pictures of {pixels:,} pixels; at most {max_pixels:,} in all are processed "
            "(max_pixels, --max-pixels)"
        )
    return frames


def _has_only_previews(image: Any) -> bool:
    entries = getattr(image, "mpinfo", {}).get(0xB002, [])
    return all(str(entry["Attribute"]["MPType"]).startswith("Large Thumbnail") for entry in entries[1:])


def ends_too_early(file: BinaryIO, image_format: str) -> bool:
    """Say whether an open file stops before its end where Pillow does not notice.

    That is a GIF after some of its pictures, and a PNG before its last chunk (IEND) is over.
    """
    if image_format == "PNG":
        return _png_ends_too_early(file)
    if image_format != "GIF":
        return False
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            for _ in _gif.blocks(data):
                pass
        except IndexError:
            return True
    return False


def _png_ends_too_early(file: BinaryIO) -> bool:
    size, position = os.fstat(file.fileno()).st_size, file.tell()
    end, kind = 8, b""  # Of the signature.
    while kind != b"IEND" and end < size:
        file.seek(end)
        head = file.read(8)
        kind = head[4:]
        end += 12 + int.from_bytes(head[:4], "big")  # With what is in it, and its checksum.
    file.seek(position)
    return kind != b"IEND" or end > size


def own_format(image: ImageFile) -> str:
    """Return the format of an opened image, to save in."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def has_deep_colour(image: ImageFile) -> bool:
    """Say whether a file has colours of 16 bits a channel, of which Pillow keeps 8."""
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in image.tile)


def is_lossless_webp(file: BinaryIO) -> bool:
    """Say whether an open file is a WebP that keeps every pixel (RFC 9649); where the file is read next is not kept."""
    file.seek(0)
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WEBP":
        return False
    while len(head := file.read(8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        # A picture of an animation has 16 bytes before its own chunks.
        file.seek(16 if kind == b"ANMF" else size + (size & 1), os.SEEK_CUR)
    return False
