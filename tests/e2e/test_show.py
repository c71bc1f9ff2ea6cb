"""`poolwise run --journal`, `poolwise images --journal` and `poolwise show`, end to end."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from poolwise import JournalError
from poolwise._runtime.journal_reader import Reader

Lines = Callable[[Sequence[object]], str]


def records(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def journal(poolwise: Any, lines: Lines, tmp_path: Path) -> str:
    """A journal of ten items, five of which failed."""
    path = str(tmp_path / "run.db")
    ended = poolwise("run", "functions:fail_odd", lines(range(10)), "--jsonl", "--journal", path)
    assert ended.code == 3
    return path


def test_a_second_run_says_the_same(poolwise: Any, lines: Lines, journal: str) -> None:
    """Nothing is executed again, and the outcomes are the same; --retry-failed executes what failed."""
    ended = poolwise("run", "functions:fail_odd", lines(range(10)), "--jsonl", "--journal", journal, "--ordered")
    assert ended.code == 3
    first = records(ended.out)
    assert [record["key"] for record in first] == list(range(10))
    assert [record["ok"] for record in first] == [x % 2 == 0 for x in range(10)]
    again = poolwise(
        "run", "functions:fail_odd", lines(range(10)), "--jsonl", "--journal", journal, "--ordered", "--retry-failed"
    )
    started = [record["started"] for record in records(again.out)]
    assert [now > then["started"] for now, then in zip(started, first, strict=True)] == [x % 2 == 1 for x in range(10)]


def test_show_for_a_person(poolwise: Any, journal: str) -> None:
    """Counts, failures by class, slowest items, and the runs."""
    ended = poolwise("show", journal)
    assert (ended.code, ended.err) == (0, "")
    text = ended.out.decode()
    assert text.startswith("functions:fail_odd: 5 done, 5 failed\n")
    assert "5  ValueError" in text
    assert "Slowest" in text
    assert "10 executed in" in text


def test_show_for_a_machine(poolwise: Any, journal: str) -> None:
    """--json is one object."""
    said = json.loads(poolwise("show", journal, "--json").out)
    assert (said["done"], said["failed"], said["failures"]) == (5, 5, {"ValueError": 5})
    assert said["function"] == "functions:fail_odd"
    assert len(said["slowest"]) == 5
    assert said["runs"][0]["plan"]["shape"]


def test_values_as_json_lines_and_csv(poolwise: Any, journal: str, tmp_path: Path) -> None:
    """--values exports every outcome; both forms say the same."""
    ended = poolwise("show", journal, "--values")
    assert ended.code == 0
    found = records(ended.out)
    assert [(record["key"], record["ok"]) for record in found] == [(x, x % 2 == 0) for x in range(10)]
    assert found[1]["error"]["type"] == "ValueError"
    table = tmp_path / "values.csv"
    assert poolwise("show", journal, "--values", "--csv", "-o", str(table)).code == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["key"] for row in rows] == [str(x) for x in range(10)]
    assert rows[1]["error_type"] == "ValueError"
    assert [json.loads(row["ok"]) for row in rows] == [record["ok"] for record in found]


def test_objects_need_a_key(poolwise: Any, tmp_path: Path) -> None:
    """Objects of --jsonl are named by a field; without one the message says what is missing."""
    items = tmp_path / "items"
    items.write_text('{"id": 1, "x": 5}\n{"id": 2, "x": 6}\n')
    path = str(tmp_path / "run.db")
    ended = poolwise("run", "functions:same", str(items), "--jsonl", "--journal", path)
    assert ended.code == 2
    assert "cannot name an item" in ended.err
    ended = poolwise("run", "functions:same", str(items), "--jsonl", "--journal", path, "--key", "id")
    assert ended.code == 0
    assert [record["key"] for record in records(poolwise("show", path, "--values").out)] == [1, 2]
    ended = poolwise("run", "functions:same", str(items), "--jsonl", "--journal", path, "--key", "name")
    assert ended.code == 2
    assert "no field 'name'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "functions:same", "-", "--retry-failed"], "--journal FILE"),
        (["run", "functions:same", "-", "--key", "id"], "--journal and --jsonl"),
        (["show", "nowhere.db"], "there is no journal"),
        (["show", "functions.py"], "no journal"),
        (["show", ".", "--json"], "is a folder"),
        (["show", "nowhere.db", "--csv"], "--values"),
    ],
)
def test_mistakes(poolwise: Any, arguments: list[str], word: str) -> None:
    """One sentence each."""
    ended = poolwise(*arguments, stdin=b"")
    assert ended.code != 0
    assert word in ended.err
    assert "Traceback" not in ended.err


def test_another_function(poolwise: Any, lines: Lines, journal: str) -> None:
    """A mismatch names both, and --force goes on."""
    ended = poolwise("run", "functions:same", lines(range(3)), "--jsonl", "--journal", journal)
    assert ended.code == 1
    assert "belongs to functions:fail_odd, not to functions:same" in ended.err
    assert poolwise("run", "functions:same", lines([0]), "--jsonl", "--journal", journal, "--force").code == 0


def test_a_damaged_journal(poolwise: Any, journal: str, tmp_path: Path) -> None:
    """It says how to save what can be read, and that works."""
    content = bytearray(Path(journal).read_bytes())
    content[-4096:] = bytes(4096)
    Path(journal).write_bytes(content)
    ended = poolwise("show", journal)
    if ended.code == 0:  # The last page held nothing.
        pytest.skip("the damage hit a page that is not in use")
    assert "is damaged" in ended.err
    assert "--save" in ended.err
    saved = str(tmp_path / "saved.db")
    ended = poolwise("show", journal, "--save", saved)
    assert ended.code in (0, 1)
    if ended.code == 0:
        assert poolwise("show", saved).code == 0


def test_images_go_on(poolwise: Any, tmp_path: Path) -> None:
    """The images job records each file; what is gone, or was made otherwise, is made again."""
    image = pytest.importorskip("PIL.Image")
    source, path = tmp_path / "in", str(tmp_path / "run.db")
    source.mkdir()
    for number in range(4):
        image.new("RGB", (64, 48), (number, 0, 0)).save(source / f"{number}.png")
    (source / "bad.png").write_bytes(b"no image")
    command = ["images", str(source), str(tmp_path / "out"), "--fit", "20", "--journal", path]
    assert poolwise(*command).code == 3
    assert "0 converted, 0 copied, 4 up to date" in poolwise(*command).err
    shutil.rmtree(tmp_path / "out")
    assert poolwise(*command).code == 3
    assert len(list((tmp_path / "out").iterdir())) == 4
    said = json.loads(poolwise("show", path, "--json").out)
    assert (said["done"], said["failed"]) == (4, 1)
    ended = poolwise("images", str(source), str(tmp_path / "out"), "--fit", "30", "--journal", path)
    assert ended.code == 3
    assert "up to date" not in ended.err
    with image.open(tmp_path / "out" / "0.png") as result:
        assert result.size == (30, 23)


def test_nothing_that_is_shown_commands_the_terminal(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    """Keys, messages and names of classes are told with escapes, one line each; the JSON lines stay exact."""
    path = str(tmp_path / "run.db")
    keys = ["\x1b[31mred", "a\nb", "\x07", "\x9b31m", "\u202eabc", "\u2066x", "\u200fy", "\u061cz", "\udc9b\ud800"]
    poolwise.write(
        "evil.py",
        "Evil = type('E\\x1b[2J\\nvil', (Exception,), {'__module__': 'builtins'})\n"
        "def evil(item):\n"
        "    if item == 'a\\nb':\n"
        "        raise Evil(item + '\\x1b[31m')\n"
        "    return item\n",
    )
    ended = poolwise("run", "evil:evil", lines(map(json.dumps, keys)), "--jsonl", "--journal", path)
    assert ended.code == 3
    assert {record["key"] for record in records(ended.out)} == set(keys)
    shown = poolwise("show", path)
    values = poolwise("show", path, "--values")
    assert {record["key"] for record in records(values.out)} == set(keys)
    for text in (ended.err, shown.out.decode(), shown.err, values.out.decode(), ended.out.decode()):
        assert [each for each in text if each != "\n" and (ord(each) < 32 or 126 < ord(each) < 160)] == []
        assert [each for each in text if each in "\u202e\u2066\u200f\u061c" or "\ud800" <= each <= "\udfff"] == []
    assert "E\\x1b[2J\\nvil" in shown.out.decode()
    assert "\\x9b31m" in poolwise("show", "\x9b31m").err


@pytest.mark.parametrize("words", [["--save", "new"], ["--values", "-o", "new"]])
def test_a_full_disk_leaves_no_stump(poolwise: Any, lines: Lines, tmp_path: Path, words: list[str]) -> None:
    """What cannot be written whole is taken away again, and that is said in one sentence."""
    path = str(tmp_path / "run.db")
    assert (
        poolwise("run", "functions:same", lines(["x" * 50_000 + str(x) for x in range(20)]), "--journal", path).code
        == 0
    )
    before = sorted(os.listdir(poolwise.folder))
    most = 200_000
    ended = poolwise("show", path, *words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "new" in ended.err
    assert sorted(os.listdir(poolwise.folder)) == before


def test_a_folder_that_takes_no_writes(poolwise: Any, journal: str) -> None:
    """A journal is read there too, unless a part of it is still beside it."""
    folder = Path(tempfile.mkdtemp())
    try:
        copy = folder / "a?b#c%20.db"
        shutil.copy(journal, copy)
        with _only_reading(folder), Reader(str(copy)) as reader:
            assert reader.summary().done == 5
        (folder / f"{copy.name}-wal").write_bytes(b"")
        with _only_reading(folder), pytest.raises(JournalError, match="cannot be read here: a part of it is in"):
            Reader(str(copy))
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _only_reading(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written, not by root either: it is somebody else meanwhile."""
    user = os.geteuid()
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_killed_run_and_one_that_goes_on(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    """They are told apart by who holds the journal."""
    path = str(tmp_path / "run.db")
    with open(poolwise.folder / "gate", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        process = poolwise.start("run", "functions:wait_at_gate", lines([1]), "--journal", path, "--shape", "serial")
        assert process.stderr is not None
        assert process.stderr.readline() == b"begun 1\n"
        assert poolwise("show", path).out.decode().count("  goes on\n") == 1
        process.kill()
        poolwise.end(process)
    assert "did not end by itself (killed?)\n" in poolwise("show", path).out.decode()
    assert poolwise("run", "functions:wait_at_gate", lines([1]), "--journal", path, "--shape", "serial").code == 0
    assert "did not end by itself (killed?)\n" in poolwise("show", path).out.decode()


def test_csv_keeps_what_is_no_text_apart(poolwise: Any, lines: Lines, tmp_path: Path) -> None:
    """A lone surrogate and the text of its escape are two cells; the help says what CSV is good for."""
    path = str(tmp_path / "run.db")
    keys = map(json.dumps, ["\ud800", "\\ud800"])
    assert poolwise("run", "functions:same", lines(keys), "--jsonl", "--journal", path).code == 0
    rows = list(csv.DictReader(io.StringIO(poolwise("show", path, "--values", "--csv").out.decode())))
    assert {row["key"] for row in rows} == {'"\\ud800"', "\\ud800"}
    assert "formula" in poolwise("show", "--help").out.decode()
