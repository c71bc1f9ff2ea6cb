"""What README and docs say in code is run, and what they print is what they say that they print.

A Python block is run as a program of its own in an empty folder; a block of text right behind it is its output. Before
one may stand, as a comment of HTML: `setup: NAME` (see `SETUPS`), or `not run: REASON`. The pages of the tour hold the
programs of its lessons, which `e2e/test_tour.py` runs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from poolwise.cli.app import app
from poolwise.tour.lesson import LESSONS, lesson
from poolwise.tour.photographs import photograph_bytes
from poolwise.tour.server import ImageServer

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs" / "tour"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECONDS = 60
NOT_RUN = 0

_BLOCK = re.compile(
    r"(?:^<!-- (?P<about>[^\n]*?) -->\n)?^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```\n"
    r"(?:(?P=indent)```text\n(?P<printed>.*?)^(?P=indent)```\n)?",
    re.MULTILINE | re.DOTALL,
)
# Code of four spaces is for the shell: Python in it would not be run.
_PYTHON = re.compile(r"^ {4}(?:import |from |for |with |def |print\(|\w+ = |\w+(?:\.\w+)*\()", re.MULTILINE)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(?=\S)(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMENT = re.compile(r"(?:^|\s+)# .*$")

# The web of these examples is a server on loopback, so the check that refuses loopback is turned off for it alone.
_WEB = """
import poolwise.jobs.fetch.addresses as addresses
urls = open("urls.txt").read().split()
addresses.refusal = lambda address: None if address == "127.0.0.1" else "not of this example"
"""
_QUICK_BENCH = """
import functools, poolwise
poolwise.bench = functools.partial(poolwise.bench, repeats=1, seconds=0.02)
def work(item):
    return sum(range(item))
items = [1000] * 100
"""
_DOWNLOAD = """
import poolwise
urls = [f"https://example.com/{number}.jpg" for number in range(3)]
def download(url):
    return len(url)
"""
_RESULTS = f"""{_DOWNLOAD}
with poolwise.run(download, urls) as results:
    for _ in results:
        pass
