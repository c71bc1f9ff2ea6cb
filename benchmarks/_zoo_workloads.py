"""The workloads of the zoo: functions whose true kind is known, and what each needs to run.

The numbers are those of the research note on measuring. The functions are at module level, so that every pool can
pickle them by name; what they work on is made once in each process (`functools.cache`) from fixed seeds, so every
process and every shape computes the same results. Items are numbers (seeds) unless the payload is the point.

What is heavy to import (numpy, ssl, sqlite3, asyncio, poolwise) is imported where it is used: a worker then pays for
what its workload needs, as it would with a program of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

CALLS_VARIABLE = "POOLWISE_ZOO_CALLS"  # a file that gets one byte for each call
FOLDER_VARIABLE = "POOLWISE_ZOO_FOLDER"  # a temporary folder of this measurement
PORT_VARIABLE = "POOLWISE_ZOO_PORT"  # of the loopback server
CERTIFICATE_VARIABLE = "POOLWISE_ZOO_CERTIFICATE"

LOOPS_PER_MS = 11_000  # of `spin`, on the machine that the zoo was written on
MEGABYTE = 1_000_000

REQUEST = struct.Struct("!Q")  # what the servers read and write: see `_zoo_servers.py`
REPLY = struct.Struct("!BQI")
FINE, REFUSED = 0, 1


def scramble(number: int) -> int:
    """Return a number of 31 bits that looks random and depends on nothing but `number`."""
    number = (number ^ 0x5BD1E995) * 2_654_435_761 & 0xFFFF_FFFF
    return (number ^ number >> 15) & 0x7FFF_FFFF


def folder(name: str) -> str:
    return os.path.join(os.environ[FOLDER_VARIABLE], name)


@functools.cache
def _calls_file() -> int:
    return os.open(os.environ[CALLS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def count_call() -> None:
    """Add one to the number of calls, from whatever process or thread (about 2 us)."""
    os.write(_calls_file(), b".")


# --- the building blocks --------------------------------------------------------------------------------------------


def spin(loops: int, number: int) -> int:
    """Run Python bytecode: about 0.09 us a loop, all of it with the GIL held."""
    for _ in range(loops):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return number


def python_ms(ms: float, number: int) -> int:
    return spin(int(ms * LOOPS_PER_MS), number)


@functools.cache
def noise() -> memoryview:
    """Return 11 MB of fixed random bytes."""
    return memoryview(random.Random(7).randbytes(11 * MEGABYTE))


def sha(length: int, number: int) -> int:
    """Hash `length` bytes; above 2 KB hashlib lets the GIL go meanwhile."""
    start = number % 4096
    return int.from_bytes(hashlib.sha256(noise()[start : start + length]).digest()[:4], "big")


# --- holding the GIL ------------------------------------------------------------------------------------------------


def python_loop(number: int) -> int:
    count_call()
    return python_ms(3, scramble(number))


@functools.cache
def json_text() -> str:
    return json.dumps([{"a": n, "b": str(n), "c": [n] * 5} for n in range(66_000)])


def parse_json(number: int) -> int:
    rows = json.loads(json_text())
    return int(rows[number % len(rows)]["b"])


@functools.cache
def unsorted_numbers() -> list[int]:
    return [scramble(n) % 100_003 for n in range(20_000)]


def sort_list(number: int) -> int:
    place = number % 20_000
    numbers = unsorted_numbers()
    return sorted(numbers[place:] + numbers[:place])[place]


BACKTRACKING = re.compile(r"(a|a)*$")


def backtrack(number: int) -> int:
    """Match in time 2^n: half of the items take 0.1 ms, one in 64 takes 9 ms or more."""
    zeros = (scramble(number) | 64) & -(scramble(number) | 64)  # 1, 2, 4, ... with halving probability
    letters = 11 + zeros.bit_length() - 1
    return letters if BACKTRACKING.match("a" * letters + "!") is None else -1


def big_power(number: int) -> int:
    return pow(3 + number, (1 << 1023) + 12_345, (1 << 1024) - 194_228_9) & 0x7FFF_FFFF


@functools.cache
def held_usleep() -> Callable[[int], int]:
    return ctypes.PyDLL(None).usleep


def held_sleep(number: int) -> int:
    """Sleep with the GIL held, as a careless extension does."""
    held_usleep()(4_000)
    return number


def sha_small(number: int) -> int:
    return sum(sha(1_000, number + n) for n in range(1_500)) & 0x7FFF_FFFF


@functools.cache
def small_array() -> Any:
    import numpy

    return numpy.linspace(0, 1, 100)


def small_numpy(number: int) -> int:
    array = state = small_array() + number % 100
    for _ in range(2_500):
        state = state * 0.5 + array
    return int(state.sum())


@functools.cache
def object_array() -> Any:
    import numpy

    return numpy.arange(20_000).astype(object)


def object_numpy(number: int) -> int:
    array = object_array() + number % 100
    return int(((array * array) % 7).sum())


# --- using cores without the GIL ------------------------------------------------------------------------------------


def sha_large(number: int) -> int:
    count_call()
    return sha(10 * MEGABYTE, number)


@functools.cache
def half_noise() -> bytes:
    return bytes(noise()[:204_096]) + b"abc" * 100_000


def compress(number: int) -> int:
    start = number % 4096
    return len(zlib.compress(half_noise()[start : start + 500_000], 1))


@functools.cache
def square_matrix() -> Any:
    import numpy

    return numpy.random.default_rng(7).random((400, 400))


def multiply(number: int) -> int:
    matrix = square_matrix()
    return int((matrix @ matrix)[number % 400].sum())


def make_file() -> None:
    """Write the 64 MB that `read_cached` and `read_cold` read, down to the disk."""
    with open(folder("data"), "wb") as file:
        for _ in range(16):
            file.write(noise()[: 4 * MEGABYTE])
        os.fsync(file.fileno())


def _read(number: int, length: int, *, cold: bool) -> int:
    offset = scramble(number) % 15 * 4 * MEGABYTE
    descriptor = os.open(folder("data"), os.O_RDONLY)
    try:
        if cold:
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        data = os.pread(descriptor, length, offset)
        return len(data) + data[number % len(data)]
    finally:
        os.close(descriptor)


def read_cached(number: int) -> int:
    return _read(number, 4 * MEGABYTE, cold=False)


def read_cold(number: int) -> int:
    return _read(number, MEGABYTE, cold=True)


# --- waiting --------------------------------------------------------------------------------------------------------


def sleep_5_ms(number: int) -> int:
    count_call()
    time.sleep(0.005)
    return number


def short_sleeps(number: int) -> int:
    for _ in range(20):
        time.sleep(0.0002)
    return number


_local = threading.local()


class Refused(Exception):
    """The server said that this was too much."""


def _connect() -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(os.environ[PORT_VARIABLE])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _connect_tls() -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=os.environ[CERTIFICATE_VARIABLE])
    context.check_hostname = False
    return context.wrap_socket(_connect())


def _connection(connect: Callable[[], socket.socket]) -> socket.socket:
    """Return this thread's connection."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = connect()
    return connection


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 18))
        if not part:
            raise ConnectionError("the server closed the connection")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _exchange(connection: socket.socket, number: int) -> tuple[int, bytes]:
    """Send a request; return the reply's number and payload."""
    connection.sendall(REQUEST.pack(number))
    status, answer, length = REPLY.unpack(_receive(connection, REPLY.size))
    payload = _receive(connection, length)
    if status != FINE:
        raise Refused("429")
    return answer, payload


