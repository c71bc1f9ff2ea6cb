"""`poolwise.jobs.fetch` against a server that misbehaves: what arrives is whole, all else is one sentence."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pycurl")

from PIL import Image

import poolwise
from poolwise import Outcome, UsageError
from poolwise.jobs import load
from poolwise.jobs._names import digest
from poolwise.jobs._records import JOURNAL_NAME
from poolwise.jobs.fetch import (
    AddressRefused,
    BadReply,
    BadUrl,
    ConnectionFailed,
    DamagedImage,
    Fetched,
    Incomplete,
    NameNotResolved,
    NotAllowed,
    NotAnImage,
    RedirectRefused,
    ServerBusy,
    StatusError,
    StorageFailed,
    TlsFailed,
    TooLarge,
    TooSlow,
    addresses,
    fetch,
    fetch_stage,
)
from poolwise.jobs.fetch.body import MEMORY_BYTES, PARTIAL_FOLDER, rename_exclusively
from zoo.hostile import (
    Hostile,
    deflated,
    drip,
    endless,
    fixed,
    gzip_bomb,
    head,
    in_turn,
    jpeg,
    large_jpeg,
    raw,
    resumable,
    silent,
)

PHOTO = jpeg()
OWN = {JOURNAL_NAME, f"{JOURNAL_NAME}-wal", f"{JOURNAL_NAME}-shm", f"{JOURNAL_NAME}.lock", PARTIAL_FOLDER}


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A hostile server on loopback."""
    with Hostile() as hostile:
        yield hostile


def fetched(urls: list[Any], folder: Path, **options: Any) -> dict[Any, Outcome[Fetched]]:
    """Fetch, and return the outcomes by key."""
    given: dict[str, Any] = {"allow_private": True, "attempts": 1, "min_free_bytes": None, "shape": "1x4", **options}
    with fetch(urls, folder, **given) as run:
        return {outcome.key: outcome for outcome in run}


def one(url: str, folder: Path, **options: Any) -> Fetched:
    """Fetch a URL that must succeed."""
    (outcome,) = fetched([url], folder, **options).values()
    return outcome.unwrap()


def reason(url: Any, folder: Path, **options: Any) -> BaseException:
    """Fetch a URL that must fail; nothing may be left under a final name."""
    (outcome,) = fetched([url], folder, **options).values()
    assert outcome.error is not None, outcome
    assert outcome.error.__cause__ is not None, outcome.error
    assert files(folder) == []
    return outcome.error.__cause__


def files(folder: Path) -> list[str]:
    """List what has a final name."""
    return sorted(path.name for path in folder.iterdir() if path.name not in OWN) if folder.exists() else []


def partials(folder: Path) -> list[str]:
    """List what is partial."""
    return sorted(path.name for path in (folder / PARTIAL_FOLDER).iterdir())


# -- what goes well ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["auto", "1x1", "1x8", "2x4"])
def test_files_arrive_whole_and_named_after_their_urls(server: Hostile, tmp_path: Path, shape: str) -> None:
    """On every kind of shape: each file has its URL's name and content, and its outcome says what it is."""
    bodies = {f"/{number}.jpg": jpeg(seed=number) for number in range(12)}
    urls = [server.add(path, fixed(body, ETag=f'"{path}"')) for path, body in bodies.items()]
    outcomes = fetched(urls, tmp_path, shape=shape)
    assert set(outcomes) == set(urls)
    for url, (path, body) in zip(urls, bodies.items()):
        value = outcomes[url].unwrap()
        assert (value.path, value.url, value.final_url, value.status) == (path[1:], url, url, 200)
        assert (value.type, value.width, value.height, value.bytes) == ("image/jpeg", 64, 48, len(body))
        assert (tmp_path / value.path).read_bytes() == body
        assert set(value.seconds) == {"dns", "connect", "tls", "first_byte", "body"}
    assert files(tmp_path) == sorted(path[1:] for path in bodies)
    assert partials(tmp_path) == []


def test_the_job_is_known_by_name() -> None:
    """`load` gives it."""
    assert load("fetch") is fetch


def test_connections_are_kept(server: Hostile, tmp_path: Path) -> None:
    """One lane needs one connection for all URLs of a host, refusals and redirects in between."""
    bodies = [fixed(PHOTO), fixed(b"gone", 404), fixed(b"moved", 302, Location="/0.jpg"), fixed(PHOTO)]
    urls = [server.add(f"/{number}.jpg", bodies[number % 4]) for number in range(20)]
    outcomes = fetched(urls, tmp_path, shape="1x1")
    connected = [outcome.value.seconds["connect"] for outcome in outcomes.values() if outcome.ok]
    assert len(connected) == 15
    assert sum(seconds > 0 for seconds in connected) == 1


def test_a_second_run_fetches_only_what_is_missing(server: Hostile, tmp_path: Path) -> None:
    """What is there is not asked for; a file that was removed or cut is, and keeps its name; a new URL is."""
    urls = [server.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(4)]
    fetched(urls[:3], tmp_path)
    (tmp_path / "0.jpg").unlink()
    (tmp_path / "1.jpg").write_bytes(b"cut")
    outcomes = fetched(urls, tmp_path)
    assert all(outcome.ok for outcome in outcomes.values())
    assert [server.asked[f"/{number}.jpg"] for number in range(4)] == [2, 2, 1, 1]
    assert files(tmp_path) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert (tmp_path / "1.jpg").read_bytes() == PHOTO


def test_failures_stay_until_they_are_to_be_tried_again(server: Hostile, tmp_path: Path) -> None:
    """A 404 is asked for once in two runs, and again with retry_failed."""
    url = server.add("/a.jpg", in_turn(fixed(b"", 404), fixed(PHOTO)))
    assert isinstance(reason(url, tmp_path), StatusError)
    assert isinstance(reason(url, tmp_path), StatusError)
    assert server.asked["/a.jpg"] == 1
    assert one(url, tmp_path, retry_failed=True).path == "a.jpg"


