"""Photographs processed by a pool of processes."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image, ImageFilter


def process(path: Path) -> None:
    print(f"{path.stem} starts\n", end="")
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)
    print(f"{path.stem} ends\n", end="")


if __name__ == "__main__":
    photos = sorted(
        Path(sys.argv[1]).glob("*.jpg")
    )  # a folder of photographs
    Path("processed").mkdir(exist_ok=True)
    began = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(process, photos):
            pass
    print(f"all: {time.perf_counter() - began:.3f} s")
