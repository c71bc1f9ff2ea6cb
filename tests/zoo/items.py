"""What well-behaved items do. All of these pickle by reference."""

from __future__ import annotations

import dataclasses
import enum
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.marks import add_line, lines


def double(x: Any) -> Any:
    """Return 2 * x."""
    return 2 * x


def add(a: int, b: int) -> int:
    """Return a + b."""
    return a + b


def same(x: Any) -> Any:
    """Return the item."""
    return x


def pid_of(x: Any) -> int:
    """Return the process that ran the item."""
    return os.getpid()


def pid_after(seconds: float, x: Any) -> int:
    """Work for a while and return the process that ran the item."""
    time.sleep(seconds)
    return os.getpid()


def thread_of(x: Any) -> tuple[int, int]:
    """Return process and thread that ran the item."""
    return os.getpid(), threading.get_ident()


def slowly(seconds: float, x: Any) -> Any:
    """Work for a while and return the item."""
    time.sleep(seconds)
    return x


def note(folder: Path, x: Any) -> Any:
    """Write down in `calls` that the item ran."""
    add_line(folder / "calls", x)
    return x


def note_slowly(folder: Path, seconds: float, x: Any) -> Any:
    """Write down in `calls` that the item ran and when, and work for a while."""
    add_line(folder / "calls", f"{x} {time.time()} {os.getpid()}")
    time.sleep(seconds)
    return x


def fail_at(bad: int, x: int) -> int:
    """Raise a ValueError with a cause for one item, double the others."""
    if x == bad:
        try:
            raise KeyError("the inner cause")
        except KeyError as inner:
            raise ValueError(f"item {x} is bad") from inner
    return 2 * x


def fail_until(folder: Path, execution: int, x: int) -> int:
    """Fail with ConnectionError until the given execution of each item."""
    add_line(folder / str(x), time.time())
    add_line(folder / "calls", x)
    if len(lines(folder / str(x))) < execution:
        raise ConnectionError(f"item {x} is not ready")
    return 2 * x


def raise_it(error: BaseException, x: Any) -> Any:
    """Raise the given exception."""
    raise error


def meet(folder: Path, count: int, x: int) -> Iterator[None]:
    """Pause until `count` items are running at once."""
    add_line(folder / f"met-{x}", os.getpid())
    while sum(1 for path in folder.iterdir() if path.name.startswith("met-")) < count:
        yield
    return x  # type: ignore[return-value]


def wait_for(folder: Path, first: int, x: int) -> Iterator[None]:
    """Write down that the item runs; items from `first` on pause until the file `go` is there."""
    add_line(folder / "calls", x)
    while x >= first and not (folder / "go").exists():
        yield
    return x  # type: ignore[return-value]


def wait_for_one(folder: Path, name: str, item: int, x: int) -> Iterator[None]:
    """Write down that the item runs; only one item pauses until the file `name` is there."""
    add_line(folder / "calls", x)
    while x == item and not (folder / name).exists():
        yield
    return x  # type: ignore[return-value]


def megabyte(seconds: float, straggle: float, x: int) -> bytes:
    """Return a megabyte after some work; the first item straggles."""
    time.sleep(straggle if x == 0 else seconds)
    return bytes(1 << 20)


def die(x: Any) -> None:
    """End the process at once, as a crash does."""
    os._exit(3)


def fail_setup() -> None:
    """A setup that raises."""
    raise RuntimeError("the model file is missing")


def die_in_setup() -> None:
    """A setup that kills its worker."""
    os._exit(5)


def log_it(name: str, x: int) -> int:
    """Log one warning, with an argument that cannot be pickled."""
    logging.getLogger(name).warning("item %d holds %s", x, threading.Lock())
    return x


_running = 0
_most = 0
_lock = threading.Lock()


def most_at_once(seconds: float, x: Any) -> tuple[int, int]:
    """Return the process, and how many items it ran at once at most so far."""
    global _running, _most
    with _lock:
        _running += 1
        _most = max(_most, _running)
    time.sleep(seconds)
    with _lock:
        _running -= 1
        return os.getpid(), _most


