"""Where a body goes: memory while it is small, then a partial file, and a final name only once it is whole.

write ─> 256 KB of memory ─> DST/.poolwise-partial/DIGEST.part ─> checked ─> renamed ─> DST/NAME
                             DIGEST.json: the URL and its validator, where it can be resumed with Range and If-Range
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from poolwise.jobs._files import failure_of, sync_folder
from poolwise.jobs._names import digest
from poolwise.jobs.fetch.check import SNIFFED_BYTES, Data, check_start
from poolwise.jobs.fetch.errors import Incomplete, StorageFailed, TooSlow, too_large
from poolwise.jobs.fetch.names import DIGITS, MANY_DIGITS, file_name
from poolwise.jobs.fetch.urls import Url

PARTIAL_FOLDER = ".poolwise-partial"
MEMORY_BYTES = 256 * 1024
_SPACE_CHECKED_EVERY_SECONDS = 1.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$")


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn what the system says about files into a sentence."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{what} cannot be written: {failure_of(error)}") from None


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of a body, of an earlier attempt or run.

    Attributes:
        size: in bytes.
        validator: ETag or Last-Modified of what it is the beginning of.
    """

    size: int
    validator: str

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest of it, or for all where it has changed."""
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def continued_by(self, content_range: str) -> bool:
        """Say whether a 206 with this Content-Range goes on where it ends, and to the end."""
        match = _RANGE.match(content_range.strip())
        if match is None or int(match[1]) != self.size:
            return False
        return match[3] == "*" or int(match[2]) == int(match[3]) - 1


class Records(Protocol):
    """What is recorded of the files in DST; asked only where a name is taken."""

    def path_of(self, url: Url) -> str | None:
        """Return the name of the file that a URL is recorded with, or None."""

    def is_anothers(self, path: str, url: Url) -> bool:
        """Say whether another URL is recorded with a file of this name."""


class Folder:
    """DST, and what may be written there.

    Args:
        path: of DST, absolute.
        min_free_bytes: that must be left on its disk, or None.
        durable: files are on the disk before they are told of.
    """

    def __init__(self, path: str, *, min_free_bytes: int | None, durable: bool) -> None:
        self.path = path
        self.partial_path = os.path.join(path, PARTIAL_FOLDER)
        self._min_free_bytes = min_free_bytes
        self._durable = durable
        self._lock = threading.Lock()
        self._checked = -1e9
        self._full = ""
        with storing(repr(path)):
            os.makedirs(path, exist_ok=True)
            if os.path.islink(self.partial_path):
                raise StorageFailed(f"{self.partial_path!r} is a link; partial files would be written outside of DST")
            os.makedirs(self.partial_path, exist_ok=True)

    def check_space(self) -> None:
        """Raise StorageFailed where the disk has too little room left; asked of the system once a second."""
        if self._min_free_bytes is None:
            return
        now = time.monotonic()
        with self._lock:
            if now - self._checked > _SPACE_CHECKED_EVERY_SECONDS:
                self._checked = now
                free = shutil.disk_usage(self.path).free
                self._full = (
                    f"is not fetched: the disk has {free / 1e6:,.0f} MB left, and {self._min_free_bytes / 1e6:,.0f} MB "
                    "are to stay free (min_free_bytes, --min-free)"
                    if free < self._min_free_bytes
                    else ""
                )
            full = self._full
        if full:
            raise StorageFailed(full)

    def partial_file(self, url: Url) -> str:
        """Return the path of a URL's partial file, without its extension."""
        return f"{self.partial_path}{os.sep}{digest(url.text)[:40]}"

    def partial(self, url: Url) -> Partial | None:
        """Return what there is of a URL's body from before."""
        path = self.partial_file(url)
        try:
            size = os.stat(f"{path}.part").st_size  # Mostly there is none, and that is soon known.
            with open(f"{path}.json", encoding="utf-8") as file:
                said = json.load(file)
        except (OSError, ValueError):
            return None
        if not isinstance(said, dict) or said.get("url") != url.text or not isinstance(said.get("validator"), str):
            return None
        return Partial(size, said["validator"]) if size else None

    def discard(self, url: Url) -> None:
        """Remove what there is of a URL's body from before."""
        path = self.partial_file(url)
        for end in (".json", ".part"):
            with contextlib.suppress(OSError):
                os.unlink(path + end)

    def place(
        self,
        url: Url,
        digits: int,
        extension: str | None,
        sha256: str,
        *,
        own: str | None,
        records: Records,
        noted: bool,
    ) -> str:
        """Give the partial file of a URL its final name, and return that.

        A file of that name stays where it is not known to be this URL's: the name gets more digits. Where no other URL
        is recorded with it and its content is the same, it is the file: a run was killed before it could record it.

        Args:
            url: whose.
            digits: how many the name has at least.
            extension: of the type that was found; None for the URL's own.
            sha256: of the content, in hex.
            own: name of this URL's file of an earlier run, where that is known; or None.
            records: what else is known of the files in DST.
            noted: there may be a note of what the partial file is.
        """
        source = f"{self.partial_file(url)}.part"
        with storing("the file"):
            if noted:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.partial_file(url)}.json")
            for number in sorted({digits, max(digits, DIGITS), MANY_DIGITS}):
                name = file_name(url, number, extension)
                target = os.path.join(self.path, name)
                if number == MANY_DIGITS:
                    os.replace(source, target)
                    break
                try:
                    rename_exclusively(source, target)
                    break
                except FileExistsError:
                    own = own or records.path_of(url)
                    whole = name != own and _has_content(target, sha256)
                    if (name == own or whole) and not records.is_anothers(name, url):
                        if whole:
                            os.unlink(source)
                        else:
                            os.replace(source, target)
                        break
            if self._durable:
                sync_folder(self.path)
        if own is not None and own != name and not records.is_anothers(own, url):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.path, own))
        return name

    def write(self, path: str, content: bytearray) -> None:
        """Write a whole file."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Have a file on the disk, where that is wanted."""
        if self._durable:
            os.fsync(descriptor)


