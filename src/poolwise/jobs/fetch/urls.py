"""URLs as they are written and as they are asked for, and where they come from: lines, CSV, JSON lines. Pure, but for
the reading.

A line that is no URL stays in the list, with the sentence that says why: it becomes a failed outcome.
"""

from __future__ import annotations

import csv
import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from poolwise import UsageError
from poolwise.jobs.fetch.errors import BadUrl

MOST_CHARACTERS = 8192
"""Longer URLs are refused by nearly every server."""

_KEPT = "!$&'()*+,;=:@/~-._%"
_PATH = r"[A-Za-z0-9!$&'()*+,;=:@/~._-]"
_NORMAL = re.compile(rf"(https?)://([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::([1-9][0-9]{{0,4}}))?(/{_PATH}*(?:\?{_PATH}+)?)")
"""What is normal already, as most URLs are: nothing is left to be done with them."""

_MOST_HOST, _MOST_LABEL = 253, 63  # RFC 1035, section 2.3.4, as text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_HOST = re.compile(r"[\x00-\x20\x7f<>\"'`{}|\\^\[\]@/?#%]")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Url:
    """A URL, ready to be asked for.

    Attributes:
        text: normalised, without user and fragment: what it is known by.
        scheme: "http" or "https".
        host: in ASCII, lower case; an IPv6 address without brackets.
        port: also where it is the usual one.
        path: percent-encoded.
        userinfo: "user:password", decoded, or "".
    """

    text: str
    scheme: str
    host: str
    port: int
    path: str
    userinfo: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to, and connections lead to."""
        return self.scheme, self.host, self.port


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of the input that holds no URL.

    Attributes:
        place: such as "line 7 of urls.txt".
        sentence: what is wrong with it.
    """

    place: str
    sentence: str


