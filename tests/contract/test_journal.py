"""The journal: what is recorded is not executed again, whatever way it is run."""

from __future__ import annotations

import enum
import errno
import functools
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise import Journal, JournalCorrupt, JournalError, JournalLocked, JournalMismatch, TaskFailed, UsageError
from zoo.marks import add_line, lines
from zoo.ways import Way


def noted(folder: Path, x: Any) -> Any:
    """Note the call, and give something to check."""
    add_line(folder / "calls", repr(x))
    return [x, x]


def calls(folder: Path) -> list[str]:
    """The calls since last asked."""
    made = lines(folder / "calls")
    (folder / "calls").unlink(missing_ok=True)
    return made


def failing(folder: Path, x: int) -> int:
    """Fail at multiples of 5, as long as there is no file "mended"."""
    add_line(folder / "calls", x)
    if x % 5 == 0 and not (folder / "mended").exists():
        raise ValueError(f"{x} is a multiple of 5")
    return x


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


def test_a_second_run_executes_nothing(way: Way, journal: str, tmp_path: Path) -> None:
    """Values come again, in order, without a single call; a longer input executes what is new."""
    fn = way.fn(functools.partial(noted, tmp_path))
    assert list(way.map(fn, range(40), journal=journal)) == [[x, x] for x in range(40)]
    assert len(calls(tmp_path)) == 40
    assert list(way.map(fn, range(40), journal=journal)) == [[x, x] for x in range(40)]
    assert calls(tmp_path) == []
    assert list(way.map(fn, range(45), journal=journal)) == [[x, x] for x in range(45)]
    assert sorted(calls(tmp_path)) == sorted(map(str, range(40, 45)))


def test_outcomes_come_back_as_they_were(way: Way, journal: str, tmp_path: Path) -> None:
    """Times, attempts and places are those of the execution; index is the place in this input."""
    fn = way.fn(functools.partial(noted, tmp_path))
    before = {outcome.key: outcome for outcome in way.run(fn, range(20), journal=journal)}
    again = list(way.run(fn, reversed(range(20)), journal=journal, ordered=True, total=20))
    assert [outcome.key for outcome in again] == list(reversed(range(20)))
    assert [outcome.index for outcome in again] == list(range(20))
    for outcome in again:
        old = before[outcome.key]
        assert (outcome.ok, outcome.value, outcome.attempts) == (True, old.value, old.attempts)
        assert outcome.started == pytest.approx(old.started, abs=1e-3)
        assert outcome.seconds == pytest.approx(old.seconds)
        assert (outcome.worker, outcome.lane, outcome.clocked) == (old.worker, old.lane, old.clocked)


@pytest.mark.parametrize("durable", [False, True])
def test_durable_or_not(way: Way, journal: str, tmp_path: Path, durable: bool) -> None:
    """With durable=True what has been yielded is committed already."""
    fn = way.fn(functools.partial(noted, tmp_path))
    seen = 0
    with way.run(fn, range(60), journal=Journal(journal, durable=durable)) as outcomes:
        for outcome in outcomes:
            seen += 1
            if durable:
                with closing(sqlite3.connect(journal)) as connection:
                    found = connection.execute("SELECT count(*) FROM outcome WHERE key = ?", (outcome.key,))
                    assert found.fetchone()[0] == 1
    assert seen == 60


