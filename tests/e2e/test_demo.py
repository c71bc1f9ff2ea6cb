"""`poolwise demo`: the program behind `make run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from poolwise.cli.demo import Headline, Measured, conclusion
from poolwise.tour.photographs import generate_photographs


def test_two_jobs_and_their_reports(poolwise: Any, tmp_path: Path) -> None:
    """Both jobs, serially and under auto, a sentence and a verdict for each; two reports stay, and nothing else."""
    generate_photographs(str(poolwise.folder / "photos"), count=2, size=(300, 200))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    poolwise.environment["TMPDIR"] = str(temporary)
    ended = poolwise("demo", "--photos", "photos", "--output", "reports")
    assert ended.code == 0, ended
    text = ended.out.decode()
    for word in ("32 images", "12 photographs", "serial", "auto", "1.00x", "\ndownload: ", "\nimages: "):
        assert word in text
    assert text.count("poolwise says: ") == 2
    for job in ("download", "images"):
        page = poolwise.folder / "reports" / f"poolwise-demo-{job}.html"
        assert f"report: {page}" in text
        assert page.read_text().startswith("<!doctype html>")
    assert list(temporary.iterdir()) == []


def test_photographs_are_generated(tmp_path: Path) -> None:
    """Generated photographs are JPEG files of the size asked for, different from one another, and not flat."""
    generate_photographs(str(tmp_path / "made"), count=2, size=(400, 300))
    paths = sorted((tmp_path / "made").iterdir())
    assert [path.name for path in paths] == ["photo-01.jpg", "photo-02.jpg"]
    for path in paths:
        with Image.open(path) as image:
            assert (image.size, image.format) == ((400, 300), "JPEG")
        assert path.stat().st_size > 400 * 300 / 10
    assert paths[0].read_bytes() != paths[1].read_bytes()


@pytest.mark.parametrize("name", ["none", "absent"])
def test_no_photographs(poolwise: Any, name: str) -> None:
    """A folder without photographs, and one that is not there, are usage errors."""
    (poolwise.folder / "none").mkdir()
    ended = poolwise("demo", "--photos", name)
    assert (ended.code, ended.out) == (2, b"")
    assert "error: there " in ended.err


def test_a_photograph_that_is_none(poolwise: Any) -> None:
    """It is named."""
    (poolwise.folder / "bad").mkdir()
    (poolwise.folder / "bad" / "x.jpg").write_bytes(b"text")
    ended = poolwise("demo", "--photos", "bad")
    assert ended.code == 2
    assert "x.jpg': it is not an image" in ended.err


def headline(serial: float, auto: float, *, spread: float = 0.0) -> Headline:
    """A job that took so many seconds; the second round of each was slower by a share."""
    ways = [Measured("1x1", 12, (seconds, seconds * (1 + spread))) for seconds in (serial, auto)]
    return Headline("images", "photographs", *ways, "A verdict.", None)


def test_the_conclusion_says_what_was_seen() -> None:
    """A gain, a draw, noise and a defeat are called what they are."""
    assert conclusion(headline(10, 5)).startswith("auto was 2.00x as fast: 5.00 s against 10.00 s one after another")
    assert conclusion(headline(10, 10.1)).startswith("auto gained nothing here")
    assert conclusion(headline(10, 20)).startswith("auto lost here")
    assert "no difference that counts, as rounds of the same differed by up to 30%" in conclusion(
        headline(10, 8, spread=0.3)
    )
