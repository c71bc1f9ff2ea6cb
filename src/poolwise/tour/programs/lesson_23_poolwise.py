"""The same work, each on the shape that poolwise finds best."""

import io
import sys
import time
from pathlib import Path

from PIL import Image, ImageFilter

import poolwise


def blur(path: Path) -> None:
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)


def median(path: Path) -> None:
    with Image.open(path) as photo:
        photo.thumbnail((300, 300))
        photo.filter(ImageFilter.MedianFilter(3))


def encode(path: Path) -> None:
    with Image.open(path) as photo:
        photo.thumbnail((600, 600))
        for quality in (75, 80, 85, 90, 95):
            photo.save(io.BytesIO(), "JPEG", quality=quality)


def python(path: Path) -> int:
    return sum(value * value % 7 for value in path.read_bytes()[:300_000])


photos = sorted(Path(sys.argv[1]).glob("*.jpg"))
Path("processed").mkdir(exist_ok=True)
began = time.perf_counter()
for work in (blur, median, encode, python):
    with poolwise.run(work, photos * 2) as run:
        for outcome in run:
            outcome.unwrap()
    print(f"shape of {work.__name__}: {run.plan.shape}")
    print(
        f"verdict of {work.__name__}: {run.plan.explain().splitlines()[0]}"
    )
print(f"all: {time.perf_counter() - began:.3f} s")
