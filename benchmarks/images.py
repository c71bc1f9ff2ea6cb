"""The images job beside other tools, and beside the pools of the standard library, on real photographs.

    python benchmarks/images.py --photos DIR [--only ROW,...] [--blocks N] [--quick]

Photographs are scaled to 2048 x 1536 once, before anything is measured. Peers that are not installed are said to be
missing. The two sides of a row take turns A B B A, each in a fresh process and a new folder that is removed; a row
shows medians, and the median ratio of their times (peer over poolwise: above 1, poolwise is quicker).

    pools       the tutorial's operation (blur 15, thumbnail 1200, save) on 20 photographs: a library call, imports
                done, beside its serial program (goal 1.85), and the better of its ThreadPoolExecutor and its
                ProcessPoolExecutor (goal: at most 1.05 times as long). Results must have the same pixels
    tools       whole commands, the same operation: GNU parallel with GraphicsMagick (goal 6), ImageMagick (10)
    thumbnails  whole commands, thumbnails of 256 and of 1200 of 60 photographs: vipsthumbnail under GNU parallel
                (goal 1), mogrify (1.5)
    fast        `--fast` beside the default, the tutorial's operation: a library call (goal 2.5), and its PSNR over all
                photographs (goal 45 dB)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from _paired import BrokenRun, Spread, pairs_of, run_command, run_python

ROWS = ("pools", "tools", "thumbnails", "fast")
SIZE = (2048, 1536)
PHOTOS = 20
THUMBNAILS = 60
GOOD_DECIBELS = 45.0
POOLWISE = [sys.executable, "-m", "poolwise", "images"]


# -- one side, in a process of its own ---------------------------------------------------------------------------------


def process(path: str) -> None:
    """Do what the tutorial does with one photograph."""
    from PIL import Image, ImageFilter

    source, name = os.path.split(path)
    with Image.open(path) as opened:
        image = opened.filter(ImageFilter.GaussianBlur(15))
        image.thumbnail((1200, 1200))
        image.save(os.path.join(f"{source}-out", name))


def serial(paths: list[str]) -> None:
    for path in paths:
        process(path)


def threads(paths: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        list(pool.map(process, paths))


def processes(paths: list[str]) -> None:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor() as pool:
        list(pool.map(process, paths))


def ours(paths: list[str], **more: bool) -> None:
    from poolwise.jobs.images import images

    folder = os.path.dirname(paths[0])
    with images(folder, f"{folder}-out", blur=15, fit=1200, **more) as run:  # type: ignore[arg-type]
        assert all(outcome.ok for outcome in run)


def fast(paths: list[str]) -> None:
    ours(paths, fast=True)


CALLS: dict[str, Callable[[list[str]], None]] = {
    "poolwise": ours,
    "serial": serial,
    "threads": threads,
    "processes": processes,
    "fast": fast,
}


def call(name: str, folder: str) -> None:
    """Run one side in this process, and print the seconds of the call itself."""
    from PIL import Image, ImageFilter  # noqa: F401

    if name in ("poolwise", "fast"):
        import poolwise.jobs.images  # noqa: F401
    Image.init()
    paths = sorted(str(path) for path in Path(folder).iterdir())
    began = time.perf_counter()
    CALLS[name](paths)
    print(json.dumps(time.perf_counter() - began))


# -- photographs and folders -------------------------------------------------------------------------------------------


def make_photographs(photos: Path, folder: Path, count: int) -> None:
    """Fill a folder with photographs of 2048 x 1536, each several times where there are few."""
    from PIL import Image, ImageOps

    found = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        sys.exit(f"error: there are no JPEG files in {photos}")
    folder.mkdir()
    for number, path in enumerate(found[:count]):
        with Image.open(path) as image:
            scaled = ImageOps.fit(ImageOps.exif_transpose(image), SIZE)
            scaled.save(folder / f"{number:03}.jpg", quality=90)
    for number in range(len(found), count):
        shutil.copyfile(folder / f"{number % len(found):03}.jpg", folder / f"{number:03}.jpg")


@contextmanager
def fresh(photographs: Path) -> Iterator[Path]:
    """A folder with a copy of the photographs; beside it one for results, named with -out; both are removed."""
    with tempfile.TemporaryDirectory(prefix="poolwise-bench-") as folder:
        copy = Path(folder) / "photos"
        shutil.copytree(photographs, copy)
        (Path(folder) / "photos-out").mkdir()
        yield copy


def results_of(copy: Path) -> list[Path]:
    """Return the results beside a copy of the photographs."""
    return sorted(copy.with_name("photos-out").glob("[!.]*.jpg"))


# -- measured ----------------------------------------------------------------------------------------------------------


def call_seconds(side: str, photographs: Path) -> float:
    """Run one side as a library call in a fresh process; return the seconds of the call."""
    with fresh(photographs) as copy:
        seconds = float(json.loads(run_python([__file__, "--call", side, str(copy)]).stdout))
        _check(side, copy, photographs)
        return seconds


def command_seconds(command: Callable[[Path], Sequence[str]], name: str, photographs: Path) -> float:
    """Run a whole command over photographs; return its seconds."""
    with fresh(photographs) as copy:
        seconds = run_command(command(copy), limit_seconds=900.0).seconds
        _check(name, copy, photographs)
        return seconds


def _check(name: str, copy: Path, photographs: Path) -> None:
    count, wanted = len(results_of(copy)), len(list(photographs.iterdir()))
    if count != wanted:
        raise BrokenRun(f"{name} left {count} results of {wanted}")


def told(row: str, name: str, pairs: Sequence[tuple[float, float]], goal: float) -> None:
    """Print one comparison: (ours, theirs) in seconds."""
    ratio = Spread.of([theirs / mine for mine, theirs in pairs])
    mine, theirs = (statistics.median(side) for side in zip(*pairs))
    verdict = "" if ratio.median >= goal else ": missed"
    print(
        f"{row:11} {name:28} {theirs:7.3f} s, poolwise {mine:7.3f} s: {ratio.text('x')}   goal {goal:.3g}{verdict}",
        flush=True,
    )


def pools(photographs: Path, blocks: int) -> None:
    same_pixels(photographs)
    for name, goal in (("serial", 1.85), ("threads", 1 / 1.05), ("processes", 1 / 1.05)):
        pairs = pairs_of(
            lambda: call_seconds("poolwise", photographs), lambda name=name: call_seconds(name, photographs), blocks
        )
        told("pools", name, pairs, goal)


def same_pixels(photographs: Path) -> None:
    """Check that results are those of the tutorial's program, byte by byte."""
    with fresh(photographs) as copy:
        run_python([__file__, "--call", "serial", str(copy)])
        expected = [path.read_bytes() for path in results_of(copy)]
    with fresh(photographs) as copy:
        run_python([__file__, "--call", "poolwise", str(copy)])
        equal = [path.read_bytes() for path in results_of(copy)] == expected
    print(f"pools       the same bytes as the serial program: {'yes' if equal else 'NO: missed'}", flush=True)


