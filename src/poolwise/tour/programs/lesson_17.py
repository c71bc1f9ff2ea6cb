"""A list of futures of processes, and as_completed."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


if __name__ == "__main__":
    began = time.perf_counter()
    with ProcessPoolExecutor(10) as pool:
        futures = [
            pool.submit(wait, f"call {number}") for number in range(1, 11)
        ]
        for future in as_completed(futures):
            print(f"result {future.result()}\n", end="")
    print(f"all: {time.perf_counter() - began:.3f} s")