def rename_exclusively(source: str, target: str) -> None:
    """Rename a file; nobody else's is replaced, whoever makes it at the same moment.

    Where the file system has no links, the name is reserved with an empty file first.

    Raises:
        FileExistsError: there is something of that name.
    """
    if os.name == "nt":
        os.rename(source, target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.replace(source, target)
    else:
        os.unlink(source)


def _has_content(path: str, sha256: str) -> bool:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


class Body:
    """One body on its way; what `Transport` writes to.

    Args:
        folder: where it will be.
        url: whose.
        most_bytes: that it may have, or None.
        image: refuse it at its first bytes where it is no image.
        validator: by which it could be resumed, or "".
        resumed: of how many bytes a partial file has the beginning.

    Attributes:
        size: bytes so far.
        start: the first of them.
        noted: there is a note of what it is, for a later attempt.
    """

    def __init__(
        self, folder: Folder, url: Url, *, most_bytes: int | None, image: bool, validator: str, resumed: int = 0
    ) -> None:
        self.noted = bool(resumed)
        self._folder = folder
        self._url = url
        self._most_bytes = most_bytes
        self._unchecked = image
        self._validator = validator
        self._digest = hashlib.sha256()
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._path = f"{folder.partial_file(url)}.part"
        self.size = 0
        self.start = b""
        if resumed:
            self._continue(resumed)

    def _continue(self, size: int) -> None:
        with storing("a partial file"):
            self._file = open(self._path, "r+b")  # noqa: SIM115  # Stays open.
            left = size
            while left and (chunk := self._file.read(min(left, 1 << 20))):
                self._digest.update(chunk)
                self.start = self.start or chunk[:SNIFFED_BYTES]
                left -= len(chunk)
            self._file.truncate(size)
            self._file.seek(size)
        self._unchecked = False
        self.size = size

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLarge: there are more than may be.
            NotAnImage: they are the beginning of something else.
            StorageFailed: they cannot be written.
        """
        self.size += len(chunk)
        if self._most_bytes is not None and self.size > self._most_bytes:
            raise too_large(self._most_bytes)
        if len(self.start) < SNIFFED_BYTES:
            self.start += chunk[: SNIFFED_BYTES - len(self.start)]
            if self._unchecked and len(self.start) == SNIFFED_BYTES:
                check_start(self.start)
        if self._file is None:
            self._memory += chunk
            if len(self._memory) > MEMORY_BYTES:
                self._spill()
        else:
            self._digest.update(chunk)
            with storing("a partial file"):
                self._file.write(chunk)

    def _spill(self) -> None:
        self._digest.update(self._memory)
        with storing("a partial file"):
            self._file = open(self._path, "w+b")  # noqa: SIM115  # Stays open.
            self._file.write(self._memory)
            self._memory = bytearray()
            if self._validator:
                self.noted = True
                with open(f"{self._path.removesuffix('.part')}.json", "w", encoding="utf-8") as file:
                    json.dump({"url": self._url.text, "validator": self._validator}, file)

    @property
    def is_large(self) -> bool:
        """It is in a partial file already."""
        return self._file is not None

    def sha256(self) -> str:
        """Return SHA-256 of what has been written, in hex."""
        whole = self._digest.copy()
        whole.update(self._memory)
        return whole.hexdigest()

    def checked(self, check: Callable[[Data], object]) -> None:
        """Call a function with the content."""
        if self._file is None:
            check(self._memory)
            return
        with storing("a partial file"):
            self._file.flush()
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            check(view)

    def close(self) -> str:
        """Write what is left to the partial file, and return its path."""
        with storing("the file"):
            if self._file is None:
                self._folder.write(self._path, self._memory)
            else:
                self._file.flush()
                self._folder.sync(self._file.fileno())
                self._file.close()
        return self._path

    def abandon(self, error: BaseException) -> None:
        """Give up; what may be of use to the next attempt stays."""
        resumable = self._file is not None and self._validator and isinstance(error, Incomplete | TooSlow)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if not resumable:
            self._folder.discard(self._url)