def fetch(number: int) -> int:
    return _exchange(_connection(_connect), number)[0]


def fetch_or_give_up(number: int) -> int:
    """Fetch; where the server does not answer within 100 ms (or answers late), work out the answer here."""
    connection = _connection(_connect)
    connection.settimeout(0.1)
    try:
        return _exchange(connection, number)[0]
    except TimeoutError:
        connection.close()  # the answer may still come: nobody else shall read it
        _local.connection = None
        return scramble(number)


def fetch_and_parse(number: int) -> int:
    answer, payload = _exchange(_connection(_connect_tls), number)
    rows = json.loads(payload)
    return answer ^ rows[number % len(rows)]["tags"][1]


_idle_streams: dict[Any, list[Any]] = {}  # by event loop


async def fetch_async(number: int) -> int:
    import asyncio

    idle = _idle_streams.setdefault(asyncio.get_running_loop(), [])
    streams = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", int(os.environ[PORT_VARIABLE]))
    reader, writer = streams
    writer.write(REQUEST.pack(number))
    _, answer, _ = REPLY.unpack(await reader.readexactly(REPLY.size))
    idle.append(streams)
    return answer


async def block_async(number: int) -> int:
    """Block the event loop, as a coroutine function with a hidden blocking call does."""
    time.sleep(0.004)
    return number


