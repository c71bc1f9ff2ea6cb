"""`poolwise.jobs.images` on folders: bad files, names, what is up to date, in place, on every kind of shape."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from PIL import Image, ImageOps

import poolwise
from poolwise import Limits, Outcome, TaskLost, UsageError
from poolwise._runtime import host
from poolwise.jobs._records import JOURNAL_NAME
from poolwise.jobs.images import (
    Convert,
    Converted,
    DamagedImage,
    ImageError,
    NotAnImage,
    NotSupported,
    Settings,
    StorageFailed,
    TooLarge,
    Unreadable,
    checked,
    find_images,
    images,
    preview,
)
from poolwise.jobs.images import job as images_job
from poolwise.jobs.images.inplace import FOLDER, Notes
from poolwise.jobs.images.manifest import MANIFEST
from poolwise.jobs.images.reading import KEPT_BYTES, Pieces
from poolwise.jobs.images.weight import largest_first, weight_of

posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs, links, permissions")


def photograph(size: tuple[int, int] = (60, 40), seed: int = 0) -> Image.Image:
    """Make a picture."""
    return Image.linear_gradient("L").resize(size).rotate(seed * 7).convert("RGB")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder `in` with three photographs."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.png", "deep/c.webp")):
        photograph(seed=number).save(folder / name)
    return folder


def files(folder: Path) -> list[str]:
    """List what is below a folder, without the journal."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in found if not name.startswith(JOURNAL_NAME))


def processed(source: Path, destination: Path | None = None, **options: Any) -> dict[str, Outcome[Converted]]:
    """Process a folder, by default into `out` beside it, and return the outcomes by key."""
    target = None if options.get("in_place") else destination or source.parent / "out"
    with images(source, target, **{"shape": "1x2", **options}) as run:
        return {outcome.key: outcome for outcome in run}


def executed(source: Path, **options: Any) -> set[str]:
    """Process a folder, and return the keys of what was not up to date."""
    seen: set[str] = set()
    real = images_job.Conversion.__call__

    def noting(self: Any, path: str) -> Converted:
        seen.add(path)
        return real(self, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_job.Conversion, "__call__", noting)
        processed(source, **options)
    return {key.replace(os.sep, "/") for key in seen}


def reason(path: Path, **options: Any) -> BaseException:
    """Process the folder of a file that must fail; nothing may be left of it."""
    outcome = processed(path.parent, **{"fit": 20, **options})[path.name]
    assert outcome.error is not None, outcome
    assert path.name not in files(path.parent.parent / "out")
    assert outcome.error.__cause__ is not None, outcome.error
    return outcome.error.__cause__


# -- what goes well ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["auto", "1x1", "1x4", "2x1"])
def test_on_every_shape(source: Path, shape: str) -> None:
    """Results are mirrored, with what is known of each."""
    outcomes = processed(source, fit=30, shape=shape)
    assert files(source.parent / "out") == ["a.jpg", "b.png", "deep/c.webp"]
    for key, outcome in outcomes.items():
        value = outcome.unwrap()
        content = Path(value).read_bytes()
        assert (value.action, value.width, value.height, value.frames) == ("converted", 30, 20, 1)
        assert value.result.bytes == len(content)
        assert value.source.bytes == (source / key).stat().st_size
        with Image.open(value) as image:
            assert (image.size, image.format) == ((30, 20), value.format)


def test_a_stage_is_a_function_of_a_path(source: Path, tmp_path: Path) -> None:
    """`Convert` pickles, knows no folder tree, and puts results into its destination."""
    stage = Convert((checked("fit", 30),), Settings(format="png"), str(tmp_path / "flat"))
    stage = pickle.loads(pickle.dumps(stage))
    values = list(poolwise.map(stage, [source / "a.jpg", source / "deep" / "c.webp"], shape="2x1"))
    assert [Path(value.path).name for value in values] == ["a.png", "c.png"]
    assert stage.recipe == Convert((("fit", (30, 30)),), Settings(format="png")).recipe
    assert stage.recipe != Convert((("fit", (31, 30)),), Settings(format="png")).recipe
    with pytest.raises(UsageError, match="no destination"):
        Convert((checked("fit", 30),))(source / "a.jpg")


