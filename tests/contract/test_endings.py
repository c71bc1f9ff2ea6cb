"""The endings of a program: whatever ends it, nothing it started stays, and nobody talks about it."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path

import pytest

from zoo.scripts import Script, run_file, script_file, wait_all_gone

SHAPES = ["serial", "1x2", "2x1", "2x2", "auto", "async"]
CHILDREN = ["2x1", "2x2"]

HEAD = """
import asyncio, itertools, os, sys, time
import poolwise

def brief(x):
    time.sleep(0.002)
    return x

def endless(x):
    time.sleep(0.002 if x == 0 else 600)
    return x

def holds_the_gil(x):
    import ctypes
    usleep = ctypes.PyDLL(None).usleep
    os.write(1, b"holding\\n")  # Itself, as no lane-mate could say anything from now on.
    usleep(600_000_000)

async def endless_async(x):
    await asyncio.sleep(0.002 if x == 0 else 600)
    return x

SHAPE = {shape!r}
if SHAPE == "async":
    SHAPE, endless = "1x4", endless_async

def children():
    import psutil
    return psutil.Process().children(recursive=True)
"""


def _program(shape: str, body: str) -> str:
    return HEAD.format(shape=shape) + textwrap.dedent(body)


def _start(folder: Path, shape: str, body: str) -> Script:
    return Script([str(script_file(folder, _program(shape, body)))], folder=folder)


@pytest.mark.parametrize("shape", SHAPES)
def test_interpreter_exit_with_a_live_iterator(shape: str, tmp_path: Path) -> None:
    """A script that ends while an iterator is half-way ends at once, with its own exit code, in silence."""
    body = """
    results = poolwise.map(brief, itertools.count(), shape=SHAPE)
    print(next(results))
    """
    assert run_file(tmp_path, _program(shape, body)) == (0, "0\n", "")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "serial"])
def test_interpreter_exit_with_hanging_items(shape: str, tmp_path: Path) -> None:
    """So does one whose items would run for ever."""
    body = """
    results = poolwise.map(endless, range(50), shape=SHAPE, limits=poolwise.Limits(in_flight=8))
    print(next(results))
    sys.exit(4)
    """
    assert run_file(tmp_path, _program(shape, body)) == (4, "0\n", "")


@pytest.mark.parametrize("shape", SHAPES)
def test_an_exception_ends_the_script(shape: str, tmp_path: Path) -> None:
    """An exception in the consumer prints its own traceback once, and nothing else."""
    body = """
    for value in poolwise.map(brief, itertools.count(), shape=SHAPE):
        if value == 5:
            raise LookupError("the consumer fails")
    """
    code, out, err = run_file(tmp_path, _program(shape, body))
    assert (code, out) == (1, "")
    assert err.count("Traceback") == 1
    assert err.endswith("LookupError: the consumer fails\n")


@pytest.mark.parametrize("shape", CHILDREN)
@pytest.mark.parametrize("ending", ["del results", "results.__exit__(None, None, None)", "results.cancel()"])
def test_no_child_stays_while_the_script_goes_on(shape: str, ending: str, tmp_path: Path) -> None:
    """After dropping, leaving or cancelling, all workers end while the script lives; one forkserver may stay."""
    body = f"""
    results = poolwise.map(endless, range(50), shape=SHAPE)
    results.__enter__()
    print(next(results))
    {ending}
    end = time.monotonic() + 10
    while len(children()) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    print(len(children()) <= 1)
    """
    assert run_file(tmp_path, _program(shape, body)) == (0, "0\nTrue\n", "")


READY = """
try:
    for value in poolwise.map({fn}, range(50), shape=SHAPE):
        print("ready", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("shape", SHAPES)
def test_ctrl_c(shape: str, group: bool, tmp_path: Path) -> None:
    """Ctrl-C is one KeyboardInterrupt in the consumer; workers say nothing and go."""
    with _start(tmp_path, shape, READY.format(fn="endless")) as script:
        script.wait_for_line("ready")
        script.send(signal.SIGINT, group=group)
        assert script.end() == (0, "ready\ninterrupted\n", "")
        wait_all_gone(script.mark)


@pytest.mark.parametrize("shape", SHAPES)
def test_ctrl_c_uncaught(shape: str, tmp_path: Path) -> None:
    """Uncaught, it prints one traceback and ends the script as SIGINT does."""
    body = """
    for value in poolwise.run(endless, range(50), shape=SHAPE):
        print("ready", flush=True)
    """
    with _start(tmp_path, shape, body) as script:
        script.wait_for_line("ready")
        script.send(signal.SIGINT, group=True)
        code, _, err = script.end()
        wait_all_gone(script.mark)
    assert code == -signal.SIGINT
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("shape", CHILDREN)
def test_the_script_goes_on_after_ctrl_c(shape: str, tmp_path: Path) -> None:
    """After a KeyboardInterrupt the next run works."""
    body = READY.format(fn="endless") + "print(list(poolwise.map(brief, range(5), shape=SHAPE)))\n"
    with _start(tmp_path, shape, body) as script:
        script.wait_for_line("ready")
        script.send(signal.SIGINT, group=True)
        assert script.end() == (0, "ready\ninterrupted\n[0, 1, 2, 3, 4]\n", "")
        wait_all_gone(script.mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=str)
@pytest.mark.parametrize("shape", ["1x2", *CHILDREN, "async"])
def test_killed(shape: str, number: int, tmp_path: Path) -> None:
    """A killed script leaves no process, and its workers say nothing."""
    with _start(tmp_path, shape, READY.format(fn="endless")) as script:
        script.wait_for_line("ready")
        script.send(number)
        code, _, err = script.end()
        wait_all_gone(script.mark)
    assert (code, err) == (-number, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
@pytest.mark.parametrize("shape", CHILDREN)
def test_killed_while_items_hold_the_gil(shape: str, number: int, tmp_path: Path) -> None:
    """Workers that cannot run a line of Python go all the same."""
    with _start(tmp_path, shape, READY.format(fn="holds_the_gil")) as script:
        script.wait_for_line("holding")
        script.send(number)
        code, _, err = script.end()
        wait_all_gone(script.mark)
    assert (code, err) == (-number, "")


@pytest.mark.parametrize("shape", CHILDREN)
def test_killed_with_work_queued_both_ways(shape: str, tmp_path: Path) -> None:
    """Killed in the middle of moving megabytes, nothing stays, shared memory included."""
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    body = """
    import numpy
    for n, array in enumerate(poolwise.map(abs, (numpy.ones(1_000_000) for _ in range(10_000)), shape=SHAPE)):
        if n == 5:
            print("ready", flush=True)
    """
    with _start(tmp_path, shape, body) as script:
        script.wait_for_line("ready")
        script.send(signal.SIGKILL)
        code, _, err = script.end()
        wait_all_gone(script.mark)
    assert (code, err) == (-signal.SIGKILL, "")
    if os.path.isdir("/dev/shm"):
        assert set(os.listdir("/dev/shm")) - before == set()


@pytest.mark.parametrize("shape", CHILDREN)
def test_a_thread_that_ends_takes_no_workers_along(shape: str, tmp_path: Path) -> None:
    """A run begun in a thread that ends goes on (workers are not bound to the thread that asked for them)."""
    body = """
    import threading
    results = poolwise.map(brief, range(100), shape=SHAPE)
    got = []
    thread = threading.Thread(target=lambda: got.append(next(results)))
    thread.start()
    thread.join()
    got.extend(results)
    print(got == list(range(100)))
    """
    assert run_file(tmp_path, _program(shape, body)) == (0, "True\n", "")


@pytest.mark.parametrize("shape", ["2x1", "1x2", "async"])
def test_fork_of_the_parent(shape: str, tmp_path: Path) -> None:
    """A program that forks while a map is half-way: the child's end disturbs nothing."""
    body = """
    results = poolwise.map(brief, range(100), shape=SHAPE)
    got = [next(results)]
    import warnings
    warnings.simplefilter("ignore")  # from 3.12 on Python warns of forks beside threads
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    got.extend(results)
    print(got == list(range(100)))
    """
    assert run_file(tmp_path, _program(shape, body)) == (0, "True\n", "")


@pytest.mark.parametrize("shape", CHILDREN)
def test_closed_standard_streams(shape: str, tmp_path: Path) -> None:
    """A daemon without stdin, stdout and stderr can run workers."""
    body = """
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    got = list(poolwise.map(brief, range(20), shape=SHAPE))
    open("result.txt", "w").write(str(got == list(range(20))))
    os._exit(0)
    """
    assert run_file(tmp_path, _program(shape, body))[0] == 0
    assert (tmp_path / "result.txt").read_text() == "True"


@pytest.mark.parametrize("shape", CHILDREN)
def test_what_items_write_arrives(shape: str, tmp_path: Path) -> None:
    """What an item writes appears on the script's stdout, by the end of the run at the latest."""
    body = """
    def speak(x):
        sys.stdout.write(f"item {x}\\n")  # in one piece, which print is not
        return x

    list(poolwise.map(speak, range(5), shape=SHAPE))
    """
    code, out, err = run_file(tmp_path, _program(shape, body))
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == [f"item {x}" for x in range(5)]
