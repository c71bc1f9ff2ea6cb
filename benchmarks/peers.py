"""What becomes of a run where an item, or the program, misbehaves: poolwise beside other process pools.

    python benchmarks/peers.py kill joblib           # one cell
    python benchmarks/peers.py                       # all of them, as a Markdown table; two minutes

Needs `pip install poolwise[peers]`. Each cell is a fresh process that is given ten seconds. Two workers run eight
items of 50 ms, and item 2 misbehaves, except where the probe says otherwise. Each pool is called in the way of its own
documentation that tells most of single items. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

PROBES = {
    "kill": "item 2 kills its worker (SIGKILL)",
    "exit": "item 2 calls `os._exit(0)`",
    "unpicklable": "item 2 raises an exception that cannot be unpickled",
    "timeout": "item 2 sleeps for 60 s, `timeout` is 1 s",
    "lambda": "the function is a lambda",
    "guard": "a script without main guard, workers not forked",
    "taken": "items of 1 ms taken out of 100,000 while the consumer holds the first result for 1 s",
}
POOLS = ("poolwise", "ProcessPoolExecutor", "multiprocessing.Pool", "joblib", "mpire", "pebble")
ITEMS = 8
BAD = 2
WORK_SECONDS = 0.05
LIMIT_SECONDS = 10.0


class Stubborn(Exception):
    """Takes two arguments and hands on one, so that unpickling fails."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def kill(item: int) -> int:
    time.sleep(WORK_SECONDS)
    if item == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def leave(item: int) -> int:
    time.sleep(WORK_SECONDS)
    if item == BAD:
        os._exit(0)
    return item


def raise_stubborn(item: int) -> int:
    time.sleep(WORK_SECONDS)
    if item == BAD:
        raise Stubborn("one", "two")
    return item


def sleep(item: int) -> int:
    time.sleep(60 if item == BAD else WORK_SECONDS)
    return item


def same(item: int) -> int:
    return item


def wait(item: int) -> int:
    time.sleep(0.001)
    return item


FUNCTIONS: dict[str, Callable[[int], int]] = {
    "kill": kill, "exit": leave, "unpicklable": raise_stubborn, "timeout": sleep,
    "lambda": lambda item: item, "guard": same, "taken": wait,
}  # fmt: skip

Ended = tuple[int, str | None]
"""The item, and the name of an error; None for a value."""


def ours(function: Callable[[int], int], items: Iterable[int], timeout: float | None) -> Iterator[Ended]:
    import poolwise

    for outcome in poolwise.run(function, items, shape="2x1", timeout=timeout):
        yield outcome.index, None if outcome.ok else type(outcome.error).__name__


def process_pool_executor(
    function: Callable[[int], int], items: Iterable[int], timeout: float | None
) -> Iterator[Ended]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, _context()) as pool:
        yield from _each([pool.submit(function, item) for item in items], lambda future: future.result(timeout))


def multiprocessing_pool(
    function: Callable[[int], int], items: Iterable[int], timeout: float | None
) -> Iterator[Ended]:
    with _context().Pool(2) as pool:
        yield from _each([pool.apply_async(function, [item]) for item in items], lambda result: result.get(timeout))


def joblib_parallel(function: Callable[[int], int], items: Iterable[int], timeout: float | None) -> Iterator[Ended]:
    import joblib

    parallel = joblib.Parallel(2, return_as="generator", timeout=timeout)
    for place, _ in enumerate(parallel(joblib.delayed(function)(item) for item in items)):
        yield place, None


def mpire_pool(function: Callable[[int], int], items: Iterable[int], timeout: float | None) -> Iterator[Ended]:
    from mpire import WorkerPool

    method = os.environ.get("PEERS_START", "fork")
    with WorkerPool(2, start_method=method) as pool:
        length = len(items) if isinstance(items, range) else None
        for place, _ in enumerate(pool.imap(function, items, iterable_len=length, task_timeout=timeout)):
            yield place, None


def pebble_pool(function: Callable[[int], int], items: Iterable[int], timeout: float | None) -> Iterator[Ended]:
    from pebble import ProcessPool

    with ProcessPool(2, context=_context()) as pool:
        values = pool.map(function, items, timeout=timeout).result()
        place = 0
        while True:
            try:
                next(values)
                yield place, None
            except StopIteration:
                return
            except Exception as error:
                yield place, type(error).__name__
            place += 1


def _context() -> Any:
    import multiprocessing

    return multiprocessing.get_context(os.environ.get("PEERS_START", "fork"))


def _each(tasks: list[Any], wait: Callable[[Any], Any]) -> Iterator[Ended]:
    for place, task in enumerate(tasks):
        try:
            wait(task)
            yield place, None
        except Exception as error:
            yield place, type(error).__name__