def test_apply_in_child_processes(source: Path) -> None:
    """A closure, and a name."""
    colour = (1, 2, 3)
    outcomes = processed(source, apply=lambda image: Image.new("RGB", (4, 3), colour), shape="2x1")
    assert {(each.value.width, each.value.height) for each in outcomes.values()} == {(4, 3)}
    outcomes = processed(source, apply="PIL.ImageOps:mirror", shape="2x1")
    with Image.open(source / "b.png") as before, Image.open(outcomes["b.png"].value) as after:
        assert after.tobytes() == ImageOps.mirror(before).tobytes()


def test_the_manifest(source: Path) -> None:
    """A row for each file, of what came of it."""
    (source / "bad.jpg").write_bytes(b"no image")
    processed(source, fit=30)
    rows = {row["source"]: row for row in MANIFEST.rows(str(source.parent / "out" / JOURNAL_NAME))}
    assert set(rows) == set(find_images(source))
    assert (rows["a.jpg"]["action"], rows["a.jpg"]["width"], rows["a.jpg"]["error"]) == ("converted", 30, None)
    assert rows["a.jpg"]["source_bytes"] == (source / "a.jpg").stat().st_size
    assert (rows["bad.jpg"]["error_class"], rows["bad.jpg"]["path"]) == ("NotAnImage", None)
    assert rows["bad.jpg"]["source_bytes"] == 8
    text = b"".join(MANIFEST.lines(str(source.parent / "out" / JOURNAL_NAME), "csv")).decode()
    assert text.count("\n") == 5


# -- bad files ---------------------------------------------------------------------------------------------------------


