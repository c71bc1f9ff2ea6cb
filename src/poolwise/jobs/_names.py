"""What all jobs know of file names: which are one name on some file systems, and what names a text for good. Pure."""

from __future__ import annotations

import functools
import hashlib
import unicodedata


def folded(text: str) -> str:
    """Return a name so that two which some file system takes for one (case, Unicode forms) become equal."""
    if text.isascii():  # It has one form only.
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@functools.lru_cache(maxsize=1024)  # A URL that is being fetched is asked for several times.
def digest(text: str) -> str:
    """Return SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