def _ours(*words: str) -> Callable[[Path], Sequence[str]]:
    return lambda copy: [*POOLWISE, str(copy), str(copy.with_name("photos-out")), *words]


def _each(*words: str) -> Callable[[Path], Sequence[str]]:
    """Return a command for each photograph, under GNU parallel: {} is the photograph, OUT the folder for results."""

    def command(copy: Path) -> Sequence[str]:
        out = str(copy.with_name("photos-out"))
        line = [word.replace("OUT", out) for word in words]
        return ["parallel", "--will-cite", *line, ":::", *map(str, sorted(copy.iterdir()))]

    return command


def tools(photographs: Path, blocks: int) -> None:
    # ImageMagick's "-blur 0x15" is a Gaussian blur of sigma 15; ">" never enlarges.
    words = ("-blur", "0x15", "-resize", "'1200x1200>'", "OUT/{/}")
    peers = (
        ("parallel + GraphicsMagick", "gm", _each("gm", "convert", "{}", *words), 6.0),
        ("parallel + ImageMagick", "mogrify", _each(_imagemagick(), "{}", *words), 10.0),
    )
    command = _ours("--blur", "15", "--fit", "1200")
    for name, program, peer, goal in peers:
        versus("tools", name, (program, "parallel"), command, peer, goal, photographs, blocks)


