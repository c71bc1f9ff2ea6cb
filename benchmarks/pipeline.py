"""Two jobs in one pipeline, beside each of them alone.

    python benchmarks/pipeline.py [--photos DIR] [--count N] [--blocks N] [--then OPERATIONS]

nginx on loopback, started here, serves photographs with 50 ms of latency. Three sides take turns, each in a fresh
process and a new folder that is removed: `poolwise fetch` alone; `poolwise images` alone, on what was fetched; and
`poolwise fetch --then`, which does both in one run. Shown are medians, and for each round the ratio of the pipeline to
the slower of the two alone (goal: at most 1.1) and to the sum of both. Without --photos the photographs are made ones
of about 80 KB.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from _nginx import LATENCY_SECONDS, nginx
from _paired import BrokenRun, Spread, run_command

POOLWISE = [sys.executable, "-m", "poolwise"]
LIMIT_SECONDS = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--then", default="--fit 1200 --blur 15")
    words = parser.parse_args()
    try:
        with (
            nginx(words.count, words.photos) as server,
            tempfile.TemporaryDirectory(prefix="poolwise-bench-") as folder,
        ):
            compare(server.base, Path(folder), words.count, words.blocks, words.then)
    except BrokenRun as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    return 0


def compare(base: str, folder: Path, count: int, blocks: int, operations: str) -> None:
    """Measure, and print what was measured."""
    listing = folder / "urls.txt"
    listing.write_text("".join(f"{base}/slow/{number}.jpg\n" for number in range(count)))
    fetched, processed, together = folder / "fetched", folder / "processed", folder / "together"
    fetch = [*POOLWISE, "fetch", str(listing)]
    sides = {
        fetched: [*fetch, str(fetched), "--allow-private"],
        processed: [*POOLWISE, "images", str(fetched), str(processed), *shlex.split(operations)],
        together: [*fetch, str(together), "--allow-private", "--then", operations],
    }
    times: list[tuple[float, ...]] = []
    for number in range(blocks):
        order = [fetched, processed, together] if number % 2 == 0 else [together, fetched, processed]
        seconds = {place: run_command(sides[place], None, LIMIT_SECONDS).seconds for place in order}
        for place in (fetched, processed, together / "processed"):
            found = sum(path.suffix == ".jpg" for path in place.iterdir())
            if found != count:
                raise BrokenRun(f"{found} of {count} images are in {place.name}")
        for place in (fetched, processed, together):
            shutil.rmtree(place)
        times.append(tuple(seconds[place] for place in sides))
    print(f"{count} photographs, {LATENCY_SECONDS * 1e3:.0f} ms of latency, {operations!r}")
    for name, column in zip(("fetch alone", "images alone", "pipeline"), zip(*times)):
        print(f"  {name:<14}{Spread.of(column).text(' s')}")
    slower = Spread.of([pipeline / max(fetch_, images) for fetch_, images, pipeline in times])
    whole = Spread.of([pipeline / (fetch_ + images) for fetch_, images, pipeline in times])
    print(f"  over the slower of both: {slower.text('x')}; goal 1.10x")
    print(f"  over one after the other: {whole.text('x')}")


if __name__ == "__main__":
    sys.exit(main())
