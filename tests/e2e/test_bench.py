"""`poolwise bench`: as a user runs it, on work so small that its figures mean nothing."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from zoo.hostile import Hostile, fixed, jpeg
from zoo.marks import wait_until
from zoo.scripts import processes

Lines = Callable[[Sequence[object]], str]
QUICK = ("--repeats", "1", "--seconds", "1", "--seed", "1")  # All the few items fit, on a busy machine also.
TWO = ("--shapes", "1x1,2x1")


@pytest.fixture
def temporary(poolwise: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files that is this test's alone: other tests compare at the same time."""
    folder = tmp_path_factory.mktemp("temporary")
    poolwise.environment["TMPDIR"] = str(folder)
    return folder


def left_behind(temporary: Path) -> list[str]:
    """Temporary folders of comparisons."""
    return [path.name for path in temporary.glob("poolwise-bench-*")]


def noise(folder: Path, count: int) -> Path:
    """Make images in a folder and one below it."""
    Image = pytest.importorskip("PIL.Image")
    (folder / "deep").mkdir(parents=True)
    for number in range(count):
        Image.effect_noise((64, 48), 60).save(folder / ("deep" if number % 2 else "") / f"{number}.png")
    return folder


def test_for_a_person(poolwise: Any, temporary: Path, lines: Lines) -> None:
    """A table of 80 columns that ends with one sentence on stdout; on stderr how far it is."""
    ended = poolwise("bench", "functions:number", lines(range(30)), *TWO, *QUICK)
    assert ended.code == 0, ended.err
    shown = ended.out.decode()
    assert shown.startswith("functions:number: 30 items in each run; one lane takes ")
    assert max(map(len, shown.splitlines())) <= 80
    assert "was the fastest in the only block" in shown.split("\n\n")[-1].replace("\n", " ")
    assert ended.err.startswith("the items are run again and again: this is for functions that are safe to repeat\n")
    assert "30 items in each run; 1x1, 2x1; 1 block of 6 runs, about " in ended.err
    assert "block 1 of 1" in ended.err
    assert left_behind(temporary) == []


def test_for_a_machine(poolwise: Any, lines: Lines) -> None:
    """--json is one strict object with every run; what the function prints is nowhere."""
    ended = poolwise("bench", "functions:shout", lines(range(2)), "--shapes", "1x1,1x2", *QUICK, "--json")
    assert ended.code == 0
    said = json.loads(ended.out)
    assert said["winner"] in ("1x1", "1x2")
    assert len(said["trials"]) == 6
    assert [row["side"] for row in said["rows"]] == ["1x1", "1x2"]
    assert said["design"]["seed"] == 1
    assert "print 1" not in ended.err


def test_default_shapes_and_markdown(poolwise: Any, lines: Lines) -> None:
    """Without --shapes: one lane, threads, processes, auto."""
    ended = poolwise("bench", "functions:number", lines(range(10)), *QUICK, "--markdown")
    assert ended.code == 0
    table = [line for line in ended.out.decode().splitlines() if line.startswith("| ")]
    assert any(line.startswith(("| auto (", "| **auto (")) for line in table)
    assert len(table) >= 5


def test_peers(poolwise: Any, lines: Lines) -> None:
    """Each has a row, with figures or a reason."""
    ended = poolwise("bench", "functions:number", lines(range(10)), "--shapes", "1x1", "--peers", *QUICK, "--json")
    assert ended.code == 0
    rows = {row["side"]: row for row in json.loads(ended.out)["rows"]}
    assert set(rows) == {"1x1", "ThreadPoolExecutor", "ProcessPoolExecutor", "joblib", "mpire"}
    assert rows["ThreadPoolExecutor"]["seconds"] > 0
    assert rows["ProcessPoolExecutor"]["seconds"] > 0
    assert all(row["seconds"] or row["note"] for row in rows.values())


