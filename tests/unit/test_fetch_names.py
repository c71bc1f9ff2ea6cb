"""What files are called: never outside of the folder, never a device, never one name for two URLs."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolwise.jobs.fetch import check, names
from poolwise.jobs.fetch.errors import BadUrl
from poolwise.jobs.fetch.names import DIGITS, MANY_DIGITS, Clashes, could_be, digest, file_name, page_extension, stem
from poolwise.jobs.fetch.urls import Url, parse

RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/photo.jpg", "photo.jpg"),
        ("/a/Photo%20One.JPEG?x=1", "Photo One.jpg"),
        ("/a/b/", "b.jpg"),
        ("/", "example.com.jpg"),
        ("/?id=1", "example.com.jpg"),
        ("/%2e%2e%2fetc%2fpasswd", "passwd.jpg"),
        ("/..%5c..%5cx.png", "x.jpg"),
        ("/a%00b.jpg", "a_b.jpg"),
        ("/CON", "_CON.jpg"),
        ("/con.tar.png", "_con.tar.jpg"),
        ("/COM1.jpg", "_COM1.jpg"),
        ("/.hidden", "hidden.jpg"),
        ("/trailing.%20.", "trailing.jpg"),
        ("/trail.jpg.", "trail.jpg"),
        ("/trail.jpg.%20/", "trail.jpg"),
        ("/-rf.jpg", "_-rf.jpg"),
        ("/a:b*c.jpg", "a_b_c.jpg"),
        ("/e%CC%81.jpg", "\u00e9.jpg"),
        ("/a%E2%80%8Bb.jpg", "a_b.jpg"),
        ("/photo.v2", "photo.v2.jpg"),
        ("/image.php", "image.jpg"),
    ],
)
def test_names(path: str, name: str) -> None:
    """The last part of the path, made harmless, with the extension of what was found."""
    assert file_name(parse(f"http://example.com{path}"), 0, "jpg") == name


def test_a_long_name_is_cut_and_gets_digits() -> None:
    """Between characters, and always told apart."""
    url = parse("http://example.com/" + "%C3%A4" * 300)
    digits = Clashes([url]).digits(url)
    name = file_name(url, digits, "jpg")
    assert digits == DIGITS
    assert name == "ä" * 60 + f"-{digest(url.text)[:8]}.jpg"


@pytest.mark.parametrize(
    ("path", "digits", "name"),
    [
        ("/a.zip", 0, "a.zip"),
        ("/a.ZIP", DIGITS, "a-00000000.ZIP"),
        ("/a.tar.gz", DIGITS, "a.tar-00000000.gz"),
        ("/photo.jpg", 0, "photo.jpg"),
        ("/photo.jpg", DIGITS, "photo-00000000.jpg"),
        ("/trail.jpg.", 0, "trail.jpg"),
        ("/x.tar.gz?y=z.b", 0, "x.tar.gz"),
        ("/.zip", 0, "zip"),
        ("/x.con", DIGITS, "x.con-00000000"),
        ("/LICENSE", DIGITS, "LICENSE-00000000"),
        ("/" + "x" * 300 + ".csv", DIGITS, "x" * 120 + "-00000000.csv"),
    ],
)
def test_names_that_keep_their_own_extension(
    path: str, digits: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits go before it, so that it stays one."""
    monkeypatch.setattr(names, "digest", lambda _: "0" * 64)
    assert file_name(parse(f"http://example.com{path}"), digits, None) == name


def test_pages_under_other_names() -> None:
    """A page is no photo.jpg; what has an extension of its own keeps it."""
    found = [page_extension(parse(f"http://example.com/{path}")) for path in ("x.jpg", "x.PHP", "x.csv", "x", "x.html")]
    assert found == ["html", "html", None, None, None]


PARTS = st.text(
    st.one_of(
        st.sampled_from(list("aAäÄ\u0041\u030aÅﬁKK./\\%-_ 0123456789abcdef\x00:*~\u200b\u202e\uff0f\uff0e\uff0d")),
        st.characters(),
    ),
    max_size=12,
)
ODD = [
    "con", "NUL.png", "aux.", "..", ".", "%2e%2e", "a-12345678", "a", "A", "a.jpg", "a.png", "COM¹", "a.html",
    "a.HTML.jpg", "a.zip", "a.jpg.zip", "a.zip.jpg", "a-12345678.zip", "a.php.", "a.jpg.html.jpg",
]  # fmt: skip
SEGMENTS = st.one_of(PARTS, st.sampled_from(ODD))