def _imagemagick() -> str:
    """Return ImageMagick's own program: `convert` may be another's."""
    return next((name for name in ("magick", "convert-im6.q16", "convert") if shutil.which(name)), "convert")


def thumbnails(photographs: Path, blocks: int) -> None:
    for size in (256, 1200):
        vips = _each("vipsthumbnail", "{}", "--size", f"'{size}x{size}>'", "-o", "OUT/{/.}.jpg[Q=75]")

        def mogrify(copy: Path, size: int = size) -> Sequence[str]:
            files = map(str, sorted(copy.iterdir()))
            return ["mogrify", "-path", str(copy.with_name("photos-out")), "-thumbnail", f"{size}x{size}>", *files]

        command = _ours("--fit", str(size))
        for name, programs, peer, goal in (
            ("parallel + vipsthumbnail", ("vipsthumbnail", "parallel"), vips, 1.0),
            ("mogrify", ("mogrify",), mogrify, 1.5),
        ):
            versus("thumbnails", f"{name}, {size}", programs, command, peer, goal, photographs, blocks)


def versus(
    row: str,
    name: str,
    programs: Sequence[str],
    mine: Callable[[Path], Sequence[str]],
    theirs: Callable[[Path], Sequence[str]],
    goal: float,
    photographs: Path,
    blocks: int,
) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        print(f"{row:11} {name:28} is not installed ({', '.join(missing)})", flush=True)
        return
    pairs = pairs_of(
        lambda: command_seconds(mine, "poolwise", photographs),
        lambda: command_seconds(theirs, name, photographs),
        blocks,
    )
    told(row, name, pairs, goal)


def quick_and_exact(photographs: Path, blocks: int) -> None:
    pairs = pairs_of(lambda: call_seconds("fast", photographs), lambda: call_seconds("poolwise", photographs), blocks)
    told("fast", "default options", pairs, 2.5)
    decibels = sorted(_decibels(photographs))
    verdict = "" if decibels[0] >= GOOD_DECIBELS else ": missed"
    print(
        f"fast        PSNR: lowest {decibels[0]:.1f} dB, median {statistics.median(decibels):.1f} dB"
        f"   goal {GOOD_DECIBELS:g}{verdict}",
        flush=True,
    )


def _decibels(photographs: Path) -> Iterator[float]:
    from poolwise.jobs.images import Convert, Settings, checked

    convert = Convert((checked("blur", 15), checked("fit", 1200)), Settings(fast=True))
    with fresh(photographs) as copy:
        for path in sorted(copy.iterdir())[:PHOTOS]:
            outcome = convert.convert(str(path), str(copy.with_name("photos-out") / path.name), sampled=True)
            assert outcome.psnr is not None
            yield outcome.psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder with JPEG photographs")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        call(*arguments.call)
        return
    if arguments.photos is None:
        sys.exit("error: --photos DIR names a folder with photographs")
    few = 5 if arguments.quick else 1
    with tempfile.TemporaryDirectory(prefix="poolwise-bench-") as folder:
        photographs, many = Path(folder) / "photographs", Path(folder) / "many"
        make_photographs(arguments.photos, photographs, PHOTOS // few)
        make_photographs(arguments.photos, many, THUMBNAILS // few)
        actions: dict[str, Callable[[], None]] = {
            "pools": lambda: pools(photographs, arguments.blocks),
            "tools": lambda: tools(photographs, 1),
            "thumbnails": lambda: thumbnails(many, arguments.blocks),
            "fast": lambda: quick_and_exact(photographs, arguments.blocks),
        }
        try:
            for row in arguments.only.split(","):
                actions[row]()
        except BrokenRun as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
