"""Durations 5 4 3 2 1 in processes: outcomes as they complete."""

import sys
import time

import poolwise

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(seconds: int) -> int:
    print(f"{seconds} starts\n", end="")
    time.sleep(seconds * SECOND)
    print(f"{seconds} ends\n", end="")
    return seconds


began = time.perf_counter()
with poolwise.run(wait, [5, 4, 3, 2, 1], shape="5x1") as run:
    for outcome in run:
        print(f"result {outcome.unwrap()}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
