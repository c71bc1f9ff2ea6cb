"""A pool of threads: submit, and the result of a future."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


began = time.perf_counter()
with ThreadPoolExecutor() as pool:
    first = pool.submit(wait, "call 1")
    second = pool.submit(wait, "call 2")
    print(f"both submitted: {time.perf_counter() - began:.4f} s\n", end="")
    print(f"result {first.result()}\n", end="")  # waits until there is one
    print(f"result {second.result()}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
