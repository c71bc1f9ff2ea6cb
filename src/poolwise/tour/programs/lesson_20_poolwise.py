"""Photographs processed one by one."""

import sys
import time
from pathlib import Path

from PIL import Image, ImageFilter

import poolwise


def process(path: Path) -> None:
    print(f"{path.stem} starts\n", end="")
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)
    print(f"{path.stem} ends\n", end="")


photos = sorted(Path(sys.argv[1]).glob("*.jpg"))  # a folder of photographs
Path("processed").mkdir(exist_ok=True)
began = time.perf_counter()
with poolwise.run(process, photos, shape="serial") as run:
    for outcome in run:
        outcome.unwrap()
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
