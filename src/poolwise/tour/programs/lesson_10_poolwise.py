"""Images downloaded by the fetch job, which checks that each is whole."""

import sys
import time
from pathlib import Path

from poolwise.jobs.fetch import fetch

urls = Path(sys.argv[1]).read_text().split()  # a file with one URL a line
began, clock = time.perf_counter(), time.time()
with fetch(urls, "photos", allow_private=True) as run:
    outcomes = list(run)
print(f"all: {time.perf_counter() - began:.3f} s")
for outcome in outcomes:
    name = outcome.key.rpartition("/")[2]
    start, end = outcome.started - clock, outcome.finished - clock
    print(f"{name} ran from {start:.4f} to {end:.4f} s")
size = sum(outcome.unwrap().bytes for outcome in outcomes)
print(f"bytes: {size} bytes")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
