"""`poolwise report`, end to end: journals of real runs, also of one that was killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from poolwise._runtime.journal_reader import Reader
from poolwise.report.recorded import story_of

Lines = Callable[[Sequence[object]], str]


@pytest.fixture
def journal(poolwise: Any, lines: Lines, tmp_path: Path) -> str:
    """A journal of two runs on two worker processes: ten items, then ten more; every second one failed."""
    path = str(tmp_path / "run.db")
    for count in (10, 20):
        words = ["run", "functions:fail_odd", lines(range(count)), "--jsonl", "--shape", "2x1", "--journal", path]
        assert poolwise(*words).code == 3
    return path


def test_a_page_pictures_and_a_trace(poolwise: Any, journal: str, tmp_path: Path) -> None:
    """All three at once; counts are of the journal, lanes of its last run."""
    page, plot, trace = (tmp_path / f"run.{suffix}" for suffix in ("html", "png", "json"))
    ended = poolwise("report", journal, "-o", str(page), "--plot", str(plot), "--trace", str(trace))
    assert (ended.code, ended.err, ended.out) == (0, "", b"")
    text = page.read_text()
    assert "<h1><bdi>functions:fail_odd</bdi></h1>" in text
    assert "<dt>items</dt><dd>20</dd>" in text
    assert "<dt>failed</dt><dd>10</dd>" in text
    assert "<dt>shape at the end</dt><dd>2x1</dd>" in text
    assert "10 items of these were not executed in this run" in text
    assert "1 is odd" in text
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(trace.read_text())["traceEvents"]


def test_the_page_on_stdout(poolwise: Any, journal: str) -> None:
    ended = poolwise("report", journal, "-o", "-")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(b"<!doctype html>")
    assert ended.out.endswith(b"</html>\n")


def test_the_story_of_a_journal(journal: str) -> None:
    """Failures have an example and a key; the lanes are those of the last run."""
    with Reader(journal) as reader:
        story = story_of(reader)
    assert (story.title, story.done, story.failed, story.recorded) == ("functions:fail_odd", 10, 10, 10)
    (failed,) = story.failures
    assert (failed.name, failed.count, failed.key) == ("ValueError", 10, "1")
    assert "1 is odd" in failed.example
    assert sum(part.count for part in story.slices) == 10
    assert sum(part.failed for part in story.slices) == 5
    assert sum(count for _, count in story.latency) == 20
    assert len(story.slowest) == 10
    assert story.seconds > 0


def test_errors_with_letters_that_are_none(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    """A lone surrogate, as in a file name that is no UTF-8, is told as an escape."""
    path = str(tmp_path / "run.db")
    poolwise.write("bad.py", "def bad(item):\n    raise ValueError('no file \\udcff' + item)\n")
    assert poolwise("run", "bad:bad", lines(["x"]), "--journal", path).code == 3
    ended = poolwise("report", path, "-o", "-")
    assert (ended.code, ended.err) == (0, "")
    assert "no file \\udcffx" in ended.out.decode()


def test_a_run_that_was_killed(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    """Its outcomes are told, and that the rest is not recorded."""
    path = str(tmp_path / "run.db")
    words = ["functions:hang", lines([0, 2, 3, 1]), "--shape", "1x2", "--journal", path, "--durable"]
    process = poolwise.start("run", *words)
    for _ in range(3):
        assert process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    assert poolwise.end(process).code == -signal.SIGKILL
    page = tmp_path / "run.html"
    assert poolwise("report", path, "-o", str(page)).code == 0
    text = page.read_text()
    assert "The run ended before it could say what it had decided" in text
    assert "<dt>items</dt><dd>3</dd>" in text
    assert "<dt>shape at the end</dt><dd>not known</dd>" in text
    assert 'class="plot gantt"' in text


def test_a_journal_without_outcomes(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    path = str(tmp_path / "run.db")
    assert poolwise("run", "functions:same", lines([]), "--journal", path).code == 0
    ended = poolwise("report", path, "-o", "-")
    assert ended.code == 0
    assert "Nothing was executed." in ended.out.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["JOURNAL"], 2, "give -o FILE, --plot FILE, or --trace FILE"),
        (["nowhere.db", "-o", "x.html"], 1, "there is no journal"),
        (["functions.py", "-o", "x.html"], 1, "no journal"),
        (["functions.py"], 1, "no journal"),
        ([".", "-o", "x.html"], 1, "is a folder"),
        (["JOURNAL", "-o", "no/such/folder/x.html"], 2, "cannot write 'no/such/folder/x.html'"),
        (["JOURNAL", "-o", "."], 2, "cannot write '.'"),
        (["JOURNAL", "-o", "/dev/null"], 2, "not a regular file"),
        (["JOURNAL", "--plot", "x.jpeg"], 2, "'x.jpeg' names no format for pictures"),
    ],
)
def test_mistakes(poolwise: Any, journal: str, arguments: list[str], code: int, word: str) -> None:
    """One sentence each, and no file."""
    ended = poolwise("report", *(journal if each == "JOURNAL" else each for each in arguments))
    assert ended.code == code
    assert word in ended.err
    assert "Traceback" not in ended.err
    assert not list(poolwise.folder.glob("x.*"))
