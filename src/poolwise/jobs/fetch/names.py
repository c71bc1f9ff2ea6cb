"""What a file is called: a function of its URL, its type, and whether its name could be taken for another's. Pure.

    https://example.com/a/Photo%20One.JPG?s=2   ->   Photo One.jpg, or Photo One-1f2e3d4c.jpg

Names that differ only in case or in how Unicode writes them are one on some file systems, so they count as one here.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from poolwise.jobs._names import digest, folded
from poolwise.jobs.fetch.urls import Url

MOST_STEM_BYTES = 120
DIGITS = 8
MANY_DIGITS = 32

_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_IMAGE_EXTENSIONS = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "gif",
        "webp",
        "bmp",
        "dib",
        "tif",
        "tiff",
        "avif",
        "heic",
        "heif",
        "apng",
        "mpo",
        "svg",
        "ico",
        "php",
        "asp",
        "aspx",
        "cgi",
        "jsp",
    ]
)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f<>:\"/\\|?*]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_LIKE_A_SUFFIX = re.compile(r"-(?:[0-9a-f]{8}|[0-9a-f]{32})$", re.IGNORECASE)


def stem(url: Url) -> tuple[str, bool]:
    """Return the name without extension, and whether it was so long that it had to be cut."""
    path = url.path.partition("?")[0]
    segment = path.rstrip("/").rpartition("/")[2]
    text = unicodedata.normalize("NFC", unquote(segment, errors="replace"))
    text = text.replace("\\", "/").rpartition("/")[2]
    match = _EXTENSION.search(text)
    if match is not None and match[1].lower() in _IMAGE_EXTENSIONS:
        text = text[: match.start()]
    text = "".join(each if each.isprintable() else "_" for each in _UNSAFE.sub("_", text))
    text = text.strip(". ") or url.host.replace(":", "_").strip(". ")
    if text.startswith("-"):
        text = f"_{text}"
    whole = text.encode("utf-8", "replace")
    cut = len(whole) > MOST_STEM_BYTES
    if cut:
        text = whole[:MOST_STEM_BYTES].decode("utf-8", "ignore").rstrip(". ")
    if _RESERVED.match(text):
        text = f"_{text}"
    return text, cut


def file_name(url: Url, digits: int, extension: str) -> str:
    """Return the name of the file.

    Args:
        url: what it was fetched from.
        digits: how many of the URL's SHA-256 to add: 0, `DIGITS` or `MANY_DIGITS`.
        extension: of the type that was found, such as "jpg", or "".
    """
    text, _ = stem(url)
    if digits:
        text = f"{text}-{digest(url.text)[:digits]}"
    return f"{text}.{extension}" if extension else text


def url_extension(url: Url) -> str:
    """Return the extension that the URL gives, in lower case, or ""."""
    match = _EXTENSION.search(unquote(url.path.partition("?")[0], errors="replace"))
    return match[1].lower() if match is not None and not _RESERVED.match(match[1]) else ""


class Clashes:
    """Knows which URLs of a list need digits in their file's name.

    Kept are 64-bit hashes, not names: a false one costs a name eight more characters.

    Args:
        urls: all of the list; iterated over twice.
    """

    def __init__(self, urls: Iterable[Url]) -> None:
        self._shared = _shared((_number(folded(stem(url)[0])), _number(url.text)) for url in urls)
        self._twins: frozenset[int] = frozenset()
        if self._shared:
            self._twins = _shared(
                (_number(self._with_digits(url)), _number(url.text)) for url in urls if self._needs_digits(url)
            )

    def digits(self, url: Url) -> int:
        """Return how many digits the name needs: 0, `DIGITS`, or `MANY_DIGITS` where those would not tell it apart."""
        if not self._needs_digits(url):
            return 0
        return MANY_DIGITS if _number(self._with_digits(url)) in self._twins else DIGITS

    def _needs_digits(self, url: Url) -> bool:
        text, cut = stem(url)
        known = folded(text)
        return cut or _LIKE_A_SUFFIX.search(known) is not None or _number(known) in self._shared

    @staticmethod
    def _with_digits(url: Url) -> str:
        return folded(file_name(url, DIGITS, ""))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _shared(pairs: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Return the first numbers that come with more than one second number."""
    seen: dict[int, int] = {}
    shared: set[int] = set()
    for name, url in pairs:
        if seen.setdefault(name, url) != url:
            shared.add(name)
    return frozenset(shared)