def test_update_asks_again_and_fetches_what_has_changed(server: Hostile, tmp_path: Path) -> None:
    """What has not changed costs a 304; what has takes the place of the old file."""
    newer = jpeg((80, 60))

    def same(request: Any) -> bool:
        if request.headers.get("if-none-match") == '"1"':
            request.send(head(304, ETag='"1"'))
            return True
        return fixed(PHOTO, ETag='"1"')(request)

    urls = [server.add("/same.jpg", same), server.add("/new.jpg", in_turn(fixed(PHOTO, ETag='"1"'), fixed(newer)))]
    fetched(urls, tmp_path)
    outcomes = fetched(urls, tmp_path, update=True)
    assert [outcomes[url].unwrap().status for url in urls] == [304, 200]
    assert (tmp_path / "same.jpg").read_bytes() == PHOTO
    assert (tmp_path / "new.jpg").read_bytes() == newer
    assert files(tmp_path) == ["new.jpg", "same.jpg"]


def test_update_asks_once_for_a_url_that_comes_often(server: Hostile, tmp_path: Path) -> None:
    """However much later it comes again."""
    url = server.add("/a.jpg", fixed(PHOTO, ETag='"1"'))
    others = [server.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(200)]
    one(url, tmp_path)
    fetched([url, *others, url], tmp_path, update=True, shape="1x1")
    assert server.asked["/a.jpg"] == 2


def test_a_url_that_comes_twice_is_fetched_once(server: Hostile, tmp_path: Path) -> None:
    """Also where only the fragment, or the case of the host, differs."""
    url = server.add("/a.jpg", fixed(PHOTO))
    with fetch([url, f"{url}#x", url.replace("http", "HTTP")], tmp_path, allow_private=True) as run:
        assert [outcome.unwrap().path for outcome in run] == ["a.jpg"] * 3
    assert server.asked["/a.jpg"] == 1


def test_names_that_would_clash_get_digits(server: Hostile, tmp_path: Path) -> None:
    """Same basename, other case, other extension: each URL has a file of its own."""
    paths = ["/a/x.jpg", "/b/x.jpg", "/c/X.png", "/y.jpg"]
    urls = [server.add(path, fixed(PHOTO)) for path in paths]
    outcomes = fetched(urls, tmp_path)
    found = [outcomes[url].unwrap().path for url in urls]
    assert found[3] == "y.jpg"
    assert len({name.lower() for name in found}) == 4
    assert all(len(name) == len("x-12345678.jpg") and name.lower().startswith("x-") for name in found[:3])


@pytest.mark.parametrize("shape", ["1x1", "1x8", "2x4"])
def test_pages_get_no_name_of_another_url(server: Hostile, tmp_path: Path, shape: str) -> None:
    """A page at p.jpg becomes p.html, and so does p.html: each has a file of its own."""
    bodies = {
        f"/{number}.{kind}": f"<html>{number} {kind}".encode() for number in range(20) for kind in ("jpg", "html")
    }
    urls = [server.add(path, fixed(body)) for path, body in bodies.items()]
    outcomes = fetched(urls, tmp_path, any=True, shape=shape)
    assert len({outcome.unwrap().path for outcome in outcomes.values()}) == 40
    for url, body in zip(urls, bodies.values()):
        assert (tmp_path / outcomes[url].unwrap().path).read_bytes() == body