@functools.lru_cache(maxsize=1024)  # Once to name its file, and again to fetch it.
def parse(text: str) -> Url:
    """Read a URL and normalise it: lower case, IDN in ASCII, no fragment, no usual port, percent-encoded.

    Raises:
        BadUrl: saying why it cannot be asked for.
    """
    text = text.strip().strip("\ufeff").strip()
    if len(text) > MOST_CHARACTERS:
        raise BadUrl(f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken")
    if match := _NORMAL.fullmatch(text):
        scheme, host, number, path = match.groups()
        usual = _DEFAULT_PORTS[scheme]
        if number is None or usual != int(number) <= _LARGEST_PORT:
            return Url(text, scheme, host, int(number or usual), path)
    if _CONTROL.search(text):
        raise BadUrl("holds a control character")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadUrl(f"is no URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise BadUrl(
            f"begins with {scheme[:20]!r}; only http and https are fetched"
            if scheme
            else "does not begin with http:// or https://"
        )
    if not host:
        raise BadUrl("names no host")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadUrl("holds bytes that are not UTF-8") from None
    host = _ascii_host(host)
    if port == 0:
        raise BadUrl("names port 0, which cannot be connected to")
    path = _quoted(parts.path) or "/"
    query = f"?{_quoted(parts.query, '?[]')}" if parts.query else ""
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        shown += f":{port}"
    userinfo = unquote(parts.netloc.rpartition("@")[0])
    return Url(f"{scheme}://{shown}{path}{query}", scheme, host, port or _DEFAULT_PORTS[scheme], path + query, userinfo)


def _quoted(text: str, more: str = "") -> str:
    """Percent-encode what needs it, and leave alone what is encoded."""
    return quote(_BAD_PERCENT.sub("%25", text), safe=_KEPT + more)


@functools.lru_cache(maxsize=4096)
def _ascii_host(host: str) -> str:
    if ":" in host:
        from poolwise.jobs.fetch.addresses import literal

        address = literal(host)
        if address is None:
            raise BadUrl(f"names the host {host!r}, which is no IPv6 address")
        return address
    host = host.rstrip(".")
    if not host or _BAD_HOST.search(host):
        raise BadUrl(f"names the host {host!r}, which cannot be one")
    name = (host if host.isascii() else _in_ascii(host)).lower().rstrip(".")
    if not name or _BAD_HOST.search(name):  # IDNA makes other characters of some.
        raise BadUrl(f"names the host {host!r}, which cannot be one")
    return name


def _in_ascii(host: str) -> str:
    """Write a host in ASCII as browsers do: mapped by UTS 46, and also what IDNA 2008 leaves out (emoji)."""
    try:
        import idna
    except ImportError:
        raise BadUrl(
            f"names the host {host!r}, which takes the package idna to write: pip install 'poolwise[fetch]'"
        ) from None
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        name = ".".join(map(_label_in_ascii, mapped.rstrip(".").split(".")))
    except UnicodeError:
        name = ""
    if not name or len(name) > _MOST_HOST or not all(0 < len(label) <= _MOST_LABEL for label in name.split(".")):
        raise BadUrl(f"names the host {host!r}, which cannot be written in ASCII (IDNA)")
    return name


def _label_in_ascii(label: str) -> str:
    import idna

    if label.isascii():
        return label
    try:
        return idna.alabel(label).decode()
    except UnicodeError:
        return f"xn--{label.encode('punycode').decode()}"


# -- where they come from ----------------------------------------------------------------------------------------------


def read_lines(file: BinaryIO, name: str) -> Iterator[str | BadLine]:
    """Read a URL from each line; blank lines, a byte order mark and the CR of a CRLF are passed over.

    Args:
        file: open, in binary.
        name: what the user calls it.
    """
    for place, line in _decoded(file, name):
        if isinstance(line, BadLine):
            yield line
        elif line.strip():
            yield _own(line.strip(), place)


def read_jsonl(file: BinaryIO, name: str, column: str | None) -> Iterator[str | BadLine]:
    """Read a URL from each line of JSON: a text, or, where `column` is given, that field of an object."""
    for place, line in _decoded(file, name):
        if isinstance(line, BadLine):
            yield line
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadLine(place, f"is not JSON: {error}")
            continue
        if column is not None:
            value = value.get(column) if isinstance(value, dict) else None
        if isinstance(value, str):
            yield _own(value, place)
        else:
            yield BadLine(place, "holds no text" if column is None else f"has no text in the field {column!r}")


def read_csv(file: BinaryIO, name: str, column: str) -> Iterator[str | BadLine]:
    """Read a URL from one column of CSV, whose first row names the columns.

    Raises:
        UsageError: there is no such column.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    bad: list[BadLine] = []
    where = ""

    def lines() -> Iterator[str]:
        nonlocal where
        for place, line in _decoded(file, name):
            where = place
            if isinstance(line, BadLine):
                bad.append(line)
            else:
                yield f"{line}\n"

    table = csv.reader(lines())
    names = next(table, [])
    if names.count(column) != 1:
        columns = ", ".join(map(repr, names)) or "none"
        raise UsageError(f"{name} has {names.count(column)} columns {column!r}; its columns are {columns}")
    at = names.index(column)
    while True:
        try:
            row = next(table)
        except StopIteration:
            break
        except csv.Error as error:
            yield BadLine(where, f"is not CSV: {error}")
            continue
        if len(row) > at:
            yield _own(row[at], where)
        elif row:
            yield BadLine(where, f"has no cell for {column!r}")
        yield from bad
        bad.clear()
    yield from bad


def _decoded(file: BinaryIO, name: str) -> Iterator[tuple[str, str | BadLine]]:
    for number, line in enumerate(file, 1):
        place = f"line {number:,} of {name}"
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield place, line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            yield place, BadLine(place, f"is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start})")


def _own(text: str, place: str) -> str | BadLine:
    """Return the text; where it could not be known by itself (it is empty, or no text at all), a bad line."""
    return text if text.strip() else BadLine(place, "is empty")


def keys(lines: Iterable[str | BadLine]) -> Iterator[tuple[str, Url | str]]:
    """Give for each line what it is known by, and the URL, or the sentence about a line that holds none."""
    for line in lines:
        if isinstance(line, BadLine):
            yield line.place, line.sentence
            continue
        try:
            url = parse(line)
        except BadUrl as error:
            yield shown(line), str(error)
        else:
            yield url.text, url


def shown(line: str) -> str:
    """Return a line that is no URL as what its outcome is known by: on one line, not without end, no password in it."""
    text = _CREDENTIALS.sub("//***@", line.strip().encode("utf-8", "backslashreplace").decode())
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return text if len(text) <= 500 else f"{text[:480]}... ({len(text):,} characters)"
