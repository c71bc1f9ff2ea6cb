"""Photographs processed by the images job."""

import sys
import time

from poolwise.jobs.images import images

began, clock = time.perf_counter(), time.time()
with images(sys.argv[1], "processed", blur=15, fit=1200) as run:
    outcomes = list(run)
print(f"all: {time.perf_counter() - began:.3f} s")
for outcome in outcomes:
    outcome.unwrap()
    name = outcome.key.rpartition(".")[0]
    start, end = outcome.started - clock, outcome.finished - clock
    print(f"{name} ran from {start:.4f} to {end:.4f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
