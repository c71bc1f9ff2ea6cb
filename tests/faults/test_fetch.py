"""`kill -9` at any moment of a download: every file is whole, and what was recorded is not fetched again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("pycurl")

from poolwise._runtime.journal_reader import Reader
from poolwise.jobs._records import JOURNAL_NAME
from poolwise.jobs.fetch.body import MEMORY_BYTES, PARTIAL_FOLDER
from zoo.hostile import Hostile, fixed, jpeg, large_jpeg
from zoo.marks import wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

URLS = 300


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start the command."""
    words = ["fetch", "urls.txt", "out", "--allow-private", "--shape", "1x8"]
    return subprocess.Popen(
        [sys.executable, "-m", "poolwise", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def recorded(folder: Path) -> set[str]:
    """Return the URLs that the journal knows as fetched."""
    path = folder / "out" / JOURNAL_NAME
    if not path.exists():
        return set()
    with Reader(str(path)) as reader:
        return {outcome.key for outcome in reader.outcomes() if outcome.error is None}  # type: ignore[union-attr]


def whole(folder: Path, bodies: dict[str, bytes]) -> int:
    """Check that each file with a final name is whole; return how many there are."""
    found = [path for path in (folder / "out").glob("*") if not path.name.startswith(".")]
    for path in found:
        assert path.read_bytes() == bodies[f"/{path.name}"], path.name
    return len(found)


def kill_after(process: subprocess.Popen[bytes], server: Hostile, requests: int) -> None:
    """Kill a command when it has asked so often, or at its end."""
    wanted = server.asked.total() + requests
    wait_until(lambda: process.poll() is not None or server.asked.total() >= wanted, "some were asked for")
    process.send_signal(signal.SIGKILL)
    process.communicate()


def fetched_again(before: set[str], asked: Counter[str], server: Hostile) -> list[str]:
    """Return those of the recorded URLs that were asked for more often than then."""
    paths = [url.removeprefix(server.base) for url in before]
    return [path for path in paths if server.asked[path] > asked[path]]


def test_every_file_is_whole_and_nothing_is_fetched_twice_that_was_recorded(tmp_path: Path, scale: int) -> None:
    """Killed at random moments, then run to the end."""
    rng = random.Random(scale)
    large = large_jpeg(MEMORY_BYTES)
    bodies = {f"/{number}.jpg": large if number % 25 == 0 else jpeg(seed=number) for number in range(URLS)}
    with Hostile() as server:
        urls = [server.add(path, fixed(body, ETag=f'"{path}"')) for path, body in bodies.items()]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        for _ in range(scale):
            before, asked = recorded(tmp_path), server.asked.copy()
            kill_after(started(tmp_path), server, rng.randrange(1, 80))
            assert not fetched_again(before, asked, server)
            whole(tmp_path, bodies)
        before, asked = recorded(tmp_path), server.asked.copy()
        process = started(tmp_path)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert whole(tmp_path, bodies) == URLS
        assert list((tmp_path / "out" / PARTIAL_FOLDER).iterdir()) == []
        assert not fetched_again(before, asked, server)
