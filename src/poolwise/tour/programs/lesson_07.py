"""Durations 5 4 3 2 1: results as they complete."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(seconds: int) -> int:
    print(f"{seconds} starts\n", end="")
    time.sleep(seconds * SECOND)
    print(f"{seconds} ends\n", end="")
    return seconds


began = time.perf_counter()
with ThreadPoolExecutor(5) as pool:
    futures = [pool.submit(wait, seconds) for seconds in (5, 4, 3, 2, 1)]
    for future in as_completed(futures):
        print(f"result {future.result()}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