def corpus() -> dict[str, tuple[bytes, type[ImageError], str]]:
    """Return files that cannot be processed: content, class of the error, and what it says."""
    import io

    def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
        memory = io.BytesIO()
        image.save(memory, kind, **more)
        return memory.getvalue()

    noise = Image.effect_noise((200, 150), 80).convert("RGB")
    jpeg, png = saved(noise, "JPEG"), saved(noise, "PNG")
    progressive = saved(noise, "JPEG", progressive=True)
    gif = saved(noise.quantize(), "GIF")
    webp, tiff, bmp = saved(noise, "WEBP"), saved(noise, "TIFF"), saved(noise, "BMP")
    bomb = png[:16] + (40_000).to_bytes(4) * 2 + png[24:]
    import zlib

    bomb = bomb[:29] + zlib.crc32(bomb[12:29]).to_bytes(4) + bomb[33:]
    small = [Image.new("L", (10, 10), 6 * grey) for grey in range(40)]
    frames = saved(small[0], "GIF", save_all=True, append_images=small[1:], duration=20)
    return {
        "half.jpg": (jpeg[: len(jpeg) // 2], DamagedImage, "truncated"),
        "half-progressive.jpg": (progressive[: len(progressive) // 2], DamagedImage, "cannot be processed"),
        "head.jpg": (jpeg[:30], DamagedImage, "cannot be processed"),
        "half.png": (png[: len(png) // 2], DamagedImage, "ends too early"),
        "no-end.png": (png[:-12], DamagedImage, "ends too early"),
        "almost.png": (png[:-1], DamagedImage, "ends too early"),
        "half.gif": (gif[: len(gif) // 2], DamagedImage, "ends too early"),
        "half.webp": (webp[: len(webp) // 2], ImageError, ""),
        "half.tif": (tiff[: len(tiff) // 2], ImageError, ""),
        "half.bmp": (bmp[: len(bmp) // 2], DamagedImage, "truncated"),
        "page.jpg": (b"<!doctype html><p>not found</p>", NotAnImage, "is not an image"),
        "drawing.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NotAnImage, "is not an image"),
        "icon.png": (saved(noise, "ICO", sizes=[(16, 16)]), NotAnImage, "is not an image"),
        "zeros.jpg": (bytes(5000), NotAnImage, "is not an image"),
        "empty.jpg": (b"", Unreadable, "is empty"),
        "bomb.png": (bomb, TooLarge, "has 1,600,000,000 pixels; at most 200,000,000"),
        "frames.gif": (frames, TooLarge, "holds 40 pictures; at most 30"),
        "pages.tif": (
            saved(noise, "TIFF", save_all=True, append_images=[noise]), NotSupported, "holds 2 pictures",
        ),
    }  # fmt: skip


CORPUS = corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_file_costs_itself(tmp_path: Path, name: str) -> None:
    """It is named with the reason; the one beside it is done."""
    content, kind, sentence = CORPUS[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    photograph().save(tmp_path / "in" / "good.jpg")
    error = reason(tmp_path / "in" / name, max_frames=30)
    assert isinstance(error, kind), error
    assert sentence in str(error)
    assert "\n" not in str(error)
    assert files(tmp_path / "out") == ["good.jpg"]


@pytest.mark.parametrize("name", [name for name in CORPUS if name.startswith("half")])
def test_a_truncated_file_that_is_to_be_copied_fails_too(tmp_path: Path, name: str) -> None:
    """Nothing would change in it; what is not whole is no result all the same."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(CORPUS[name][0])
    assert isinstance(reason(tmp_path / "in" / name, fit=5000), ImageError)


@pytest.mark.parametrize("name", ["half.jpg", "half-progressive.jpg", "half.png", "half.bmp"])
def test_truncated_files_are_kept_where_that_is_wanted(tmp_path: Path, name: str) -> None:
    """In a child process, as it is a switch of the whole process; a note tells of it, whole files have none."""
    from PIL import ImageFile

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(CORPUS[name][0])
    photograph().save(tmp_path / "in" / "good.jpg")
    outcomes = processed(tmp_path / "in", fit=20, truncated="keep", shape="auto")
    assert outcomes[name].unwrap().notes == ("it ends too early: what is missing is grey, or left out",)
    assert outcomes[name].worker > 0
    assert outcomes["good.jpg"].unwrap().notes == ()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    for outcome in outcomes.values():
        with Image.open(outcome.value) as image:
            image.load()


@posix
def test_what_is_no_file(source: Path) -> None:
    """A FIFO, a link that leads nowhere, one that leads to itself, a folder called .jpg, an unreadable file."""
    os.mkfifo(source / "pipe.jpg")
    (source / "broken.jpg").symlink_to("nowhere")
    (source / "circle.jpg").symlink_to("circle.jpg")
    (source / "loop").symlink_to("..")
    (source / "folder.jpg").mkdir()
    outcomes = processed(source, fit=20)
    assert "folder.jpg" not in outcomes
    assert {key: str(outcome.error.__cause__) for key, outcome in outcomes.items() if outcome.error} == {
        "pipe.jpg": "is not a regular file",
        "broken.jpg": "cannot be read: No such file or directory",
        "circle.jpg": "cannot be read: Too many levels of symbolic links",
    }


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(source: Path) -> None:
    """A file and a folder without permission are named, not passed over."""
    (source / "a.jpg").chmod(0)
    (source / "deep").chmod(0)
    try:
        outcomes = processed(source, fit=20)
    finally:
        (source / "deep").chmod(0o755)
    assert "cannot be read: Permission denied" in str(outcomes["a.jpg"].error)
    assert "cannot be read: Permission denied" in str(outcomes["deep"].error)


def test_other_formats_only_where_they_are_allowed(tmp_path: Path) -> None:
    """A format beyond the list is read, and found by its names, once it is asked for; an unknown one is refused."""
    (tmp_path / "in").mkdir()
    photograph().save(tmp_path / "in" / "a.tga")
    photograph().save(tmp_path / "in" / "b.jpg", "TGA")
    outcomes = processed(tmp_path / "in", format="png")
    assert list(outcomes) == ["b.jpg"]
    assert not outcomes["b.jpg"].ok
    outcomes = processed(tmp_path / "in", format="png", also=["tga"])
    assert {key: outcome.ok for key, outcome in outcomes.items()} == {"a.tga": True, "b.jpg": True}
    with pytest.raises(UsageError, match="also is 'nonsense', which this Pillow does not read"):
        images(tmp_path / "in", tmp_path / "out", fit=3, also=["nonsense"])


def test_pillows_own_guard_is_no_second_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_pixels` alone decides, whatever the number of the process is."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "in").mkdir()
    photograph().save(tmp_path / "in" / "a.png")
    assert "has 2,400 pixels; at most 2,399" in str(reason(tmp_path / "in" / "a.png", max_pixels=2399))
    assert processed(tmp_path / "in", fit=20)["a.png"].ok


def test_isolate_survives_a_crash_in_a_decoder(source: Path) -> None:
    """The file that kills its process is lost, and named; all others are done."""

    def decode(image: Image.Image) -> None:
        if image.getpixel((0, 0)) == (255, 0, 0):
            os._exit(70)

    Image.new("RGB", (8, 8), "red").save(source / "evil.png")
    outcomes = processed(source, apply=decode, isolate=True, shape="auto")
    assert isinstance(outcomes["evil.png"].error, TaskLost)
    assert [key for key, outcome in outcomes.items() if not outcome.ok] == ["evil.png"]
    assert "evil.png" not in files(source.parent / "out")


def test_a_disk_that_takes_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is the system's, and the file is tried again by the next run."""
    out = source.parent / "out"
    (out / "a.jpg").mkdir(parents=True)
    outcome = processed(source, fit=20)["a.jpg"]
    assert outcome.error is not None
    assert isinstance(outcome.error.__cause__, StorageFailed)
    assert str(outcome.error.__cause__).startswith("cannot be written: ")
    (out / "a.jpg").rmdir()
    assert processed(source, fit=20)["a.jpg"].ok


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "image_format"),
    [
        (["a.png", "a.jpg"], "webp"),
        (["a.png", "A.PNG"], None),
        (["\u00e4.png", "a\u0308.png"], None),
        (["x/a.jpeg", "X/a.jpeg"], None),
        (["a.jpeg", "a.webp", "a.jpg"], "jpeg"),
        (["a.webp", "a.png/b.jpg"], "png"),
    ],
)
def test_two_files_with_one_result_are_refused(tmp_path: Path, names: list[str], image_format: str | None) -> None:
    """Before anything is written; by names that some file system takes for one, too."""
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph().save(path)
    if len(find_images(tmp_path / "in")) < len(names):
        pytest.skip("this file system takes them for one itself")
    with pytest.raises(UsageError, match=r"have the same result|stands where"):
        images(tmp_path / "in", tmp_path / "out", fit=20, format=image_format)
    assert not (tmp_path / "out").exists()


def test_a_name_follows_the_format(tmp_path: Path) -> None:
    """An extension of the format stays as it is written; another one is replaced."""
    (tmp_path / "in").mkdir()
    for name in ("a.JPG", "b.jpeg", "c.png", "d.e.gif"):
        photograph().save(tmp_path / "in" / name)
    processed(tmp_path / "in", format="jpg")
    assert files(tmp_path / "out") == ["a.JPG", "b.jpeg", "c.jpg", "d.e.jpg"]


@posix
def test_a_link_in_the_destination_to_originals_is_refused(source: Path) -> None:
    """Results would replace originals through it."""
    (source.parent / "out").mkdir()
    (source.parent / "out" / "deep").symlink_to(source / "deep")
    before = (source / "deep" / "c.webp").read_bytes()
    with pytest.raises(UsageError, match="leads to a folder with originals"):
        images(source, source.parent / "out", fit=20)
    assert (source / "deep" / "c.webp").read_bytes() == before


# -- up to date --------------------------------------------------------------------------------------------------------


def test_what_is_up_to_date_is_skipped(source: Path) -> None:
    """By content and operations: not by times."""
    everything = {"a.jpg", "b.png", "deep/c.webp"}
    assert executed(source, fit=30) == everything
    assert executed(source, fit=30) == set()
    assert executed(source, fit=31) == everything
    assert executed(source, fit=31, quality=50) == everything
    assert executed(source, fit=31, quality=50, max_pixels=10_000_000) == set()
    assert executed(source, fit=31, quality=50, force=True) == everything


def test_what_has_changed_is_processed(source: Path) -> None:
    """New content of the same size at the same time; a new file; a result that was removed, or changed."""
    processed(source, fit=30)
    path = source / "a.jpg"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    photograph(seed=5).save(source / "new.png")
    (source.parent / "out" / "b.png").unlink()
    assert executed(source, fit=30) == {"a.jpg", "new.png", "b.png"}
    result = source.parent / "out" / "new.png"
    result.write_bytes(result.read_bytes()[:-1] + b"x")
    assert executed(source, fit=30) == {"new.png"}
    for each in (source / "a.jpg", result):
        os.utime(each, (1e9, 1e9))
    assert executed(source, fit=30) == set()


def test_a_failure_stays_while_nothing_changes(source: Path) -> None:
    """It is told again and not tried again, until the file, or what is done to it, is another, or it is asked for."""
    (source / "bad.jpg").write_bytes(b"no image")
    assert "bad.jpg" in executed(source, fit=30)
    assert executed(source, fit=30) == set()
    assert not processed(source, fit=30)["bad.jpg"].ok
    assert executed(source, fit=30, retry_failed=True) == {"bad.jpg"}
    assert "bad.jpg" in executed(source, fit=31)
    photograph().save(source / "bad.jpg")
    assert executed(source, fit=31) == {"bad.jpg"}
    assert processed(source, fit=31)["bad.jpg"].ok


def test_another_function_is_another_operation(source: Path) -> None:
    """Of `apply` its code counts, and what it closes over."""

    def painted(colour: str) -> Any:
        return lambda image: Image.new("RGB", image.size, colour)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(executed(source, apply=painted("red"))) == 3
        assert executed(source, apply=painted("red")) == set()
        assert len(executed(source, apply=painted("blue"))) == 3


def test_preview_says_what_would_be_done(source: Path) -> None:
    """And does nothing: no folder, no journal."""
    out = source.parent / "out"

    def said(**options: Any) -> dict[str, tuple[bool, str]]:
        return {each.key: (each.todo, each.why) for each in preview(source, out, **options)}

    (source / "bad.jpg").write_bytes(b"no image")
    assert set(said(fit=30).values()) == {(True, "new")}
    assert not out.exists()
    processed(source, fit=30)
    assert said(fit=30) == {
        "a.jpg": (False, "up to date"),
        "b.png": (False, "up to date"),
        "bad.jpg": (False, "failed before"),
        os.path.join("deep", "c.webp"): (False, "up to date"),
    }
    assert said(fit=30, retry_failed=True)["bad.jpg"] == (True, "failed before")
    assert set(said(fit=31).values()) == {(True, "other operations")}
    assert set(said(fit=30, force=True).values()) == {(True, "forced")}
    (out / "a.jpg").unlink()
    photograph(seed=9).save(source / "b.png")
    assert said(fit=30)["a.jpg"] == (True, "its result is gone, or was changed")
    assert said(fit=30)["b.png"] == (True, "it has changed")


def test_a_journal_elsewhere(source: Path, tmp_path: Path) -> None:
    """Nothing but results is in the destination then."""
    processed(source, fit=30, journal=tmp_path / "run.db")
    assert not list((source.parent / "out").glob(".*"))
    assert executed(source, fit=30, journal=tmp_path / "run.db") == set()


def test_what_killed_runs_left_is_removed(source: Path) -> None:
    """Their temporary files, and nothing else that begins with a dot."""
    out = source.parent / "out"
    (out / "deep").mkdir(parents=True)
    for name in ("deep/.poolwise-0123.tmp", ".poolwise-4567.tmp", "deep/.mine"):
        (out / name).write_bytes(b"rest")
    processed(source, fit=30)
    assert files(out) == ["a.jpg", "b.png", "deep/.mine", "deep/c.webp"]


# -- in place ----------------------------------------------------------------------------------------------------------


def test_in_place(source: Path) -> None:
    """Originals are replaced, once: a second run leaves them alone; permissions stay."""
    (source / "a.jpg").chmod(0o640)
    outcomes = processed(source, in_place=True, rotate=90)
    assert all(outcome.ok for outcome in outcomes.values())
    with Image.open(source / "a.jpg") as image:
        assert image.size == (40, 60)
    assert (source / "a.jpg").stat().st_mode & 0o777 == 0o640
    before = {name: (source / name).read_bytes() for name in files(source)}
    assert set(before) == {"a.jpg", "b.png", "deep/c.webp"}
    assert executed(source, in_place=True, rotate=90) == set()
    assert {name: (source / name).read_bytes() for name in files(source)} == before
    photograph(seed=4).save(source / "b.png")
    assert executed(source, in_place=True, rotate=90) == {"b.png"}


def test_in_place_leaves_alone_what_does_not_change(source: Path) -> None:
    """The file is not even rewritten."""
    before = (source / "a.jpg").stat()
    outcome = processed(source, in_place=True, fit=1000)["a.jpg"]
    after = (source / "a.jpg").stat()
    assert outcome.unwrap().action == "copied"
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_was_rewritten_and_not_recorded(source: Path) -> None:
    """A run was killed between the two: the next one sees by its note that there is nothing left to do."""
    convert = Convert((checked("rotate", 90),))
    path = source / "a.jpg"
    outcome = convert.convert(
        str(path), str(path), in_place=True, about_to_replace=lambda each: Notes(str(source)).write("a.jpg", each)
    )
    before = path.read_bytes()
    outcomes = processed(source, in_place=True, rotate=90)
    assert outcomes["a.jpg"].unwrap() == outcome
    assert path.read_bytes() == before
    Notes(str(source)).clear(str(source / JOURNAL_NAME))
    assert not (source / FOLDER).exists()


@posix
def test_links_are_not_rewritten_in_place(source: Path) -> None:
    """The link would be replaced by a file, or the file be processed twice."""
    (source / "link.jpg").symlink_to("a.jpg")
    outcomes = processed(source, in_place=True, rotate=90)
    assert "is a link" in str(outcomes["link.jpg"].error)
    assert (source / "link.jpg").is_symlink()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"destination": "out", "in_place": True}, "leave out one of them"),
        ({"destination": None}, "no destination is given"),
        ({"destination": None, "in_place": True, "format": "png"}, "exclude each other"),
        ({"format": "tiff"}, "format is 'tiff'; it must be one of jpeg, png, webp, avif"),
        ({"quality": 0}, "quality is 0"),
        ({"quality": 80, "format": "png"}, "quality is 80, and PNG has none"),
        ({"truncated": "maybe"}, "truncated is 'maybe'"),
        ({"strip": 1}, "strip is 1"),
        ({"in_place": 1}, "in_place is 1"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"also": "eps"}, "also is 'eps'"),
        ({"fit": (3, 0)}, "fit is"),
        ({"resize": 30}, r"resize is 30; it must be a \(width, height\)"),
        ({"crop": (3,)}, "crop is"),
        ({"crop": (3, 3, -1, 0)}, "crop is"),
        ({"rotate": float("inf")}, "rotate is inf"),
        ({"sharpen": False}, "sharpen is False"),
        ({"apply": 3}, "apply is 3"),
        ({"apply": "no.such.module:f"}, "cannot be imported"),
        ({"apply": "os.path"}, "must be 'module:name'"),
        ({"key": len}, "key is for poolwise.run"),
    ],
)
def test_what_cannot_be_meant(source: Path, options: dict[str, Any], sentence: str) -> None:
    """It is refused before anything is written."""
    given = {"blur": 1, "destination": "out", **options}
    destination = given.pop("destination")
    with pytest.raises(UsageError, match=sentence):
        images(source, source.parent / destination if destination else None, **given)  # type: ignore[misc]
    assert not (source.parent / "out").exists()


# -- fast, in memory and in time ---------------------------------------------------------------------------------------


def test_fast_measures_a_sample(tmp_path: Path) -> None:
    """One file for each ten, at most three, spread over all; the others are not computed twice."""
    (tmp_path / "in").mkdir()
    for number in range(25):
        photograph((200, 150), number).save(tmp_path / "in" / f"{number:02}.jpg")
    outcomes = processed(tmp_path / "in", blur=15, fit=100, fast=True)
    measured = [key for key, outcome in outcomes.items() if outcome.value.psnr is not None]
    assert sorted(measured) == ["06.jpg", "18.jpg"]


def test_large_files_come_first_where_sizes_differ(tmp_path: Path) -> None:
    """Where they are much alike the order stays."""
    for name, size in (("a", 10), ("b", 500), ("c", 20), ("d", 100)):
        (tmp_path / name).write_bytes(bytes(size))

    def order(names: str) -> list[int]:
        return [place for place, _ in largest_first(str(tmp_path))(iter(list(enumerate(names))))]

    assert order("abcd") == [1, 3, 2, 0]
    assert order("aa") == [0, 1]
    assert order("a?b") == [2, 0, 1]
    assert order("") == []


def test_weights_are_read_from_headers(tmp_path: Path) -> None:
    """Pixels, bytes of each, pictures; a JPEG that is fitted first is decoded at a smaller scale."""
    photograph((800, 600)).save(tmp_path / "a.jpg")
    Image.new("L", (800, 600)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.jpg") as image:
        assert weight_of(image, (("blur", 3.0),)) == 800 * 600 * 4 * 3
        assert weight_of(image, (("fit", (100, 100)),)) == 200 * 150 * 4 * 3
        assert weight_of(image, (("fit", (300, 300)),)) == 800 * 600 * 4 * 3
    with Image.open(tmp_path / "a.png") as image:
        assert weight_of(image, (("fit", (10, 10)),)) == 800 * 600 * 3


@pytest.fixture
def counted() -> dict[str, Any]:
    """How many files are processed at a time, at most."""
    import threading

    counts: dict[str, Any] = {"now": 0, "most": 0}
    lock = threading.Lock()
    meeting = threading.Barrier(2)

    def meet(image: Image.Image) -> None:
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        if counts["wanted"] > 1:
            meeting.wait(timeout=60)
        with lock:
            counts["now"] -= 1

    counts["function"] = meet
    return counts


@pytest.mark.filterwarnings("ignore:.*cannot be compared")
@pytest.mark.parametrize(("room", "wanted"), [(2, 2), (1, 1)])
def test_decoded_images_fit_the_budget(tmp_path: Path, counted: dict[str, Any], room: int, wanted: int) -> None:
    """Two lanes work at a time where two images fit, and one where one does."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        photograph((100, 100)).save(tmp_path / "in" / f"{number}.png")
    counted["wanted"] = wanted
    budget = Limits(buffered_bytes=100 * 100 * 4 * 3 * room + 1000)
    outcomes = processed(tmp_path / "in", apply=counted["function"], limits=budget, shape="1x2", journal=tmp_path / "j")
    assert all(outcome.ok for outcome in outcomes.values())
    assert counted["most"] == wanted


def test_memory_is_kept_for_the_next_image_until_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on it goes back to the system; what the user set stays."""
    core: Any = Image.core
    before = core.get_block_size()
    try:
        pieces = Pieces()
        monkeypatch.setenv("PILLOW_BLOCK_SIZE", "16m")
        pieces.prepare_for(101, kept_bytes=100)
        assert core.get_block_size() == before
        monkeypatch.delenv("PILLOW_BLOCK_SIZE")
        sizes = []
        for weight in (100, 101, 100):
            pieces.prepare_for(weight, kept_bytes=100)
            sizes.append(core.get_block_size())
        assert sizes == [1 << 20, 64 << 20, 64 << 20]
    finally:
        core.set_block_size(before)


def test_what_lanes_keep_fits_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together; without one there is a bound for each."""
    monkeypatch.setattr(host, "core_count", lambda: 4)
    assert images_job.kept_bytes_of({}) == KEPT_BYTES
    with pytest.raises(UsageError, match="limits is 5; it must be a Limits"):
        images(".", "out", fit=10, limits=5)  # type: ignore[arg-type]
    assert images_job.kept_bytes_of({"limits": Limits(workers=2)}) == KEPT_BYTES
    assert images_job.kept_bytes_of({"limits": Limits(buffered_bytes=400)}) == 100
    assert images_job.kept_bytes_of({"limits": Limits(buffered_bytes=100 * KEPT_BYTES)}) == KEPT_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_lanes_took_is_given_back(tmp_path: Path) -> None:
    """Four lanes that had a large image each, one after the other, hold no more of it than one."""
    import subprocess

    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.new("RGB", (6000, 6000)).save(tmp_path / "in" / f"{number}.png", compress_level=1)
    program = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from poolwise.jobs.images import Convert, checked

convert = Convert((checked("blur", 1),), destination="out")
lanes = [ThreadPoolExecutor(1) for _ in range(4)]
for number, lane in enumerate(lanes):
    lane.submit(convert, f"in/{number}.png").result()
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * 4096)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    held = [int(line) for line in ended.stdout.split()]
    assert held[-1] - held[0] < 6000 * 6000 * 4  # One image of one of the three later lanes.


def test_from_the_outside_nothing_heavy_is_imported() -> None:
    """The job's package comes without Pillow, which may be missing."""
    import subprocess

    program = "import sys, poolwise.jobs.images; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_option_that_does_not_exist(tmp_path: Path) -> None:
    """The sentence names it, and lists what there is; nothing is made."""
    with pytest.raises(UsageError, match=r"images has no option 'bogus'; there are: also, apply, autocontrast, "):
        images(tmp_path, tmp_path / "out", blur=1, bogus=1)  # type: ignore[call-arg]
    assert not (tmp_path / "out").exists()
