"""Four pieces of work, each one by one, on threads, and on processes."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageFilter


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


def seconds(
    run: Callable[..., Iterable[object]],
    work: Callable[[Path], object],
    photos: list[Path],
) -> float:
    began = time.perf_counter()
    for _ in run(work, photos):
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    photos = sorted(Path(sys.argv[1]).glob("*.jpg"))[:8]
    Path("processed").mkdir(exist_ok=True)
    lanes = max(2, os.cpu_count() or 1)
    print(f"lanes: {lanes}")
    with (
        ProcessPoolExecutor(lanes) as processes,
        ThreadPoolExecutor(lanes) as threads,
    ):
        # All are started, and have imported what they need.
        list(processes.map(blur, photos[:1] * lanes))
        ways: dict[str, Callable[..., Iterable[object]]] = {
            "one by one": map,
            "threads": threads.map,
            "processes": processes.map,
        }
        for work in (blur, median, encode, python):
            work(photos[0])
            # The best of three rounds: what else runs can only add to it.
            rounds = [
                {
                    name: seconds(run, work, photos)
                    for name, run in ways.items()
                }
                for _ in range(3)
            ]
            for name in ways:
                times = sorted(each[name] for each in rounds)
                print(f"{work.__name__}, {name}: {times[0]:.4f} s")
                apart = 100 * (times[1] / times[0] - 1)
                print(f"{work.__name__}, {name}, next: +{apart:.1f} %")
