"""What a file holds beside its pixels: orientation, EXIF, ICC profile, XMP, resolution. Kept, unless stripped."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

_ORIENTATION = 0x0112
_EXIF_MARK = b"Exif\0\0"
"""How EXIF begins in a JPEG; a WebP leaves it out."""

_DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)
"""Tags of a TIFF that are about the picture; all others are about how the file holds it."""

_XMP_ORIENTATION = (rb'tiff:Orientation="[0-9]"', rb"<tiff:Orientation>[0-9]</tiff:Orientation>")
_JPEG_EXIF_BYTES = 65_533
_JPEG_XMP_BYTES = 65_502  # Less the 31 bytes that name it.
_TIFF_RESOLUTION_NONE = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is kept.

    Attributes:
        orientation: by EXIF, 1 to 8; 1 where it is upright, or nothing is said.
        exif, icc, xmp: as they are written, the orientation reset; b"" where there is none.
        dpi: pixels an inch, or None.
        comment: of a JPEG or GIF.
    """

    orientation: int = 1
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes | str = b""

    @property
    def is_empty(self) -> bool:
        """There is nothing that could be stripped."""
        return not (self.exif or self.icc or self.xmp or self.comment)

    def stripped(self) -> Metadata:
        """Return what is left where nothing is to be kept."""
        return replace(Metadata(), orientation=self.orientation)

    def parameters(self, image_format: str, mode: str, icc: bytes, notes: list[str]) -> dict[str, Any]:
        """Return the parameters of `Image.save` that keep it.

        Args:
            image_format: to save in.
            mode: of the pixels.
            icc: the profile that they are in by now.
            notes: gets what cannot be kept.
        """
        exif, xmp = self.exif, self.xmp
        if image_format == "JPEG" and len(exif) > _JPEG_EXIF_BYTES:
            exif = b""
            notes.append("its EXIF is too long for a JPEG and was left out")
        if image_format == "JPEG" and len(xmp) > _JPEG_XMP_BYTES:
            xmp = b""
            notes.append("its XMP is too long for a JPEG and was left out")
        kept: dict[str, Any] = {"icc_profile": icc if icc and _is_profile_of(icc, mode) else None}
        kept["comment"] = self.comment
        if exif:
            kept["exif"] = exif
        if self.dpi is not None:
            kept["dpi"] = self.dpi
        if xmp and image_format == "PNG":
            from PIL.PngImagePlugin import PngInfo

            kept["pnginfo"] = PngInfo()
            kept["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        elif xmp:
            kept["xmp"] = xmp
        return kept


def read_metadata(image: Image, notes: list[str]) -> Metadata:
    """Read what an opened image holds beside its pixels.

    EXIF is kept as it is, byte by byte, unless it holds an orientation, which is reset, or a small picture, which would
    show what the image was before.

    Args:
        image: not decoded yet. A PNG is decoded for this, as its EXIF may come last; so is a TIFF, which Pillow turns
            upright meanwhile.
        notes: gets what is damaged.
    """
    if image.format == "TIFF":
        image.load()
    orientation, exif = 1, b""
    try:
        tags = image.getexif()
        said = tags.get(_ORIENTATION, 1)
        orientation = said if isinstance(said, int) and 1 <= said <= 8 else 1
        exif = _exif_of(image, tags)
    except Exception:  # Pillow raises nearly anything on damaged EXIF.
        notes.append("its EXIF is damaged and was left out")
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    for pattern in _XMP_ORIENTATION:
        xmp = re.sub(pattern, b"", xmp)
    return Metadata(
        orientation,
        exif,
        bytes(info.get("icc_profile") or b""),
        xmp,
        _resolution(info.get("dpi")),
        info.get("comment") or b"",
    )


def _resolution(dpi: Any) -> tuple[float, float] | None:
    if not isinstance(dpi, tuple) or len(dpi) != 2 or dpi == _TIFF_RESOLUTION_NONE:
        return None
    return (float(dpi[0]), float(dpi[1])) if all(0 < float(each) < 65_536 for each in dpi) else None


def _exif_of(image: Image, tags: Exif) -> bytes:
    from PIL import ExifTags
    from PIL.Image import Exif as NewExif

    if image.format == "TIFF":
        kept = NewExif()
        for tag in _DESCRIPTIVE:
            if tag in tags:
                kept[tag] = tags.get_ifd(tag) if tag in (34665, 34853) else tags[tag]
        return kept.tobytes() if len(kept) else b""
    raw = bytes(image.info.get("exif") or b"")
    if raw and not raw.startswith(_EXIF_MARK):
        raw = _EXIF_MARK + raw  # Pillow writes it into a JPEG as it is.
    if raw and tags.get(_ORIENTATION, 1) == 1 and not tags.get_ifd(ExifTags.IFD.IFD1):
        return raw
    tags.pop(_ORIENTATION, None)
    return tags.tobytes() if len(tags) else b""


def _is_profile_of(icc: bytes, mode: str) -> bool:
    """Say whether a profile is one of this kind of pixels (ICC.1:2022, 7.2.6)."""
    space = {"L": b"GRAY", "LA": b"GRAY", "1": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK"}.get(mode, b"RGB ")
    return icc[16:20] == space
