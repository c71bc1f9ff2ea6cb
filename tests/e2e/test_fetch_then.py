"""`poolwise fetch --then`, as a user runs it: downloads and images in one run."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pycurl")
pytest.importorskip("PIL.Image")

from PIL import Image

from zoo.hostile import Hostile, fixed, silent
from zoo.marks import wait_until

PRIVATE = "--allow-private"
SMALL = ("--then", "--fit 16 --blur 1")


def photo(number: int) -> bytes:
    """A JPEG of 64 x 48."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (number, 90, 90)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A hostile server on loopback."""
    with Hostile() as hostile:
        yield hostile


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """The images of a folder, with their sizes."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".jpg":
            with Image.open(path) as image:
                found[path.name] = image.size
    return found


def test_images_are_fetched_and_processed(poolwise: Any, server: Hostile) -> None:
    """Originals in DST, results beside them; failures name their stage; a second run does nothing."""
    urls = [server.add(f"/{number}.jpg", fixed(photo(number))) for number in range(6)]
    urls.append(server.add("/page.jpg", fixed(b"<html>")))
    poolwise.write("urls.txt", "\n".join(urls))
    for how, counts in [("", "6 done"), (" in an earlier run", "0 done, 6 were there already")]:
        ended = poolwise("fetch", "urls.txt", "out", PRIVATE, *SMALL)
        assert (ended.code, ended.out) == (3, b"")
        assert f"failed at fetch{how}: {urls[-1]}: is not an image but an HTML page" in ended.err
        assert f"7 URLs: {counts}, 1 failed in" in ended.err
        names = [f"{number}.jpg" for number in range(6)]
        assert sizes(poolwise.folder / "out") == dict.fromkeys(names, (64, 48))
        assert sizes(poolwise.folder / "out" / "processed") == dict.fromkeys(names, (16, 12))
    assert "failures: 1 NotAnImage" in ended.err
    assert set(server.asked.values()) == {1}


def test_what_was_fetched_before_is_only_processed(poolwise: Any, server: Hostile) -> None:
    """A plain fetch, then one with --then, then one whose result is gone: each URL is asked for once."""
    poolwise.write("urls.txt", "\n".join(server.add(f"/{n}.jpg", fixed(photo(n))) for n in range(3)))
    assert poolwise("fetch", "urls.txt", "out", PRIVATE).code == 0
    for _ in range(2):
        ended = poolwise("fetch", "urls.txt", "out", PRIVATE, *SMALL, "--then-to", "small")
        assert ended.code == 0
        assert sorted(sizes(poolwise.folder / "small")) == ["0.jpg", "1.jpg", "2.jpg"]
        (poolwise.folder / "small" / "1.jpg").unlink()
    assert "fetch: 1 done, 1 of them earlier" in ended.err
    assert "images: 1 done" in ended.err
    assert set(server.asked.values()) == {1}
    other = poolwise("fetch", "urls.txt", "out", PRIVATE, "--then", "--fit 8", "--then-to", "small")
    assert (other.code, "images: 3 done" in other.err) == (0, True)  # Other operations: all are processed anew.
    assert {max(size) for size in sizes(poolwise.folder / "small").values()} == {8}
    assert set(server.asked.values()) == {1}


def test_what_cannot_be_processed_is_named(poolwise: Any, server: Hostile) -> None:
    """A picture that is fetched, and that the second stage refuses, stays in DST."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    url = server.add("/two.gif", fixed(file.getvalue()))
    poolwise.write("urls.txt", url)
    then = ("--then", "--fit 9 --format jpeg")
    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, *then, "--manifest", "all.jsonl")
    assert ended.code == 3
    assert f"failed at images: {url}: " in ended.err
    assert "holds 2 pictures" in ended.err
    assert "fetch: 1 done (shape" in ended.err
    assert "images: 0 done, 1 failed (shape" in ended.err
    assert (poolwise.folder / "out" / "two.gif").exists()
    assert '"error": null' in (poolwise.folder / "all.jsonl").read_text()