def test_saved_shown_and_drawn(poolwise: Any, lines: Lines) -> None:
    """What is saved goes on, is shown again with nothing measured, and drawn."""
    words = ("bench", "functions:number", lines(range(10)), *TWO, *QUICK)
    first = poolwise(*words, "--save", "b.json")
    again = poolwise(*words, "--save", "b.json", "--repeats", "2")
    assert (first.code, again.code) == (0, 0)
    assert "blocks that are measured already: 1" in again.err
    assert "block 2 of 2" in again.err
    assert "block 1 of 2" not in again.err
    shown = poolwise("bench", "--show", "b.json", "--plot", "b.png")
    assert (shown.code, shown.out) == (0, again.out)
    assert shown.err == "drawn: b.png\n"
    assert (poolwise.folder / "b.png").read_bytes().startswith(b"\x89PNG")
    other = poolwise("bench", "functions:same", "items.txt", *TWO, *QUICK, "--save", "b.json")
    assert other.code == 2
    assert "error: 'b.json' is of functions:number, not of functions:same; give another path" in other.err


def test_failed_items(poolwise: Any, lines: Lines) -> None:
    """They are named, and the exit code says so."""
    ended = poolwise("bench", "functions:fail_odd", lines(range(10)), *TWO, *QUICK)
    assert ended.code == 3
    said = " ".join(ended.out.decode().split())
    told = r"warning: failed items: \d items failed in each run, the first: '(\d)': ValueError: \1 is odd"
    assert re.search(told, said)  # On a busy machine not all ten fit into the time.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["functions:same"],
        ["functions:same", "-"],
        ["functions:nothing", "-"],
        ["functions:same", "none.txt"],
        ["functions:same", "-", "--shapes", "fast"],
        ["functions:same", "-", "--shapes", "1x1"],
        ["functions:same", "-", "--repeats", "0"],
        ["functions:same", "-", "--seconds", "nan"],
        ["functions:same", "-", "--json", "--markdown"],
        ["functions:same", "-", "--plot", "b.txt"],
        ["functions:same", "-", "--fit", "100"],
        ["functions:same", "-", "--show", "b.json"],
        ["functions:same", "-", "--starred"],
        ["functions:same", "same.json", "--save", "same.json"],
        ["--show", "none.json"],
        ["images", "in"],
        ["images", "in", "--fit", "100", "--allow-private"],
        ["images", "--fit", "100"],
        ["fetch", "-"],
        ["fetch", "same.json", "--peers"],
    ],
    ids=" ".join,
)
def test_usage(poolwise: Any, arguments: list[str]) -> None:
    """What cannot be meant is one sentence and exit code 2, before anything is run."""
    poolwise.write("same.json", "1\n")
    (poolwise.folder / "in").mkdir()
    ended = poolwise("bench", *arguments, stdin=b"")
    assert (ended.code, ended.out) == (2, b""), ended
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_interrupted(poolwise: Any, lines: Lines) -> None:
    """Ctrl-C prints what was measured, keeps complete blocks, and ends with 130; then it goes on."""
    words = (
        "bench",
        "functions:number",
        lines(range(10)),
        *TWO,
        "--seconds",
        "0.02",
        "--seed",
        "1",
        "--save",
        "b.json",
    )
    process = poolwise.start(*words, "--repeats", "10000")
    while not process.stderr.readline().startswith(b"block 2 "):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    ended = poolwise.end(process)
    assert ended.code == 130
    assert "interrupted: what was measured follows" in ended.err
    assert "Traceback" not in ended.err
    assert b"blocks, each side twice in each" in ended.out
    kept = json.loads((poolwise.folder / "b.json").read_text())
    blocks = {trial["block"] for trial in kept["trials"]}
    assert len(kept["trials"]) == 6 * len(blocks)
    again = poolwise(*words, "--repeats", str(len(blocks) + 1))
    assert again.code == 0
    assert f"block {len(blocks) + 1} of {len(blocks) + 1}" in again.err


def test_interrupted_before_anything_was_measured(poolwise: Any, lines: Lines) -> None:
    """It says that, and leaves nothing."""
    process = poolwise.start("bench", "functions:hang", lines([1, 1]), *TWO, *QUICK)
    assert process.stderr.readline().startswith(b"the items are run again")
    wait_until(lambda: bool(psutil.Process(process.pid).children()), "a process that measures has begun")
    os.killpg(process.pid, signal.SIGINT)
    ended = poolwise.end(process)
    assert (ended.code, ended.out) == (130, b"")
    assert ended.err == "interrupted before anything was measured\n"


