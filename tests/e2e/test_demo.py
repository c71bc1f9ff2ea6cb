"""`poolwise demo`: the program behind `make run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from poolwise.cli.demo import Measured, conclusion, generate_photographs


def test_a_table_and_a_sentence(poolwise: Any, tmp_path: Path) -> None:
    """The demonstration shows three shapes and one conclusion on stdout, and removes what it wrote."""
    generate_photographs(str(poolwise.folder / "photos"), count=2, size=(300, 200))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    poolwise.environment["TMPDIR"] = str(temporary)
    ended = poolwise("demo", "--photos", "photos")
    assert ended.code == 0, ended
    text = ended.out.decode()
    for word in ("12 photographs", "1x1", "threads", "processes", "seconds", "speed-up", "1.00x", "\nHere "):
        assert word in text
    assert "each of 12 photographs" in ended.err
    assert list(temporary.iterdir()) == []


def test_photographs_are_generated(tmp_path: Path) -> None:
    """Generated photographs are JPEG files of the size asked for, different from one another, and not flat."""
    generate_photographs(str(tmp_path / "made"), count=2, size=(400, 300))
    paths = sorted((tmp_path / "made").iterdir())
    assert [path.name for path in paths] == ["generated-0.jpg", "generated-1.jpg"]
    for path in paths:
        with Image.open(path) as image:
            assert (image.size, image.format) == ((400, 300), "JPEG")
        assert path.stat().st_size > 400 * 300 / 10
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_no_photographs(poolwise: Any) -> None:
    """A folder without photographs, and one that is not there, are usage errors."""
    (poolwise.folder / "none").mkdir()
    for name in ("none", "absent"):
        ended = poolwise("demo", "--photos", name)
        assert (ended.code, ended.out) == (2, b"")
        assert ended.err.startswith("error: there ")


def measured(serial: float, threads: float, processes: float, *, spread: float = 0.0) -> list[Measured]:
    """Make measurements of given seconds; the second round of each was slower by a share."""
    return [
        Measured(shape, where, 12, (seconds, seconds * (1 + spread)))
        for shape, where, seconds in (
            ("1x1", "one after another", serial),
            ("1x2", "2 threads", threads),
            ("2x1", "2 processes", processes),
        )
    ]


def test_the_conclusion_says_what_was_seen() -> None:
    """A winner is named with its lead; a draw, noise and a defeat are called what they are."""
    assert conclusion(measured(10, 5, 6)).startswith(
        "Here 2 threads won: 2.00x as fast as one after another, and 20% faster than 2 processes, as Pillow releases"
    )
    assert conclusion(measured(10, 6, 5)).startswith("Here 2 processes won: 2.00x")
    assert "Pillow" not in conclusion(measured(10, 6, 5))
    assert "came out even: 2.00x and 1.96x" in conclusion(measured(10, 5, 5.1))
    assert "differ by up to 30%" in conclusion(measured(10, 5, 6, spread=0.3))
    assert "nothing beat one after another" in conclusion(measured(10, 10, 11))
