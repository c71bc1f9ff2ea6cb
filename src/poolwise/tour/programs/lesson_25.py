"""What a thread, a process and a task in a pool cost."""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import (
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import Process
from threading import Thread

SECOND = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
COUNTS = int(25_000_000 * SECOND)


def nothing(_: int = 0) -> None:
    pass


def count() -> None:
    for _ in range(COUNTS):
        pass


def started(kind: type[Thread] | type[Process]) -> None:
    one = kind(target=nothing)
    one.start()
    one.join()


def each(repeats: int, call: Callable[[], object]) -> float:
    """Return microseconds a call."""
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats * 1e6


def task(pool: Executor, repeats: int) -> float:
    """Return microseconds a task; a first one starts the pool."""
    pool.submit(nothing).result()
    return each(repeats, lambda: pool.submit(nothing).result())


def calls(run: Callable[..., Iterable[object]]) -> None:
    for _ in run(nothing, range(20_000)):
        pass


def two_counts() -> None:
    count()
    count()


def two_counting_threads() -> None:
    threads = [Thread(target=count), Thread(target=count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    print(f"a process: {each(10, lambda: started(Process)):.0f} us")
    with ProcessPoolExecutor(2) as processes:
        print(f"a task in a process pool: {task(processes, 200):.1f} us")
    print(f"a thread: {each(200, lambda: started(Thread)):.1f} us")
    with ThreadPoolExecutor(2) as threads:
        print(f"a task in a thread pool: {task(threads, 1000):.1f} us")
        pooled = each(1, lambda: calls(threads.map))
    looped = each(1, lambda: calls(map))
    print(f"a call: {each(100_000, nothing):.3f} us")
    print(f"20000 small calls, a loop: {looped:.0f} us")
    print(f"20000 small calls, a thread pool: {pooled:.0f} us")
    for name, work in (
        ("in a row", two_counts),
        ("two threads", two_counting_threads),
    ):
        best = min(each(1, work) for _ in range(3))
        print(f"two counts, {name}: {best:.0f} us")