class Adder:
    """A callable object with a method."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        """Add n."""
        return self.n + x

    def method(self, x: int) -> int:
        """Add n too."""
        return self.n + x


class AsyncAdder:
    """A callable object whose call is a coroutine function."""

    def __init__(self, n: int) -> None:
        self.n = n

    async def __call__(self, x: int) -> int:
        """Add n."""
        return self.n + x


async def add_async(a: int, b: int) -> int:
    """Return a + b, from a coroutine."""
    return a + b


async def generate_async(x: int) -> Any:
    """An asynchronous generator."""
    yield x


def generate(x: int) -> Iterator[int]:
    """A generator."""
    yield x


def give_coroutine(x: int) -> Any:
    """A plain function that returns a coroutine."""
    return add_async(x, x)


class Stop(BaseException):
    """Not an Exception."""


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = 2


class Unpicklable(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Ununpicklable(Exception):
    """An exception that pickles, and whose pickle cannot be read."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class Counted:
    """An object that writes down each time it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = bytes(1000)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        add_line(self.folder / "unpickled", os.getpid())


def raise_unpicklable(bad: int, x: int) -> int:
    """Raise an exception that cannot be pickled for one item."""
    if x == bad:
        raise Unpicklable("holds a lock")
    return 2 * x


def raise_ununpicklable(bad: int, x: int) -> int:
    """Raise an exception that cannot be unpickled for one item."""
    if x == bad:
        raise Ununpicklable("left", "right")
    return 2 * x


def victim(folder: Path, x: int) -> Iterator[None]:
    """Four items meet; item 0 then kills its process while its lane-mate still runs."""
    again = (folder / f"met-{x}").exists()
    add_line(folder / f"met-{x}", os.getpid())
    add_line(folder / "calls", x)
    while sum(1 for path in folder.iterdir() if path.name.startswith("met-")) < 4:
        yield
    if x == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    here = str(os.getpid())
    while not again and (lines(folder / "met-0") or [here])[0] == here:  # The file exists before its line does.
        yield
    return x  # type: ignore[return-value]


def pids_of_a_nested_map(shape: str, x: int) -> tuple[int, list[int]]:
    """Run a map inside an item: the item's process, and those of the inner items."""
    import poolwise

    return os.getpid(), list(poolwise.map(pid_of, range(6), shape=shape))


def blas_threads(x: int) -> list[int]:
    """Import numpy, use it, and return the number of threads of each native pool."""
    import numpy
    import threadpoolctl

    numpy.ones((4, 4)) @ numpy.ones((4, 4))
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]


def describe_array(array: Any) -> tuple[Any, str, bool, bool]:
    """Return the array, its dtype, whether it is writable, and whether it is in Fortran order only."""
    flags = array.flags
    return array, str(array.dtype), flags.writeable, flags.f_contiguous and not flags.c_contiguous


_kept: list[tuple[int, Any]] = []


def keep_array(x: int, array: Any) -> bool:
    """Keep the argument for ever; return whether all that were kept are as they were left."""
    array += x
    _kept.append((x, array))
    return all(float(kept.min()) == float(kept.max()) == number for number, kept in tuple(_kept))


@dataclasses.dataclass
class Frame:
    """A picture with its name."""

    name: str
    pixels: Any


async def note_slowly_async(folder: Path, seconds: float, x: Any) -> Any:
    """Write down in `calls` that the item ran and when, and work for a while."""
    import asyncio

    add_line(folder / "calls", f"{x} {time.time()} {os.getpid()}")
    await asyncio.sleep(seconds)
    return x


def instance_of_a_class_with_a_lock(x: int) -> Any:
    """Return the item; for 1 an instance of a class that cannot be sent."""

    class Local:
        lock = threading.Lock()

    return Local() if x == 1 else x


def writable_and_same(array: Any) -> tuple[bool, Any]:
    """Say whether an array is writable, and return it."""
    array[:1] = array[:1]
    return array.flags.writeable, array