@pytest.mark.parametrize("links", [True, False])
def test_no_name_is_taken_from_somebody_who_is_quicker(
    server: Hostile, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears while this one is fetched stays, also where the file system has no links."""
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)

    def answer(request: Any) -> bool:
        (tmp_path / "a.jpg").write_bytes(b"mine")
        return fixed(PHOTO)(request)

    value = one(server.add("/a.jpg", answer), tmp_path)
    assert value.path == f"a-{digest(value.url)[:8]}.jpg"
    assert (tmp_path / "a.jpg").read_bytes() == b"mine"
    assert (tmp_path / value.path).read_bytes() == PHOTO
    assert one(server.add("/b.jpg", fixed(PHOTO)), tmp_path).path == "b.jpg"
    assert partials(tmp_path) == []


def test_many_that_rename_to_one_name(tmp_path: Path) -> None:
    """Only one of them succeeds, and nothing is lost."""
    barrier, won = threading.Barrier(8), []

    def attempt(number: int) -> None:
        (tmp_path / str(number)).write_text(str(number))
        barrier.wait()
        try:
            rename_exclusively(str(tmp_path / str(number)), str(tmp_path / "name"))
            won.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / "name").read_text()] == [str(number) for number in won]
    assert len(files(tmp_path)) == 8


def test_lists_of_one_folder_share_no_file(server: Hostile, tmp_path: Path) -> None:
    """Two URLs whose files are the same have one each: what changes of one does not change under the other."""
    newer = jpeg((80, 60))
    first = server.add("/x/i.jpg", fixed(PHOTO))
    second = server.add("/y/i.jpg", in_turn(fixed(PHOTO), fixed(newer)))
    one(first, tmp_path)
    one(second, tmp_path)
    assert one(second, tmp_path, update=True).width == 80
    assert (tmp_path / "i.jpg").read_bytes() == PHOTO
    assert (tmp_path / f"i-{digest(second)[:8]}.jpg").read_bytes() == newer
    assert files(tmp_path) == [f"i-{digest(second)[:8]}.jpg", "i.jpg"]


def test_a_name_that_another_list_took_meanwhile(server: Hostile, tmp_path: Path) -> None:
    """Its first owner's file was removed; it gets another name then, as long as the new owner's file is there."""
    second_photo = jpeg((80, 60))
    first, second = server.add("/x/i.jpg", fixed(PHOTO)), server.add("/y/i.jpg", fixed(second_photo))
    one(first, tmp_path)
    (tmp_path / "i.jpg").unlink()
    assert one(second, tmp_path).path == "i.jpg"
    assert one(first, tmp_path).path == f"i-{digest(first)[:8]}.jpg"
    assert (tmp_path / "i.jpg").read_bytes() == second_photo
    assert one(second, tmp_path).path == "i.jpg"
    assert server.asked["/y/i.jpg"] == 1


def test_a_file_whose_type_has_changed(server: Hostile, tmp_path: Path) -> None:
    """The new one takes its place, under the name that it must have now."""
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    url = server.add("/a.jpg", in_turn(fixed(PHOTO), fixed(file.getvalue())))
    one(url, tmp_path)
    assert one(url, tmp_path, update=True).path == "a.png"
    assert files(tmp_path) == ["a.png"]


def test_a_file_that_was_not_recorded_any_more_is_taken_for_this_one(server: Hostile, tmp_path: Path) -> None:
    """A run was killed between the two; it is as it would be."""
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    assert one(server.add("/a.jpg", fixed(PHOTO)), tmp_path).path == "a.jpg"
    assert files(tmp_path) == ["a.jpg"]
    assert partials(tmp_path) == []


def test_a_file_of_somebody_else_is_never_replaced(server: Hostile, tmp_path: Path) -> None:
    """A file that the journal does not know keeps its content; the fetched one gets digits."""
    (tmp_path / "a.jpg").write_bytes(b"mine")
    value = one(server.add("/a.jpg", fixed(PHOTO)), tmp_path)
    assert (tmp_path / "a.jpg").read_bytes() == b"mine"
    assert value.path != "a.jpg"
    assert (tmp_path / value.path).read_bytes() == PHOTO


def test_a_journal_elsewhere(server: Hostile, tmp_path: Path) -> None:
    """`journal=` keeps it out of the folder, and is gone on with."""
    url = server.add("/a.jpg", fixed(PHOTO))
    for _ in range(2):
        one(url, tmp_path / "out", journal=tmp_path / "run.db")
    assert server.asked["/a.jpg"] == 1
    assert not (tmp_path / "out" / JOURNAL_NAME).exists()


def test_any_keeps_files_of_any_kind(server: Hostile, tmp_path: Path) -> None:
    """HTML, a file without extension, an empty one: they keep the names that their URLs give."""
    urls = [
        server.add("/page.php", fixed(b"<!doctype html><p>x", Content_Type="text/html; charset=utf-8")),
        server.add("/data.csv", fixed(b"a,b\n", Content_Type="text/csv")),
        server.add("/LICENSE", fixed(b"free")),
        server.add("/empty", fixed(b"")),
        server.add("/photo", fixed(PHOTO)),
    ]
    outcomes = fetched(urls, tmp_path, any=True)
    assert [outcomes[url].unwrap().path for url in urls] == ["page.html", "data.csv", "LICENSE", "empty", "photo.jpg"]
    assert outcomes[urls[0]].unwrap().type == "text/html"
    assert outcomes[urls[1]].unwrap().width is None


def test_durable_and_plain_give_the_same(server: Hostile, tmp_path: Path) -> None:
    """`durable=True` only syncs."""
    url = server.add("/a.jpg", fixed(PHOTO))
    assert one(url, tmp_path, durable=True).sha256 == one(url, tmp_path / "other").sha256


# -- is it an image? ---------------------------------------------------------------------------------------------------


def test_html_that_is_called_jpg_is_refused(server: Hostile, tmp_path: Path) -> None:
    """And the sentence says what it is."""
    page = b"<!DOCTYPE html><title>Sorry</title>" + b" " * 2000
    error = reason(server.add("/a.jpg", fixed(page, Content_Type="image/jpeg")), tmp_path)
    assert isinstance(error, NotAnImage)
    assert str(error) == "is not an image but an HTML page"
    assert partials(tmp_path) == []


def test_a_wrong_extension_is_corrected(server: Hostile, tmp_path: Path) -> None:
    """And a missing one added."""
    urls = [server.add(path, fixed(PHOTO)) for path in ("/a.png", "/b", "/c.php")]
    outcomes = fetched([*urls, server.add("/d/", fixed(PHOTO))], tmp_path)
    assert sorted(outcome.unwrap().path for outcome in outcomes.values()) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_image_is_refused(server: Hostile, tmp_path: Path, progressive: bool) -> None:
    """Although HTTP says that all is there."""
    body = jpeg((300, 200), progressive=progressive)
    error = reason(server.add("/a.jpg", fixed(body[: len(body) * 2 // 3])), tmp_path)
    assert isinstance(error, DamagedImage)
    assert "ends too early" in str(error)


def test_an_empty_body_is_refused(server: Hostile, tmp_path: Path) -> None:
    """Content-Length: 0."""
    assert isinstance(reason(server.add("/a.jpg", fixed(b"")), tmp_path), NotAnImage)


def test_decoding_finds_what_structure_does_not(server: Hostile, tmp_path: Path) -> None:
    """A PNG whose checksums are right over pixels that cannot be inflated: only a decoder sees it."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0)), (b"IDAT", b"\x55" * 900), (b"IEND", b"")]
    bad = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    urls = [server.add("/good.jpg", fixed(PHOTO)), server.add("/bad.png", fixed(bad))]
    assert fetched([urls[1]], tmp_path / "plain")[urls[1]].ok
    outcomes = fetched(urls, tmp_path / "decoded", verify="decode")
    assert outcomes[urls[0]].ok
    assert isinstance(outcomes[urls[1]].error.__cause__, DamagedImage)
    assert files(tmp_path / "decoded") == ["good.jpg"]


def test_decoding_has_caps(server: Hostile, tmp_path: Path) -> None:
    """Of pixels."""
    error = reason(server.add("/a.jpg", fixed(jpeg((300, 200)))), tmp_path, verify="decode", max_pixels=59_999)
    assert isinstance(error, DamagedImage)
    assert "60,000 pixels" in str(error)


@pytest.mark.parametrize(
    ("tag", "kept"),
    [
        ("noai", False),
        ("noindex, noimageai", False),
        ("otherbot: noai", True),
        ("poolwise: noai", False),
        ("noindex", True),
    ],
)
def test_x_robots_tag(server: Hostile, tmp_path: Path, tag: str, kept: bool) -> None:
    """noai and noimageai are respected, unless that is switched off."""
    url = server.add("/a.jpg", fixed(PHOTO, X_Robots_Tag=tag))
    if kept:
        one(url, tmp_path)
    else:
        assert isinstance(reason(url, tmp_path), NotAllowed)
        assert one(url, tmp_path, retry_failed=True, respect_robots_tag=False).bytes == len(PHOTO)


# -- bodies that lie ---------------------------------------------------------------------------------------------------


def test_a_content_length_that_is_too_long(server: Hostile, tmp_path: Path) -> None:
    """The connection ends before the body does."""
    assert isinstance(
        reason(server.add("/a.jpg", raw(head(Content_Length=len(PHOTO) + 9) + PHOTO)), tmp_path), Incomplete
    )


def test_a_content_length_that_is_too_short(server: Hostile, tmp_path: Path) -> None:
    """What HTTP cuts off is missed in the image."""
    error = reason(server.add("/a.jpg", raw(head(Content_Length=len(PHOTO) - 9) + PHOTO)), tmp_path)
    assert isinstance(error, DamagedImage)


def test_truncated_chunks(server: Hostile, tmp_path: Path) -> None:
    """No last chunk: not whole, although the image is."""
    chunk = f"{len(PHOTO):x}\r\n".encode() + PHOTO + b"\r\n"
    url = server.add("/a.jpg", raw(head(Transfer_Encoding="chunked") + chunk))
    assert isinstance(reason(url, tmp_path), Incomplete)
    server.add("/b.jpg", raw(head(Transfer_Encoding="chunked") + chunk + b"0\r\n\r\n"))
    assert one(f"{server.base}/b.jpg", tmp_path).bytes == len(PHOTO)


def test_chunks_that_are_none(server: Hostile, tmp_path: Path) -> None:
    """A chunk size that is no number."""
    url = server.add("/a.jpg", raw(head(Transfer_Encoding="chunked") + b"zzz\r\n" + PHOTO))
    assert isinstance(reason(url, tmp_path), (ConnectionFailed, Incomplete, BadReply))


def test_what_is_compressed_is_decompressed(server: Hostile, tmp_path: Path) -> None:
    """Also twice, although it was not asked for."""
    bodies = {
        "/gzip.jpg": (gzip.compress(PHOTO), "gzip"),
        "/deflate.jpg": (deflated(PHOTO), "deflate"),
        "/zlib.jpg": (zlib.compress(PHOTO), "deflate"),
        "/both.jpg": (gzip.compress(deflated(PHOTO)), "deflate, gzip"),
        "/members.jpg": (gzip.compress(PHOTO[:99]) + gzip.compress(PHOTO[99:]), "GZip"),
        "/not.jpg": (PHOTO, "identity"),
    }
    urls = [server.add(path, fixed(body, Content_Encoding=name)) for path, (body, name) in bodies.items()]
    for outcome in fetched(urls, tmp_path).values():
        assert (tmp_path / outcome.unwrap().path).read_bytes() == PHOTO
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


NOISE = random.Random(1).randbytes(300_000)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize(
    ("cut", "encoding"),
    [
        (1, "gzip"),
        (8, "gzip"),
        (20_000, "gzip"),
        (len(NOISE), "gzip"),
        (1, "deflate"),
        (4, "zlib"),
        (1, "gzip, gzip"),
        (40, "members"),
    ],
)
def test_compressed_data_without_its_end_is_incomplete(
    server: Hostile, tmp_path: Path, framing: str, cut: int, encoding: str
) -> None:
    """Although HTTP says that all is there: it is tried again, and nothing is kept of it."""
    coded = {
        "gzip": gzip.compress,
        "deflate": deflated,
        "zlib": zlib.compress,
        "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)[:-1]) + b"x",
        "members": lambda data: gzip.compress(data) + gzip.compress(data[:40]),
    }[encoding](NOISE)[:-cut]
    said = {"zlib": "deflate", "members": "gzip"}.get(encoding, encoding)
    if framing == "length":
        first = fixed(coded, Content_Encoding=said, ETag='"1"')
    elif framing == "chunked":
        first = raw(
            head(Content_Encoding=said, Transfer_Encoding="chunked")
            + f"{len(coded):x}\r\n".encode() + coded + b"\r\n0\r\n\r\n"
        )  # fmt: skip
    else:
        first = raw(head(Content_Encoding=said) + coded)
    url = server.add("/a.bin", in_turn(first, fixed(gzip.compress(NOISE), Content_Encoding="gzip")))
    error = reason(url, tmp_path, any=True)
    assert isinstance(error, Incomplete)
    assert str(error) == "ended before its compressed data did"
    assert partials(tmp_path) == []
    value = one(url, tmp_path, any=True, retry_failed=True, attempts=2)
    assert (tmp_path / value.path).read_bytes() == NOISE


def test_compressed_data_in_single_bytes(server: Hostile, tmp_path: Path) -> None:
    """However it is cut into pieces."""
    body = gzip.compress(b"a,b\n" * 9)

    def answer(request: Any) -> bool:
        request.send(head(Content_Encoding="gzip", Content_Length=len(body)))
        for each in body:
            request.send(bytes([each]))
        return True

    value = one(server.add("/a.csv", answer), tmp_path, any=True)
    assert (tmp_path / value.path).read_bytes() == b"a,b\n" * 9


def test_nothing_that_is_called_compressed(server: Hostile, tmp_path: Path) -> None:
    """An empty body is what it is."""
    assert one(server.add("/a", fixed(b"", Content_Encoding="gzip")), tmp_path, any=True).bytes == 0


def test_what_follows_the_end_of_compressed_data(server: Hostile, tmp_path: Path) -> None:
    """Is no part of it."""
    bodies = {
        "/gzip.bin": (gzip.compress(NOISE) + b"more", "gzip"),
        "/zlib.bin": (zlib.compress(NOISE) + b"m", "deflate"),
    }
    for path, (body, name) in bodies.items():
        url = server.add(path, fixed(body, Content_Encoding=name))
        assert isinstance(reason(url, tmp_path, any=True), BadReply)


def test_a_part_of_another_encoding(server: Hostile, tmp_path: Path, large: bytes) -> None:
    """A range of compressed bytes does not go on with a file."""
    url = server.add("/a.jpg", resumable(large, etag='"v1"', cut=MEMORY_BYTES + 5000))
    assert isinstance(reason(url, tmp_path), Incomplete)

    def answer(request: Any) -> bool:
        if "range" not in request.headers:
            return fixed(large)(request)
        first = request.headers["range"].removeprefix("bytes=").rstrip("-")
        said = f"bytes {first}-{len(large) - 1}/{len(large)}"
        return fixed(gzip.compress(large[int(first) :]), 206, Content_Range=said, Content_Encoding="gzip")(request)

    server.add("/a.jpg", answer)
    value = one(url, tmp_path, retry_failed=True, attempts=2)
    assert (value.status, (tmp_path / value.path).read_bytes()) == (200, large)


@pytest.mark.parametrize(("layers", "names"), [(1, "gzip"), (2, "gzip, gzip")])
def test_a_bomb_does_not_explode(server: Hostile, tmp_path: Path, layers: int, names: str) -> None:
    """20 MB of zeros in a few KB; it ends at the limit."""
    body = gzip_bomb(20_000_000)
    for _ in range(layers - 1):
        body = gzip.compress(body)
    url = server.add("/a.bin", fixed(body, Content_Encoding=names))
    assert isinstance(reason(url, tmp_path, any=True, max_decoded_bytes=1_000_000), TooLarge)


def test_so_many_encodings_that_they_are_an_attack(server: Hostile, tmp_path: Path) -> None:
    """50 layers."""
    url = server.add("/a.jpg", fixed(PHOTO, Content_Encoding=", ".join(["gzip"] * 50)))
    assert isinstance(reason(url, tmp_path), BadReply)


@pytest.mark.parametrize("encoding", ["gzip", "rot13"])
def test_what_cannot_be_decompressed(server: Hostile, tmp_path: Path, encoding: str) -> None:
    """Broken, or of a kind that nobody knows."""
    assert isinstance(reason(server.add("/a.jpg", fixed(PHOTO, Content_Encoding=encoding)), tmp_path), BadReply)


def test_an_endless_body_ends_at_the_limit(server: Hostile, tmp_path: Path) -> None:
    """With and without Content-Length; what is compressed counts as it is received."""
    start = PHOTO[:-2]
    urls = [
        server.add("/a.jpg", endless(head() + start, bytes(65_536))),
        server.add("/b.jpg", fixed(PHOTO, Content_Length=10**12)),
    ]
    for number, url in enumerate(urls):
        assert isinstance(reason(url, tmp_path / str(number), max_bytes=1_000_000), TooLarge)
        assert partials(tmp_path / str(number)) == []
    assert str(reason(urls[0], tmp_path / "one", max_bytes=1)) == "has more than 1 byte"


# -- servers that do not speak -----------------------------------------------------------------------------------------


def test_a_server_that_says_nothing(server: Hostile, tmp_path: Path) -> None:
    """`read_seconds`."""
    error = reason(server.add("/a.jpg", silent), tmp_path, read_seconds=1)
    assert isinstance(error, ConnectionFailed)
    assert str(error) == "sent nothing for 1 s"


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX-Slow: ", head() + b"\xff\xd8\xff"])
def test_a_server_that_drips(server: Hostile, tmp_path: Path, first: bytes) -> None:
    """A slow-loris, in the header or in the body: `total_seconds` ends it."""
    error = reason(server.add("/a.jpg", drip(first, b"x")), tmp_path, total_seconds=0.5)
    assert isinstance(error, TooSlow)
    assert str(error) == "took longer than 0.5 s"


def test_a_server_that_drips_its_header(server: Hostile, tmp_path: Path) -> None:
    """It does say something, so that is not what is said of it."""
    url = server.add("/a.jpg", drip(b"HTTP/1.1 200 OK\r\n", b"X-a: b\r\n"))
    error = reason(url, tmp_path, read_seconds=1)
    assert isinstance(error, ConnectionFailed)
    assert str(error) == "did not come to the end of its header within 1 s"


def test_a_server_that_is_too_slow(server: Hostile, tmp_path: Path) -> None:
    """`min_bytes_per_second`."""
    url = server.add("/a.jpg", drip(head() + b"\xff\xd8\xff", b"x"))
    error = reason(url, tmp_path, min_bytes_per_second=5000, slow_seconds=1)
    assert isinstance(error, TooSlow)
    assert "5000 bytes/s" in str(error)


def test_a_header_without_end(server: Hostile, tmp_path: Path) -> None:
    """One long line, or many lines."""
    urls = [
        server.add("/a.jpg", endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000)),
        server.add("/b.jpg", endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100)),
    ]
    for url in urls:
        assert isinstance(reason(url, tmp_path, max_header_bytes=20_000), TooLarge)


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/9.9 what\r\n\r\n", PHOTO])
def test_what_is_no_http(server: Hostile, tmp_path: Path, data: bytes) -> None:
    """Nothing, another protocol, a version of the future, a bare body."""
    assert isinstance(reason(server.add("/a.jpg", raw(data)), tmp_path), (BadReply, ConnectionFailed))


