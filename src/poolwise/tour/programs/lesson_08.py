"""Durations 5 4 3 2 1: map gives results in input order."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(seconds: int) -> int:
    print(f"{seconds} starts\n", end="")
    time.sleep(seconds * SECOND)
    print(f"{seconds} ends\n", end="")
    return seconds


began = time.perf_counter()
with ThreadPoolExecutor(5) as pool:
    for value in pool.map(wait, [5, 4, 3, 2, 1]):
        print(f"result {value}\n", end="")
print(f"all: {time.perf_counter() - began:.3f} s")