def url_of(path: str) -> Url | None:
    """Return a URL with this path, or None where there is none."""
    try:
        return parse(f"http://example.com/{path}")
    except BadUrl:
        return None


@given(st.from_regex(r"[A-Za-z0-9_-]{1,130}\.(jpg|PNG|zip|con|php)", fullmatch=True))
@example("con.jpg")
@example("a" * 120 + ".jpg")
@example("a" * 121 + ".jpg")
def test_names_do_not_depend_on_how_the_url_writes_a_character(segment: str) -> None:
    """A plain name is told at once."""
    plain, encoded = url_of(segment), url_of(f"%{ord(segment[0]):02X}{segment[1:]}")
    assert plain is not None
    assert encoded is not None
    assert stem(plain) == stem(encoded)


@given(SEGMENTS, st.sampled_from([0, DIGITS, MANY_DIGITS]), st.sampled_from([None, "", "jpg", "html"]))
@example("con", 0, "")
@example("..", 0, None)
def test_a_name_is_a_harmless_single_part(path: str, digits: int, extension: str | None) -> None:
    """No separator, no device, no control character, not hidden, not too long, the same in NFC."""
    url = url_of(path)
    if url is None:
        return
    name = file_name(url, digits, extension)
    assert name
    assert os.path.basename(name) == name
    assert name not in (".", "..")
    assert not set(name) & set('<>:"/\\|?*')
    assert name.isprintable()
    assert not name.startswith((".", "-"))
    assert not name.endswith((".", " "))
    assert len(name.encode()) <= 200
    assert name.partition(".")[0].lower().rstrip() not in RESERVED
    assert unicodedata.normalize("NFC", name) == name


@given(st.lists(SEGMENTS, max_size=12))
@example(["a", "b/a", "a-0c8a5a1e"])
@example(["a", "A"])
@example(["e%CC%81", "%C3%A9"])
@example(["a-12345678", "a\uff0d12345678"])
@example(["p1.jpg", "p1.html"])
@example(["p1.jpg", "b/p1.html.jpg", "p1"])
@example(["a.zip", "b/a.zip", "a"])
def test_names_differ_wherever_urls_do(paths: list[str]) -> None:
    """On a file system without case, and with any normal form of Unicode, whatever is found behind each of them."""
    found = {url.text: url for path in paths if (url := url_of(path)) is not None}
    clashes = Clashes(found.values())
    kinds = [None, "jpg", "png", "html"]
    owners: dict[str, str] = {}
    for url in found.values():
        for name in {file_name(url, clashes.digits(url), kind) for kind in kinds}:
            one = unicodedata.normalize("NFKD", name.casefold())
            assert owners.setdefault(one, url.text) == url.text
            assert could_be(name, [url])


def test_every_extension_of_an_image_is_known() -> None:
    """Names are told apart by what remains without it."""
    assert {names._bare(f"a.{kind}") for kind in check._TYPES} == {"a"}


def test_the_same_url_twice_is_no_clash() -> None:
    """It is one file."""
    url = parse("http://example.com/a.jpg")
    assert Clashes([url, url]).digits(url) == 0


def test_digits_that_are_shared_become_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two URLs whose names agree even with 8 digits, each gets 32."""
    real = names.digest
    monkeypatch.setattr(names, "digest", lambda text: "12345678" + real(text)[8:])
    found = [parse("http://a/x.jpg"), parse("http://b/x.jpg"), parse("http://c/y.jpg")]
    clashes = Clashes(found)
    assert [clashes.digits(url) for url in found] == [MANY_DIGITS, MANY_DIGITS, 0]
    assert len({file_name(url, clashes.digits(url), "jpg") for url in found}) == 3


def test_stems_do_not_depend_on_what_follows_the_path() -> None:
    """Query and host do not count, so that a name says what a person expects."""
    assert stem(parse("http://a/x.jpg?q=/y.png"))[0] == stem(parse("http://b/x.gif"))[0] == "x"
