"""`poolwise tour`: every program alone, all lessons run, the page, and endings."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from poolwise.tour.lesson import LESSONS, Lesson, lesson, read, tell
from poolwise.tour.photographs import photograph_bytes
from poolwise.tour.server import ImageServer
from zoo.browser import Browser, chromium
from zoo.marks import wait_until
from zoo.scripts import environment, processes, wait_all_gone

ALL = range(1, LESSONS + 1)
SECONDS = 120


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What programs are given, all of it small: a short second, few photographs, a quick server."""
    folder = tmp_path_factory.mktemp("given")
    photographs = folder / "photographs"
    photographs.mkdir()
    images = {f"photo-{number}.jpg": photograph_bytes(str(number), (160, 120)) for number in range(6)}
    for name, content in images.items():
        (photographs / name).write_bytes(content)
    with ImageServer(images, seconds=0.003) as server:
        given = {"seconds": "0.02", "photographs": str(photographs)}
        for needs, busy in (("urls", False), ("busy urls", True)):
            path = folder / f"{needs}.txt"
            path.write_text("\n".join(server.urls(busy=busy)))
            given[needs] = str(path)
        yield given


@pytest.mark.parametrize("number", ALL)
def test_a_program_runs_by_itself(number: int, arguments: dict[str, str], tmp_path: Path) -> None:
    """Isolated, with warnings as errors, it ends well, and prints what the words of its lesson need."""
    one = lesson(number)
    ended = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(one.program), arguments[one.needs]],
        cwd=tmp_path,
        env={**os.environ, "no_proxy": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ("RuntimeError" in ended.stderr) == (number == 12), ended.stderr
    assert number == 12 or ended.stderr == ""
    seen = read([(place / 1e3, line) for place, line in enumerate(ended.stdout.splitlines())], ended.stderr)
    told = tell(one, seen, "not run here")
    assert told.shows
    assert not any(sentence.startswith("Nothing, as") for sentence in told.shows), told.shows
    assert one.charts(seen) or seen.spans or number == 12


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """All lessons, run once: what was printed, and the page."""
    folder = tmp_path_factory.mktemp("tour")
    mark = f"tour-{os.getpid()}"
    ended = subprocess.run(
        [sys.executable, "-m", "poolwise", "tour", "--all", "--scale", "0.01", "--html", "tour.html"],
        cwd=folder,
        env={**environment(mark), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    wait_all_gone(mark)
    assert ended.returncode == 0, ended.stderr + ended.stdout[-2000:]
    assert [path.name for path in folder.iterdir()] == ["tour.html"]
    return ended.stdout, folder / "tour.html"


def lessons_of(text: str) -> dict[int, str]:
    """What was printed for each lesson."""
    parts = text.split(f"\n{'-' * 80}\n\n")
    return dict(zip(ALL, parts, strict=True))


def test_all_lessons_run(toured: tuple[str, Path]) -> None:
    """Each shows its program, what it wrote, words, and the same with poolwise; all in 80 columns."""
    text, _ = toured
    assert max(map(len, text.splitlines())) <= 80
    for number, part in lessons_of(text).items():
        one: Lesson = lesson(number)
        assert part.startswith(f"Lesson {number} of {LESSONS}. {one.part}: {one.title}\n")
        assert "Nothing, as" not in part
        assert part.count("What it wrote, and at which second") == 2
        assert part.count("\nWhat this shows\n* ") == 1
        shown, beside = part.split("The same with poolwise (")
        assert "\n* " in beside
        assert "What ran when" in shown or one.charts is not None


def test_the_page_of_the_tour(toured: tuple[str, Path]) -> None:
    """It has every lesson, and asks for nothing."""
    text = toured[1].read_text()
    for number in ALL:
        assert f'<h2 id="lesson-{number}">{number}. ' in text
    assert "All 27 lessons" in text
    assert not re.search(r'(src|href)="(?!#|data:,)', text)


@pytest.mark.skipif(chromium() is None and not os.environ.get("POOLWISE_CI"), reason="there is no chromium")
def test_the_page_in_a_browser(toured: tuple[str, Path]) -> None:
    """Nothing is wider than a phone, nothing is loaded, and the console stays silent, in both colour schemes."""
    program = chromium()
    assert program is not None
    with Browser(program) as browser:
        for width in (360, 1280):
            for dark in (False, True):
                browser.open(toured[1], width=width, dark=dark)
                browser.ask("for (const each of document.querySelectorAll('details')) each.open = true")
                assert browser.ask("document.documentElement.scrollWidth") <= width
                assert browser.complaints() == []
                assert browser.requests() == [toured[1].as_uri()]
        names = browser.ask(
            "[...document.querySelectorAll('[role=region]')].filter(each => !each.ariaLabel &&"
            " !document.getElementById(each.getAttribute('aria-labelledby'))).length"
        )
        ids = browser.ask(
            "(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
        )
    assert (names, ids) == (0, 0)


def test_the_list(poolwise: Any) -> None:
    """Without a number the lessons are listed, and none is run."""
    ended = poolwise("tour")
    assert ended.code == 0
    assert ended.out.decode().count("\n") == LESSONS + 5
    assert "poolwise tour 7 runs one" in ended.err


def test_some_lessons(poolwise: Any, arguments: dict[str, str]) -> None:
    """Numbers, URLs and photographs of the user's own."""
    (poolwise.folder / "mine").mkdir()
    for number in range(2):
        (poolwise.folder / "mine" / f"{number}.JPEG").write_bytes(photograph_bytes(str(number), (90, 60)))
    words = ("--scale", "0.02", "--urls", arguments["urls"], "--photos", "mine")
    ended = poolwise("tour", "9", "20", *words)
    assert ended.code == 0, ended
    text = ended.out.decode()
    assert "6 images" in text
    assert "20 photographs" in text
    assert sorted(path.name for path in (poolwise.folder / "mine").iterdir()) == ["0.JPEG", "1.JPEG"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("28",), "there is no lesson 28"),
        (("0",), "there is no lesson 0"),
        (("--html", "x.html"), "--html is for lessons that are run"),
        (("1", "--all"), "--all and numbers of lessons exclude each other"),
        (("1", "--full", "--scale", "2"), "--full and --scale exclude each other"),
        (("9", "--urls", "absent.txt"), "cannot read 'absent.txt'"),
        (("9", "--urls", "functions.py"), "is not a URL"),
        (("1", "20", "--photos", "."), "there are no photographs"),
        (("1", "20", "--photos", "absent"), "there is no folder 'absent'"),
        (("1", "--html", "absent/x.html"), "cannot write"),
    ],
)
def test_what_cannot_be_meant(poolwise: Any, words: tuple[str, ...], message: str) -> None:
    """Each is one sentence, and exit code 2, before any lesson."""
    ended = poolwise("tour", *words)
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.startswith("error: ")
    assert message in ended.err


@pytest.mark.parametrize("number", [3, 14])
def test_ctrl_c(poolwise: Any, number: int) -> None:
    """In the middle of a program it ends that, what it started, and the tour; the fixture finds whatever is left."""
    process = poolwise.start("tour", str(number), "--scale", "10")

    def running() -> bool:
        found = [each for each in processes(poolwise.mark) if each.pid != process.pid]
        if number == 14:
            return len(found) >= 11
        return any(each.num_threads() >= 11 for each in found)

    def safely() -> bool:
        try:
            return running()
        except psutil.NoSuchProcess:
            return False

    wait_until(safely, "the program waits in all its threads or processes", 30)
    os.kill(process.pid, signal.SIGINT)
    ended = poolwise.end(process)
    assert ended.code == 130
    assert "interrupted" in ended.err
    assert "Traceback" not in ended.err