# --- mixtures -------------------------------------------------------------------------------------------------------


def fine_alternation(number: int) -> int:
    """Alternate 30 us of Python with 20 us of hashing that lets the GIL go, 60 times."""
    for n in range(60):
        number = (spin(330, number) + sha(32_768, n)) & 0x7FFF_FFFF
    return number


def python_hash_sleep(number: int) -> int:
    count_call()
    result = python_ms(3, number) ^ sha(5 * MEGABYTE, number)
    time.sleep(0.003)
    return result


@functools.cache
def short_json_text() -> str:
    return json.dumps([{"a": n, "b": str(n), "c": [n] * 5} for n in range(6_000)])


def parse_and_wait(number: int) -> int:
    rows = json.loads(short_json_text())
    time.sleep(0.010)
    return int(rows[number % len(rows)]["b"])


# --- locks, databases, child processes ------------------------------------------------------------------------------


def query_memory(number: int) -> int:
    """Compute in SQLite: it lets the GIL go, and its allocator's mutex lets no other thread in."""
    import sqlite3

    database = getattr(_local, "database", None)
    if database is None:
        database = _local.database = sqlite3.connect(":memory:")
    query = "with recursive c(x) as (select ? union all select x + 1 from c where x < ?) select sum(x * x % 7) from c"
    return database.execute(query, (number, number + 12_000)).fetchone()[0]


def make_database() -> None:
    import sqlite3

    database = sqlite3.connect(folder("database"))
    database.execute("create table rows (number integer, text text)")
    database.commit()
    database.close()


def write_database(number: int) -> int:
    """Commit 100 rows: SQLite admits one writer."""
    import sqlite3

    database = getattr(_local, "database", None)
    if database is None:
        database = _local.database = sqlite3.connect(folder("database"), timeout=120)
    rows = [(n, f"row {number} {n}") for n in range(100)]
    with database:
        database.executemany("insert into rows values (?, ?)", rows)
    return number


SHELL_LOOP = "i=$1; s=0; while [ $i -gt 0 ]; do i=$((i-1)); s=$((s+i)); done; echo $s"


def run_shell(number: int) -> int:
    """Let a child process use about 10 ms of CPU."""
    loops = 7_000 + number % 1_000
    return int(subprocess.run(["/bin/sh", "-c", SHELL_LOOP, "sh", str(loops)], capture_output=True, check=True).stdout)


_global_lock = threading.Lock()


def sleep_under_lock(number: int) -> int:
    with _global_lock:
        time.sleep(0.004)
    return number


def python_under_lock(number: int) -> int:
    with _global_lock:
        return python_ms(4, number)


