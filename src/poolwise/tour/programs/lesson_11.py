"""Two calls in a row, in one process."""

import os
import sys
import time

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> int:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return os.getpid()


began = time.perf_counter()
where = {wait("call 1"), wait("call 2")}
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"processes: {len(where)}")
