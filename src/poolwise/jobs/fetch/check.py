"""Is it an image, of which kind, how large, and is it whole? Read from the file's structure, without decoding pixels.

Pure: bytes, or a memory-mapped file, go in. What only decoding can find is `decoding.py`'s.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import mmap

from poolwise.jobs import _gif as _gif_blocks
from poolwise.jobs.fetch.errors import DamagedImage, NotAnImage

Data = bytes | bytearray | mmap

SNIFFED_BYTES = 512
"""So much of a beginning is enough to tell a type."""


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of an image.

    Attributes:
        type: media type, such as "image/jpeg".
        extension: such as "jpg".
        width, height: in pixels.
    """

    type: str
    extension: str
    width: int
    height: int


_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
}
_BRANDS = {b"avif": "avif", b"avis": "avif"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "heic"
)
_BLANK = rb"(?:\xef\xbb\xbf)?\s*"
_REMARKS = rb"(?:<!--.*?-->\s*)*"
_OTHERS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), what)
    for pattern, what in (
        (_BLANK + _REMARKS + rb"<(?:!doctype\s+html|html|head|body|script)\b", "an HTML page"),
        (_BLANK + rb"(?:<\?xml.*?\?>\s*)?" + _REMARKS + rb"(?:<!doctype\s+svg[^>]*>\s*)?<svg\b", "an SVG drawing"),
        (_BLANK + rb"<\?xml\b", "an XML document"),
        (_BLANK + rb"[\[{]\s*[\"\[{\]}]", "JSON"),
        (rb"%PDF-", "a PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
        (rb"PK\x03\x04", "a ZIP archive"),
        (rb"\x1f\x8b", "a gzip file"),
    )
)


