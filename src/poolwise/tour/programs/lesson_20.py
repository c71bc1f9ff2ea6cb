"""Photographs processed one by one."""

import sys
import time
from pathlib import Path

from PIL import Image, ImageFilter


def process(path: Path) -> None:
    print(f"{path.stem} starts\n", end="")
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)
    print(f"{path.stem} ends\n", end="")


photos = sorted(Path(sys.argv[1]).glob("*.jpg"))  # a folder of photographs
Path("processed").mkdir(exist_ok=True)
began, cpu = time.perf_counter(), time.process_time()
for photo in photos:
    process(photo)
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"cpu: {time.process_time() - cpu:.4f} s")
