"""Two processes, and no main guard."""

import multiprocessing
import sys
import time

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


def wait(name: str) -> str:
    print(f"{name} starts\n", end="")
    time.sleep(SECOND)
    print(f"{name} ends\n", end="")
    return name


# As Windows and macOS do it: each child imports this file anew.
spawn = multiprocessing.get_context("spawn")
first = spawn.Process(target=wait, args=("call 1",))
second = spawn.Process(target=wait, args=("call 2",))
first.start()
second.start()
first.join()
second.join()
print(f"exit code of call 1: {first.exitcode}")
print(f"exit code of call 2: {second.exitcode}")
