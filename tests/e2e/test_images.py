"""`poolwise images` and `poolwise.jobs.images`: a folder of photographs into a mirrored folder."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageFilter, ImageOps

import poolwise as package
from poolwise import UsageError
from poolwise.jobs import load
from poolwise.jobs._records import JOURNAL_NAME
from poolwise.jobs.images import ImageError, find_images, images
from zoo.marks import wait_until

ORIENTATION = 0x0112


def photograph(size: tuple[int, int] = (240, 160), mode: str = "RGB") -> Image.Image:
    """Make a picture in which every region differs, with noise."""
    parts = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)]
    picture = Image.merge("RGB", [part.resize(size) for part in parts])
    return Image.blend(picture, Image.effect_noise(size, 90).convert("RGB"), 0.2).convert(mode)


def files(folder: Path) -> list[str]:
    """List all files below a folder, hidden ones too, without the journal."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in found if not name.rpartition("/")[2].startswith(JOURNAL_NAME))


@pytest.fixture
def source(poolwise: Any) -> Path:
    """A folder `in` with two photographs, one of them deeper."""
    folder: Path = poolwise.folder / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    photograph().save(folder / "a.jpg", quality=92)
    photograph((160, 240)).save(folder / "deep" / "er" / "Bild ä.PNG")
    return folder


@pytest.mark.parametrize("shape", ["auto", "1x1", "1x2", "2x1"])
def test_the_tree_is_mirrored(poolwise: Any, source: Path, shape: str) -> None:
    """Results have the names, places and formats of their originals, and fit; originals stay as they were."""
    before = {name: (source / name).read_bytes() for name in files(source)}
    ended = poolwise("images", "in", "out", "--blur", "2", "--fit", "120", "--shape", shape)
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.startswith("2 images: 2 done in ")
    assert files(poolwise.folder / "out") == files(source)
    for name, size, kind in (("a.jpg", (120, 80), "JPEG"), ("deep/er/Bild ä.PNG", (80, 120), "PNG")):
        with Image.open(poolwise.folder / "out" / name) as image:
            assert (image.size, image.format) == (size, kind)
    assert {name: (source / name).read_bytes() for name in files(source)} == before


def test_operations_run_in_the_order_given(poolwise: Any, source: Path) -> None:
    """Blur before fit and fit before blur are different pictures, each equal to what Pillow alone makes of it."""
    for name, words in (("one", ["--blur", "3", "--fit", "90x60"]), ("two", ["--fit", "90x60", "--blur", "3"])):
        assert poolwise("images", "in", name, *words).code == 0
    expected = {}
    with Image.open(source / "a.jpg") as image:
        blurred = image.filter(ImageFilter.GaussianBlur(3))
        blurred.thumbnail((90, 60))
        expected["one"] = blurred
    with Image.open(source / "a.jpg") as image:
        image.thumbnail((90, 60))
        expected["two"] = image.filter(ImageFilter.GaussianBlur(3))
    for name, picture in expected.items():
        memory = io.BytesIO()
        picture.save(memory, "JPEG")
        assert (poolwise.folder / name / "a.jpg").read_bytes() == memory.getvalue()
    assert (poolwise.folder / "one" / "a.jpg").read_bytes() != (poolwise.folder / "two" / "a.jpg").read_bytes()


