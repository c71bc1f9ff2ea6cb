"""Ten threads, joined in a second loop; then joined where they start."""

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
threads = []
for number in range(1, 11):
    thread = Thread(target=wait, args=(f"call {number}",))
    thread.start()
    threads.append(thread)
for thread in threads:
    thread.join()
print(f"joined in a second loop: {time.perf_counter() - began:.3f} s")

began = time.perf_counter()
for number in range(1, 11):
    thread = Thread(target=wait, args=(f"inside {number}",))
    thread.start()
    thread.join()  # the loop waits here before it goes on
print(f"joined inside the loop: {time.perf_counter() - began:.3f} s")