def test_failures_stay_until_they_are_to_be_retried(way: Way, journal: str, tmp_path: Path) -> None:
    """A failed item is not executed again by itself; with retry_failed it is, and the new outcome counts from then."""
    fn = way.fn(functools.partial(failing, tmp_path))
    first = sorted(way.run(fn, range(12), journal=journal), key=lambda outcome: outcome.key)
    assert [outcome.key for outcome in first if not outcome.ok] == [0, 5, 10]
    calls(tmp_path)
    again = sorted(way.run(fn, range(12), journal=journal), key=lambda outcome: outcome.key)
    assert calls(tmp_path) == []
    for old, new in zip(first, again, strict=True):
        assert (old.key, old.ok, str(old.error)) == (new.key, new.ok, str(new.error))
    assert isinstance(again[5].error, TaskFailed)
    assert isinstance(again[5].error.__cause__, ValueError)
    assert again[5].error.key == 5
    with pytest.raises(ValueError, match="0 is a multiple of 5"):
        list(way.map(fn, range(12), journal=journal))
    (tmp_path / "mended").touch()
    calls(tmp_path)
    assert list(way.map(fn, range(12), journal=Journal(journal, retry_failed=True))) == list(range(12))
    assert sorted(calls(tmp_path)) == ["0", "10", "5"]
    assert list(way.map(fn, range(12), journal=journal)) == list(range(12))
    assert calls(tmp_path) == []


def test_what_is_out_of_date_is_executed_again(way: Way, journal: str, tmp_path: Path) -> None:
    """`again` is asked about each recorded outcome; what it wants again counts anew, the rest stays."""
    fn = way.fn(functools.partial(noted, tmp_path))
    list(way.map(fn, range(12), journal=journal))
    calls(tmp_path)
    asked = []

    def again(recorded: Any) -> bool:
        asked.append(recorded.key)
        return bool(recorded.value[0] % 3 == 0)

    assert list(way.map(fn, range(12), journal=Journal(journal, again=again))) == [[x, x] for x in range(12)]
    assert sorted(asked) == list(range(12))
    assert sorted(calls(tmp_path), key=int) == ["0", "3", "6", "9"]
    with pytest.raises(UsageError, match="must be a function"):
        Journal(journal, again=True)  # type: ignore[arg-type]


def test_a_repeated_key_executes_once(way: Way, journal: str, tmp_path: Path) -> None:
    """Later positions get the same outcome, whether the first is on its way, settled, or recorded."""
    fn = way.fn(functools.partial(noted, tmp_path))
    items = [1, 1, 2, 1, 3, 2] * 20
    assert list(way.map(fn, items, journal=journal)) == [[x, x] for x in items]
    assert sorted(calls(tmp_path)) == ["1", "2", "3"]
    outcomes = list(way.run(fn, items, journal=journal, ordered=True))
    assert [outcome.index for outcome in outcomes] == list(range(120))
    assert calls(tmp_path) == []


def test_keys_differ_by_type(journal: str, tmp_path: Path) -> None:
    """1, "1", Path("1"), True and tuples of them are keys of their own."""
    items = [1, "1", Path("1"), True, (1,), ("1",), (1, Path("a")), -(1 << 70), "\ud800", "a\0b"]
    fn = functools.partial(noted, tmp_path)
    assert list(poolwise.map(fn, items, journal=journal, shape="1x1")) == [[x, x] for x in items]
    assert len(calls(tmp_path)) == len(items)
    assert list(poolwise.map(fn, items, journal=journal, shape="1x1")) == [[x, x] for x in items]
    assert calls(tmp_path) == []


def test_items_without_a_key(journal: str, tmp_path: Path) -> None:
    """What cannot name itself needs key=, and that is said before anything is executed."""
    fn = functools.partial(noted, tmp_path)
    with pytest.raises(UsageError, match=r"the key \{'id': 1\} is a dict.*give key="):
        list(poolwise.map(fn, [{"id": 1}], journal=journal))
    assert calls(tmp_path) == []
    items = [{"id": n, "text": "x"} for n in range(5)]
    by_id = {"journal": journal, "key": lambda item: item["id"]}
    assert list(poolwise.map(fn, items, **by_id)) == [[x, x] for x in items]
    calls(tmp_path)
    assert list(poolwise.map(fn, items, **by_id)) == [[x, x] for x in items]
    assert calls(tmp_path) == []


def test_a_late_item_without_a_key_loses_nothing(journal: str, tmp_path: Path) -> None:
    """What came before it is executed, recorded and yielded."""
    fn = functools.partial(noted, tmp_path)
    results = poolwise.map(fn, [1, 2, 2.5, 3], journal=journal, shape="1x2")
    assert [next(results), next(results)] == [[1, 1], [2, 2]]
    with pytest.raises(UsageError, match=r"2\.5 is a float"):
        next(results)
    assert list(poolwise.map(fn, [1, 2], journal=journal)) == [[1, 1], [2, 2]]
    assert sorted(calls(tmp_path)) == ["1", "2"]


