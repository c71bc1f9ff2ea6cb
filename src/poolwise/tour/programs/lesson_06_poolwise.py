"""Outcomes as they complete."""

import sys
import time

import poolwise

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


began = time.perf_counter()
with poolwise.run(
    wait, [f"call {number}" for number in range(1, 11)], hint="io"
) as run:
    for outcome in run:
        print(f"result {outcome.unwrap()}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
