"""Is it an image, of which kind, how large, and is it whole? For each format, cut at every place."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from poolwise.jobs.fetch.check import Image as Found
from poolwise.jobs.fetch.check import image_kind, inspect, other_kind
from poolwise.jobs.fetch.errors import DamagedImage, NotAnImage

SIZE = (37, 23)


def saved(kind: str, *, mode: str = "RGB", frames: int = 1, **options: Any) -> bytes:
    """Save a picture with noise."""
    pictures = [Image.effect_noise(SIZE, 60 + number).convert(mode) for number in range(frames)]
    if frames > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    file = io.BytesIO()
    pictures[0].save(file, kind, **options)
    return file.getvalue()


def images() -> dict[str, tuple[str, bytes]]:
    """Return images of all kinds that this Pillow can write: (extension, content) by name."""
    found = {
        "jpeg": ("jpg", saved("JPEG")),
        "progressive jpeg": ("jpg", saved("JPEG", progressive=True)),
        "cmyk jpeg": ("jpg", saved("JPEG", mode="CMYK")),
        "jpeg with restarts": ("jpg", saved("JPEG", restart_marker_blocks=1)),
        "png": ("png", saved("PNG")),
        "apng": ("png", saved("PNG", frames=3)),
        "gif": ("gif", saved("GIF", mode="P")),
        "animated gif": ("gif", saved("GIF", mode="P", frames=3)),
        "webp": ("webp", saved("WEBP")),
        "lossless webp": ("webp", saved("WEBP", lossless=True)),
        "animated webp": ("webp", saved("WEBP", mode="RGBA", frames=3)),
        "bmp": ("bmp", saved("BMP")),
        "bmp of 1 bit": ("bmp", saved("BMP", mode="1")),
        "tiff": ("tif", saved("TIFF")),
        "tiff of pages": ("tif", saved("TIFF", frames=3)),
        "compressed tiff": ("tif", saved("TIFF", compression="tiff_deflate")),
    }
    if features.check("avif"):
        found["avif"] = ("avif", saved("AVIF"))
    return found


IMAGES = images()


@pytest.mark.parametrize("name", IMAGES)
def test_whole_images(name: str) -> None:
    """Kind and size are read from each."""
    extension, data = IMAGES[name]
    found = inspect(data)
    assert (found.extension, found.width, found.height) == (extension, *SIZE)
    assert found.type.startswith("image/")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_cut_anywhere_is_not_whole(name: str) -> None:
    """However much is left."""
    _, data = IMAGES[name]
    if name == "tiff of pages":
        data = data[:-16]  # Pillow fills up with zeros, which nobody misses.
    places = {*range(0, len(data), max(1, len(data) // 400)), len(data) - 1, len(data) - 2}
    for place in places:
        with pytest.raises((DamagedImage, NotAnImage)):
            inspect(data[:place])


@pytest.mark.parametrize("name", sorted(set(IMAGES) - {"bmp", "bmp of 1 bit"}))
def test_what_follows_an_image_does_not_matter(name: str) -> None:
    """Servers append things; viewers do not mind. (HEIF and AVIF files are boxes to their end.)"""
    extension, data = IMAGES[name]
    if extension == "avif":
        data += struct.pack(">I4s", 8 + 12, b"free")
    assert inspect(data + b"\x00" * 12).extension == extension


@settings(max_examples=300)
@given(st.sampled_from(sorted(IMAGES)), st.integers(0, 2**32), st.integers(1, 12))
def test_no_damage_makes_it_fail_in_another_way(name: str, seed: int, count: int) -> None:
    """Bytes changed at random: an image, or one of two errors; never anything else, never without end."""
    rng = random.Random(seed)
    data = bytearray(IMAGES[name][1])
    for _ in range(count):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        found = inspect(bytes(data))
    except (DamagedImage, NotAnImage):
        return
    assert isinstance(found, Found)
    assert found.width > 0
    assert found.height > 0


@settings(max_examples=200)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x20\0\0\0WEBP", b"BM", b"II*\0", b"MM\0*",
                     b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic"]),
    st.binary(max_size=200),
)  # fmt: skip
def test_no_beginning_makes_it_fail_in_another_way(start: bytes, rest: bytes) -> None:
    """Rubbish behind a right beginning."""
    try:
        inspect(start + rest)
    except (DamagedImage, NotAnImage):
        pass


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "nothing: the body is empty"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf \n<HTML lang=en>", "an HTML page"),
        (b"<!-- hello --><html>", "an HTML page"),
        (b"<?xml version='1.0'?><svg xmlns=''>", "an SVG drawing"),
        (b"<?xml version='1.0'?><Error>", "an XML document"),
        (b'{"error": 1}', "JSON"),
        (b"%PDF-1.7", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x00\x01\x02", "something else"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, said: str) -> None:
    """As far as that is known."""
    assert other_kind(data) == said
    with pytest.raises(NotAnImage, match=said):
        inspect(data)


def test_brands() -> None:
    """AVIF and HEIC by any of their compatible brands; an MP4 is none."""

    def start(*brands: bytes) -> bytes:
        return struct.pack(">I4s", 16 + 4 * (len(brands) - 1), b"ftyp") + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])

    assert image_kind(start(b"avif", b"mif1")) == "avif"
    assert image_kind(start(b"mif1", b"avif")) == "avif"
    assert image_kind(start(b"heic", b"mif1")) == "heic"
    assert image_kind(start(b"isom", b"mp42")) is None


def test_a_png_with_a_changed_byte() -> None:
    """Its checksums tell."""
    data = bytearray(IMAGES["png"][1])
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DamagedImage, match="IDAT has a wrong checksum"):
        inspect(bytes(data))


def test_a_jpeg_with_something_behind_it() -> None:
    """What follows the end marker does not matter; its own end does."""
    data = IMAGES["progressive jpeg"][1]
    for tail in (b"\0" * 100, b"MotionPhoto", b"\xff\xd9", IMAGES["jpeg"][1]):
        assert inspect(data + tail).width == SIZE[0]
    with pytest.raises(DamagedImage, match="ends too early"):
        inspect(data[:-2] + b"MotionPhoto")
    with pytest.raises(DamagedImage, match="without a picture"):
        inspect(b"\xff\xd8\xff\xda\0\x02ab\xff\xd9")  # No frame says how large it is.


def test_a_jpeg_whose_thumbnail_is_whole() -> None:
    """An end marker inside EXIF is not the end of the picture."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 50
    data = saved("JPEG", exif=exif.tobytes()[:-10] + IMAGES["jpeg"][1][-600:])
    assert inspect(data).width == SIZE[0]
    with pytest.raises(DamagedImage):
        inspect(data[: data.index(b"\xff\xda") + 30])
