"""Durations 5 4 3 2 1: values in input order."""

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
with poolwise.map(wait, [5, 4, 3, 2, 1], hint="io") as run:
    for value in run:
        print(f"result {value}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