def test_a_failure_of_other_operations_is_no_longer_one(poolwise: Any, server: Hostile) -> None:
    """What a JPEG cannot hold a WebP can; with the same operations it stays failed, and nothing is fetched again."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    poolwise.write("urls.txt", server.add("/two.gif", fixed(file.getvalue())))
    for earlier in ("", " in an earlier run"):
        ended = poolwise("fetch", "urls.txt", "out", PRIVATE, "--then", "--fit 4 --format jpeg")
        assert (ended.code, f"failed at images{earlier}: " in ended.err) == (3, True)
    assert poolwise("fetch", "urls.txt", "out", PRIVATE, "--then", "--fit 4 --format webp").code == 0
    assert (poolwise.folder / "out" / "processed" / "two.webp").exists()
    assert set(server.asked.values()) == {1}


def test_a_trace_has_both_stages(poolwise: Any, server: Hostile) -> None:
    """With names of stages."""
    poolwise.write("urls.txt", server.add("/0.jpg", fixed(photo(0))))
    assert poolwise("fetch", "urls.txt", "out", PRIVATE, *SMALL, "--trace", "t.json", "--progress").code == 0
    text = (poolwise.folder / "t.json").read_text()
    assert '"name":"fetch: worker 0 (the calling process)"' in text
    assert '"name":"images: worker 0 (the calling process)"' in text


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted(poolwise: Any, server: Hostile, times: int) -> None:
    """Ctrl-C once finishes what was taken, in both stages; twice ends it at once. Both exit with 130."""
    urls = [server.add(f"/{number}.jpg", fixed(photo(number))) for number in range(4)]
    waiting = server.add("/silent.jpg", silent)
    poolwise.write("urls.txt", "\n".join([*urls, waiting]))
    process = poolwise.start("fetch", "urls.txt", "out", PRIVATE, *SMALL, "--read-seconds", "2", "--attempts", "1")
    results = poolwise.folder / "out" / "processed"
    wait_until(lambda: results.exists() and len(sizes(results)) == 4, "four are processed")
    wait_until(lambda: server.asked["/silent.jpg"] > 0, "the last is asked for")
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        if times == 2:
            for line in process.stderr:
                if b"interrupted: finishing" in line:
                    break
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    if times == 1:
        assert b"interrupted after 5 URLs: 4 done, 1 failed" in err
    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, *SMALL, "--read-seconds", "2", "--attempts", "1")
    assert ended.code == 3
    assert max(count for path, count in server.asked.items() if path != "/silent.jpg") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--then", ""], "error: --then '' holds no operation"),
        (["--then", "--fit big"], "error: --then '--fit big': --fit 'big' is not a size"),
        (["--then", "--colour red"], "error: --then '--colour red': no such option: --colour"),
        (["--then", "--fit 9 --fit 8"], "error: --then '--fit 9 --fit 8': --fit is given 2 times, and once"),
        (["--then", "--fit 9 --shape 1x2"], "error: --then '--fit 9 --shape 1x2': --shape is no operation on images"),
        (["--then", "--fit 9 --list"], "error: --then '--fit 9 --list': --list is no operation on images"),
        (["--then", "--fit '9"], "error: --then \"--fit '9\" cannot be read: no closing quotation"),
        (["--then", "more --fit 9"], "error: --then 'more --fit 9': got unexpected extra argument"),
        (["--then-to", "x"], "error: --then-to is the folder for what --then gives; give --then OPERATIONS with it"),
        (["--any", *SMALL], "error: --any keeps files of any kind, and --then processes images: choose one"),
        ([*SMALL, "--then-to", "out"], "error: source and destination are the same folder"),
    ],
)  # fmt: skip
def test_usage(poolwise: Any, words: list[str], sentence: str) -> None:
    """One sentence, exit code 2, and nothing is fetched."""
    poolwise.write("urls.txt", "http://127.0.0.1:9/x.jpg\n")
    ended = poolwise("fetch", "urls.txt", "out", PRIVATE, *words)
    assert ended.code == 2
    assert sentence in ended.err
