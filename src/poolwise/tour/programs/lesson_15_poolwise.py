"""Arguments from several iterables; a lambda will do."""

import sys
import time

import poolwise

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str, seconds: float) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(seconds)
    print(f"{name} ends\n", end="")
    return name


began = time.perf_counter()
calls = [("call 1", 2 * SECOND), ("call 2", SECOND)]
with poolwise.run(lambda call: wait(*call), calls, shape="2x1") as run:
    for outcome in run:
        outcome.unwrap()
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
