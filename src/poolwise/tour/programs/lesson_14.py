"""Ten processes in a list, joined in a second loop."""

import multiprocessing
import sys
import time

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


if __name__ == "__main__":
    began = time.perf_counter()
    processes = []
    for number in range(1, 11):
        process = multiprocessing.Process(
            target=wait, args=(f"call {number}",)
        )
        process.start()
        processes.append(process)
    for process in processes:
        process.join()
    print(f"all: {time.perf_counter() - began:.3f} s")