def test_several_iterables(journal: str) -> None:
    """The arguments together are the key."""
    assert list(poolwise.map(pow, [2, 3], [5, 2], journal=journal)) == [32, 9]
    assert list(poolwise.map(pow, [3, 2], [2, 5], journal=journal)) == [9, 32]


@dataclass(frozen=True)
class Point:
    x: int
    y: int


def make(kind: str) -> Any:
    return {
        "int": 7,
        "long": 10**5000,
        "float": 0.1,
        "infinite": float("inf"),
        "none": None,
        "text": "ü\ud800\0",
        "nested": {"a": [1, {"b": None}], "c": "d"},
        "tuple": (1, [2]),
        "int keys": {1: 2},
        "point": Point(1, 2),
        "bytes": b"\0\xff",
    }[kind]


VALUES = ["int", "long", "float", "infinite", "none", "text", "nested", "tuple", "int keys", "point", "bytes"]


def test_values_come_back_with_their_types(journal: str) -> None:
    """JSON where it says exactly the same, a pickle else."""
    first = list(poolwise.map(make, VALUES, journal=journal, shape="1x1"))
    again = list(poolwise.map(make, VALUES, journal=journal, shape="1x1"))
    assert again == first
    assert [type(value) for value in again] == [type(value) for value in first]


def test_a_local_class_comes_back(journal: str) -> None:
    """What pickle cannot name, cloudpickle sends."""

    def fn(x: int) -> Any:
        return lambda: x * 2

    list(poolwise.map(fn, [4], journal=journal, shape="1x1"))
    assert next(poolwise.map(fn, [4], journal=journal, shape="1x1"))() == 8


def test_a_value_that_cannot_be_recorded_fails_alone(journal: str, tmp_path: Path) -> None:
    """The item says why; the others are recorded, and so is its failure."""

    def fn(x: int) -> Any:
        add_line(tmp_path / "calls", x)
        return threading.Lock() if x == 2 else x

    outcomes = list(poolwise.run(fn, range(4), journal=journal, shape="1x1", ordered=True))
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True]
    assert "cannot be recorded" in str(outcomes[2].error)
    assert outcomes[2].value is None
    calls(tmp_path)
    again = list(poolwise.run(fn, range(4), journal=journal, shape="1x1", ordered=True))
    assert [outcome.ok for outcome in again] == [True, True, False, True]
    assert calls(tmp_path) == []