WAYS = dict(zip(POOLS, (ours, process_pool_executor, multiprocessing_pool, joblib_parallel, mpire_pool, pebble_pool)))


# -- in the measured process


def child(probe: str, pool: str) -> None:
    """Run a cell; write what becomes of each item as it comes."""
    if probe == "taken":
        return _count_taken(pool)
    timeout = 1.0 if probe == "timeout" else None
    try:
        for item, error in WAYS[pool](FUNCTIONS[probe], range(ITEMS), timeout):
            _tell(item=item, error=error)
    except Exception as error:
        _tell(item=None, error=type(error).__name__)
    _tell(end=True)
    return None


def _count_taken(pool: str) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100_000):
            taken += 1
            yield item

    for _ in WAYS[pool](wait, items(), None):
        time.sleep(1)
        _tell(taken=taken)
        os.kill(os.getpid(), signal.SIGKILL)


def _tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


# -- in the process that asks


def cell(probe: str, pool: str) -> str:
    """Run a cell in a process of its own and say in a few words what it showed."""
    if probe == "guard":
        return _guard_cell(pool)
    _, output, errors = _ended([sys.executable, __file__, "--child", probe, pool])
    told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if probe == "taken":
        return f"{told[0]['taken']:,}" if told else f"broken: {_last(errors)}"
    found = [each for each in told if "item" in each]
    others = len({each["item"] for each in found if each["error"] is None} - {BAD})
    bad = next((each["error"] for each in found if each["item"] == BAD), None)
    general = next((each["error"] for each in found if each["error"] is not None and each["item"] != BAD), None)
    end = "" if any("end" in each for each in told) else f"; does not end in {LIMIT_SECONDS:g} s"
    if probe == "lambda":
        return "works" if others == ITEMS - 1 and not end else f"{general or bad}{end}"
    if others == ITEMS - 1 and bad is not None:
        return f"costs item 2 ({bad}){end}"
    return f"{others} of {ITEMS - 1} others{f', {general or bad}' if general or bad else ''}{end}"


def _guard_cell(pool: str) -> str:
    """Run a script that does not ask whether it is the main program."""
    here = str(Path(__file__).resolve().parent)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(
            f"import sys\nsys.path.insert(0, {here!r})\nimport peers\n"
            "def same(item):\n    return item\n"
            f"ended = list(peers.WAYS[{pool!r}](same, range({ITEMS}), None))\n"
            "print(sum(error is None for _, error in ended), 'values', flush=True)\n"
        )
        code, output, errors = _ended([sys.executable, str(script)], PEERS_START="spawn")
    if code == 0 and output == f"{ITEMS} values\n":
        return "works"
    lines = len(errors.splitlines())
    how = f"does not end in {LIMIT_SECONDS:g} s" if code is None else f"exit code {code}"
    if code == 0:
        how = output.rpartition("\n")[0] or "nothing"
    return f"{how}, {_about(lines)} lines of errors"


def _about(lines: int) -> str:
    return next((f"over {most:,}" for most in (1000, 100) if lines > most), str(lines))


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it did not say why"])[-1]


def _ended(command: list[str], **variables: str) -> tuple[int | None, str, str]:
    """Run a command for a while, then end it and all it started; the exit code is None where it had to be ended."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True,
            env={**os.environ, **variables},
        )  # fmt: skip
        try:
            code: int | None = process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        errors.seek(0)
        return code, output.read(), errors.read()


def table() -> Iterator[str]:
    """Yield the lines of a table of the probes, and of one of all cells."""
    yield from ("| probe | what happens |", "|---|---|")
    yield from (f"| `{probe}` | {what} |" for probe, what in PROBES.items())
    yield ""
    yield f"| probe | {' | '.join(POOLS)} |"
    yield f"|{'---|' * (len(POOLS) + 1)}"
    for probe in PROBES:
        print(f"{probe} ...", file=sys.stderr)
        yield f"| `{probe}` | {' | '.join(cell(probe, pool) for pool in POOLS)} |"
    yield ""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("joblib", "mpire", "pebble"))
    version = ".".join(map(str, sys.version_info[:3]))
    yield f"CPython {version} on {sys.platform}, {versions}; {time.strftime('%Y-%m-%d')}."


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", nargs="?", choices=PROBES)
    parser.add_argument("pool", nargs="?", choices=POOLS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.probe, given.pool)
    elif given.pool is not None:
        print(cell(given.probe, given.pool))
    elif given.probe is not None:
        parser.error("name a pool as well, or nothing for all")
    else:
        for line in table():
            print(line, flush=True)


if __name__ == "__main__":
    main()
