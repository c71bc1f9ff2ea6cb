"""Two threads: start both, then join both."""

import sys
import time
from threading import Thread

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


began = time.perf_counter()
first = Thread(target=wait, args=("call 1",))
second = Thread(target=wait, args=("call 2",))
first.start()
second.start()
print(f"both started: {time.perf_counter() - began:.4f} s\n", end="")
first.join()
second.join()
print(f"all: {time.perf_counter() - began:.3f} s")
