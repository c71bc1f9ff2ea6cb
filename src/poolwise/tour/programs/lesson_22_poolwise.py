"""Where the time of an item goes, measured while items run."""

import sys
import time
from pathlib import Path

from PIL import Image, ImageFilter

import poolwise


def process(path: Path) -> None:
    with Image.open(path) as photo:
        smaller = photo.filter(ImageFilter.GaussianBlur(15))
        smaller.thumbnail((1200, 1200))
        smaller.save(Path("processed") / path.name)


photos = sorted(Path(sys.argv[1]).glob("*.jpg"))
Path("processed").mkdir(exist_ok=True)
began = time.perf_counter()
profile = poolwise.profile(process, photos)
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"kind: {profile.kind}")
print(f"shape: {profile.shape}")
print(f"verdict: {profile.explain().splitlines()[0]}")
