"""Twenty thousand small calls, twice: the first run imports the engine."""

import time

import poolwise


def nothing(_: int = 0) -> None:
    pass


for name in ("first run", "all"):
    began = time.perf_counter()
    with poolwise.run(nothing, range(20_000)) as run:
        for outcome in run:
            outcome.unwrap()
    print(f"{name}: {time.perf_counter() - began:.4f} s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
