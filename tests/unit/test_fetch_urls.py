"""URLs as they are written and as they are asked for, addresses that may be connected to, and further attempts."""

from __future__ import annotations

import io
import pickle
import random
import re
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise import UsageError
from poolwise.jobs.fetch import addresses, errors, settle, urls
from poolwise.jobs.fetch.errors import (
    BadUrl,
    ConnectionFailed,
    FetchError,
    NameNotResolved,
    NotAnImage,
    ServerBusy,
    StatusError,
)
from poolwise.jobs.fetch.urls import BadLine, parse


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("http://Example.COM", "http://example.com/"),
        ("HTTP://example.com:80/a", "http://example.com/a"),
        ("https://example.com:443/a#part", "https://example.com/a"),
        ("https://example.com:8443/a?b=c#d", "https://example.com:8443/a?b=c"),
        ("  http://example.com/a b\t", "http://example.com/a%20b"),
        ("http://example.com/ä/%C3%A4", "http://example.com/%C3%A4/%C3%A4"),
        ("http://example.com/50%", "http://example.com/50%25"),
        ("http://münchen.example/", "http://xn--mnchen-3ya.example/"),
        ("http://user:secret@example.com/a", "http://example.com/a"),
        ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]/"),
        ("http://example.com./a", "http://example.com/a"),
        ("\ufeffhttp://example.com/a", "http://example.com/a"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://B\u00fccher.example/", "http://xn--bcher-kva.example/"),
        ("http://stra\u00dfe.example/", "http://xn--strae-oqa.example/"),  # Another host than strasse.example.
        ("http://\u2764.example/", "http://xn--qei.example/"),
        ("http://\u65e5\u672c\u3002example/", "http://xn--wgv71a.example/"),
        ("http://my_host.stra\u00dfe.example/", "http://my_host.xn--strae-oqa.example/"),
        ("http://\u2764.stra\u00dfe.example./", "http://xn--qei.xn--strae-oqa.example/"),
    ],
)
def test_urls_are_normalised(written: str, known: str) -> None:
    """What they are known by has no case, fragment, usual port or password."""
    assert parse(written).text == known
    assert parse(known).text == known


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ftp://example.com/a", "'ftp'"),
        ("file:///etc/passwd", "'file'"),
        ("javascript:alert(1)", "'javascript'"),
        ("example.com/a.jpg", "http://"),
        ("http://", "no host"),
        ("http:///a", "no host"),
        ("http://exa mple/", "cannot be one"),
        ("http://a%00b/", "cannot be one"),
        ("http://example.com:99999/", "no URL"),
        ("http://example.com:0/", "port 0"),
        ("http://example.com/a\x00b", "control character"),
        ("http://example.com/a\nb", "control character"),
        ("http://[::1/", "no URL"),
        (f"http://{'x' * 80}ä.example/", "IDNA"),
        (f"http://{'ä.' * 90}example/", "IDNA"),
        ("http://ä..example/", "IDNA"),
        ("http://example.com/" + "x" * 9000, "9,019 characters"),
        ("http://example.com/\udcff", "not UTF-8"),
    ],
)
def test_what_is_no_url_says_why(written: str, said: str) -> None:
    """In a sentence."""
    with pytest.raises(BadUrl, match=said):
        parse(written)


def test_a_host_that_is_not_ascii_takes_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the URL is refused: the older rules of Python's own codec may name another host."""
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(BadUrl, match=r"poolwise\[fetch\]"):
        parse("http://stra\u00dfe.without-idna.example/")


@given(st.text(max_size=60))
def test_nothing_but_a_bad_url_comes_of_any_text(text: str) -> None:
    """Whatever follows the scheme, it parses to what parses to itself, or is refused."""
    try:
        url = parse(f"http://{text}")
    except BadUrl:
        return
    assert parse(url.text) == url if not url.userinfo else parse(url.text).text == url.text
    assert url.text.isascii()


def test_credentials_are_kept_apart() -> None:
    """And never shown, not even of a line that is no URL."""
    url = parse("http://us%40er:p%3Aw@example.com/")
    assert url.userinfo == "us@er:p:w"
    assert urls.shown("ftp://user:secret@example.com/a") == "ftp://***@example.com/a"


def test_lines() -> None:
    """BOM, CRLF, blank lines, bytes that are not UTF-8."""
    file = io.BytesIO(b"\xef\xbb\xbfhttp://a/\r\n\r\n  \nhttp://b/\n\xff\xfe\nhttp://c/")
    assert list(urls.read_lines(file, "urls.txt")) == [
        "http://a/",
        "http://b/",
        BadLine("line 5 of urls.txt", "is not UTF-8 (byte 0xff at 0)"),
        "http://c/",
    ]


def test_json_lines() -> None:
    """Texts, or a field of objects; what is neither costs itself."""
    file = io.BytesIO(b'{"u": "http://a/"}\n\n{"x": 1}\n{\n"http://b/"\n')
    read = list(urls.read_jsonl(file, "f", "u"))
    assert read[0] == "http://a/"
    assert [line.place for line in read[1:] if isinstance(line, BadLine)] == [f"line {n} of f" for n in (3, 4, 5)]
    assert list(urls.read_jsonl(io.BytesIO(b'"http://b/"\n3\n'), "f", None)) == [
        "http://b/",
        BadLine("line 2 of f", "holds no text"),
    ]


