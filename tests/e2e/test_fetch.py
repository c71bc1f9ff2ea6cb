"""`poolwise fetch`, as a user runs it, against a hostile server on loopback."""

from __future__ import annotations

import csv
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pycurl")

from zoo.hostile import Hostile, fixed, head, in_turn, jpeg, large_jpeg, silent
from zoo.marks import wait_until

PHOTO = jpeg()
PRIVATE = "--allow-private"


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A hostile server on loopback."""
    with Hostile() as hostile:
        yield hostile


def found(folder: Path) -> list[str]:
    """List the files that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_list_of_urls(poolwise: Any, server: Hostile) -> None:
    """Good ones become files; the others are named, with exit code 3; a second run asks for nothing."""
    good = [server.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(3)]
    page = server.add("/page.jpg", fixed(b"<html>"))
    poolwise.write("urls.txt", "\n".join([*good, page, "ftp://x/y", ""]))
    said = [("failed", "3 done"), ("failed in an earlier run", "0 done, 3 were there already")]
    for number, (how, counts) in enumerate(said):
        ended = poolwise("fetch", "urls.txt", "out", PRIVATE)
        assert (ended.code, ended.out) == (3, b"")
        assert f"{how}: {page}: is not an image but an HTML page" in ended.err
        assert "failed: ftp://x/y: begins with 'ftp'; only http and https are fetched" in ended.err
        assert f"5 URLs: {counts}, 2 failed in" in ended.err
        assert "failures: 1 " in ended.err
        assert ("1 failed in an earlier run; --retry-failed tries again" in ended.err) == (number == 1)
        assert (" received, " in ended.err) == (number == 0)
        assert "slowest" not in ended.err
        assert found(poolwise.folder / "out") == ["0.jpg", "1.jpg", "2.jpg"]
    assert set(server.asked.values()) == {1}


def test_what_was_there_already_does_not_count_as_received(poolwise: Any, server: Hostile) -> None:
    """A line that comes twice, a 304, and what an earlier run fetched."""

    def same(request: Any) -> bool:
        if "if-none-match" in request.headers:
            request.send(head(304))
            return True
        return fixed(b"x" * 1000, ETag='"1"')(request)

    urls = [server.add("/a", same), server.add("/b", in_turn(fixed(b"x" * 1000), fixed(b"y" * 200)))]
    poolwise.write("urls.txt", "\n".join([*urls, urls[0]]))
    first = poolwise("fetch", "urls.txt", "out", PRIVATE, "--any").err
    assert "3 URLs: 2 done, 1 was there already in " in first
    assert "2 kB received, " in first
    third = poolwise("fetch", "urls.txt", "out", PRIVATE, "--any", "--update").err
    assert "3 URLs: 1 done, 2 were there already in " in third
    assert "200 B received, " in third
    assert "3 URLs: 0 done, 3 were there already in " in poolwise("fetch", "urls.txt", "out", PRIVATE, "--any").err


def test_a_disk_that_had_no_room_is_asked_again(poolwise: Any, server: Hostile) -> None:
    """What failed by that is tried by the next run, without --retry-failed."""
    poolwise.write("urls.txt", server.add("/a.jpg", fixed(PHOTO)))
    for then in ((), ("--then", "--fit 16")):
        ended = poolwise("fetch", "urls.txt", "out", PRIVATE, "--min-free", str(10**18), *then)
        assert (ended.code, "MB left" in ended.err) == (3, True)
        assert "earlier run" not in ended.err
    assert poolwise("fetch", "urls.txt", "out", PRIVATE, "--then", "--fit 16").code == 0
    assert found(poolwise.folder / "out") == ["a.jpg", "processed"]


