"""Durations 5 4 3 2 1 in processes, by map: results in input order."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(seconds: int) -> int:
    print(f"{seconds} starts\n", end="")
    time.sleep(seconds * SECOND)
    print(f"{seconds} ends\n", end="")
    return seconds


if __name__ == "__main__":
    began = time.perf_counter()
    with ProcessPoolExecutor(5) as pool:
        for value in pool.map(wait, [5, 4, 3, 2, 1]):
            print(f"result {value}\n", end="")
    print(f"all: {time.perf_counter() - began:.3f} s")
