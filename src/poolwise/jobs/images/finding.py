"""Which files of a folder are taken for images: by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from poolwise import UsageError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")
"""File names that are taken for images, in lower case."""

OWN_PREFIX = ".poolwise-"
"""How files begin that are being written, and the folder of notes about them."""

_FORKS = "._"  # What macOS leaves beside files on other systems' disks: called .jpg, and no image.


def find_images(
    folder: str | os.PathLike[str],
    *,
    without: str | os.PathLike[str] | None = None,
    suffixes: Iterable[str] = SUFFIXES,
) -> list[str]:
    """List the image files below a folder, as sorted paths relative to it.

    A subfolder that cannot be read is listed too: its outcome will say so, rather than its images be missing.

    Args:
        folder: where to look. Links to folders are not followed, links to files are.
        without: a folder that is passed over.
        suffixes: of the names that are taken for images.

    Raises:
        UsageError: where `folder` is not a folder that can be read.
    """
    top, ends = os.fspath(folder), tuple(suffixes)
    if not os.path.isdir(top):
        raise UsageError(f"{top!r} is not a folder" if os.path.exists(top) else f"there is no folder {top!r}")
    skipped = os.path.realpath(without) if without is not None else None
    found: list[str] = []

    def note(error: OSError) -> None:
        path = os.fsdecode(error.filename)
        if os.path.samefile(path, top):
            raise UsageError(f"the folder {top!r} cannot be read: {error.strerror}") from error
        found.append(os.path.relpath(path, top))

    for place, folders, files in os.walk(top, onerror=note):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(OWN_PREFIX) and os.path.realpath(os.path.join(place, name)) != skipped
        ]
        found += [
            os.path.relpath(os.path.join(place, name), top)
            for name in files
            if name.lower().endswith(ends) and not name.startswith((OWN_PREFIX, _FORKS))
        ]
    return sorted(found)