def test_stdin_csv_and_jsonl(poolwise: Any, server: Hostile) -> None:
    """URLs come from where they are."""
    url = server.add("/a.jpg", fixed(PHOTO))
    poolwise.write("t.csv", f"id,link\n1,{url}\n")
    poolwise.write("t.jsonl", f'{{"link": "{url}"}}\n')
    for number, (words, text) in enumerate(
        [
            (["-"], f"{url}\n"),
            (["t.csv", "--csv", "--column", "link"], None),
            (["t.jsonl", "--jsonl", "--column", "link"], None),
            (["-", "--jsonl"], f'"{url}"\n'),
        ]
    ):
        ended = poolwise("fetch", *words, f"out{number}", PRIVATE, stdin=text)
        assert ended.code == 0, ended
        assert found(poolwise.folder / f"out{number}") == ["a.jpg"]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "-"])
def test_the_manifest(poolwise: Any, server: Hostile, name: str) -> None:
    """A row for each URL, whatever became of it."""
    good, gone = server.add("/a.png", fixed(PHOTO)), f"{server.base}/gone.jpg"
    poolwise.write("urls.txt", f"{good}\n{gone}\n{good}\n")
    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, "--manifest", name)
    assert ended.code == 3
    text = ended.out.decode() if name == "-" else (poolwise.folder / name).read_text()
    if name == "m.csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    by_url = {row["url"]: row for row in rows}
    assert len(rows) == 2
    assert (by_url[good]["path"], str(by_url[good]["width"]), by_url[good]["type"]) == ("a.jpg", "64", "image/jpeg")
    assert float(by_url[good]["first_byte_seconds"]) > 0
    assert not by_url[good]["error"]
    assert (by_url[gone]["error_class"], str(by_url[gone]["status"])) == ("StatusError", "404")
    assert not by_url[gone]["path"]


def test_a_manifest_in_the_folder(poolwise: Any, server: Hostile) -> None:
    """Also where that is made only now; but never over a file that was fetched, by this list or another."""
    poolwise.write("urls.txt", server.add("/a.jpg", fixed(PHOTO)))
    poolwise.write("more.txt", server.add("/b.jpg", fixed(PHOTO)))
    assert poolwise("fetch", "urls.txt", "out", PRIVATE, "--manifest", "out/manifest.csv").code == 0
    ended = poolwise("fetch", "more.txt", "out", PRIVATE, "--manifest", "out/a.jpg")
    assert (ended.code, "is a file that was fetched; give another path" in ended.err) == (2, True)
    assert (poolwise.folder / "out" / "a.jpg").read_bytes() == PHOTO
    assert server.asked["/b.jpg"] == 0
    assert found(poolwise.folder / "out") == ["a.jpg", "manifest.csv"]


def test_private_addresses_need_a_word(poolwise: Any, server: Hostile) -> None:
    """Without --allow-private nothing on this machine is asked."""
    poolwise.write("urls.txt", server.add("/a.jpg", fixed(PHOTO)))
    ended = poolwise("fetch", "urls.txt", "out")
    assert ended.code == 3
    assert "a loopback address; allow_private (--allow-private) allows it" in ended.err
    assert not server.requests


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.txt", "out"], "cannot read 'missing.txt'"),
        (["urls.txt", "out", "--csv"], "--csv needs --column"),
        (["urls.txt", "out", "--column", "x"], "--column is for --csv and --jsonl"),
        (["urls.txt", "out", "--csv", "--jsonl"], "exclude each other"),
        (["urls.txt", "out", "--csv", "--column", "x"], "its columns are"),
        (["urls.txt", "urls.txt"], "is not a folder"),
        (["urls.txt", "out", "--verify", "hard"], "verify is 'hard'"),
        (["urls.txt", "out", "--max-bytes", "0"], "max_bytes is 0"),
        (["urls.txt", "out", "--max-redirects", "-1"], "max_redirects is -1; it must be a whole number of at least 0"),
        (["urls.txt", "out", "--total-seconds", "1e20"], "it may be 2,000,000 seconds at most"),
        (["urls.txt", "out", "--manifest", "no/m.csv"], "there is no folder 'no'"),
        (["urls.txt", "out", "--manifest", "out"], "cannot write 'out': it is the folder for the files"),
        (["urls.txt", "out", "--manifest", "urls.txt"], "'urls.txt' is named as the list of URLs and as the manifest"),
        (["urls.txt", "out", "--manifest", "out/.poolwise.db"], "is named as the journal and as the manifest"),
        (["urls.txt", "out", "--manifest", "out/a.jpg"], "and may be what a fetched file will be called"),
        (["urls.txt", "there", "--trace", "there/A.jpg"], "and may be what a fetched file will be called"),
    ],
)
def test_what_cannot_be_meant(poolwise: Any, words: list[str], said: str) -> None:
    """Exit code 2 and a sentence; nothing is fetched."""
    poolwise.write("urls.txt", "http://example.com/a.jpg\n")
    (poolwise.folder / "there").mkdir()
    ended = poolwise("fetch", *words)
    assert ended.code == 2, ended
    assert said in ended.err
    assert not (poolwise.folder / "out" / ".poolwise.db").exists()