def test_a_value_that_is_too_large_fails_alone(journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear sentence, with the sizes and the remedy."""
    monkeypatch.setattr("poolwise._runtime.journal.MOST_VALUE_BYTES", 1_000_000)
    outcomes = list(poolwise.run(lambda x: "x" * x, [10, 2_000_000], journal=journal, shape="1x1", ordered=True))
    assert [outcome.ok for outcome in outcomes] == [True, False]
    assert "2 MB long" in str(outcomes[1].error)
    assert "return a path" in str(outcomes[1].error)


def points(folder: Path, x: int) -> Any:
    add_line(folder / "calls", x)
    return Point(x, x) if x == 1 else x


def test_a_value_that_cannot_be_read_costs_itself(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its item has failed, with the sentence; the others are there, and retry_failed executes it again."""
    fn = functools.partial(points, tmp_path)
    list(poolwise.map(fn, range(3), journal=journal, shape="1x1"))
    calls(tmp_path)
    with monkeypatch.context() as renamed:
        renamed.delattr(sys.modules[__name__], "Point")
        outcomes = list(poolwise.run(fn, range(3), journal=journal, shape="1x1", ordered=True))
        assert [(outcome.key, outcome.ok) for outcome in outcomes] == [(0, True), (1, False), (2, True)]
        assert isinstance(outcomes[1].error, TaskFailed)
        assert outcomes[1].error.key == 1
        sentence = r"the value of 1 in .* cannot be read here \(AttributeError: .*must be importable"
        with pytest.raises(TaskFailed, match=sentence):
            list(poolwise.map(fn, range(3), journal=journal, shape="1x1"))
    assert calls(tmp_path) == []
    assert list(poolwise.map(fn, range(3), journal=journal, shape="1x1")) == [0, Point(1, 1), 2]
    monkeypatch.setattr(sys.modules[__name__], "Point", complex)  # What was recorded is another class now.
    assert list(poolwise.map(fn, range(3), journal=Journal(journal, retry_failed=True), shape="1x1")) == [0, 1 + 1j, 2]
    assert calls(tmp_path) == ["1"]


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    "items", [[Path("a"), Path("b")], [Level.LOW], [(Path("a"), Level.LOW)], [10**5000, -(10**5000)]], ids=lambda _: ""
)
def test_keys_come_back_as_they_are_given(items: list[Any], journal: str) -> None:
    """A path can be opened, a member of an enum is one: in the second run as in the first, failed or not."""

    def fn(x: Any) -> int:
        if x == items[-1]:
            raise ValueError("no")
        return 1

    for _ in range(2):
        outcomes = list(poolwise.run(fn, items, journal=journal, shape="1x1", ordered=True))
        for outcome, item in zip(outcomes, items, strict=True):
            assert outcome.key == item
            assert type(outcome.key) is type(item)
        assert outcomes[-1].error is not None
        assert type(outcomes[-1].error.key) is type(items[-1])


def quotient(x: int) -> int:
    return x + 0 // (x - 50)


def stopping(x: int) -> int:
    return next(iter([x] if x != 50 else []))


@pytest.mark.parametrize("shape", ["1x1", "1x4"])
@pytest.mark.parametrize(("key", "cause"), [(quotient, ZeroDivisionError), (stopping, StopIteration)])
def test_a_key_function_that_raises_loses_nothing(key: Any, cause: type, shape: str, journal: str) -> None:
    """What came before is given; then it is said which item it was."""
    seen: list[int] = []
    items = [*range(51, 60), 50, 60]
    with pytest.raises(UsageError, match=rf"key={key.__name__} raised {cause.__name__}: .*for item 9 \(50\)") as error:
        outcomes = poolwise.run(one, items, journal=journal, key=key, shape=shape, ordered=True)
        seen.extend(outcome.index for outcome in outcomes)  # Keeps what came before an error.
    assert isinstance(error.value.__cause__, cause)
    assert seen == list(range(9))


def test_a_key_that_is_too_deep(journal: str) -> None:
    """It is refused by its place, after what came before it."""
    deep: Any = ()
    for _ in range(5000):
        deep = (deep,)
    seen: list[str] = []
    with pytest.raises(UsageError, match=r"item 2: the key holds tuples more than 100 deep; give key="):
        seen.extend(poolwise.map(str, [1, 2, deep], journal=journal, shape="1x1"))
    assert seen == ["1", "2"]


# -- whose it is -------------------------------------------------------------------------------------------------------


def one(x: int) -> int:
    return x + 1


def other(x: int) -> int:
    return x + 2


def test_another_function_is_a_mismatch(journal: str) -> None:
    """The difference is named; force goes on with the journal all the same, and changes nothing that is recorded."""
    list(poolwise.map(one, range(3), journal=journal))
    with pytest.raises(JournalMismatch, match=r":one, not to .*:other"):
        poolwise.map(other, range(3), journal=journal)
    assert list(poolwise.map(other, range(4), journal=Journal(journal, force=True))) == [1, 2, 3, 5]
    assert list(poolwise.map(other, range(4), journal=journal)) == [1, 2, 3, 5]


