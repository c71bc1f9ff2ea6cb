"""Photographs that are made up, for the lessons and the demonstration. Needs Pillow."""

from __future__ import annotations

import io
import os
import random
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 92
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


def generate_photographs(folder: str, *, count: int = 4, size: tuple[int, int] = (4000, 3000)) -> None:
    """Make JPEG files that cost what photographs of a camera cost: gradients, edges of all sizes, and sensor noise.

    Args:
        folder: is created.
        count: how many.
        size: width and height in pixels.
    """
    import poolwise

    os.makedirs(folder)
    paths = [os.path.join(folder, f"photo-{number:02}.jpg") for number in range(1, count + 1)]
    with poolwise.map(_generate, paths, [size] * count, hint="cpu") as made:
        for _ in made:
            pass


def _generate(path: str, size: tuple[int, int]) -> None:
    _photograph(os.path.basename(path), size).save(path, quality=QUALITY)


def link_photographs(source: str, folder: str, count: int) -> list[str]:
    """Fill a folder with links to the JPEG files of another one, each several times where they are few.

    Args:
        source: where they are, searched with its subfolders.
        folder: is created; links are called photo-01.jpg and so on.
        count: of links, about.

    Returns:
        The paths of the photographs, one for each link.

    Raises:
        UsageError: there is none, or no such folder.
    """
    found = find_photographs(source)[:count]
    originals = [os.path.abspath(os.path.join(source, name)) for name in found] * max(1, round(count / len(found)))
    os.makedirs(folder)
    for number, original in enumerate(originals, 1):
        link = os.path.join(folder, f"photo-{number:02}.jpg")
        try:
            os.symlink(original, link)
        except OSError:  # no links here: Windows without developer mode, some network drives
            shutil.copyfile(original, link)
    return originals


def find_photographs(source: str) -> list[str]:
    """Return the JPEG files below a folder, as paths in it.

    Raises:
        UsageError: there is none, or no such folder.
    """
    from poolwise import UsageError
    from poolwise.jobs.images import find_images

    found = [name for name in find_images(source) if name.lower().endswith(_JPEG)]
    if not found:
        raise UsageError(f"there are no photographs (JPEG files) in {source!r}")
    return found


def photograph_bytes(name: str, size: tuple[int, int]) -> bytes:
    """Return a JPEG file; the same name and size give the same picture, but for the noise."""
    file = io.BytesIO()
    _photograph(name, size).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _photograph(name: str, size: tuple[int, int]) -> Image:
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    chance = random.Random(name)
    width, height = size
    light = (Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90))
    picture = Image.merge("RGB", [each.resize(size) for each in chance.sample(light, 3)])
    draw = ImageDraw.Draw(picture)
    for number in range(400):
        reach = max(4, width // (3 + number // 2))
        left, top = chance.randrange(-reach, width), chance.randrange(-reach, height)
        box = (left, top, left + chance.randrange(2, reach), top + chance.randrange(2, reach))
        shape = chance.choice((draw.ellipse, draw.rectangle))
        shape(box, fill=(chance.randrange(256), chance.randrange(256), chance.randrange(256)))
    noise = Image.merge("RGB", [Image.effect_noise(size, 8)] * 3)
    return ImageChops.add(picture.filter(ImageFilter.BoxBlur(1)), noise, scale=1, offset=-128)