def test_an_empty_list(poolwise: Any) -> None:
    """There is nothing to do, and that is said."""
    poolwise.write("urls.txt", "\n\n")
    for name, called in (("urls.txt", "urls.txt"), ("-", "stdin")):
        ended = poolwise("fetch", name, "out", stdin="")
        assert ended.code == 0
        assert f"no URLs in {called}\n" in ended.err


def test_progress_tells_bytes_and_failures(poolwise: Any, server: Hostile) -> None:
    """Lines, as stderr is no terminal."""
    poolwise.write("urls.txt", f"{server.add('/a.jpg', fixed(PHOTO))}\n{server.base}/gone\n")
    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, "--progress")
    last = next(line for line in ended.err.splitlines() if line.startswith("fetch: 2 of 2 done"))
    assert "B/s" in last
    assert "1 StatusError" in last


def test_a_disk_that_takes_no_more(poolwise: Any, server: Hostile) -> None:
    """A file that cannot be written costs itself, with a sentence, and leaves nothing under a final name."""
    small, large = server.add("/small.jpg", fixed(PHOTO)), server.add("/large.jpg", fixed(large_jpeg(3_000_000)))
    poolwise.write("urls.txt", f"{large}\n{small}\n")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, preexec_fn=limit)
    assert ended.code == 3
    assert "large.jpg: a partial file cannot be written: File too large" in ended.err
    assert found(poolwise.folder / "out") == ["small.jpg"]
    assert list((poolwise.folder / "out" / ".poolwise-partial").iterdir()) == []


def test_ctrl_c_twice_stops_and_a_second_run_goes_on(poolwise: Any, server: Hostile) -> None:
    """A server that says nothing does not hold it up."""
    good = [server.add(f"/{number}.jpg", fixed(PHOTO)) for number in range(5)]
    stuck = server.add("/stuck.jpg", silent)
    poolwise.write("urls.txt", "\n".join([*good, stuck]))
    process = poolwise.start("fetch", "urls.txt", "out", PRIVATE, "--shape", "1x8")
    wait_until(lambda: server.asked["/stuck.jpg"] == 1, "the stuck URL was asked for")
    wait_until(lambda: len(found(poolwise.folder / "out")) == 5, "the others are there")
    process.send_signal(signal.SIGINT)
    assert any(line.startswith(b"interrupted: finishing") for line in iter(process.stderr.readline, b""))
    process.send_signal(signal.SIGINT)
    assert poolwise.end(process).code == 130
    server.add("/stuck.jpg", fixed(PHOTO))
    assert poolwise("fetch", "urls.txt", "out", PRIVATE).code == 0
    assert found(poolwise.folder / "out") == [*(f"{number}.jpg" for number in range(5)), "stuck.jpg"]


def test_the_working_folder_was_removed(poolwise: Any, server: Hostile) -> None:
    """Whole paths need none."""
    poolwise.write("urls.txt", server.add("/photo.jpg", fixed(PHOTO)))
    gone = poolwise.folder / "gone"
    gone.mkdir()
    words = ["fetch", str(poolwise.folder / "urls.txt"), str(poolwise.folder / "out"), PRIVATE, "--shape", "2x4"]
    ended = poolwise(*words, cwd=gone, preexec_fn=gone.rmdir)
    assert (ended.code, ended.out) == (0, b"")
    assert "1 URL: 1 done" in ended.err