def test_lambdas_are_told_by_their_code(journal: str) -> None:
    """The same code is the same function, wherever it stands; other code is another."""
    list(poolwise.map(lambda x: x + 1, range(3), journal=journal))
    assert list(poolwise.map(lambda x: x + 1, range(3), journal=journal)) == [1, 2, 3]
    with pytest.raises(JournalMismatch, match="its code differs"):
        poolwise.map(lambda x: x + 2, range(3), journal=journal)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (functools.partial(pow, 2), functools.partial(pow, 3), r"argument 1=2, not 3"),
        (functools.partial(int, base=8), functools.partial(int, base=16), r"base=8, not 16"),
    ],
)
def test_arguments_of_partials_count(journal: str, first: Any, second: Any, word: str) -> None:
    """They change the values, so another one is a mismatch."""
    items = ["7"] if "base" in word else [7]
    list(poolwise.map(first, items, journal=journal))
    with pytest.raises(JournalMismatch, match=word):
        poolwise.map(second, items, journal=journal)


def test_options_that_do_not_change_values_never_matter(journal: str) -> None:
    """Shape, limits, retry and timeout are free."""
    list(poolwise.map(one, range(5), journal=journal, shape="1x1"))
    again: dict[str, Any] = {"shape": "2x1", "retry": 3, "timeout": 5.0, "limits": poolwise.Limits(in_flight=9)}
    assert list(poolwise.map(one, range(5), journal=journal, **again)) == [1, 2, 3, 4, 5]


SCRIPT = """
import sys, warnings
import poolwise
warnings.simplefilter("error")
def fn(x):
    return x {operator} 1
print(list(poolwise.map(fn, range(3), journal=sys.argv[1], shape="1x1")))
"""


def test_changed_source_warns(journal: str, tmp_path: Path) -> None:
    """The values of before stay, and one warning says that the source is another now."""
    script = tmp_path / "script.py"
    for operator, code, word in (
        ("+", 0, ""),
        ("+", 0, ""),
        ("-", 1, "the source of __main__(script.py):fn has changed"),
    ):
        script.write_text(SCRIPT.format(operator=operator))
        ended = subprocess.run([sys.executable, str(script), journal], capture_output=True, text=True, check=False)
        assert (ended.returncode, word in ended.stderr) == (code, True), ended.stderr


# -- the file ----------------------------------------------------------------------------------------------------------


def test_locked_by_another_run(journal: str) -> None:
    """Two runs never write one journal; when the first is over, the second may."""
    results = poolwise.map(one, range(5), journal=journal)
    with pytest.raises(JournalLocked, match="this process"):
        poolwise.map(one, range(5), journal=journal)
    assert list(results) == [1, 2, 3, 4, 5]
    assert list(poolwise.map(one, range(5), journal=journal)) == [1, 2, 3, 4, 5]
    assert sorted(os.listdir(os.path.dirname(journal))) == ["run.db"]


