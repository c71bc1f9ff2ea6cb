"""From one kind of pixels to another, by their colour profiles where they have one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_SIXTEEN_TO_EIGHT = 1 / 257


def to_srgb(image: Image, icc: bytes, notes: list[str]) -> Image:
    """Return an image in sRGB: grey and RGB keep their mode, CMYK becomes RGB.

    Args:
        image: L, LA, RGB, RGBA or CMYK.
        icc: its profile, or b"": then CMYK is converted by the plain formula, and the others are sRGB already.
        notes: gets what could not be done.
    """
    mode = "RGB" if image.mode == "CMYK" else image.mode
    if not icc or (image.mode in ("L", "LA")):
        return image if mode == image.mode else image.convert(mode)
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if mode == image.mode and "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        target = ImageCms.createProfile("sRGB")
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        converted = ImageCms.profileToProfile(image, profile, target, intent, mode, flags=flags)
    except (ImageCms.PyCMSError, OSError):
        notes.append("its colour profile cannot be used")
        return image if mode == image.mode else image.convert(mode)
    assert converted is not None
    converted.info = {name: value for name, value in image.info.items() if name != "icc_profile"}
    return converted


def to_eight_bits(image: Image) -> Image:
    """Return an image of 16 bits a pixel in grey of 8: scaled, where Pillow's own conversion cuts off."""
    return image.convert("I").point(lambda value: value * _SIXTEEN_TO_EIGHT + 0.5).convert("L")


def on_white(image: Image) -> Image:
    """Return an image with alpha as it looks on white paper, without alpha."""
    from PIL import Image as pillow

    mode = "L" if image.mode in ("LA", "La") else "RGB"
    alpha = image.getchannel("A")
    opaque = image.convert(mode)
    if alpha.getextrema()[0] == 255:
        return opaque
    paper = pillow.new(mode, image.size, 255 if mode == "L" else (255, 255, 255))
    paper.paste(opaque, mask=alpha)
    return paper


def is_opaque(image: Image) -> bool:
    """Say whether no pixel of an image with alpha can be seen through."""
    extrema = image.getchannel("A").getextrema()
    return bool(extrema[0] == 255)
