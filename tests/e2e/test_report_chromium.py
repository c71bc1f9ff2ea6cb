"""The page of a report in headless Chromium: it renders, says nothing on the console, and is there for everybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolwise._core.story import FailureClass, Story
from poolwise.report.page import write_html
from zoo.browser import Browser, chromium
from zoo.stories import EMPTY, HOSTILE, computing, many_lanes, waiting

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("POOLWISE_CI"), reason="there is no program called chromium"
)

WIDTHS = (360, 768, 1280)
STORIES = {
    "waiting": waiting(),
    "computing": computing(),
    "empty": EMPTY,
    "1x512": many_lanes(1, 512, sampled=0.01),
    "hostile": replace(
        waiting(), title=HOSTILE, sentence="w" * 900, failures=(FailureClass("E" * 99, 1, HOSTILE, "k"),)
    ),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each story."""
    folder = tmp_path_factory.mktemp("pages")
    for name, story in STORIES.items():
        write_html(story, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in STORIES}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    assert PROGRAM is not None, "CI has no program called chromium; .ci/run installs it"
    with Browser(PROGRAM) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", STORIES)
def test_it_fits_and_asks_for_nothing(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    """No message on the console, no request but for the page, nothing wider than the window; pictures have a size."""
    browser.open(pages[name], width=width, dark=dark)
    assert browser.ask("innerWidth") == width
    assert browser.ask("document.documentElement.scrollWidth") <= width
    open_all = "for (const each of document.querySelectorAll('details')) each.open = true"
    browser.ask(open_all)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.ask("typeof window.pwned") == "undefined"
    plots = browser.ask("[...document.querySelectorAll('svg.plot')].map(each => each.getBoundingClientRect().width)")
    assert all(size >= 180 for size in plots)
    assert len(plots) == {"empty": 0, "computing": 3}.get(name, 4)


CUT = """
[...document.querySelectorAll('svg.plot text')].filter(each => {
    const box = each.getBoundingClientRect();
    return box.width > 0 && (box.left < 0 || box.right > innerWidth);
}).map(each => each.textContent)
"""
OVERLAPS = """
[...document.querySelectorAll('svg.plot')].flatMap(plot => {
    const boxes = [...plot.querySelectorAll('text')]
        .map(each => [each.textContent, each.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
    const found = [];
    boxes.forEach(([text, box], at) => boxes.slice(at + 1).forEach(([other, second]) => {
        const wide = Math.min(box.right, second.right) - Math.max(box.left, second.left);
        const high = Math.min(box.bottom, second.bottom) - Math.max(box.top, second.top);
        if (wide > 1 && high > 4) found.push(text + ' / ' + other);
    }));
    return found;
})
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["waiting", "computing", "1x512"])
def test_no_letter_of_a_picture_is_cut_or_covered(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], width=width)
    assert browser.ask(CUT) == []
    assert browser.ask(OVERLAPS) == []


CONTRASTS = """
(() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = rgb => rgb.slice(0, 3).map(each => each / 255)
        .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = element => {
        for (let each = element; each; each = each.parentElement) {
            const colour = parse(getComputedStyle(each).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const each of document.querySelectorAll('body *')) {
        const own = [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!own || ['TITLE', 'DESC', 'STYLE'].includes(each.tagName.toUpperCase())) continue;
        const style = getComputedStyle(each);
        const letters = parse(each instanceof SVGElement ? style.fill : style.color);
        const [high, low] = [light(letters), light(ground(each))].sort((a, b) => b - a);
        found.push([(high + 0.05) / (low + 0.05), each.textContent.slice(0, 40)]);
    }
    return found;
})()
"""


def test_contrast_in_both_modes(browser: Browser, pages: dict[str, Path]) -> None:
    """All text has a contrast of 4.5 (WCAG AA), and dark mode has another background."""
    grounds = []
    for dark in (False, True):
        browser.open(pages["waiting"], width=768, dark=dark)
        contrasts = browser.ask(CONTRASTS)
        assert len(contrasts) > 100
        assert [each for each in contrasts if each[0] < 4.5] == []
        grounds.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == "rgb(255, 255, 255)"
    assert grounds[1] != grounds[0]


FOCUSED = """
(() => {
    const each = document.activeElement;
    if (!each || each === document.body) return null;
    const style = getComputedStyle(each), box = each.getBoundingClientRect();
    return {
        place: [...document.querySelectorAll('*')].indexOf(each),
        seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        inside: box.bottom > 0 && box.top < innerHeight && box.width > 0,
    };
})()
"""
STOPS = """
[...document.querySelectorAll('.skip, .scroll, summary, pre')].filter(each => each.checkVisibility())
    .map(each => [...document.querySelectorAll('*')].indexOf(each))
"""


@pytest.mark.parametrize("opened", [False, True])
def test_the_keyboard_reaches_everything(browser: Browser, pages: dict[str, Path], opened: bool) -> None:
    """Tab goes to the link that skips, to each region that scrolls, and to each detail, in order and to be seen."""
    browser.open(pages["waiting"], width=360)
    if opened:
        browser.ask("for (const each of document.querySelectorAll('details')) each.open = true")
    stops = browser.ask(STOPS)
    assert len(stops) == (16 if opened else 11)
    reached = []
    for _ in stops:
        browser.press_tab()
        focused = browser.ask(FOCUSED)
        assert focused is not None
        assert focused["seen"]
        assert focused["inside"]
        reached.append(focused["place"])
    assert reached == stops


def tree(browser: Browser) -> list[dict[str, Any]]:
    """What a screen reader is told, in order: role, name, and properties."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            **{each["name"]: each["value"].get("value") for each in node.get("properties", [])},
        }
        for node in nodes
        if not node["ignored"]
    ]


@pytest.mark.parametrize("name", ["waiting", "computing", "empty"])
def test_a_screen_reader_is_told_everything(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """One heading of the first level, then the second; pictures, tables and regions have names."""
    browser.open(pages[name], width=768)
    browser.ask("for (const each of document.querySelectorAll('details')) each.open = true")
    nodes = tree(browser)
    levels = [node["level"] for node in nodes if node["role"] == "heading"]
    assert levels == [1] + [2] * 9
    story: Story = STORIES[name]
    pictures = [node["name"] for node in nodes if node["role"] in ("image", "img")]
    assert len(pictures) == {"waiting": 4, "computing": 3, "empty": 0}[name]
    for node in nodes:
        if node["role"] in ("image", "img", "table", "region"):
            assert len(node["name"]) > 3, node
    if name == "waiting":
        assert any("4 roofs" in picture and "1x16" in picture for picture in pictures)
        assert sum(node["role"] == "table" for node in nodes) == 9
        assert {"columnheader", "rowheader", "cell", "main", "link"} <= {node["role"] for node in nodes}
    assert [node["name"] for node in nodes if node["role"] == "RootWebArea"] == [f"{story.title}: poolwise report"]


def test_letters_keep_their_size_at_every_width(browser: Browser, pages: dict[str, Path]) -> None:
    """Pictures are not shrunk as a whole: their text is as large on a phone as on a desk."""
    sizes = set()
    for width in WIDTHS:
        browser.open(pages["waiting"], width=width)
        sizes.add(browser.ask("document.querySelector('svg.plot text.label').getBoundingClientRect().height"))
    assert len(sizes) == 1
    assert min(sizes) >= 11
