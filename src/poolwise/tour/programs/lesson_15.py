"""Processes whose function takes arguments; these are pickled."""

import multiprocessing
import sys
import time

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str, seconds: float) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(seconds)
    print(f"{name} ends\n", end="")
    return name


if __name__ == "__main__":
    began = time.perf_counter()
    first = multiprocessing.Process(
        target=wait, args=("call 1", 2 * SECOND)
    )
    second = multiprocessing.Process(
        target=wait, kwargs={"name": "call 2", "seconds": SECOND}
    )
    first.start()
    second.start()
    first.join()
    second.join()
    print(f"all: {time.perf_counter() - began:.3f} s")

    try:
        multiprocessing.get_context("spawn").Process(
            target=lambda: wait("lambda", SECOND)
        ).start()
    except Exception as error:
        print(f"a lambda: {type(error).__name__}")
