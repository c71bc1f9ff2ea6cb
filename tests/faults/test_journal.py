"""A journal survives: SIGKILL at any moment, a full disk, a damaged file. Nothing is lost, nothing is made up."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import poolwise
from poolwise import Journal, JournalError
from poolwise._runtime.journal_reader import Reader, salvage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX")

SCRIPT = """
import functools, os, sys, time
import poolwise

def fn(seconds, folder, x):
    line = f"{x} {time.time():.6f}\\n".encode()
    descriptor = os.open(os.path.join(folder, "calls"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line)
    os.close(descriptor)
    if seconds:
        time.sleep(seconds)
    return [x, x * x]

folder, shape, count, seconds, durable = sys.argv[1:]
journal = poolwise.Journal(os.path.join(folder, "run.db"), durable=durable == "1")
work = functools.partial(fn, float(seconds), folder)
with poolwise.run(work, range(int(count)), shape=shape, journal=journal) as outcomes:
    for outcome in outcomes:
        os.write(1, f"{outcome.key}\\n".encode())
"""

WAYS = [
    ("1x1", 3000, 0.0, False),
    ("1x16", 2000, 0.004, False),
    ("2x1", 3000, 0.0, False),
    ("2x4", 1500, 0.002, False),
    ("auto", 2500, 0.001, False),
    ("2x1", 400, 0.001, True),
]


def started(folder: Path, way: tuple[str, int, float, bool]) -> subprocess.Popen[bytes]:
    shape, count, seconds, durable = way
    command = [sys.executable, "-c", SCRIPT, str(folder), shape, str(count), str(seconds), str(int(durable))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def calls(folder: Path) -> list[tuple[int, float]]:
    """The calls so far: item and Unix time. A line that is still being written does not count."""
    try:
        text = (folder / "calls").read_text()
    except FileNotFoundError:
        return []
    made = []
    for line in text.split("\n")[:-1]:
        item, _, at = line.partition(" ")
        made.append((int(item), float(at)))
    return made


@pytest.mark.parametrize("number", range(200 if os.environ.get("POOLWISE_SOAK") else 20))
def test_killed_at_any_moment(number: int, tmp_path: Path) -> None:
    """Every key is in the results exactly once with its value, and only what was executed last is executed again."""
    way = WAYS[number % len(WAYS)]
    count = way[1]
    draw = random.Random(number)
    for _ in range(3):
        before = len(calls(tmp_path))
        with started(tmp_path, way) as process:
            wanted = before + draw.randrange(1, count // 3)
            while len(calls(tmp_path)) < wanted and process.poll() is None:
                time.sleep(0.002)
            process.kill()  # It may have ended.
            killed = time.time()
            process.wait()
        _check_again(tmp_path, before, killed)
    with started(tmp_path, way) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert sorted(map(int, out.split())) == list(range(count))
    with Reader(str(tmp_path / "run.db")) as reader:
        recorded = {outcome.key: outcome.value for outcome in reader.outcomes()}  # type: ignore[union-attr]
    assert recorded == {x: [x, x * x] for x in range(count)}
    most = collections.Counter(item for item, _ in calls(tmp_path)).most_common(1)[0][1]
    assert most <= 4  # Runs.
    assert sorted(os.listdir(tmp_path)) in (["calls", "run.db"], ["calls", "run.db", "run.db.lock"])


def _check_again(folder: Path, before: int, killed: float) -> None:
    """What was executed in the killed run and is not in the journal is executed again: that of the last second."""
    path = folder / "run.db"
    if not path.exists():
        return
    try:
        with Reader(str(path)) as reader:
            known = {outcome.key for outcome in reader.outcomes()}  # type: ignore[union-attr]
    except JournalError as error:
        assert "no journal" in str(error)  # It was killed before the first commit.  # noqa: PT017
        known = set()
    made = calls(folder)[before:]  # Read once: workers outlive the process that was killed for a moment.
    recent = sum(at > killed - 1.0 for _, at in made)
    assert len({item for item, _ in made} - known) <= max(1000, recent)


FULL = """
import resource, sys, poolwise
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
def fn(x):
    return "x" * 2000
try:
    for value in poolwise.map(fn, range(5000), shape=sys.argv[3], journal=sys.argv[1]):
        pass
except poolwise.JournalError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("shape", ["1x1", "1x4", "2x1"])
@pytest.mark.parametrize("size", [40_000, 1_000_000])
def test_the_disk_fills_up(shape: str, size: int, tmp_path: Path) -> None:
    """The run stops with one sentence; what is recorded stays, and the next run goes on from there."""
    path = tmp_path / "run.db"
    command = [sys.executable, "-c", FULL, str(path), str(size), shape]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 7, ended.stderr
    assert "the disk is full" in ended.stdout
    assert ended.stdout.count("\n") == 1
    with Reader(str(path)) as reader:
        saved = reader.summary().done
    assert saved < 5000
    command[4] = str(1 << 30)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    with Reader(str(path)) as reader:
        assert reader.summary().done == 5000


def text_of(x: int) -> str:
    return f"value {x} " * 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of 300 outcomes."""
    path = tmp_path_factory.mktemp("whole") / "run.db"
    list(poolwise.map(text_of, range(300), journal=path, shape="1x1"))
    return path


@pytest.mark.parametrize("durable", [False, True])
def test_a_journal_that_was_killed_before_anything_was_in_it(tmp_path: Path, durable: bool) -> None:
    """What makes one is a single transaction: before it there is a file with nothing in it, and that is begun anew."""
    path = tmp_path / "run.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    for _ in range(2):
        assert list(poolwise.map(abs, range(5), journal=Journal(path, durable=durable), shape="1x1")) == list(range(5))
    with Reader(str(path)) as reader:
        assert len(list(reader.outcomes())) == 5


damages = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.just(b"")),
    st.tuples(st.just("overwrite"), st.integers(0, 1 << 20), st.binary(min_size=1, max_size=600)),
    st.tuples(st.just("zero"), st.integers(0, 1 << 20), st.integers(1, 5000).map(bytes)),
)


@pytest.mark.filterwarnings("ignore:the source of .* has changed:RuntimeWarning")  # So it may say of itself.
@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damages)
@example(damage=("overwrite", 8094, b"\x00"))
@example(damage=("overwrite", 4090, b"\x80"))  # SQLite quotes the schema, which is no UTF-8 then.
def test_a_damaged_journal_gives_an_error_or_the_truth(
    damage: tuple[str, int, bytes], whole: Path, tmp_path: Path
) -> None:
    """Never a wrong value, never another exception; what can be read is saved, and what is saved is true."""
    kind, place, data = damage
    intact = whole.read_bytes()
    place %= len(intact)
    broken = intact[:place] if kind == "cut" else intact[:place] + data + intact[place + len(data) :]
    path, saved = tmp_path / "run.db", tmp_path / "saved.db"
    for leftover in tmp_path.iterdir():
        leftover.unlink()
    path.write_bytes(broken[: len(intact)])
    expected = [text_of(x) for x in range(300)]
    try:
        assert list(poolwise.map(text_of, range(300), journal=path, shape="1x1")) == expected
    except JournalError:
        pass
    try:
        count, _ = salvage(str(path), str(saved))
    except JournalError:
        assert not saved.exists()
        return
    with Reader(str(saved)) as reader:
        outcomes = list(reader.outcomes())
    assert len(outcomes) == count
    assert all(outcome.value == text_of(outcome.key) for outcome in outcomes)  # type: ignore[union-attr]


def test_damaged_names_of_columns_cost_no_outcome(whole: Path, tmp_path: Path) -> None:
    """The schema's own text is no UTF-8 any more; the rows are whole."""
    intact = whole.read_bytes()
    for name in (b"cpu_seconds", b"seconds REAL", b"attempts"):
        place = intact.index(name, intact.index(b"CREATE TABLE outcome"))
        assert saved_of(intact[:place] + b"\xff" + intact[place + 1 :], tmp_path) == 300
        (tmp_path / "saved.db").unlink()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of 20,000 outcomes."""
    path = tmp_path_factory.mktemp("long") / "run.db"
    list(poolwise.map(text_of, range(20_000), journal=path, shape="1x1"))
    return path


def saved_of(damaged: bytes, folder: Path, *, most_wrong: int = 0) -> int:
    """Return how many outcomes are saved, all of which must be true; `most_wrong` rows may fail their checksum."""
    path, saved = folder / "damaged.db", folder / "saved.db"
    path.write_bytes(damaged)
    count, wrong = salvage(str(path), str(saved))
    assert wrong <= most_wrong
    with Reader(str(saved)) as reader:
        outcomes = list(reader.outcomes())
    assert len(outcomes) == count
    assert all(outcome.value == text_of(outcome.key) for outcome in outcomes)  # type: ignore[union-attr]
    return count


def test_most_of_a_truncated_journal_is_saved(long: Path, tmp_path: Path) -> None:
    """The schema says that there is more than the file holds: what it does hold is read.

    Cut within a page, its rows are partly zeros: as many as one page holds fail their checksum, each counted once.
    """
    intact = long.read_bytes()
    page = len(intact) * 7 // 10 // 4096 * 4096
    for rest in range(0, 4096, 512):
        assert saved_of(intact[: page + rest], tmp_path, most_wrong=20 if rest else 0) >= 12_000
        (tmp_path / "saved.db").unlink()


def test_what_stands_between_damaged_pages_is_saved(long: Path, tmp_path: Path) -> None:
    """Each costs what it holds: the outcomes before, between and after them are read."""
    broken = bytearray(long.read_bytes())
    for tenth in range(3, 10, 2):
        begin = len(broken) * tenth // 10 // 4096 * 4096
        broken[begin : begin + 4096] = bytes(4096)
    assert saved_of(bytes(broken), tmp_path) >= 19_000