def test_no_thread_to_write_it(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says so before anything is executed, and the journal is let go of."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(poolwise.BackendError, match="starts no thread"):
        poolwise.map(one, range(5), journal=journal)
    monkeypatch.undo()
    assert list(poolwise.map(one, range(5), journal=journal)) == [1, 2, 3, 4, 5]


def test_a_run_that_cannot_be_told_of_is_recorded(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong there is raised, and the journal has every outcome and is let go of all the same."""

    def refuse(*_: object) -> None:
        raise ArithmeticError("there is no story")

    for wrong in (ArithmeticError, ImportError):
        if wrong is ArithmeticError:
            monkeypatch.setattr("poolwise.report.live.story_of", refuse)
        else:  # As where an item left no descriptor to read it with.
            monkeypatch.setitem(sys.modules, "poolwise.report.live", None)
        with pytest.raises(wrong):
            list(poolwise.map(one, range(5), journal=journal))
        monkeypatch.undo()
    results = poolwise.map(one, range(5), journal=journal)
    assert list(results) == [1, 2, 3, 4, 5]
    assert results.report().recorded == 5


HOLDER = """
import sys, poolwise
def fn(x):
    return x
with poolwise.map(fn, iter(sys.stdin.readline, ""), journal=sys.argv[1], shape="1x1") as results:
    for value in results:
        print(value.strip(), flush=True)
"""


def test_locked_by_another_process(journal: str) -> None:
    """It names the process, reading goes on meanwhile, and a holder that is killed holds nothing."""
    from poolwise._runtime.journal_reader import Reader

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, journal], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("a\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "a\n"
        with pytest.raises(JournalLocked, match=f"process {holder.pid}"):
            poolwise.map(one, range(5), journal=Journal(journal, force=True))
        with Reader(journal) as reader:
            assert reader.summary().function.endswith(":fn")
        holder.kill()
    assert list(poolwise.map(one, range(3), journal=Journal(journal, force=True))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "error", "word"),
    [
        (b"these are notes\n" * 9, JournalMismatch, "no journal"),
        (b"SQLite format 3\0" + b"\xff" * 4000, JournalCorrupt, "is damaged"),
        (b"", None, ""),
    ],
)
def test_other_files(journal: str, content: bytes, error: type[Exception] | None, word: str) -> None:
    """What is no journal is left as it is; an empty file becomes one."""
    Path(journal).write_bytes(content)
    if error is None:
        assert list(poolwise.map(one, range(3), journal=journal)) == [1, 2, 3]
        return
    with pytest.raises(error, match=word):
        poolwise.map(one, range(3), journal=journal)
    assert Path(journal).read_bytes() == content
    assert os.listdir(os.path.dirname(journal)) == ["run.db"]


def test_another_programs_database(journal: str) -> None:
    """It is not written into."""
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    with pytest.raises(JournalMismatch, match="no journal of poolwise"):
        poolwise.map(one, range(3), journal=journal)


@pytest.mark.parametrize("path", ["", 5, b""])
def test_what_is_no_path(path: Any) -> None:
    """One sentence, before work starts."""
    with pytest.raises(UsageError, match="journal is"):
        poolwise.map(one, range(3), journal=path)


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A folder, and a folder that is not there."""
    with pytest.raises(JournalError, match="is a folder"):
        poolwise.map(one, range(3), journal=tmp_path)
    with pytest.raises(JournalError, match="cannot be written"):
        poolwise.map(one, range(3), journal=tmp_path / "nowhere" / "run.db")


def test_network_file_systems_get_no_write_ahead_log(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and works."""
    monkeypatch.setattr("poolwise._runtime.host.network_file_system", lambda _: "nfs4")
    with pytest.warns(RuntimeWarning, match=r"network file system \(nfs4\)"):
        results = poolwise.map(one, range(50), journal=journal)
    assert list(results) == list(range(1, 51))
    with closing(sqlite3.connect(journal)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_what_was_settled_is_recorded_however_it_ends(way: Way, journal: str, tmp_path: Path) -> None:
    """A consumer that leaves, raises or cancels loses nothing that was handed to it."""
    fn = way.fn(functools.partial(noted, tmp_path))
    got = []
    with pytest.raises(RuntimeError, match="enough"), way.run(fn, range(500), journal=journal) as outcomes:
        for outcome in outcomes:
            got.append(outcome.key)
            if len(got) == 50:
                raise RuntimeError("enough")
    executed = calls(tmp_path)
    assert list(way.map(fn, got, journal=journal)) == [[key, key] for key in got]
    assert calls(tmp_path) == []
    assert len(executed) == len(set(executed))


def test_endless_and_generator_inputs(journal: str) -> None:
    """Known items are passed over lazily."""
    assert list(poolwise.map(one, (n for n in range(1000)), journal=journal)) == list(range(1, 1001))
    seen = []
    with poolwise.map(one, iter(int, 1), journal=journal) as results:  # 0 for ever
        for value in results:
            seen.append(value)
            if len(seen) == 5000:
                break
    assert seen == [1] * 5000


def test_report_tells_what_was_known(journal: str) -> None:
    """Items that needed no execution are counted, and said."""
    list(poolwise.map(one, range(10), journal=journal))
    run = poolwise.run(one, range(12), journal=journal)
    assert len(list(run)) == 12
    report = run.report()
    assert (report.done, report.recorded) == (12, 10)
    assert "10 of them were not executed" in str(report)


@pytest.mark.parametrize("durable", [False, True])
def test_a_writer_that_fails_ends_the_run(journal: str, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kills the writer's thread is heard, by whoever waits for it and at the end: nothing hangs."""

    def fail(*_: object) -> bool:
        raise MemoryError("no more")

    monkeypatch.setattr("poolwise._runtime.journal.Writer._write", fail)
    for shape in ("1x1", "1x2"):
        with pytest.raises(JournalError, match="MemoryError: no more"):
            list(poolwise.map(one, range(50), journal=Journal(journal, durable=durable), shape=shape))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_takes_no_lock_away(journal: str) -> None:
    """It inherits the results, and may end them as it likes: the journal stays its parent's."""
    results = poolwise.map(one, range(5), journal=journal)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # The writer is a thread, and the child does next to nothing.
        child = os.fork()
    if child == 0:
        try:
            results._stream._recorder.store._lock.release()  # type: ignore[union-attr]
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.path.exists(f"{journal}.lock")
    assert list(results) == [1, 2, 3, 4, 5]


def test_a_symbolic_link_is_the_same_journal(journal: str, tmp_path: Path) -> None:
    """Lock and write-ahead log are those of the file itself, whatever path leads to it."""
    link = tmp_path / "folder" / "link.db"
    link.parent.mkdir()
    link.symlink_to(journal)
    results = poolwise.map(one, range(5), journal=link)  # Before there is a file at all.
    with pytest.raises(JournalLocked, match="this process"):
        poolwise.map(one, range(5), journal=journal)
    assert list(results) == [1, 2, 3, 4, 5]
    results = poolwise.map(one, range(5), journal=journal)
    with pytest.raises(JournalLocked, match="this process"):
        poolwise.map(one, range(5), journal=link)
    assert list(results) == [1, 2, 3, 4, 5]
    assert sorted(os.listdir(link.parent)) == ["link.db"]


def test_a_hard_link_is_refused(journal: str, tmp_path: Path) -> None:
    """Each name would have a write-ahead log of its own; a copy is fine."""
    list(poolwise.map(one, range(5), journal=journal))
    os.link(journal, tmp_path / "other.db")
    with pytest.raises(JournalError, match=r"2 names \(hard links\).*copy it"):
        poolwise.map(one, range(5), journal=journal)
    (tmp_path / "other.db").unlink()
    assert list(poolwise.map(one, range(5), journal=journal)) == [1, 2, 3, 4, 5]


def test_no_file_is_no_journal(tmp_path: Path) -> None:
    """What cannot last is refused at once, and leaves nothing behind."""
    for path in (":memory:", ""):
        with pytest.raises(UsageError, match="the path of a file"):
            poolwise.map(one, range(5), journal=path)
    with pytest.raises(JournalError, match="is a folder"):
        poolwise.map(one, range(5), journal=tmp_path)
    assert not os.path.exists(f"{tmp_path}.lock")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_devices_and_pipes_are_no_journals(tmp_path: Path) -> None:
    """Nothing waits for the other end of a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(JournalError, match="is no regular file"):
            poolwise.map(one, range(5), journal=path)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(os.name != "posix", reason="what is open cannot be removed here")
@pytest.mark.parametrize("instead", [False, True])
def test_a_journal_removed_during_the_run(journal: str, instead: bool) -> None:
    """One sentence says so, also where another file has its name now."""
    with pytest.raises(JournalError, match="was removed while the run wrote it"):
        for value in poolwise.map(one, range(5), journal=journal, shape="1x1"):
            if value == 1:
                os.rename(journal, f"{journal}.old")
                if instead:
                    Path(journal).touch()


def test_no_room_for_the_lock(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the start is said to be."""

    def full(path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr("poolwise._runtime.filelock.FileLock", full)
    with pytest.raises(JournalError, match=r"No space left on device\); make room"):
        poolwise.map(one, range(5), journal=journal)
