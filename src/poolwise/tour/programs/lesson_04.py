"""Threads whose function takes arguments."""

import sys
import time
from threading import Thread

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str, seconds: float) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(seconds)
    print(f"{name} ends\n", end="")
    return name


began = time.perf_counter()
first = Thread(target=wait, args=("call 1", 2 * SECOND))
second = Thread(target=wait, kwargs={"name": "call 2", "seconds": SECOND})
first.start()
second.start()
first.join()
second.join()
print(f"all: {time.perf_counter() - began:.3f} s")

began = time.perf_counter()
wrong = Thread(target=wait("mistake", SECOND))  # type: ignore[arg-type]
print(f"mistake, before it started: {time.perf_counter() - began:.3f} s")