def test_nobody_listens(tmp_path: Path) -> None:
    """A closed port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(reason(f"http://127.0.0.1:{port}/a.jpg", tmp_path), ConnectionFailed)


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    """RFC 6761 promises that .invalid never does."""
    assert isinstance(reason("http://nowhere.invalid/a.jpg", tmp_path), NameNotResolved)


# -- again -------------------------------------------------------------------------------------------------------------


def test_what_may_pass_is_tried_again(server: Hostile, tmp_path: Path) -> None:
    """5xx, 429, 408, a reset connection, a body that breaks off: the next attempt succeeds."""
    first = [fixed(b"", 500), fixed(b"", 429), fixed(b"", 408), raw(b""), raw(head(Content_Length=9999) + PHOTO)]
    urls = [server.add(f"/{number}.jpg", in_turn(way, fixed(PHOTO))) for number, way in enumerate(first)]
    for url in urls:  # One by one: on a kept connection that is closed libcurl itself tries again.
        (outcome,) = fetched([url], tmp_path, attempts=2).values()
        assert (outcome.ok, outcome.attempts) == (True, 2)


def test_what_will_not_pass_is_not_tried_again(server: Hostile, tmp_path: Path) -> None:
    """404, 403, 410, an HTML page: one request each."""
    ways = [fixed(b"", 404), fixed(b"", 403), fixed(b"", 410), fixed(b"<html>")]
    urls = [server.add(f"/{number}.jpg", way) for number, way in enumerate(ways)]
    assert not any(outcome.ok for outcome in fetched(urls, tmp_path, attempts=5).values())
    assert set(server.asked.values()) == {1}


def test_attempts_come_to_an_end(server: Hostile, tmp_path: Path) -> None:
    """And the error says what the last one met."""
    error = reason(server.add("/a.jpg", fixed(b"", 503, Retry_After="0")), tmp_path, attempts=2)
    assert isinstance(error, ServerBusy)
    assert (error.status, error.retry_after) == (503, 0.0)
    assert server.asked["/a.jpg"] == 2


# -- resuming ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> bytes:
    """A photograph that does not fit into memory's share."""
    return large_jpeg(2 * MEMORY_BYTES)


