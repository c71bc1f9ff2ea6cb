"""The page of a report: what is in it, that nothing of it can do harm, and the figure of matplotlib."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from poolwise import BackendUnavailable, UsageError
from poolwise._core.story import FailureClass, Mark, Slowest, Story
from poolwise.report.page import html, write_html
from poolwise.report.plot import write_plot
from unit.test_report_pictures import ODD, odd_story
from zoo.stories import EMPTY, HOSTILE, computing, many_lanes, waiting


class Page(HTMLParser):
    """A page, taken apart."""

    VOID = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


STORIES = {
    "waiting": waiting(), "computing": computing(), "empty": EMPTY, "2x64": many_lanes(2, 64),
    "1x512": many_lanes(1, 512, sampled=0.01), "1x1": many_lanes(1, 1), **{f"odd {n}": odd_story(n) for n in ODD},
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_every_page_is_sound(name: str) -> None:
    """Well-formed; headings, names and references are whole; no script, no handler, no address but of this page."""
    text = html(STORIES[name])
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    assert not {"script", "img", "iframe", "object", "embed", "form", "base"} & set(tags)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert not [each for each in attributes if each.startswith("on") or each == "style"]
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert set(attributes.get("aria-labelledby", "").split()) <= set(ids)
        if attributes.get("tabindex") == "0":
            assert attributes["role"] == "region"
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert tags.count("table") == tags.count("caption")
    assert tags.count("details") == tags.count("summary")
    assert "url(" not in text
    assert "@import" not in text


def test_a_page_is_the_same_each_time() -> None:
    assert html(waiting()) == html(waiting())
    source = "import sys; sys.path[:0] = sys.argv[1].split(':'); from zoo.stories import waiting; "
    source += "from poolwise.report.page import html; sys.stdout.buffer.write(html(waiting()).encode())"
    path = ":".join([str(Path(__file__).resolve().parents[1]), *(each for each in sys.path if each)])
    command = [sys.executable, "-c", source, path]
    outputs = {
        subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert outputs == {html(waiting()).encode()}


def test_what_is_told_is_on_the_page() -> None:
    story = waiting()
    text = Page(html(story)).text
    for words in (
        story.title, story.sentence, "Roofline", "Lanes over time", "Throughput over time", "How long items took",
        "TimeoutError", "Slowest items", "its items wait, so many lanes", "worker 1 died (killed by SIGKILL)",
        "The whole explanation", "CPython 3.11.7", "23.0 GiB", "2025-11-25 19:46:40 UTC", "768", "workers lost",
    ):  # fmt: skip
        assert words in text, words


def test_nothing_to_tell_is_told_in_sentences() -> None:
    text = Page(html(EMPTY)).text
    for sentence in (
        "The run left no verdict.", "there are no roofs to show.", "No execution of this run was timed",
        "Throughput was not sampled", "No item failed.", "No execution was timed.",
        "No change of the shape was recorded.",
        "The run left no explanation.", "The machine was not recorded.",
    ):  # fmt: skip
        assert sentence in text, sentence
    assert "nan" not in text.lower()


def hostile() -> Story:
    """A story in which every text is meant to do harm."""
    return replace(
        waiting(),
        title=HOSTILE,
        sentence=HOSTILE,
        shape=HOSTILE,
        explanation=HOSTILE * 1000,
        reasons=(HOSTILE,),
        failures=(FailureClass(HOSTILE, 1, HOSTILE, HOSTILE),),
        slowest=(Slowest(HOSTILE, 1.0), Slowest("k" * 10_000_000, 1.0)),
        marks=(Mark(0.5, "decision", HOSTILE), Mark(0.6, HOSTILE, HOSTILE)),
        host={HOSTILE: HOSTILE},
    )


def test_hostile_text_is_only_text() -> None:
    """It is escaped, visible, and cut; a lone surrogate does not keep the page from being written."""
    text = html(hostile())
    text.encode()
    assert "<script" not in text
    assert not re.search("[\x00\x1b\u202e\ud800]", text)
    assert len(text) < 400_000
    page = Page(text)
    assert "<script>window.pwned=1</script>" in page.text
    assert "{{7*7}}" in page.text
    assert "\\u202egnp.exe\\x00\\x1b[31m\\ud800" in page.text
    assert "(10,000,000 characters)" in page.text


def test_counts_beyond_all_measure() -> None:
    story = replace(waiting(), done=10**30, failed=3, seconds=1e-9, recorded=0)
    assert "1,000,000,000,000,000," in Page(html(story)).text


def test_recorded_items_are_no_part_of_the_rate() -> None:
    text = Page(html(replace(EMPTY, done=1000, recorded=990, seconds=2.0))).text
    assert "990 items of these were not executed in this run" in text
    assert re.search(r"items a second\s*5\.00", text)


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is replaced at once; a failure leaves what was there, and nothing else."""
    path = tmp_path / "run.html"
    path.write_text("old")
    write_html(waiting(), path)
    assert path.read_text().startswith("<!doctype html>")
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match=r"cannot write .*run\.html': No space left"):
        write_html(waiting(), path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("run.html", "old")]


@pytest.mark.parametrize("write", [write_html, write_plot])
def test_a_file_that_cannot_be_written(tmp_path: Path, write: Any) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write(EMPTY, tmp_path / "nowhere" / "run.png")


@pytest.mark.parametrize("name", STORIES)
def test_a_figure_of_every_story(tmp_path: Path, name: str) -> None:
    write_plot(STORIES[name], tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_formats_of_the_figure(tmp_path: Path, suffix: str, start: bytes) -> None:
    """The suffix names the format; letters that the font has not, and dollars, do no harm."""
    path = tmp_path / f"run{suffix}"
    write_plot(hostile(), path)
    assert path.read_bytes().startswith(start)


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.jpeg' names no format for pictures; end it in one of: \.png"):
        write_plot(EMPTY, tmp_path / "run.jpeg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "extra"), [("jinja2", "report"), ("matplotlib", "plot")])
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    """The error says which extra brings it."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(f"No module named {module!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(BackendUnavailable, match=rf"pip install 'poolwise\[{extra}\]'"):
        (write_html if extra == "report" else write_plot)(EMPTY, tmp_path / "run.png")