def sleep_under_file_lock(number: int) -> int:
    """Sleep under a lock that excludes every other thread and process."""
    descriptor = os.open(folder("lock"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        time.sleep(0.004)
        return number
    finally:
        os.close(descriptor)


# --- tiny items, large items, what cannot be sent -------------------------------------------------------------------


def tiny(number: int) -> int:
    """Take about 5 us."""
    return spin(50, number)


def arrays(count: int) -> Iterable[Any]:
    """Yield 1 MB arrays, each a view at another offset of one buffer."""
    import numpy

    buffer = numpy.arange(200_000, dtype=numpy.float64)
    return (buffer[n % 1_000 : n % 1_000 + 125_000] for n in range(count))


def widen(array: Any) -> Any:
    """Return 8 MB for 1 MB."""
    import numpy

    return numpy.tile(array, 8)


def ends_of(array: Any) -> int:
    return int(array[0]) * 7 + int(array[-1]) + array.nbytes


def hashing_closure() -> Callable[[int], int]:
    """Make a function that captures a lock, so that it cannot be pickled, and needs no GIL."""
    lock = threading.Lock()
    seen = 0

    def hash_and_count(number: int) -> int:
        nonlocal seen
        with lock:
            seen += 1
        return sha(6 * MEGABYTE, number)

    return hash_and_count


def looping_closure() -> Callable[[int], int]:
    """Make a function that captures a lock and holds the GIL."""
    lock = threading.Lock()
    seen = 0

    def loop_and_count(number: int) -> int:
        nonlocal seen
        with lock:
            seen += 1
        return python_ms(3, number)

    return loop_and_count


# --- costs that change ----------------------------------------------------------------------------------------------


def ramp(count: int) -> Sequence[int]:
    """Return numbers of loops; the cost grows from nothing to 6 ms."""
    return [int(6 * LOOPS_PER_MS * (n + 1) / count) for n in range(count)]


def ramped(loops: int) -> int:
    return spin(loops, loops)


def straggle(number: int) -> int:
    """Take 1 ms, and 250 ms for one item in 1,000."""
    return python_ms(250 if number % 1_000 == 400 else 1, number)


def hit_or_miss(number: int) -> int:
    """Take 60 us, and 20 ms of waiting for one item in 10."""
    if scramble(number) % 10 == 0:
        time.sleep(0.020)
    return spin(600, number)


def import_first(number: int) -> int:
    import numpy  # 0.1 s in the first call of each process

    return python_ms(3, number) + int(numpy.int64(number))


def make_garbage(number: int) -> int:
    """Make 12,000 objects that only the cycle collector can free."""
    last: list[Any] = []
    for n in range(6_000):
        node: list[Any] = [n, {"last": last}]
        node.append(node)
        last = node if n % 50 else []
    return number + len(last)


@functools.cache
def large_array() -> Any:
    import numpy

    return numpy.ones(32 * MEGABYTE)  # 256 MB


def scan(number: int) -> int:
    """Sum 128 MB: bound by the memory, not by the cores."""
    start = scramble(number) % 16 * MEGABYTE
    return int(large_array()[start : start + 16 * MEGABYTE].sum())


MODEL_BYTES = 300 * MEGABYTE


@functools.cache
def model() -> bytearray:
    """Load a model: 300 MB, every page touched."""
    return bytearray(b"\x01") * MODEL_BYTES


def load_model() -> None:
    model()


def apply_model(number: int) -> int:
    weights = model()
    return python_ms(4, number) + weights[scramble(number) % MODEL_BYTES]


_lines_seen = 0


def trace(frame: Any, event: str, argument: Any) -> Any:
    """Count lines of `traced_loop` alone, as a coverage tool does that measures one file."""
    global _lines_seen
    if event == "line":
        _lines_seen += 1
    return trace if frame.f_code is traced_loop.__code__ else None


def start_tracing() -> None:
    threading.settrace(trace)
    sys.settrace(trace)


def traced_loop(number: int) -> int:
    for _ in range(6_000):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return number


def loop_under_coverage(number: int) -> int:
    """Run a loop that is traced, in child processes too (as with coverage's subprocess hook)."""
    if sys.gettrace() is None:
        sys.settrace(trace)
    return traced_loop(number)


# --- few items (`--small`) -----------------------------------------------------------------------------------------


def sleep_50_ms(number: int) -> int:
    time.sleep(0.050)
    return number


def one_us(number: int) -> int:
    return spin(8, number)


def cpu_50_ms(number: int) -> int:
    return python_ms(50, number)


# --- the list ---------------------------------------------------------------------------------------------------------


def no_options() -> dict[str, Any]:
    return {}


def nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload of the zoo.

    Attributes:
        number: in the research note's list.
        name: unique, without spaces.
        make: returns the function, in the process that measures.
        kinds: verdicts that are right ("unknown" is never wrong); empty where the shape is judged.
        fits: says whether a chosen shape (workers, lanes) is right, where `kinds` is empty.
        wanted: what `fits` asks for, for people.
        items: makes the items, given their number.
        options: further options of `map`.
        ready: called before the clock starts: makes files, warms caches.
        digest: turns a value into a number, for the checksum; also used where results are too large to be kept.
        large: results are too large to be kept.
        repeatable: every run gives the same values.
        counted: the function counts its calls.
        helper: the kind of server (or neighbour) that must run beside it.
        delay: when the neighbour starts, as a share of the run's target.
        environment: variables of the measuring process; None removes one.
        threads_only: child processes cannot run it, or may not.
        peers: those of the peers that can run it.
        quick: part of `--quick`.
    """

    number: int
    name: str
    make: Callable[[], Callable[[Any], Any]]
    kinds: tuple[str, ...] = ()
    fits: Callable[[int, int], bool] | None = None
    wanted: str = ""
    items: Callable[[int], Iterable[Any]] = range
    options: Callable[[], dict[str, Any]] = no_options
    ready: Callable[[], object] = nothing
    digest: Callable[[Any], int] = hash
    large: bool = False
    repeatable: bool = True
    counted: bool = False
    helper: str = ""
    delay: float = 0.0
    environment: dict[str, str | None] = field(default_factory=dict)
    threads_only: bool = False
    peers: tuple[str, ...] = ("threads", "processes", "joblib", "mpire")
    quick: bool = False

    def truth(self) -> str:
        return self.wanted or ("any" if self.kinds == ANY_KIND else "/".join(self.kinds))


def plain(number: int, name: str, function: Callable[[Any], Any], *kinds: str, **options: Any) -> Workload:
    """Return a workload with a function of this module."""
    return Workload(number, name, lambda: function, kinds, **options)


def shaped(
    number: int,
    name: str,
    function: Callable[[Any], Any],
    wanted: str,
    fits: Callable[[int, int], bool],
    **options: Any,
) -> Workload:
    """Return a workload that is judged by the shape that was chosen."""
    return Workload(number, name, lambda: function, (), fits, wanted, **options)


def several_workers(workers: int, lanes: int) -> bool:
    return workers >= 2


def few_lanes(workers: int, lanes: int) -> bool:
    return workers * lanes <= 4


def workers_or_serial(workers: int, lanes: int) -> bool:
    return workers >= 2 or lanes == 1


def constant_backoff(executions: int) -> float:
    return 0.05


def retry_when_refused() -> dict[str, Any]:
    import poolwise

    return {"retry": poolwise.Retry(attempts=200, on=Refused, backoff=constant_backoff)}


def model_options() -> dict[str, Any]:
    """Let one model fit into memory, and not two."""
    import poolwise

    return {"setup": load_model, "limits": poolwise.Limits(memory=450 * MEGABYTE)}


ONE_BLAS_THREAD: dict[str, str | None] = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
ONE_AND_A_HALF_CORES: dict[str, str | None] = {"POOLWISE_CORES": "1.5"}
LANES = ("threads",)
ANY_KIND = ("io", "gil", "cpu", "mixed", "tiny", "transfer")  # no kind is this one's name

WORKLOADS = [
    plain(1, "python-loop", python_loop, "gil", counted=True, quick=True),
    plain(2, "json-loads", parse_json, "gil", ready=json_text),
    plain(3, "sorted", sort_list, "gil", ready=unsorted_numbers),
    plain(4, "regex", backtrack, "gil"),
    plain(5, "big-power", big_power, "gil"),
    plain(6, "held-usleep", held_sleep, "gil", quick=True),
    plain(7, "sha-10MB", sha_large, "cpu", ready=noise, counted=True, quick=True),
    plain(8, "sha-1KB", sha_small, "gil", ready=noise),
    plain(9, "zlib", compress, "cpu", ready=half_noise),
    plain(10, "matmul-1", multiply, "cpu", ready=square_matrix, environment=ONE_BLAS_THREAD),
    shaped(11, "matmul-n", multiply, "few lanes", few_lanes, ready=square_matrix),
    plain(12, "small-numpy", small_numpy, "gil", ready=small_array),
    plain(13, "object-numpy", object_numpy, "gil", ready=object_array),
    plain(14, "fine-alternation", fine_alternation, "mixed", ready=noise, quick=True),
    shaped(15, "sqlite-memory", query_memory, "processes/serial", workers_or_serial, quick=True),
    shaped(16, "sqlite-writes", write_database, "few lanes", few_lanes, ready=make_database),
    plain(17, "read-cached", read_cached, "cpu", ready=make_file),
    plain(18, "read-cold", read_cold, "io", "mixed", "cpu", ready=make_file),
    plain(19, "sleep-5ms", sleep_5_ms, "io", counted=True, quick=True),
    plain(20, "short-sleeps", short_sleeps, "io"),
    plain(21, "loopback-3ms", fetch, "io", helper="delay"),
    plain(22, "server-40-slots", fetch, "io", helper="slots", quick=True),
    plain(23, "retrograde", fetch, "io", helper="retrograde"),
    plain(24, "bucket-429", fetch, "io", helper="bucket", options=retry_when_refused, peers=()),
    plain(25, "times-out", fetch_or_give_up, "io", helper="silent"),
    plain(26, "python-sha-sleep", python_hash_sleep, "mixed", ready=noise, counted=True, quick=True),
    plain(27, "json-wait", parse_and_wait, "mixed", ready=short_json_text),
    plain(28, "tls-parse", fetch_and_parse, "mixed", helper="page"),
    plain(29, "subprocess", run_shell, "cpu"),
    plain(30, "async-fetch", fetch_async, "io", helper="delay", peers=(), quick=True),
    plain(31, "async-blocking", block_async, *ANY_KIND, peers=()),
    shaped(32, "lock-sleep", sleep_under_lock, "processes", several_workers, quick=True),
    shaped(32, "lock-python", python_under_lock, "processes", several_workers),
    shaped(33, "file-lock", sleep_under_file_lock, "few lanes", few_lanes),
    plain(34, "tiny", tiny, "tiny", quick=True),
    plain(35, "transfer", widen, "transfer", items=arrays, digest=ends_of, large=True, quick=True),
    Workload(36, "closure-sha", hashing_closure, ("cpu",), ready=noise, threads_only=True, peers=LANES),
    Workload(36, "closure-python", looping_closure, ("gil",), threads_only=True, peers=LANES),
    plain(37, "ramp", ramped, "gil", items=ramp),
    plain(38, "stragglers", straggle, "gil"),
    plain(39, "hit-or-miss", hit_or_miss, "io", "mixed"),
    plain(40, "lazy-import", import_first, "gil"),
    plain(41, "garbage", make_garbage, "gil"),
    plain(42, "memory-scan", scan, "cpu", ready=large_array),
    plain(43, "model-300MB", apply_model, "gil", options=model_options, threads_only=True, peers=LANES, ready=model),
    plain(44, "quota-1.5", sha_large, "cpu", ready=noise, counted=True, environment=ONE_AND_A_HALF_CORES),
    plain(45, "neighbour", python_loop, "gil", counted=True, helper="neighbour", delay=0.25),
    plain(47, "coverage", loop_under_coverage, "gil", ready=start_tracing),
]

SKIPPED = {46: "a shared hot dict on a free-threaded build: this interpreter has a GIL"}

BY_NAME = {workload.name: workload for workload in WORKLOADS}


def checksum(digests: Iterable[int]) -> int:
    """Fold numbers into one that depends on their order."""
    total = 0
    for place, digest in enumerate(digests, 1):
        total += place * digest
    return total & 0xFFFF_FFFF_FFFF_FFFF