def test_a_body_that_broke_off_is_gone_on_with(server: Hostile, tmp_path: Path, large: bytes) -> None:
    """With Range and If-Range, in the same run or a later one."""
    url = server.add("/a.jpg", resumable(large, etag='"v1"', cut=MEMORY_BYTES + 5000))
    assert isinstance(reason(url, tmp_path), Incomplete)
    assert len(partials(tmp_path)) == 2
    value = one(url, tmp_path, retry_failed=True)
    assert value.status == 206
    assert (tmp_path / value.path).read_bytes() == large
    assert server.requests[-1].headers["range"] != "bytes=0-"
    assert partials(tmp_path) == []


def test_a_body_that_has_changed_is_fetched_anew(server: Hostile, tmp_path: Path, large: bytes) -> None:
    """If-Range does not match: the server sends 200, all of it; or it ignores ranges altogether."""
    newer = large_jpeg(MEMORY_BYTES)
    url = server.add("/a.jpg", resumable(large, etag='"v1"', cut=MEMORY_BYTES + 5000))
    assert isinstance(reason(url, tmp_path), Incomplete)
    server.add("/a.jpg", fixed(newer, ETag='"v2"'))
    value = one(url, tmp_path, retry_failed=True)
    assert (value.status, (tmp_path / value.path).read_bytes()) == (200, newer)


