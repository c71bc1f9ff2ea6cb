"""An image on its way through operations, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolwise.jobs.images import colours
from poolwise.jobs.images.errors import NotSupported
from poolwise.jobs.images.metadata import Metadata

if TYPE_CHECKING:
    from PIL.Image import Image

_MIXABLE = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F")
_CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
_SWAPPING = (5, 6, 7, 8)
_EIGHT_BITS = ("JPEG", "WEBP", "AVIF", "GIF", "BMP")

Size = tuple[int, int]


class Canvas:
    """See the module's docstring.

    Args:
        image: as it was opened, perhaps not decoded yet.
        metadata: of its file.
        notes: gets what cannot be kept.
        result_format: in which it will be saved.

    Attributes:
        image: by now.
        opened_mode: of its pixels, as it was opened.
        icc: profile of its pixels by now, or b"".
        changed: it is not what it was.
        box: the part of it that is the picture, where decoding at a smaller scale left a rest of a pixel; or None.
    """

    def __init__(self, image: Image, metadata: Metadata, notes: list[str], result_format: str) -> None:
        self.image = image
        self.opened_mode = image.mode
        self.icc = metadata.icc
        self.notes = notes
        self.changed = False
        self.box: tuple[float, float, float, float] | None = None
        self._orientation = metadata.orientation
        self._format = result_format

    def put(self, image: Image, *, box: tuple[float, float, float, float] | None = None) -> None:
        """Go on with another image."""
        self.image, self.box, self.changed = image, box, True

    @property
    def is_turned(self) -> bool:
        """The orientation is not applied yet, and width and height will change places."""
        return self._orientation in _SWAPPING

    def size(self) -> Size:
        """Return width and height, upright."""
        width, height = self.image.size
        return (height, width) if self.is_turned else (width, height)

    def upright(self) -> None:
        """Apply the orientation of EXIF, where that is not done yet."""
        from PIL.Image import Transpose

        methods = {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }
        if self._orientation in methods:
            self.put(self.image.transpose(methods[self._orientation]))
            self._orientation = 1

    def mixable(self) -> Image:
        """Return the image in a mode in which neighbours can be mixed: no palette, no bitmap, no colour for "clear"."""
        image = self.image
        mode = image.mode
        if mode == "P" or (mode in ("1", "L", "RGB") and "transparency" in image.info):
            grey = mode in ("1", "L")
            clear = image.has_transparency_data
            return image.convert(("LA" if clear else "L") if grey else "RGBA" if clear else "RGB")
        if mode in _CONVERTED:
            return image.convert(_CONVERTED[mode])
        if mode.startswith("I;16") and mode != "I;16":
            return image.convert("I").convert("I;16")
        if mode not in _MIXABLE:
            raise NotSupported(f"has pixels of the kind {mode!r}, which are not processed")
        return image

    def reduced(self, image: Image) -> Image:
        """Return an image of this canvas with no more bits a channel than its result can have, of 16; that is noted."""
        if not image.mode.startswith("I;16") or self._format not in _EIGHT_BITS:
            return image
        self.notes.append(f"16 bits a channel became 8, as {self._format} has no more")
        return colours.to_eight_bits(image)

    def eight_bits(self, operation: str) -> Image:
        """Return the image in a mode of 8 bits a channel.

        Raises:
            NotSupported: it has more, and its result can have more.
        """
        image = self.reduced(self.mixable())
        if image.mode in ("I;16", "I", "F"):
            bits = 16 if image.mode == "I;16" else 32
            raise NotSupported(
                f"has {bits} bits a channel, and {operation} works on 8"
                + ("; format= (--format) jpeg, webp or avif makes them 8" if bits == 16 else "")
            )
        return image

    def rgb_or_grey(self, operation: str) -> Image:
        """Return the image in L, LA, RGB or RGBA; CMYK becomes RGB by its profile."""
        image = self.eight_bits(operation)
        return self.srgb(image) if image.mode == "CMYK" else image

    def srgb(self, image: Image) -> Image:
        """Return an image of this canvas in sRGB, and note that it is so."""
        icc, self.icc = self.icc, b""
        return colours.to_srgb(image, icc, self.notes)
