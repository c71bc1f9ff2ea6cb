"""Does the image job compute or wait? CPU time beside wall time."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFilter


def process(path: Path) -> None:
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)


def shrink(path: Path) -> None:
    with Image.open(path) as photo:
        photo.thumbnail((1200, 1200))
        photo.save(Path("processed") / path.name)


def read(path: Path) -> None:
    path.read_bytes()


def forget(paths: list[Path]) -> None:
    """Have the system drop the files from memory."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(
    name: str, work: Callable[[Path], None], paths: list[Path]
) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        work(path)
    seconds, computed = (
        time.perf_counter() - began,
        time.process_time() - cpu,
    )
    print(f"{name}, each: {seconds / len(paths):.6f} s")
    print(f"{name}, computing: {100 * computed / seconds:.0f} %")


photos = sorted(Path(sys.argv[1]).glob("*.jpg"))
Path("processed").mkdir(exist_ok=True)
process(photos[0])  # the first one pays for what Pillow imports
measure("a small batch", process, photos[:5])
measure("a large batch", process, photos * 2)
measure("only shrinking", shrink, photos)
measure("only reading", read, photos)
if hasattr(os, "posix_fadvise"):
    os.sync()
    forget(photos)
    measure("a cold cache", process, photos)
    forget(photos)
    measure("only reading, cold", read, photos)
