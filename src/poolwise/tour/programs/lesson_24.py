"""One process and ten processes, first waiting, then computing."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> None:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")


def compute(name: str) -> None:
    print(f"{name} starts\n", end="")
    used = time.process_time() + SECOND
    while time.process_time() < used:  # until it has had so much of a core
        sum(range(1000))
    print(f"{name} ends\n", end="")


def finish(work: Callable[[str], None], names: list[str]) -> float:
    began = time.perf_counter()
    processes = [
        multiprocessing.Process(target=work, args=(name,)) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return time.perf_counter() - began


if __name__ == "__main__":
    print(f"cores: {os.cpu_count()}")
    for what, work in (("wait", wait), ("compute", compute)):
        alone = finish(work, [f"{what} alone"])
        ten = finish(work, [f"{what} {number}" for number in range(1, 11)])
        print(f"one, {what}: {alone:.3f} s")
        print(f"ten, {what}: {ten:.3f} s")
