"""What results are called, and which of them would be one file. Pure.

A result has the place and the name of its original; only its extension follows `format`, where that is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from poolwise.jobs._names import folded

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
}
"""Of the formats that `format` may name; new names get the first."""


def result_name(path: str, image_format: str | None) -> str:
    """Return the relative path of a result.

    Args:
        path: of the original, relative.
        image_format: "JPEG", "PNG", "WEBP" or "AVIF"; None where each keeps its own.
    """
    if image_format is None:
        return path
    stem, extension = os.path.splitext(path)
    known = EXTENSIONS[image_format]
    return path if extension.lower() in known else f"{stem}{known[0]}"


def clash(paths: Iterable[str], image_format: str | None) -> str | None:
    """Say which originals have one result, on a file system that takes case and Unicode forms for one; None: no two.

    Args:
        paths: of all originals, relative.
        image_format: see `result_name`.
    """
    owners: dict[str, str] = {}
    for path in paths:
        name = result_name(path, image_format)
        key = folded(name)
        if key in owners:
            return f"{owners[key]!r} and {path!r} have the same result, {name!r}; rename one of them"
        owners[key] = path
    for key, path in owners.items():
        parent = os.path.dirname(key)
        while parent:
            if parent in owners:
                return f"the result of {owners[parent]!r} stands where {path!r} needs a folder; rename one of them"
            parent = os.path.dirname(parent)
    return None