@pytest.mark.parametrize("status", [416, 206])
def test_a_part_that_does_not_fit(server: Hostile, tmp_path: Path, large: bytes, status: int) -> None:
    """416, or another range than was asked for: what there was is dropped, and all is fetched."""
    url = server.add("/a.jpg", resumable(large, etag='"v1"', cut=MEMORY_BYTES + 5000))
    assert isinstance(reason(url, tmp_path), Incomplete)
    odd = fixed(b"", 416) if status == 416 else fixed(large[7:], 206, Content_Range=f"bytes 7-{len(large) - 1}/*")
    server.add("/a.jpg", lambda request: (odd if "range" in request.headers else fixed(large))(request))
    value = one(url, tmp_path, retry_failed=True, attempts=2)
    assert (value.status, (tmp_path / value.path).read_bytes()) == (200, large)


def test_a_part_that_nobody_asked_for(server: Hostile, tmp_path: Path) -> None:
    """206 to a plain request."""
    url = server.add("/a.jpg", fixed(PHOTO, 206, Content_Range=f"bytes 0-{len(PHOTO) - 1}/*"))
    assert isinstance(reason(url, tmp_path), BadReply)


# -- where it leads ----------------------------------------------------------------------------------------------------


def test_redirects_are_followed(server: Hostile, tmp_path: Path) -> None:
    """Relative and absolute ones; the outcome is known by the first URL and says the last."""
    server.add("/3.jpg", fixed(PHOTO))
    server.add("/2", fixed(b"x", 307, Location=f"{server.base}/3.jpg"))
    url = server.add("/1.png", fixed(b"<html>moved", 302, Location="2"))
    value = one(url, tmp_path)
    assert (value.url, value.final_url, value.path) == (url, f"{server.base}/3.jpg", "1.jpg")


