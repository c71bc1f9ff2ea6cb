"""No output takes the place of a journal, of the input, or of another output."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import poolwise as library

Lines = Callable[[Sequence[object]], str]


@pytest.fixture
def journal(poolwise: Any, lines: Lines) -> Path:
    """A journal with a name that would pass for a picture."""
    path: Path = poolwise.folder / "q.svg"
    assert poolwise("run", "functions:same", lines(range(3)), "--journal", str(path)).code == 0
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["report", "q.svg", "-o", "q.svg"],
        ["report", "q.svg", "--trace", "./q.svg"],
        ["report", "q.svg", "--plot", "link.svg"],
        ["report", "q.svg", "--plot", "hard.svg"],
        ["show", "q.svg", "--values", "-o", "q.svg"],
        ["show", "q.svg", "--save", "q.svg"],
        ["run", "functions:same", "items", "--journal", "q.svg", "--trace", "q.svg"],
        ["run", "functions:same", "items", "--journal", "q.svg", "-o", "hard.svg"],
        ["images", "in", "out", "--fit", "20", "--journal", "q.svg", "--trace", "q.svg"],
    ],
)
def test_a_journal_is_no_output(poolwise: Any, journal: Path, words: list[str]) -> None:
    """It is refused before anything is opened, by whatever name."""
    os.symlink(journal, poolwise.folder / "link.svg")
    os.link(journal, poolwise.folder / "hard.svg")
    poolwise.write("items", "4\n")
    before = journal.read_bytes()
    ended = poolwise(*words)
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "a file of its own" in ended.err
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["report", "q.svg", "-o", "same", "--trace", "same"],
        ["report", "q.svg", "--plot", "z.svg", "--trace", "./z.svg"],
        ["run", "functions:same", "items", "--journal", "new", "-o", "new"],
        ["run", "functions:same", "items", "--journal", "new", "--trace", "new"],
        ["run", "functions:same", "items", "-o", "new", "--trace", "new"],
        ["run", "functions:same", "items", "-o", "items"],
        ["run", "functions:same", "items", "--trace", "items"],
        ["run", "functions:same", "items", "--journal", "items"],
    ],
)
def test_each_file_has_one_use(poolwise: Any, journal: Path, words: list[str]) -> None:
    """Two uses of one file are refused, also where it is not there yet."""
    poolwise.write("items", "4\n")
    before = sorted(os.listdir(poolwise.folder))
    ended = poolwise(*words)
    assert (ended.code, ended.out) == (2, b"")
    assert "a file of its own" in ended.err
    assert sorted(os.listdir(poolwise.folder)) == before
    assert (poolwise.folder / "items").read_text() == "4\n"


def test_outputs_that_are_no_files_may_be_the_same(poolwise: Any, journal: Path) -> None:
    """Nothing is lost in /dev/null."""
    poolwise.write("items", "4\n")
    assert poolwise("run", "functions:same", "-", "-o", "/dev/null", stdin=b"4\n").code == 0
    assert poolwise("run", "functions:same", "/dev/null", "-o", "/dev/null").code == 0


@pytest.mark.parametrize("method", ["to_html", "to_trace", "to_plot"])
def test_a_report_never_replaces_a_database(tmp_path: Path, method: str) -> None:
    """In Python, where nobody says which files are journals, what begins as an SQLite file does is kept."""
    path = str(tmp_path / "y.svg")
    results = library.run(abs, [1, -2], journal=path)
    list(results)
    with pytest.raises(library.UsageError, match="a database"):
        getattr(results.report(), method)(path)
    assert list(library.map(abs, [1, -2], journal=path)) == [1, 2]