def test_killed(poolwise: Any, lines: Lines) -> None:
    """What it had started ends with it, hanging or not."""
    poolwise.environment["TMPDIR"] = str(poolwise.folder)  # What it cannot remove any more goes with the test.
    process = poolwise.start("bench", "functions:hang", lines([1, 1]), *TWO, *QUICK)
    wait_until(lambda: len(processes(poolwise.mark)) > 1, "the first run has begun")
    process.kill()
    poolwise.end(process)


def test_items_that_hang(poolwise: Any, lines: Lines) -> None:
    """A limit ends it, with one sentence."""
    ended = poolwise("bench", "functions:hang", lines([1, 1]), *TWO, *QUICK, "--limit", "1")
    assert (ended.code, ended.out) == (1, b"")
    assert (
        "error: functions:hang cannot be measured: a first look at its items took over 1 s, and was ended" in ended.err
    )


def test_a_script_without_a_guard(poolwise: Any) -> None:
    """A function of `__main__` and a class of it work, in pools that look the function up by its name too."""
    import subprocess
    import sys

    poolwise.write(
        "script.py",
        """
import poolwise

class Thing:
    def __init__(self, n):
        self.n = n

def double(thing):
    return 2 * thing.n

items = [Thing(n) for n in range(8)]
found = poolwise.bench(double, items, ["1x1", "2x1"], repeats=1, seconds=0.02, seed=1)
assert not [w for w in found.warnings if w.kind in ("failed items", "not repeatable")], found
print([row.side for row in found.rows if row.seconds])
""",
    )
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=poolwise.folder, env=poolwise.environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "['1x1', '2x1']\n"


def test_images(poolwise: Any, temporary: Path) -> None:
    """The job runs into folders that are removed; originals stay as they were."""
    source = noise(poolwise.folder / "in", 12)
    before = {path: path.read_bytes() for path in source.rglob("*.png")}
    ended = poolwise("bench", "images", "in", "--fit", "32", "--shapes", "1x1,1x2,2x1", *QUICK, "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert {row["side"] for row in said["rows"] if row["seconds"]} == {"1x1", "1x2", "2x1"}
    assert "not repeatable" not in {warning["kind"] for warning in said["warnings"]}
    assert said["design"]["identity"]["given"] == 12
    assert {path: path.read_bytes() for path in source.rglob("*.png")} == before
    assert left_behind(temporary) == []


def test_images_with_peers(poolwise: Any, temporary: Path) -> None:
    """Other pools make the same files; one that is broken is the same failed item in each."""
    source = noise(poolwise.folder / "in", 6)
    (source / "+broken.png").write_bytes(b"none")  # The first item, which is in every selection.
    ended = poolwise("bench", "images", "in", "--fit", "32", "--shapes", "1x1", "--peers", *QUICK, "--json")
    assert ended.code == 3, ended.err
    said = json.loads(ended.out)
    sides = {row["side"] for row in said["rows"] if row["seconds"]}
    assert {"1x1", "ThreadPoolExecutor", "ProcessPoolExecutor"} <= sides
    assert {trial["measured"]["failed"] for trial in said["trials"] if trial["measured"]} == {1}
    assert len({trial["measured"]["first_failure"] for trial in said["trials"] if trial["measured"]}) == 1
    assert "not repeatable" not in {warning["kind"] for warning in said["warnings"]}
    assert left_behind(temporary) == []


def test_fetch(poolwise: Any) -> None:
    """Every run fetches every URL into a folder of its own, which is removed."""
    pytest.importorskip("pycurl")
    with Hostile() as server:
        urls = [server.add(f"/{number}.jpg", fixed(jpeg(seed=number))) for number in range(6)]
        poolwise.write("urls.txt", "\n".join(urls))
        words = ("bench", "fetch", "urls.txt", "--allow-private", "--shapes", "1x1,1x4", *QUICK)
        ended = poolwise(*words, "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert all(row["seconds"] for row in said["rows"])
    assert not {"not repeatable", "failed items"} & {warning["kind"] for warning in said["warnings"]}