def image_kind(start: bytes | bytearray) -> str | None:
    """Return the extension of the image that begins so; None where it is none that is known here."""
    if start.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if (
        start.startswith(b"BM")
        and len(start) >= 26
        and int.from_bytes(start[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "bmp"
    if start.startswith((b"II*\0", b"MM\0*")):
        return "tif"
    if start[4:8] == b"ftyp":
        end = min(int.from_bytes(start[:4], "big"), len(start))
        brands = [bytes(start[8:12]), *(bytes(start[at : at + 4]) for at in range(16, end - 3, 4))]
        kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "avif" if "avif" in kinds else kinds[0] if kinds else None
    return None


def other_kind(start: bytes | bytearray) -> str:
    """Say what begins so, where it is no image: "an HTML page"; "something else" where that is not known."""
    if not start:
        return "nothing: the body is empty"
    return next((what for pattern, what in _OTHERS if pattern.match(start)), "something else")


def media_type(extension: str) -> str:
    """Return the media type of an image's extension."""
    return _TYPES[extension]


def check_start(start: bytes | bytearray) -> str:
    """Return the extension of the image that begins so.

    Raises:
        NotAnImage: saying what it is instead.
    """
    kind = image_kind(start)
    if kind is None:
        raise NotAnImage(f"is not an image but {other_kind(start)}")
    return kind


def inspect(data: Data) -> Image:
    """Read an image's kind and size, and check that it is whole.

    Raises:
        NotAnImage: it is something else.
        DamagedImage: it ends too early, or contradicts itself.
    """
    kind = check_start(bytes(data[:SNIFFED_BYTES]))
    try:
        width, height = _READERS[kind](data)
    except (IndexError, struct.error):
        raise DamagedImage(f"is a {_name(kind)} that ends too early, after {len(data):,} bytes") from None
    if not (width > 0 and height > 0):
        raise DamagedImage(f"is a {_name(kind)} of {width} x {height} pixels")
    return Image(_TYPES[kind], kind, width, height)


def _name(kind: str) -> str:
    return {"jpg": "JPEG", "tif": "TIFF", "webp": "WebP"}.get(kind, kind.upper())


def _cut(kind: str, data: Data) -> DamagedImage:
    return DamagedImage(f"is a {_name(kind)} that ends too early, after {len(data):,} bytes")


# -- JPEG (ITU T.81, annex B) ------------------------------------------------------------------------------------------

# Inside a scan: neither a stuffed byte nor a restart. With its first byte fixed, the search is several times as quick.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END = b"\xff\xd9"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def _jpeg(data: Data) -> tuple[int, int]:
    at, size, scanned = 2, (0, 0), False
    while True:
        if data[at] != 0xFF:
            raise DamagedImage(f"is a JPEG with no marker at byte {at:,}, where one must be")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == 0xD9:
            if not scanned or size == (0, 0):
                raise DamagedImage("is a JPEG without a picture in it")
            return size
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2:
            raise DamagedImage(f"is a JPEG with a segment of {length} bytes")
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = (width, height or size[1])
        elif marker == 0xDC:  # DNL: the number of lines, after the first scan.
            size = (size[0], struct.unpack_from(">H", data, at + 2)[0])
        at += length
        if marker == 0xDA:
            if size[1] and at <= len(data) - 2 and data[-2:] == _END:  # Once a scan began, only an end looks like it.
                return size
            found = _MARKER.search(data, at)
            if found is None:
                raise _cut("jpg", data)
            at, scanned = found.start(), True


# -- PNG ---------------------------------------------------------------------------------------------------------------


def _png(data: Data) -> tuple[int, int]:
    at, size, pixels = 8, (0, 0), False
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise _cut("png", data)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", data, at + 8)
        pixels = pixels or kind == b"IDAT"
        if not kind[0] & 0x20:  # Critical: what is optional may be broken.
            with memoryview(data) as view:
                right = zlib.crc32(view[at + 4 : end]) == struct.unpack_from(">I", view, end)[0]
            if not right:
                raise DamagedImage(f"is a PNG whose {kind.decode('ascii', 'replace')} has a wrong checksum")
        if kind == b"IEND":
            if not pixels:
                raise DamagedImage("is a PNG without a picture in it")
            return size
        at = end + 4


# -- GIF ---------------------------------------------------------------------------------------------------------------


def _gif(data: Data) -> tuple[int, int]:
    size = struct.unpack_from("<HH", data, 6)
    blocks = list(_gif_blocks.blocks(data))
    last, at = blocks[-1]
    if last != _gif_blocks.TRAILER:
        raise DamagedImage(f"is a GIF with an unknown block at byte {at:,}")
    if not any(kind == _gif_blocks.PICTURE for kind, _ in blocks):
        raise DamagedImage("is a GIF without a picture in it")
    return size


# -- WebP (RFC 9649) ---------------------------------------------------------------------------------------------------


def _webp(data: Data) -> tuple[int, int]:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise _cut("webp", data)
    at, size, pixels = 12, (0, 0), False
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise _cut("webp", data)
        found = _webp_size(data, kind, at + 8)
        pixels = pixels or kind in (b"VP8 ", b"VP8L", b"ANMF")
        if found is not None and size == (0, 0):
            size = found
        at += 8 + length + (length & 1)
    if not pixels:
        raise DamagedImage("is a WebP without a picture in it")
    return size


def _webp_size(data: Data, kind: bytes, at: int) -> tuple[int, int] | None:
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[at + 4 : at + 7], "little"), 1 + int.from_bytes(data[at + 7 : at + 10], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, at + 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, at + 1)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


# -- BMP ---------------------------------------------------------------------------------------------------------------


def _bmp(data: Data) -> tuple[int, int]:
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, depth, compression, packed = struct.unpack_from("<iiHHII", data, 18)
        packed = packed if compression in (1, 2, 4, 5) else 0
    size = packed or (width * depth + 31) // 32 * 4 * abs(height)
    if offset + size > len(data):
        raise _cut("bmp", data)
    return width, abs(height)


# -- TIFF --------------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _PLACES, _LENGTHS = 256, 257, {273, 324}, {279, 325}
_MOST_PAGES = 10_000
_FORMATS = {1: "B", 3: "H", 4: "I"}
_WIDTHS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
}  # Bytes of a value, by type.


def _tiff(data: Data) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    first, seen = (0, 0), set[int]()
    while at and len(seen) < _MOST_PAGES:
        if at in seen:
            raise DamagedImage("is a TIFF whose pages go in a circle")
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        tags = dict(_tiff_tag(data, order, at + 2 + 12 * number) for number in range(count))
        places = next((tags[tag] for tag in _PLACES if tag in tags), [])
        lengths = next((tags[tag] for tag in _LENGTHS if tag in tags), [])
        if any(place + length > len(data) for place, length in zip(places, lengths)):
            raise _cut("tif", data)
        if first == (0, 0):
            if not places:
                raise DamagedImage("is a TIFF without a picture in it")
            first = (next(iter(tags.get(_WIDTH, [])), 0), next(iter(tags.get(_HEIGHT, [])), 0))
        (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    return first


def _tiff_tag(data: Data, order: str, at: int) -> tuple[int, list[int]]:
    """Return a tag and its values, where they are of use here; all of its bytes must be there."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", data, at)
    size = count * _WIDTHS.get(kind, 0)
    place = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, at + 8)[0]
    if place + size > len(data):
        raise _cut("tif", data)
    letter = _FORMATS.get(kind)
    if letter is None or tag not in {_WIDTH, _HEIGHT, *_PLACES, *_LENGTHS}:
        return tag, []
    return tag, list(struct.unpack_from(f"{order}{count}{letter}", data, place))


# -- AVIF and HEIC (ISO/IEC 14496-12, 23008-12) ------------------------------------------------------------------------

_HOLDERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # Boxes that hold boxes, after so many bytes of their own.


def _boxes(data: Data, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start of the content and end of each box.

    Raises:
        IndexError: one of them ends beyond `end`.
    """
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        stop = end if length == 0 else at + length
        if stop > end or stop < begin:
            raise IndexError
        yield kind, begin, stop
        at = stop
    if at != end and end == len(data):
        raise IndexError


def _sizes(data: Data, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the sizes of all pictures (`ispe`), which are at the leaves of a few boxes."""
    for kind, start, stop in _boxes(data, begin, end):
        if kind in _HOLDERS:
            yield from _sizes(data, start + _HOLDERS[kind], stop)
        elif kind == b"ispe":
            yield struct.unpack_from(">II", data, start + 4)


def _heif(data: Data) -> tuple[int, int]:
    kinds = {kind for kind, _, _ in _boxes(data, 0, len(data))}
    sizes = list(_sizes(data, 0, len(data)))
    if not sizes or not kinds & {b"mdat", b"idat"}:
        raise DamagedImage("is an AVIF or HEIC file without a picture in it")
    return max(sizes, key=lambda size: size[0] * size[1])


_READERS: dict[str, Callable[[Data], tuple[int, int]]] = {
    "jpg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "bmp": _bmp,
    "tif": _tiff,
    "avif": _heif,
    "heic": _heif,
}
