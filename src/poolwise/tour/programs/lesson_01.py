"""Two calls in a row.

The end of each line is part of its text: lines of threads never mix then.
"""

import sys
import time

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


began, cpu = time.perf_counter(), time.process_time()
wait("call 1")
wait("call 2")
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"cpu: {time.process_time() - cpu:.4f} s")
