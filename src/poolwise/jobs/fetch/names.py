"""What a file is called: a function of its URL, its type, and whether its name could be taken for another's. Pure.

    https://example.com/a/Photo%20One.JPG?s=2   ->   Photo One.jpg, or Photo One-1f2e3d4c.jpg

Names that differ only in case or in how Unicode writes them are one on some file systems, so they count as one here.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from poolwise.jobs._names import digest, folded
from poolwise.jobs.fetch.urls import Url

MOST_STEM_BYTES = 120
DIGITS = 8
MANY_DIGITS = 32

_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_REPLACED = frozenset(
    [
        "jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "dib", "tif", "tiff", "avif", "heic", "heif", "apng",
        "mpo", "svg", "ico", "php", "asp", "aspx", "cgi", "jsp",
    ]
)  # fmt: skip
"""Extensions of URLs that give way to that of what was found."""

HTML = "html"
_ADDED = re.compile(rf"(?:\.(?:{'|'.join(sorted({*_REPLACED, HTML}))}))+$")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f<>:\"/\\|?*]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_PLAIN = re.compile(rf"([A-Za-z0-9_][A-Za-z0-9_-]{{0,{MOST_STEM_BYTES - 1}}})\.([A-Za-z0-9]{{1,8}})")
_LIKE_A_SUFFIX = re.compile(r"-(?:[0-9a-f]{8}|[0-9a-f]{32})(\.[a-z0-9]{1,8})?$")


class Stem(NamedTuple):
    """What the URL says of a name.

    Attributes:
        text: the name, without an extension that gives way to that of what was found.
        extension: of the URL, in lower case, or "".
        cut: the name was so long that it had to be cut.
    """

    text: str
    extension: str
    cut: bool


@functools.lru_cache(maxsize=1024)  # Once to tell it from others, and again to name the file.
def stem(url: Url) -> Stem:
    """Return what the URL says of its file's name."""
    path = url.path.partition("?")[0]
    segment = path.rstrip("/").rpartition("/")[2]
    plain = _PLAIN.fullmatch(segment)  # Mostly there is nothing in it that has to be changed.
    if plain is not None and (extension := plain[2].lower()) in _REPLACED and not _RESERVED.match(segment):
        return Stem(plain[1], extension, cut=False)
    text = unicodedata.normalize("NFC", unquote(segment, errors="replace"))
    text = text.replace("\\", "/").rpartition("/")[2].rstrip(". ")
    match = _EXTENSION.search(text)
    extension = match[1].lower() if match is not None else ""
    if match is not None and extension in _REPLACED:
        text = text[: match.start()]
    elif match is not None and not text[: match.start()].strip(". "):
        extension = ""  # It is the whole name.
    text = _UNSAFE.sub("_", text)
    if not text.isprintable():
        text = "".join(each if each.isprintable() else "_" for each in text)
    text = text.strip(". ") or url.host.replace(":", "_").strip(". ")
    if text.startswith("-"):
        text = f"_{text}"
    whole = text.encode("utf-8", "replace")
    cut = len(whole) > MOST_STEM_BYTES
    if cut:
        text = whole[:MOST_STEM_BYTES].decode("utf-8", "ignore").rstrip(". ")
    if _RESERVED.match(text):
        text = f"_{text}"
    return Stem(text, "" if _RESERVED.match(extension) else extension, cut)


def file_name(url: Url, digits: int, extension: str | None) -> str:
    """Return the name of the file.

    Args:
        url: what it was fetched from.
        digits: how many of the URL's SHA-256 to add: 0, `DIGITS` or `MANY_DIGITS`.
        extension: of the type that was found, such as "jpg", or ""; None where the URL's own is to stay.
    """
    text, own, _ = stem(url)
    end = f".{extension}" if extension else ""
    if extension is None and own:
        end = f".{own}"
        if text.lower().endswith(end) and len(text) > len(end):
            text, end = text[: -len(end)], text[-len(end) :]
    return f"{text}-{digest(url.text)[:digits]}{end}" if digits else f"{text}{end}"


def page_extension(url: Url) -> str | None:
    """Return the extension of a file that is an HTML page: None where the URL's own is to stay."""
    return HTML if stem(url).extension in _REPLACED else None


def could_be(name: str, found: Iterable[Url]) -> bool:
    """Say whether a file of this name could be that of one of some URLs."""
    bare = _bare(name)
    wanted = {bare, *(_ADDED.sub("", _LIKE_A_SUFFIX.sub(end, bare)) for end in ("", r"\1"))}
    return any(_bare(stem(url).text) in wanted for url in found)


def _bare(text: str) -> str:
    """Return what two names must differ in, whatever extensions are added to them."""
    return _ADDED.sub("", folded(text))


class Clashes:
    """Knows which URLs of a list need digits in their file's name.

    Kept are 64-bit hashes, not names: a false one costs a name eight more characters.

    Args:
        urls: all of the list; iterated over twice.
    """

    def __init__(self, urls: Iterable[Url]) -> None:
        self._shared = _shared((_number(_bare(stem(url).text)), _number(url.text)) for url in urls)
        self._twins: frozenset[int] = frozenset()
        if self._shared:
            self._twins = _shared(
                (self._with_digits(url), _number(url.text)) for url in urls if self._needs_digits(url)
            )

    def digits(self, url: Url) -> int:
        """Return how many digits the name needs: 0, `DIGITS`, or `MANY_DIGITS` where those would not tell it apart."""
        if not self._needs_digits(url):
            return 0
        return MANY_DIGITS if self._with_digits(url) in self._twins else DIGITS

    def _needs_digits(self, url: Url) -> bool:
        text, _, cut = stem(url)
        bare = _bare(text)
        return cut or _LIKE_A_SUFFIX.search(bare) is not None or _number(bare) in self._shared

    @staticmethod
    def _with_digits(url: Url) -> int:
        text, own, _ = stem(url)
        return _number(f"{_bare(text).removesuffix(f'.{own}')}-{digest(url.text)[:DIGITS]}")


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