def test_csv() -> None:
    """One column, quoted or not; rows that are too short cost themselves."""
    file = io.BytesIO(b'id,url\n1,http://a/\n2\n\n3,"http://b/?x=1,2"\n4,\n')
    assert list(urls.read_csv(file, "f", "url")) == [
        "http://a/",
        BadLine("line 3 of f", "has no cell for 'url'"),
        "http://b/?x=1,2",
        BadLine("line 6 of f", "is empty"),
    ]
    with pytest.raises(UsageError, match="its columns are 'id'"):
        list(urls.read_csv(io.BytesIO(b"id\n1\n"), "f", "url"))


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3",
        "169.254.169.254", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "::", "::1", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8",
        "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "100::1", "4000::1",
        "not an address", "",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(address: str) -> None:
    """Everything that is not the public internet, and what carries an IPv4 address inside."""
    assert addresses.refusal(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "192.0.1.1"]
)
def test_addresses_that_are_allowed(address: str) -> None:
    """The public internet."""
    assert addresses.refusal(address) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("example.com", None),
        ("1.example.com", None),
        ("", None),
    ],
)
def test_literal_addresses(host: str, address: str | None) -> None:
    """In all the ways in which C libraries read them."""
    assert addresses.literal(host) == address


def decided(error: FetchError, attempts: int = 1, most: int = 5, longest: float = 300.0) -> settle.Again | None:
    """Decide with a fixed seed."""
    return settle.decide(error, attempts, most, longest, random.Random(1))


def busy(status: int, retry_after: float | None = None) -> ServerBusy:
    """A refusal of a server."""
    error = ServerBusy("busy")
    error.note(status=status, retry_after=retry_after)
    return error


def test_only_what_may_pass_is_tried_again() -> None:
    """Connections and refusals for now; not a 404, not a page."""
    assert decided(ConnectionFailed("x")) is not None
    assert decided(busy(500)) is not None
    assert decided(StatusError("x")) is None
    assert decided(NotAnImage("x")) is None
    assert settle.decide(ValueError("x"), 1, 5, 300.0, random.Random(1)) is None
    assert decided(ConnectionFailed("x"), attempts=5) is None


def test_a_name_is_asked_for_once_more() -> None:
    """DNS failures are apart: two attempts, however many others get."""
    first = decided(NameNotResolved("x"))
    assert first is not None
    assert not first.park
    assert decided(NameNotResolved("x"), attempts=2) is None


def test_retry_after_parks_the_host_and_is_capped() -> None:
    """With jitter on top, so that not all come at once."""
    again = decided(busy(429, 7.0))
    assert again is not None
    assert (again.park, again.throttled) == (True, True)
    assert 7.0 < again.seconds < 8.0
    capped = decided(busy(503, 1e9), longest=60.0)
    assert capped is not None
    assert 60.0 < capped.seconds < 61.0
    plain = decided(busy(500))
    assert plain is not None
    assert (plain.park, plain.throttled) == (False, False)


@given(st.integers(1, 1000), st.integers())
def test_waits_double_up_to_a_minute(attempts: int, seed: int) -> None:
    """Half of each wait is random."""
    ceiling = min(60.0, 0.5 * 2.0 ** min(attempts - 1, 30))
    assert ceiling / 2 <= settle.backoff(attempts, random.Random(seed)) <= ceiling


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wednesday, 21-Oct-15 07:28:10 GMT", 10.0),
        ("99999999999999999999", 999999999999.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("\u0664", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds, or a date of RFC 9110; anything else says nothing."""
    assert settle.retry_after_seconds(value, 1445412480.0) == seconds


@pytest.mark.parametrize(
    "cls", [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, FetchError)]
)
def test_errors_pickle_with_what_they_know(cls: type[FetchError]) -> None:
    """They come out of worker processes, and out of the journal; the docstring's tree has all of them."""
    error = cls("is wrong")
    error.note(final_url="http://a/", status=429, bytes=7, seconds={"dns": 0.5}, retry_after=3.0)
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is cls
    assert (str(arrived), arrived.__dict__) == ("is wrong", error.__dict__)
    assert cls.__name__ in str(errors.__doc__)


_PARTS = st.sampled_from(
    [*"aZ0-_.~/:?#[]@!$&'()*+,;=% ", "http://", "https://", "//", ":80", ":443", ":8080", "%41", "..", "host"]
)


@given(st.lists(_PARTS, max_size=12).map("".join), st.sampled_from(["http://h.x", "https://h.x", ""]))
def test_what_is_normal_already_is_left_alone(text: str, start: str) -> None:
    """The quick way says what the long way says."""
    found = []
    for pattern in (urls._NORMAL, re.compile(r"(?!)")):
        with mock.patch.object(urls, "_NORMAL", pattern):
            try:
                found.append(urls.parse(start + text))
            except BadUrl as error:
                found.append(str(error))
    assert found[0] == found[1]
