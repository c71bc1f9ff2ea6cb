"""Ten items that compute."""

import sys
import time

import poolwise

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def compute(name: str) -> None:
    print(f"{name} starts\n", end="")
    used = time.thread_time() + SECOND
    while time.thread_time() < used:
        sum(range(1000))
    print(f"{name} ends\n", end="")


began = time.perf_counter()
with poolwise.run(
    compute, [f"compute {number}" for number in range(1, 11)]
) as run:
    for outcome in run:
        outcome.unwrap()
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