"""
SETUPS = {
    "": "",
    "web": _WEB,
    "photos": "",
    "download": _DOWNLOAD,
    "results": _RESULTS,
    "a short comparison": _QUICK_BENCH,
}


@dataclass(frozen=True)
class Block:
    """A block of Python: where it is, what stands before it, what it prints."""

    page: Path
    line: int
    about: str
    code: str
    printed: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        printed = found["printed"]
        dedented = None if printed is None else textwrap.dedent(printed)
        yield Block(page, line, found["about"] or "", textwrap.dedent(found["code"]), dedented)


def is_of_tour(page: Path) -> bool:
    return page.is_relative_to(TOUR)


BLOCKS = [block for page in PAGES if not is_of_tour(page) for block in blocks(page)]
RUN = [block for block in BLOCKS if not block.about.startswith("not run: ")]


def test_blocks_are_found_and_marked() -> None:
    """Every fence of Python is one that this file runs; what is not run is counted, and says why."""
    fences = sum(page.read_text("utf-8").count("```python\n") for page in PAGES if not is_of_tour(page))
    assert len(BLOCKS) == fences > 40
    assert len(BLOCKS) - len(RUN) == NOT_RUN
    for page in PAGES:
        assert not _PYTHON.search(_FENCED.sub("", page.read_text("utf-8"))), page
    for block in BLOCKS:
        kind, _, rest = block.about.partition(": ")
        assert kind in ("", "setup", "not run"), f"{block}: {block.about}"
        assert rest in SETUPS if kind == "setup" else bool(kind) == bool(rest), f"{block}: {block.about}"


@pytest.fixture(scope="module")
def web() -> Iterator[list[str]]:
    """URLs of a few photographs, on loopback."""
    images = {f"photo-{number}.jpg": photograph_bytes(str(number), (640, 480)) for number in (1, 2, 3)}
    with ImageServer(images, seconds=0.005) as server:
        yield server.urls()


@pytest.fixture(scope="module")
def photographs() -> dict[str, bytes]:
    return {f"photo-{number}.jpg": photograph_bytes(str(number), (640, 480)) for number in (1, 2, 3)}


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block(block: Block, web: list[str], photographs: dict[str, bytes], tmp_path: Path) -> None:
    """It runs, warns of nothing, and prints what stands behind it."""
    (tmp_path / "urls.txt").write_text("\n".join(web))
    (tmp_path / "photos").mkdir()
    if not block.about.endswith("web"):
        for name, content in photographs.items():
            (tmp_path / "photos" / name).write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "no_proxy": "127.0.0.1"},
        input=SETUPS[block.about.removeprefix("setup: ")] + block.code,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    if block.printed is not None:
        assert ended.stdout == block.printed


def test_the_tour_shows_the_programs_of_its_lessons() -> None:
    """The pages are made by running them; a lesson that has changed since must be run anew: make tour."""
    shown = [block.code.rstrip("\n") for page in PAGES if is_of_tour(page) for block in blocks(page)]
    lessons = [lesson(number) for number in range(1, LESSONS + 1)]
    programs = {path.read_text("utf-8").rstrip("\n") for one in lessons for path in (one.program, one.with_poolwise)}
    assert set(shown) == programs
    assert len(shown) == 2 * LESSONS


# -- commands


def commands() -> Iterator[tuple[Path, str, bool]]:
    """Yield (page, command, whole) for each command; in running text one may be named without its arguments."""
    for page in PAGES:
        text = page.read_text("utf-8")
        lines = [line for found in _SHELL.finditer(text) for line in found[1].split("\n")]
        prose = _FENCED.sub("", text)
        if page.name == "README.md":
            lines += _INDENTED.findall(prose)
        for line in lines:
            yield page, _COMMENT.sub("", line).strip(), True
        for span in _INLINE.findall(prose):
            yield page, span.strip(), False


COMMAND: Any = typer.main.get_command(app)


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command line of poolwise as the program does, and run nothing."""
    top = COMMAND
    context = top.make_context("poolwise", list(words))
    rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
    if not rest:
        return
    name, command, arguments = top.resolve_command(context, rest)
    try:
        command.make_context(name, arguments, parent=context)
    except Exception as error:
        if type(error).__name__ == "Exit" or (not whole and type(error).__name__ == "MissingParameter"):
            return
        raise


def test_commands_of_poolwise_parse() -> None:
    count = 0
    for page, text, whole in commands():
        text = re.sub(r"\s*[|>;].*$", "", text) if whole else text
        if not text.startswith("poolwise ") or "..." in text:
            continue
        words = shlex.split(text.replace("LESSON", "7"))[1:]
        try:
            parse(words, whole=whole)
        except Exception as error:
            pytest.fail(f"{page.relative_to(ROOT)}: {text!r}: {getattr(error, 'message', error)}")
        count += 1
    assert count > 40


def test_an_unknown_option_would_be_found() -> None:
    parse(["fetch", "urls.txt", "photos/", "--update"], whole=True)
    for wrong in (["fetch", "urls.txt", "photos/", "--upgrade"], ["fetch", "urls.txt"], ["fetsh"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(wrong, whole=True)


def test_scripts_targets_and_extras_exist() -> None:
    """What is called by `python benchmarks/...`, `make ...` and `poolwise[...]` is there."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    seen = set()
    for page, text, _ in commands():
        for script in re.findall(r"python (benchmarks/\S+?\.py)", text):
            seen.add("script")
            assert (ROOT / script).is_file(), f"{page.name}: {text}"
        if target := re.fullmatch(r"make ([a-z-]+)", text):
            seen.add("target")
            assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), f"{page.name}: {text}"
        for names in re.findall(r"(?:poolwise|\.)\[([a-z,]+)\]", text):
            seen.add("extra")
            assert set(names.split(",")) <= set(extras), f"{page.name}: {text}"
    assert seen == {"script", "target", "extra"}
