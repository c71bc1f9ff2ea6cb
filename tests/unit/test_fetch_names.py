"""What files are called: never outside of the folder, never a device, never one name for two URLs."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolwise.jobs.fetch import names
from poolwise.jobs.fetch.errors import BadUrl
from poolwise.jobs.fetch.names import DIGITS, MANY_DIGITS, Clashes, digest, file_name, stem, url_extension
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


def test_extensions_of_urls() -> None:
    """In lower case; none where there is none, and never a device."""
    assert [url_extension(parse(f"http://a/{path}")) for path in ("x.CSV", "x", "x.tar.gz?y=z.b", "x.con")] == [
        "csv", "", "gz", "",
    ]  # fmt: skip


PARTS = st.text(
    st.one_of(
        st.sampled_from(list("aAäÄ\u0041\u030aÅﬁKK./\\%-_ 0123456789abcdef\x00:*~\u200b\u202e\uff0f\uff0e\uff0d")),
        st.characters(),
    ),
    max_size=12,
)
SEGMENTS = st.one_of(
    PARTS,
    st.sampled_from(["con", "NUL.png", "aux.", "..", ".", "%2e%2e", "a-12345678", "a", "A", "a.jpg", "a.png", "COM¹"]),
)


def url_of(path: str) -> Url | None:
    """Return a URL with this path, or None where there is none."""
    try:
        return parse(f"http://example.com/{path}")
    except BadUrl:
        return None


@given(SEGMENTS, st.sampled_from([0, DIGITS, MANY_DIGITS]), st.sampled_from(["", "jpg", "html"]))
@example("con", 0, "")
@example("..", 0, "")
def test_a_name_is_a_harmless_single_part(path: str, digits: int, extension: str) -> None:
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
def test_names_differ_wherever_urls_do(paths: list[str]) -> None:
    """On a file system without case, and with any normal form of Unicode, whatever types are found."""
    found = {url.text: url for path in paths if (url := url_of(path)) is not None}
    clashes = Clashes(found.values())
    folded = {
        unicodedata.normalize("NFKD", file_name(url, clashes.digits(url), "jpg").casefold()) for url in found.values()
    }
    assert len(folded) == len(found)


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