@pytest.mark.parametrize(
    "location",
    [
        "/a.jpg",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://",
        "",
        "data:image/png,x",
        "http://[::1",
    ],
)
def test_redirects_that_lead_nowhere(server: Hostile, tmp_path: Path, location: str) -> None:
    """A circle, other schemes, no host, no place."""
    error = reason(server.add("/a.jpg", fixed(b"", 302, Location=location)), tmp_path)
    assert isinstance(error, RedirectRefused)
    assert error.status == 302
    assert ("which is no URL: " in str(error)) == ("[" in location)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/secret.jpg",
        "http://169.254.169.254/secret.jpg",
        "http://[::ffff:127.0.0.1]:{port}/secret.jpg",
        "http://[64:ff9b::7f00:1]/secret.jpg",
        "http://[::1]:{port}/secret.jpg",
        "http://2130706434:{port}/secret.jpg",
        "http://0x7f.2:{port}/secret.jpg",
        "http://localtest:{port}/secret.jpg",
    ],
)
def test_no_hop_may_lead_inside(server: Hostile, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own address is allowed here; from there nothing private is reached, however it is written."""
    real = addresses.refusal
    monkeypatch.setattr(addresses, "refusal", lambda address: None if address == "127.0.0.1" else real(address))
    server.add("/secret.jpg", fixed(PHOTO))
    url = server.add("/a.jpg", fixed(b"", 302, Location=target.format(port=server.port)))
    error = reason(url, tmp_path, allow_private=False)
    assert isinstance(error, (AddressRefused, NameNotResolved))
    assert isinstance(error, NameNotResolved) == ("localtest" in target)
    assert server.asked["/secret.jpg"] == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "0.0.0.0"])
def test_private_addresses_are_refused_at_once(server: Hostile, tmp_path: Path, host: str) -> None:
    """By the connected address: a name that leads there is refused like the address itself."""
    server.add("/a.jpg", fixed(PHOTO))
    error = reason(f"http://{host}:{server.port}/a.jpg", tmp_path, allow_private=False)
    assert isinstance(error, AddressRefused)
    assert "--allow-private" in str(error)
    assert not server.requests


def test_credentials_do_not_cross_origins(tmp_path: Path) -> None:
    """They are sent to the origin that they were given for, and to no other; neither key nor manifest shows them."""
    with Hostile() as first, Hostile() as second:
        second.add("/b.jpg", fixed(PHOTO))
        first.add("/again.jpg", fixed(b"", 302, Location=f"{second.base}/b.jpg"))
        url = first.add("/a.jpg", fixed(b"", 302, Location="/again.jpg"))
        key = url
        (outcome,) = fetched([url.replace("//", "//user:pass%20word@")], tmp_path).values()
        assert outcome.key == key
        assert [request.headers.get("authorization", "") for request in first.requests] == [
            "Basic dXNlcjpwYXNzIHdvcmQ="
        ] * 2
        assert "authorization" not in second.requests[0].headers
        assert "pass" not in repr(outcome)


def test_a_proxy_of_the_environment_is_used(server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are its business then; an address that the URL itself says is checked all the same."""
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    server.routes["http://example.invalid/a.jpg"] = fixed(PHOTO)
    assert one("http://example.invalid/a.jpg", tmp_path, allow_private=False).path == "a.jpg"
    assert isinstance(
        fetched(["http://10.0.0.1/b.jpg"], tmp_path, allow_private=False)["http://10.0.0.1/b.jpg"].error.__cause__,
        AddressRefused,
    )
    assert server.asked.total() == 1


def test_a_proxy_that_refuses_a_tunnel(server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it answers is not taken for the answer of the host behind it."""
    monkeypatch.setenv("https_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    error = reason("https://example.invalid/a.jpg", tmp_path)
    assert isinstance(error, ConnectionFailed)
    assert "the proxy answers 404" in str(error)
    assert server.asked == {"example.invalid:443": 1}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody but itself vouches for, and its key, in one file."""
    program = shutil.which("openssl")
    if program is None and not os.environ.get("POOLWISE_CI"):
        pytest.skip("there is no program called openssl")
    assert program is not None, "CI has no program called openssl; .ci/run installs it"
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Hostile]:
    """A hostile server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Hostile(context) as hostile:
        yield hostile


def test_https_with_a_certificate_that_is_trusted(secure: Hostile, certificate: Path, tmp_path: Path) -> None:
    """One handshake serves all URLs that a lane fetches from a host."""
    urls = [secure.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(5)]
    outcomes = fetched(urls, tmp_path, shape="1x1", ca_file=str(certificate))
    assert all(outcome.ok for outcome in outcomes.values())
    assert secure.handshakes == 1
    assert sum(outcome.unwrap().seconds["tls"] > 0 for outcome in outcomes.values()) == 1


@pytest.mark.parametrize("trusted", [False, True])
def test_https_with_a_certificate_that_is_not_to_be_trusted(
    secure: Hostile, certificate: Path, tmp_path: Path, trusted: bool
) -> None:
    """Nobody vouches for it; or it is another host's. Nothing is asked for then, and nothing tried again."""
    url = secure.add("/a.jpg", fixed(PHOTO))
    if trusted:
        url = url.replace("localhost", "127.0.0.1")
    error = reason(url, tmp_path, attempts=3, ca_file=str(certificate) if trusted else None)
    assert isinstance(error, TlsFailed)
    assert not secure.requests


def test_a_loop_that_cannot_watch_sockets(server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the usual one of Windows: libcurl is asked from time to time instead."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    for name in ("add_reader", "add_writer", "remove_reader", "remove_writer"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, refuse)
    urls = [server.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(20)]
    assert all(outcome.ok for outcome in fetched(urls, tmp_path).values())


# -- lines, folders, options -------------------------------------------------------------------------------------------


def test_lines_that_are_no_urls_cost_themselves(server: Hostile, tmp_path: Path) -> None:
    """Each has an outcome that says what is wrong with it."""
    good = server.add("/a.jpg", fixed(PHOTO))
    bad = [
        "data:image/png;base64,xx",
        "ftp://example.com/x",
        "no url",
        "http://",
        "http://exa mple.com/",
        "http://x:0/",
    ]
    outcomes = fetched(["", *bad, good, "   ", f"\ufeff{good}"], tmp_path)
    assert len(outcomes) == len(bad) + 1
    assert outcomes[good].ok
    for line in bad:
        assert isinstance(outcomes[line].error.__cause__, BadUrl)


def test_what_urls_say_never_leaves_the_folder(server: Hostile, tmp_path: Path) -> None:
    """Encoded dots and slashes, NUL, backslashes, devices, 300 characters."""
    folder = tmp_path / "deep" / "out"
    paths = [
        "/%2e%2e%2f%2e%2e%2fpasswd", "/..%5c..%5cx", "/a%00b.jpg", "/CON.jpg", "/nul", "/a.", "/.poolwise.db",
        "/.poolwise-partial", "/%2e%2e", "/" + "x" * 300, "/-rf", "/?id=1", "/?id=2",
    ]  # fmt: skip
    server.otherwise = fixed(PHOTO)
    outcomes = fetched([server.base + path for path in paths], folder)
    assert [outcome for outcome in outcomes.values() if not outcome.ok] == []
    assert len(files(folder)) == len(paths)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_folders_that_cannot_be_written_to(tmp_path: Path, what: str) -> None:
    """DST is a file; its folder for partial files leads elsewhere."""
    folder = tmp_path / "out"
    said = {"file": "is not a folder", "link": "is a link;", "dangling": "is a link to .*, where there is nothing"}
    if what == "file":
        folder.write_text("")
    elif what == "dangling":
        folder.symlink_to(tmp_path / "missing")
    else:
        folder.mkdir()
        (folder / PARTIAL_FOLDER).symlink_to(tmp_path)
    with pytest.raises(UsageError, match=said[what]):
        fetch(["http://example.com/a.jpg"], folder)


def test_a_disk_that_is_nearly_full(server: Hostile, tmp_path: Path) -> None:
    """Nothing is asked for."""
    error = reason(server.add("/a.jpg", fixed(PHOTO)), tmp_path, min_free_bytes=10**18)
    assert isinstance(error, StorageFailed)
    assert "MB left" in str(error)
    assert not server.requests


@pytest.mark.parametrize(
    "options",
    [
        {"verify": "deep"}, {"any": True, "verify": "decode"}, {"attempts": 0}, {"connect_seconds": -1}, {"any": 1},
        {"max_header_bytes": 10**6}, {"slow_seconds": None}, {"user_agent": "a\nb"}, {"ca_file": "missing.pem"},
        {"retry": 3}, {"key": str}, {"max_bytes": float("nan")}, {"max_bytes": 1e9}, {"max_bytes": 10**24},
        {"max_redirects": 2.5}, {"max_redirects": -1}, {"total_seconds": 1e20}, {"connect_seconds": 10**30},
        {"min_bytes_per_second": 10**400}, {"min_free_bytes": -1}, {"user_agent": 5}, {"ca_file": 5}, {"bogus": 1},
        {"total": 3},
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant(tmp_path: Path, options: dict[str, Any]) -> None:
    """A UsageError that names the option, before anything happens."""
    with pytest.raises(UsageError, match=next(iter(options))):
        fetch(["http://example.com/"], tmp_path / "out", **options)
    assert not os.path.exists(tmp_path / "out")


def test_an_option_that_does_not_exist(tmp_path: Path) -> None:
    """The sentence lists what there is."""
    with pytest.raises(UsageError, match=r"fetch has no option 'bogus'; there are: allow_private, any, attempts, "):
        fetch([], tmp_path, bogus=1)


@pytest.mark.parametrize("destination", [None, 5, b"out", "", "a\0b"])
def test_destinations_that_are_none(destination: Any) -> None:
    """What is no path of text."""
    with pytest.raises(UsageError, match="must be the path of a folder"):
        fetch([], destination)


@pytest.mark.parametrize(
    ("lines", "said"), [("http://x/a.jpg", r"one text, 'http://x/a.jpg'; .*\[url\]"), (b"x", "one text"), (5, "are 5")]
)
def test_lines_that_are_none(tmp_path: Path, lines: Any, said: str) -> None:
    """One text would be a list of letters."""
    with pytest.raises(UsageError, match=said):
        fetch(lines, tmp_path / "out")
    with pytest.raises(UsageError):
        poolwise.pipeline(lines, fetch_stage(tmp_path / "there"))
    assert not os.path.exists(tmp_path / "out")


def test_items_that_are_no_text_cost_themselves(server: Hostile, tmp_path: Path) -> None:
    """Each has an outcome that says so."""
    good = server.add("/a.jpg", fixed(PHOTO))
    outcomes = fetched([None, good, 5, b"http://x/"], tmp_path)
    assert outcomes[good].ok
    for place, name in ((0, "NoneType"), (2, "int"), (3, "bytes")):
        cause = outcomes[f"item {place}"].error.__cause__
        assert isinstance(cause, BadUrl)
        assert str(cause) == f"is no text, but of the type {name}"


def test_limits_that_are_off(server: Hostile, tmp_path: Path) -> None:
    """0 free bytes, 0 bytes a second, no redirects."""
    url = server.add("/a.jpg", fixed(PHOTO))
    assert one(url, tmp_path, min_free_bytes=0, min_bytes_per_second=0, max_redirects=0).bytes == len(PHOTO)


def test_errors_travel(server: Hostile, tmp_path: Path) -> None:
    """Out of a worker process, with what they know."""
    url = server.add("/a.jpg", fixed(b"", 404))
    error = reason(url, tmp_path, shape="2x1")
    assert isinstance(error, StatusError)
    assert (error.status, error.final_url) == (404, url)
    assert poolwise.__version__ in server.requests[0].headers["user-agent"]


def test_a_host_that_asks_for_a_pause_is_left_alone_while_others_run(tmp_path: Path) -> None:
    """Retry-After parks one host: the other serves further URLs before that is asked again."""
    with Hostile() as busy, Hostile() as free:
        again: list[int] = []

        def pause(request: Any) -> bool:
            if request.number > 1:
                again.append(free.asked.total())
                return fixed(PHOTO)(request)
            return fixed(b"", 429, Retry_After="1")(request)

        urls = [busy.add("/busy.jpg", pause), *(free.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(40))]
        outcomes = fetched(urls, tmp_path, attempts=3, shape="1x2")
        assert all(outcome.ok for outcome in outcomes.values())
        assert len(again) == 1
        assert again[0] > 2  # More than were on their way when it asked for the pause.
        assert outcomes[urls[0]].attempts == 2


def test_per_host_bounds_what_a_host_sees(server: Hostile, tmp_path: Path) -> None:
    """Never more than that at a time, however many lanes there are."""
    inside, most, lock = 0, 0, threading.Lock()

    def count(request: Any) -> bool:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        request.stopping.wait(0.01)
        with lock:
            inside -= 1
        return fixed(PHOTO)(request)

    urls = [server.add(f"/{number}.jpg", count) for number in range(30)]
    assert all(outcome.ok for outcome in fetched(urls, tmp_path, per_host=3, shape="1x16").values())
    assert most <= 3