def test_bad_files_cost_themselves_and_are_named(poolwise: Any, source: Path) -> None:
    """Each file that cannot be processed is named with its reason; all others are done; the exit code is 3."""
    whole = (source / "a.jpg").read_bytes()
    (source / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "text.jpg").write_text("<html>not found</html>")
    (source / "empty.png").touch()
    (source / "drawing.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    first, second = photograph((40, 40)), ImageOps.invert(photograph((40, 40)))
    first.save(source / "moving.gif", save_all=True, append_images=[second])
    first.save(source / "moving.webp", save_all=True, append_images=[second])
    first.save(source / "pages.tif", save_all=True, append_images=[second])
    photograph((40, 40), "I;16").save(source / "deep.tif")
    os.mkfifo(source / "pipe.jpg")
    os.symlink("nowhere", source / "broken.jpg")
    ended = poolwise("images", "in", "out", "--blur", "1")
    assert ended.code == 3
    done = ["a.jpg", "deep/er/Bild ä.PNG", "moving.gif", "moving.webp"]
    assert files(poolwise.folder / "out") == done
    failed = [line for line in ended.err.splitlines() if line.startswith("failed: ")]
    reasons = dict(line.removeprefix("failed: ").split(": ", 1) for line in failed)
    assert set(reasons) == set(find_images(source)) - set(done)
    for name, reason in {
        "truncated.jpg": "cannot be processed: image file is truncated",
        "text.jpg": "is not an image",
        "empty.png": "is empty",
        "drawing.jpg": "is not an image",
        "pages.tif": "holds 2 pictures that are no animation",
        "deep.tif": "has 16 bits a channel, and blur works on 8",
        "pipe.jpg": "is not a regular file",
        "broken.jpg": "cannot be read: No such file or directory",
    }.items():
        assert reasons[name].startswith(reason), reasons
    assert ended.err.splitlines()[len(failed)].startswith("12 images: 4 done, 8 failed in ")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_is_applied_and_metadata_kept(tmp_path: Path, orientation: int) -> None:
    """A rotated photograph comes out upright, its tag reset, its profile and its other EXIF tags kept."""
    picture = photograph((60, 40))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / "a.png", exif=exif, icc_profile=profile)
    with images(tmp_path / "in", tmp_path / "out", fit=1000, shape="1x1") as run:
        (outcome,) = run
    assert outcome.key == "a.png"
    with Image.open(outcome.unwrap()) as result:
        turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
        turn = turns[orientation]
        assert result.tobytes() == (picture if turn is None else picture.transpose(turn)).tobytes()
        assert result.info["icc_profile"] == profile
        assert result.getexif().get(ORIENTATION, 1) == 1
        assert result.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.gif", "P"),
        ("a.png", "P"),
        ("a.png", "RGBA"),
        ("a.png", "LA"),
        ("a.png", "1"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.tif", "CMYK"),
        ("a.bmp", "RGB"),
        ("a.webp", "RGBA"),
        ("a.avif", "RGB"),
    ],
)
def test_modes_and_formats(tmp_path: Path, name: str, mode: str) -> None:
    """Every mode of 8 bits and every format of the list goes through both operations and keeps its format."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    try:
        photograph((40, 30), mode).save(path)
    except (OSError, KeyError):
        pytest.skip("this Pillow cannot write the format")
    with images(tmp_path / "in", tmp_path / "out", blur=1.5, fit=(20, 20), shape="1x1") as run:
        (outcome,) = run
    with Image.open(path) as before, Image.open(outcome.unwrap()) as after:
        assert (after.size, after.format) == ((20, 15), before.format)


def test_blur_does_not_bleed_from_transparent_pixels(tmp_path: Path) -> None:
    """The colour of invisible pixels stays out of the visible ones."""
    (tmp_path / "in").mkdir()
    picture = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 20, 40))
    picture.save(tmp_path / "in" / "a.png")
    with images(tmp_path / "in", tmp_path / "out", blur=4, shape="1x1") as run:
        (outcome,) = run
    with Image.open(outcome.unwrap()) as result:
        assert all(pixel[0] == 0 for pixel in (result.getpixel((x, 20)) for x in range(25)))  # type: ignore[index]


def test_a_destination_inside_the_source_is_not_input(poolwise: Any, source: Path) -> None:
    """A second run finds the same photographs as the first, not its results too."""
    for _ in range(2):
        ended = poolwise("images", "in", "in/small", "--fit", "50")
        assert (ended.code, ended.err.split(" in ")[0]) == (0, "2 images: 2 done")
    assert files(source / "small") == ["a.jpg", "deep/er/Bild ä.PNG"]


def test_a_destination_that_holds_the_source_is_refused(poolwise: Any, source: Path) -> None:
    """Photographs beside the source folder, of the same names as some in it, are not replaced by results."""
    (poolwise.folder / "photos").mkdir()
    source.rename(poolwise.folder / "photos" / "in")
    photograph().save(poolwise.folder / "photos" / "a.jpg")
    before = (poolwise.folder / "photos" / "a.jpg").read_bytes()
    for destination in ("photos", "photos/in/..", "."):
        ended = poolwise("images", "photos/in", destination, "--fit", "50")
        assert ended.code == 2
        assert ended.err.startswith("error: destination ")
        assert ended.err.count("\n") == 1
    assert (poolwise.folder / "photos" / "a.jpg").read_bytes() == before
    assert len(files(poolwise.folder)) == 4


@pytest.mark.parametrize("destination", ["in", "in/../in/", "link", "."])
def test_originals_are_never_overwritten(poolwise: Any, source: Path, destination: str) -> None:
    """Results that would replace originals are refused before work starts, by whatever name the folder is called."""
    (poolwise.folder / "link").symlink_to("in")
    (source / "in").mkdir()
    photograph().save(source / "in" / "a.jpg")
    before = {name: (source / name).read_bytes() for name in files(source)}
    ended = poolwise("images", "in", destination, "--fit", "50")
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert {name: (source / name).read_bytes() for name in files(source)} == before
    assert files(poolwise.folder) == sorted(["functions.py", *(f"in/{name}" for name in before)])


def test_linked_folders_are_not_followed(poolwise: Any, source: Path) -> None:
    """A link to a folder above is no endless loop; a link to a file is a file."""
    (source / "loop").symlink_to("..")
    (source / "again.jpg").symlink_to("a.jpg")
    assert find_images(source) == ["a.jpg", "again.jpg", "deep/er/Bild ä.PNG"]


def test_results_have_ordinary_permissions(poolwise: Any, source: Path) -> None:
    """A result may be read by whom the umask permits, as any new file."""
    assert poolwise("images", "in", "out", "--fit", "50").code == 0
    poolwise.write("ordinary", "")
    modes = [stat.S_IMODE((poolwise.folder / name).stat().st_mode) for name in ("ordinary", "out/a.jpg")]
    assert modes[0] == modes[1]


def test_a_failed_write_leaves_nothing(poolwise: Any, source: Path) -> None:
    """Where a result cannot be put in its place the file is named, and no temporary file stays behind."""
    (poolwise.folder / "out" / "a.jpg").mkdir(parents=True)
    ended = poolwise("images", "in", "out", "--fit", "50")
    assert ended.code == 3
    assert "failed: a.jpg: cannot be written: " in ended.err
    assert files(poolwise.folder / "out") == ["deep/er/Bild ä.PNG"]


def test_a_run_that_is_killed_leaves_no_half_result(poolwise: Any, source: Path) -> None:
    """After SIGKILL every result under a final name is whole."""
    for number in range(60):
        photograph((600, 400)).save(source / f"{number:02}.jpg")
    process = poolwise.start("images", "in", "out", "--blur", "9", "--shape", "2x1")
    wait_until(lambda: any((poolwise.folder / "out").glob("[!.]*.jpg")), "there is a first result")
    process.send_signal(signal.SIGKILL)
    poolwise.end(process)
    for path in (poolwise.folder / "out").rglob("[!.]*.jpg"):
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["in", "out"], "there is nothing to do to the images"),
        (["in", "out", "--fit", "0"], "--fit '0' is not a size"),
        (["in", "out", "--fit", "12x"], "--fit '12x' is not a size"),
        (["in", "out", "--fit", "12", "--fit", "13"], "--fit is given 2 times"),
        (["in", "out", "--blur", "-1"], "blur is -1.0"),
        (["in", "out", "--blur", "nan"], "blur is nan"),
        (["none", "out", "--fit", "12"], "there is no folder"),
        (["in/a.jpg", "out", "--fit", "12"], "is not a folder"),
        (["in", "functions.py", "--fit", "12"], "is not a folder"),
        (["in", "out", "--fit", "12", "--shape", "x"], "shape 'x' is not understood"),
        (["in", "--fit", "12"], "missing argument 'DST'"),
        (["in", "", "--fit", "12"], "destination is empty"),
        (["", "out", "--fit", "12"], "source is empty"),
        (["in", "out", "--crop", "12"], "--crop '12' is not a part of an image"),
        (["in", "out", "--resize", "12"], "--resize '12' is not a size; write 1200x800"),
        (["in", "out", "--rotate", "left"], "--rotate 'left' is not a number"),
        (["in", "out", "--apply", "nothing:here"], "there is no module 'nothing'"),
        (["in", "out", "--format", "tiff"], "format is 'tiff'; it must be one of"),
        (["in", "out", "--fit", "12", "--quality", "101"], "quality is 101"),
        (["in", "out", "--fit", "12", "--in-place"], "leave out one of them"),
        (["in", "out", "--fit", "12", "--truncated", "x"], "truncated is 'x'"),
        (["in", "out", "--fit", "12", "--also", "x"], "also is 'x', which this Pillow does not read"),
        (["in", "out", "--fit", "12", "--memory", "0"], "--memory is 0"),
        (["in", "out", "--fit", "12", "--manifest", "m", "--trace", "m"], "a file of its own"),
        (["in", "out", "--fit", "12", "--manifest", "no/m.csv"], "cannot write 'no/m.csv'"),
        (["in", "out", "--fit", "12", "--manifest", "in"], "cannot write 'in'"),
        (["in", "out", "--fit", "12", "--manifest", "in/a.jpg"], "named as the manifest, and is an image"),
        (["in", "out", "--fit", "12", "--manifest", "out/a.jpg"], "named as the manifest, and is what a result"),
        (["in", "out", "--fit", "12", "--trace", "in/a.jpg"], "named as the trace, and is an image"),
    ],
)
def test_usage_errors(poolwise: Any, source: Path, words: list[str], error: str) -> None:
    """What is wrong is said in one sentence; the exit code is 2, and no folder is made."""
    ended = poolwise("images", *words)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert error in ended.err
    assert not (poolwise.folder / "out").exists()


def test_a_folder_without_images(poolwise: Any) -> None:
    """Nothing to do is said, and is no failure."""
    (poolwise.folder / "in").mkdir()
    ended = poolwise("images", "in", "out", "--fit", "9")
    assert (ended.code, ended.err.split("(")[0]) == (0, "no images in 'in' ")


def test_without_pillow(poolwise: Any, source: Path) -> None:
    """Without Pillow the error names the extra that brings it."""
    shadow = poolwise.folder / "shadow" / "PIL"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('not installed')\n")
    poolwise.environment["PYTHONPATH"] = os.pathsep.join([str(shadow.parent), poolwise.environment["PYTHONPATH"]])
    ended = poolwise("images", "in", "out", "--fit", "9")
    assert ended.code == 1
    assert ended.err.startswith("error: the images job needs Pillow")
    assert "pip install 'poolwise[images]'" in ended.err


def test_from_python(tmp_path: Path) -> None:
    """The job is a run: outcomes with paths as keys, results as values, ImageError as the cause of failures."""
    (tmp_path / "in").mkdir()
    photograph().save(tmp_path / "in" / "good.jpg")
    (tmp_path / "in" / "bad.jpg").write_text("no")
    assert load("images") is images
    with load("images")(tmp_path / "in", tmp_path / "out", fit=50, ordered=True, shape="1x2") as run:
        bad, good = run
    assert (bad.key, good.key) == ("bad.jpg", "good.jpg")
    assert isinstance(bad.error.__cause__, ImageError)
    assert good.value.path == os.fspath(good.value) == str(tmp_path / "out" / "good.jpg")
    with pytest.raises(UsageError, match="no operation"):
        images(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="fit is"):
        images(tmp_path / "in", tmp_path / "out", fit=(3, 0))
    with pytest.raises(package.UnknownNameError, match="there is no job"):
        load("music")


# -- what the command line adds ----------------------------------------------------------------------------------------


def test_every_operation_in_the_order_of_the_words(poolwise: Any, source: Path) -> None:
    """All of them, with switches in between; a function is called by its name."""
    words = [
        "--rotate",
        "90",
        "--grayscale",
        "--crop",
        "100x80+5+6",
        "--sharpen",
        "--resize",
        "50x70",
        "--autocontrast",
    ]
    words += ["--apply", "PIL.ImageOps:invert", "--fill", "30x30", "--blur", "1", "--fit", "20x10"]
    ended = poolwise("images", "in", "out", *words)
    assert ended.code == 0, ended.err
    with Image.open(source / "deep" / "er" / "Bild ä.PNG") as image:
        expected = image.transpose(Image.Transpose.ROTATE_270).convert("L").crop((5, 6, 105, 86))
    expected = ImageOps.autocontrast(expected.filter(ImageFilter.UnsharpMask()).resize((50, 70)))
    expected = ImageOps.fit(ImageOps.invert(expected), (30, 30)).filter(ImageFilter.GaussianBlur(1))
    expected.thumbnail((20, 10))
    with Image.open(poolwise.folder / "out" / "deep" / "er" / "Bild ä.PNG") as result:
        assert (result.size, result.mode) == ((10, 10), "L")
        assert result.tobytes() == expected.tobytes()


def test_a_second_run_says_what_was_up_to_date(poolwise: Any, source: Path) -> None:
    """And does nothing else; --force does everything again."""
    assert poolwise("images", "in", "out", "--fit", "50").err.count("\n") == 1
    photograph((30, 20)).save(source / "small.jpg")
    ended = poolwise("images", "in", "out", "--fit", "50")
    assert ended.err.splitlines()[1] == "0 converted, 1 copied, 2 up to date"
    before = (poolwise.folder / "out" / "a.jpg").stat().st_ino
    ended = poolwise("images", "in", "out", "--fit", "50", "--force")
    assert ended.err.splitlines()[1] == "2 converted, 1 copied, 0 up to date"
    assert (poolwise.folder / "out" / "a.jpg").stat().st_ino != before


def test_list(poolwise: Any, source: Path) -> None:
    """What would be done is on stdout, counts on stderr; nothing is written."""
    ended = poolwise("images", "in", "out", "--fit", "50", "--format", "webp", "--list")
    assert (ended.code, ended.err) == (0, "2 to process, 0 to skip\n")
    lines = ended.out.decode().splitlines()
    assert lines[0] == f"process a.jpg -> {poolwise.folder / 'out' / 'a.webp'} (new)"
    assert not (poolwise.folder / "out").exists()
    assert poolwise("images", "in", "out", "--fit", "50", "--format", "webp").code == 0
    ended = poolwise("images", "in", "out", "--fit", "50", "--format", "webp", "--list")
    assert ended.err == "0 to process, 2 to skip\n"
    assert ended.out.decode().count("(up to date)") == 2


def test_notes_are_counted(poolwise: Any, source: Path) -> None:
    """What could not be kept is said once, with how many images it befell."""
    for name in ("b.png", "c.png"):
        Image.new("RGBA", (30, 30), (1, 2, 3, 100)).save(source / name)
    ended = poolwise("images", "in", "out", "--format", "jpeg")
    assert ended.code == 0
    assert "2 images: what is clear became white, as JPEG has no transparency" in ended.err.splitlines()


def test_fast_tells_its_psnr(poolwise: Any, source: Path) -> None:
    """Measured on a sample; where it is low that is said, too."""
    ended = poolwise("images", "in", "out", "--blur", "12", "--fit", "100", "--fast")
    assert ended.code == 0
    assert re.search(r"^--fast: PSNR \d+\.\d dB, measured on one sample \(the lowest\)$", ended.err, re.MULTILINE)


def test_a_manifest(poolwise: Any, source: Path) -> None:
    """As CSV in a file, as JSON lines on stdout."""
    ended = poolwise("images", "in", "out", "--fit", "50", "--manifest", "all.csv")
    assert ended.code == 0
    assert (poolwise.folder / "all.csv").read_text().splitlines()[0].startswith("source,path,action,format,width")
    ended = poolwise("images", "in", "out", "--fit", "50", "--manifest", "-")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [(row["source"], row["width"]) for row in rows] == [("a.jpg", 50), ("deep/er/Bild ä.PNG", 33)]


def test_in_place(poolwise: Any, source: Path) -> None:
    """Without DST originals are replaced; without the switch DST is missing."""
    assert poolwise("images", "in", "--in-place", "--fit", "50").code == 0
    with Image.open(source / "a.jpg") as image:
        assert image.size == (50, 33)
    assert files(source) == ["a.jpg", "deep/er/Bild ä.PNG"]
    ended = poolwise("images", "in", "--in-place", "--fit", "50")
    assert "0 converted, 0 copied, 2 up to date" in ended.err


def test_truncated_files_are_kept_on_request(poolwise: Any, source: Path) -> None:
    """In processes of their own; the note is counted."""
    whole = (source / "a.jpg").read_bytes()
    (source / "half.jpg").write_bytes(whole[: len(whole) // 2])
    assert poolwise("images", "in", "out", "--fit", "50").code == 3
    ended = poolwise("images", "in", "out", "--fit", "50", "--truncated", "keep")
    assert ended.code == 0
    assert "1 image: it ends too early: what is missing is grey, or left out" in ended.err.splitlines()


def test_two_files_with_one_result(poolwise: Any, source: Path) -> None:
    """It is an error before work starts, which names both."""
    photograph().save(source / "a.png")
    ended = poolwise("images", "in", "out", "--format", "webp")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "'a.jpg' and 'a.png' have the same result, 'a.webp'" in ended.err
    assert not (poolwise.folder / "out").exists()


@pytest.mark.parametrize("how", [("--shape", "1x1"), ("--shape", "2x1"), ("--truncated", "keep")])
def test_damaged_exif_leaves_no_warning(poolwise: Any, source: Path, how: tuple[str, ...]) -> None:
    """What Pillow says of it by itself is not for the user, from no process."""
    photograph().save(source / "b.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    ended = poolwise("images", "in", "out", "--fit", "50", *how)
    assert ended.code == 0
    assert "Warning" not in ended.err


def test_a_failure_is_one_line(poolwise: Any, source: Path) -> None:
    """Also where the function's own exception has many, or none."""
    poolwise.write("own.py", "def many(image): raise ValueError('a\\nb')\ndef none(image): raise StopIteration")
    ended = poolwise("images", "in", "out", "--apply", "own:many")
    assert "failed: a.jpg: many raised ValueError: a\\nb\n" in ended.err
    ended = poolwise("images", "in", "out", "--apply", "own:none")
    assert "failed: a.jpg: none raised StopIteration\n" in ended.err
