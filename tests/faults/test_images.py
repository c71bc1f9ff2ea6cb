"""`kill -9` at any moment of `poolwise images`: every result is whole, what was recorded is not done again, and nothing
that is rewritten in place is rewritten twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from PIL import Image

from poolwise._runtime.journal_reader import Reader
from poolwise.jobs._records import JOURNAL_NAME
from poolwise.jobs.images.inplace import FOLDER
from zoo.marks import wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

IMAGES = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `in`, which holds photographs that differ."""
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        Image.linear_gradient("L").rotate(number * 9).resize((300, 200)).convert("RGB").save(
            tmp_path / "in" / f"{number:02}.png", compress_level=1
        )
    return tmp_path


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "poolwise", "images", "in", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def recorded(journal: Path) -> dict[str, str]:
    """Return what the journal knows as done: SHA-256 of the result by key."""
    if not journal.exists():
        return {}
    with Reader(str(journal)) as reader:
        return {each.key: each.value.result.sha256 for each in reader.outcomes() if each.error is None}  # type: ignore[union-attr]


def content(path: Path) -> dict[str, bytes]:
    """Return the pixels of each image in a folder; all must be whole."""
    found = {}
    for each in path.glob("[!.]*.png"):
        with Image.open(each) as image:
            found[each.name] = image.tobytes()
    return found


def finished(process: subprocess.Popen[bytes]) -> str:
    """Wait for a command that must end well; return what it said."""
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return err.decode()


def kill_when(process: subprocess.Popen[bytes], folder: Path, pattern: str, more: int) -> None:
    """Kill a command when so many more files of a pattern are there, or at its end."""

    def count() -> int:
        try:
            return len(list(folder.glob(pattern)))
        except FileNotFoundError:  # The run has ended meanwhile, and removed its folder.
            return 0

    wanted = count() + more
    wait_until(lambda: process.poll() is not None or count() >= wanted, "some are there")
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", ["1x2", "2x1"])
def test_killed_and_gone_on_with(folder: Path, shape: str, seed: int) -> None:
    """However often it is killed, the end is that of a run that was not; what was recorded is as it was."""
    rng = random.Random(seed)
    out = folder / "out"
    before: dict[str, str] = {}
    for _ in range(3):
        process = started(folder, "out", "--blur", "3", "--fit", "150", "--shape", shape)
        kill_when(process, out, "[!.]*.png", rng.randrange(1, 8))
        now = recorded(out / JOURNAL_NAME)
        assert before.items() <= now.items()
        before = now
        assert set(now) <= set(content(out))
    said = finished(started(folder, "out", "--blur", "3", "--fit", "150", "--shape", shape))
    assert f"{IMAGES} images: {IMAGES} done" in said
    assert not list(out.glob(".poolwise-*.tmp"))
    finished(started(folder, "whole", "--blur", "3", "--fit", "150", "--shape", "1x1"))
    assert content(out) == content(folder / "whole")


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_place(folder: Path, seed: int) -> None:
    """Each file is turned once, however often the run is killed."""
    rng = random.Random(seed)
    finished(started(folder, "turned", "--rotate", "90"))
    turned = content(folder / "turned")
    untouched = content(folder / "in")
    for _ in range(3):
        process = started(folder, "--in-place", "--rotate", "90", "--shape", "1x2")
        notes = folder / "in" / FOLDER
        kill_when(process, notes, "*.json", rng.randrange(1, 8))
        for name, pixels in content(folder / "in").items():
            assert pixels in (turned[name], untouched[name])
    finished(started(folder, "--in-place", "--rotate", "90", "--shape", "1x2"))
    assert content(folder / "in") == turned
    assert not (folder / "in" / FOLDER).exists()


def test_a_decoder_that_crashes(folder: Path) -> None:
    """With --isolate a file that kills its process is named, and nothing of it is left; a second run tries it again."""
    (folder / "crash.py").write_text(
        "import ctypes\n\ndef decode(image):\n    if image.size == (7, 7):\n        ctypes.string_at(0)\n"
    )
    Image.new("RGB", (7, 7)).save(folder / "in" / "evil.png")
    process = started(folder, "out", "--apply", "crash:decode", "--isolate")
    _, err = process.communicate(timeout=90)
    assert process.returncode == 3, err
    assert "failed: evil.png: TaskLost: " in err.decode()
    assert f"{IMAGES + 1} images: {IMAGES} done, 1 failed" in err.decode()
    assert len(content(folder / "out")) == IMAGES
