"""`poolwise run`: where items come from, what the function gets, what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

Lines = Callable[[Sequence[object]], str]

FIELDS = [
    "index",
    "key",
    "ok",
    "value",
    "error",
    "attempts",
    "started",
    "finished",
    "seconds",
    "cpu_seconds",
    "worker",
    "lane",
]


def test_an_outcome_is_a_line_of_json(poolwise: Any, lines: Lines) -> None:
    """Each outcome is one line with all its fields, and nothing else is on stdout or stderr."""
    ended = poolwise("run", "functions:number", lines([7, 8]))
    assert ended.code == 0
    assert ended.err == ""
    assert [list(outcome) for outcome in ended.outcomes] == [FIELDS] * 2
    assert ended.values == [7, 8]
    first = min(ended.outcomes, key=lambda outcome: outcome["index"])
    assert (first["index"], first["key"], first["error"], first["attempts"]) == (0, "7", None, 1)
    assert first["started"] <= first["finished"]


@pytest.mark.parametrize("shape", ["auto", "serial", "1x3", "2x1", "2x2"])
def test_every_shape(poolwise: Any, lines: Lines, shape: str) -> None:
    """Every shape gives every value once."""
    ended = poolwise("run", "functions:number", lines(range(100)), "--shape", shape)
    assert ended.code == 0
    assert ended.values == list(range(100))


def test_ordered(poolwise: Any, lines: Lines) -> None:
    """--ordered gives outcomes in input order."""
    ended = poolwise("run", "functions:number", lines(range(50)), "--shape", "1x4", "--ordered")
    assert [outcome["index"] for outcome in ended.outcomes] == list(range(50))


def test_lines_are_taken_as_they_are(poolwise: Any) -> None:
    """Blank lines are items, spaces stay, CRLF and a byte order mark go, a last line needs no newline."""
    ended = poolwise(
        "run", "functions:same", "-", stdin=b"\xef\xbb\xbfone\r\n\n  two \n\xc3\xa4\xe2\x80\xa8\xf0\x9f\x90\x8d"
    )
    assert ended.values == ["one", "", "  two ", "ä\u2028🐍"]


def test_an_empty_input_is_done(poolwise: Any) -> None:
    """No items, no outcomes, no complaint."""
    ended = poolwise("run", "functions:same", "-", stdin=b"")
    assert (ended.code, ended.out, ended.err) == (0, b"", "")


def test_a_line_longer_than_a_chunk(poolwise: Any) -> None:
    """A line of several megabytes is one item."""
    text = "x" * 3_000_000
    assert poolwise("run", "builtins:len", "-", stdin=f"{text}\n{text}").values == [3_000_000] * 2


def test_jsonl_and_starred(poolwise: Any) -> None:
    """--jsonl decodes, --starred spreads lists and objects, blank lines hold no value."""
    text = '[1, 2]\n\n{"first": 1, "third": 5}\n[3]\n'
    assert poolwise("run", "functions:same", "--jsonl", "-", stdin=text).values == [
        [1, 2],
        {"first": 1, "third": 5},
        [3],
    ]
    assert poolwise("run", "functions:add", "--jsonl", "--starred", "-", stdin=text).values == [3, 16, 13]


@pytest.mark.parametrize("shape", ["1x2", "2x1"])
def test_starred_coroutine_function(poolwise: Any, shape: str) -> None:
    """--starred spreads over a coroutine function too, which still runs as one."""
    words = ("run", "functions:add_later", "--jsonl", "--starred", "-", "--shape", shape)
    assert poolwise(*words, stdin='[1, 2]\n{"first": 5}\n').values == [3, 15]


def test_starred_names_an_item_that_cannot_be_spread(poolwise: Any) -> None:
    """A number among lists fails alone, with a sentence."""
    ended = poolwise("run", "functions:add", "--jsonl", "--starred", "--ordered", "-", stdin="[1]\n5\n")
    assert ended.code == 3
    assert ended.outcomes[1]["error"]["message"] == "--starred spreads lists and objects; this item is an int"


def test_csv_column(poolwise: Any) -> None:
    """--csv gives the cells of one column; quotes may hold commas and line ends."""
    poolwise.write("table.csv", '\ufeffid,name\r\n1,"Ann, B."\r\n\r\n2,"two\nlines"\r\n3,\r\n')
    assert poolwise("run", "functions:same", "--csv", "table.csv", "--column", "name").values == [
        "Ann, B.",
        "two\nlines",
        "",
    ]
    assert poolwise("run", "functions:same", "--csv", "-", "--column", "id", stdin="id\n4\n").values == ["4"]


def test_glob_is_sorted_and_recursive(poolwise: Any) -> None:
    """--glob gives the paths of files, sorted, `**` crossing folders; a slash at the end gives folders."""
    for name in ("b.txt", "a.txt", "deep/er/ä.txt", "deep/c.md", "dir.txt/z.bin"):
        path = poolwise.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    ended = poolwise("run", "os.path:getsize", "--glob", "**/*.txt")
    assert ended.values == [5, 5, 5]
    keys = [outcome["key"] for outcome in sorted(ended.outcomes, key=lambda outcome: outcome["index"])]
    assert keys == ["a.txt", "b.txt", "deep/er/ä.txt"]
    assert len(poolwise("run", "os.path:isdir", "--glob", "**/").values) == 3


def test_a_name_that_is_not_utf8(poolwise: Any) -> None:
    """A file name of arbitrary bytes reaches the function, and its outcome is valid JSON."""
    name = b"\xff.bin"
    (poolwise.folder / os.fsdecode(name)).write_text("12")
    ended = poolwise("run", "os.path:getsize", "--glob", "*.bin")
    assert ended.values == [2]
    assert os.fsencode(ended.outcomes[0]["key"]) == name


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("functions:Text.upper", "X"),
        ("functions.py:Text.upper", "X"),
        ("sub/own.py:double", "xx"),
        ("builtins:len", 1),
        ("os.path:basename", "x"),
    ],
)
@pytest.mark.parametrize("shape", ["1x1", "2x1"])
def test_functions_are_found(poolwise: Any, function: str, value: object, shape: str) -> None:
    """Modules of the current folder and of the library, dotted names, and paths of files, in children too."""
    (poolwise.folder / "sub").mkdir()
    poolwise.write("sub/near.py", "def twice(text):\n    return text * 2\n")
    poolwise.write("sub/own.py", "from near import twice\ndef double(text):\n    return twice(text)\n")
    assert poolwise("run", function, "-", "--shape", shape, stdin="x\n").values == [value]


@pytest.mark.parametrize("shape", ["1x1", "1x2", "2x1"])
def test_prints_go_to_stderr(poolwise: Any, lines: Lines, shape: str) -> None:
    """What the function prints, from Python, from C and from its own children, never mixes with outcomes."""
    ended = poolwise("run", "functions:shout", lines(["a", "b"]), "--shape", shape)
    assert ended.values == ["a", "b"]
    for text in ("print a", "from C a", "child a", "print b", "from C b", "child b"):
        assert text in ended.err


def test_prints_of_the_import_go_to_stderr(poolwise: Any) -> None:
    """A module that prints when it is imported does not spoil the outcomes."""
    poolwise.write("loud.py", "print('loaded')\nfrom functions import same\n")
    ended = poolwise("run", "loud:same", "-", stdin="x\n")
    assert ended.values == ["x"]
    assert "loaded" in ended.err


def test_the_function_cannot_take_items_from_stdin(poolwise: Any) -> None:
    """A function that reads stdin finds it empty instead of eating the items."""
    assert poolwise("run", "functions:read_stdin", "-", "--shape", "1x1", stdin="a\nb\n").values == ["a", "b"]


def test_values_that_json_cannot_hold(poolwise: Any) -> None:
    """A value that JSON would change is null, with its repr beside it; all else is exact."""
    names = ["tuple", "nan", "infinity", "bytes", "set", "keys", "huge", "plain", "none", "surrogate", "lines"]
    ended = poolwise("run", "functions:odd_value", "--ordered", "-", stdin="\n".join(names))
    assert ended.code == 0
    found = dict(zip(names, ended.outcomes, strict=True))
    for name, text in {
        "tuple": "(1, 2)",
        "nan": "nan",
        "infinity": "[inf]",
        "bytes": "b'b'",
        "set": "{1}",
        "keys": "{1: 2}",
        "huge": "<int: its repr raised ValueError>",
    }.items():
        assert (found[name]["value"], found[name]["repr"]) == (None, text)
    for name, value in {
        "plain": {"a": [1, 2.5, None, True, "x"]},
        "none": None,
        "surrogate": "\udcff",
        "lines": "a\u2028b\x85c\nd",
    }.items():
        assert found[name]["value"] == value
        assert "repr" not in found[name]
    assert len(ended.out.decode().splitlines()) == len(names)


def test_output_file(poolwise: Any, lines: Lines) -> None:
    """-o writes the outcomes to a file, and stdout stays empty."""
    ended = poolwise("run", "functions:number", lines([1, 2]), "-o", "out.jsonl", "--ordered")
    assert (ended.code, ended.out) == (0, b"")
    written = [json.loads(line) for line in (poolwise.folder / "out.jsonl").read_text().splitlines()]
    assert [outcome["value"] for outcome in written] == [1, 2]


def test_retry_and_attempts(poolwise: Any, lines: Lines) -> None:
    """--retry tries again, and the outcome says how often."""
    ended = poolwise("run", "functions:fail_twice", lines(["a"]), "--retry", "2")
    assert (ended.code, ended.values, ended.outcomes[0]["attempts"]) == (0, ["a"], 3)


def test_failed_items(poolwise: Any, lines: Lines) -> None:
    """Failed items are outcomes with type, message and traceback; the exit code is 3 and stderr says how many."""
    ended = poolwise("run", "functions:fail_odd", lines(range(4)), "--ordered")
    assert ended.code == 3
    assert [outcome["ok"] for outcome in ended.outcomes] == [True, False, True, False]
    error = ended.outcomes[1]["error"]
    assert (error["type"], error["message"]) == ("ValueError", "1 is odd")
    assert "in fail_odd" in error["traceback"]
    assert "4 items: 2 done, 2 failed in" in ended.err
    assert "the first failure: item 1: ValueError: 1 is odd" in ended.err


def test_text_that_was_meant_as_numbers(poolwise: Any, lines: Lines) -> None:
    """Where every item is a TypeError because it is a str, a hint names --jsonl."""
    ended = poolwise("run", "math:sqrt", lines([4, 9]))
    assert ended.code == 3
    assert "hint: items are str as they are read; --jsonl decodes each line" in ended.err
    assert poolwise("run", "math:sqrt", "--jsonl", lines([4, 9])).values == [2.0, 3.0]


def test_a_crash_costs_one_item(poolwise: Any, lines: Lines) -> None:
    """--isolate survives a function that ends its process."""
    ended = poolwise("run", "functions:die", lines(range(4)), "--isolate", "--ordered")
    assert ended.code == 3
    assert [outcome["ok"] for outcome in ended.outcomes] == [True, False, True, True]
    assert ended.outcomes[1]["error"]["type"] == "TaskLost"
    assert os.getpid() not in [outcome["worker"] for outcome in ended.outcomes]


def test_a_timeout_costs_one_item(poolwise: Any, lines: Lines) -> None:
    """--timeout stops an item that hangs."""
    ended = poolwise("run", "functions:hang", lines(range(4)), "--timeout", "1", "--ordered")
    assert ended.code == 3
    assert [outcome["ok"] for outcome in ended.outcomes] == [True, False, True, True]
    assert ended.outcomes[1]["error"]["type"] == "TaskTimeout"


def test_per_second_is_taken(poolwise: Any, lines: Lines) -> None:
    """--per-second is handed on, and everything still arrives."""
    assert poolwise("run", "functions:number", lines(range(5)), "--per-second", "1000").values == list(range(5))


def test_progress_goes_to_stderr(poolwise: Any, lines: Lines) -> None:
    """--progress tells stderr how many are done of how many, and leaves stdout alone."""
    ended = poolwise("run", "functions:number", lines(range(5)), "--progress")
    assert ended.values == list(range(5))
    assert "5 of 5 done" in ended.err


def test_colours_only_on_terminals(poolwise: Any) -> None:
    """What is read by a program holds no escape sequences."""
    ended = poolwise("run", "functions:nothing", "-", stdin="")
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["functions.same", "items.txt"], "'functions.same' does not name a function", "'functions:same'"),
        (["functions:sane", "items.txt"], "functions has no 'sane'", "did you mean 'same'?"),
        (["functoins:same", "items.txt"], "there is no module 'functoins'", "'functions'"),
        (["functions:Text.uper", "items.txt"], "functions.Text has no 'uper'", "'upper'"),
        (["functions:not_a_function", "items.txt"], "is not a function but an int", ""),
        (["json.dumps:x", "items.txt"], "there is no module 'json.dumps'", "'json:dumps'"),
        (["function.py:same", "items.txt"], "there is no file 'function.py'", "'functions.py'"),
        (["broken:same", "items.txt"], "importing broken fails: ZeroDivisionError: division by zero", "line 2"),
        (["needy:same", "items.txt"], "importing needy fails: ModuleNotFoundError: No module named 'absent'", ""),
        (["wrong:same", "items.txt"], "importing wrong fails: SyntaxError", "wrong.py, line 1"),
        (["script:same", "items.txt"], "script ends the program when it is imported (exit code 5)", "__main__"),
        (["functions:same", "item.txt"], "cannot read 'item.txt': No such file", "'items.txt'"),
        (["functions:same", "."], "cannot read '.': it is a folder", "--glob"),
        (["functions:same"], "no items are given", "--glob PATTERN"),
        (["functions:same", "items.txt", "--glob", "*"], "ITEMS and --glob exclude each other", "quote the pattern"),
        (["functions:same", "--glob", "*.none"], "no file matches '*.none'", ""),
        (["functions:same", "--csv", "items.txt"], "--csv FILE and --column NAME go together", ""),
        (["functions:same", "--csv", "items.txt", "--column", "on"], "the CSV file has no column 'on'", "'one'"),
        (["functions:same", "items.txt", "--starred"], "only --jsonl gives such items", ""),
        (["functions:same", "items.txt", "-o", "items.txt"], "'items.txt' is named as the input", ""),
        (["functions:same", "items.txt", "-o", "no/file"], "cannot write 'no/file'", ""),
        (["functions:same", "items.txt", "--shape", "2by3"], "shape '2by3' is not understood", ""),
        (["functions:same", "items.txt", "--retry", "-1"], "invalid value for '--retry'", "--help"),
        (["functions:same", "items.txt", "--timeout", "0"], "timeout is 0", ""),
        (["functions:same", "items.txt", "--per-second", "0"], "--per-second is 0", ""),
        (["functions:same", "items.txt", "more.txt"], "got unexpected extra argument", "--help"),
    ],
)
def test_usage_errors(poolwise: Any, words: list[str], error: str, hint: str) -> None:
    """What is wrong is said in one sentence, with a hint where there is one; the exit code is 2, nothing runs."""
    text = "one\ntwo\n"
    poolwise.write("items.txt", text)
    poolwise.write("broken.py", "import functions\n1 / 0\n")
    poolwise.write("needy.py", "import absent\n")
    poolwise.write("wrong.py", "def f(:\n")
    poolwise.write("script.py", "import sys\nsys.exit(5)\n")
    ended = poolwise("run", *words)
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.startswith("error: ")
    assert error in ended.err
    assert hint in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) <= 2
    assert (poolwise.folder / "items.txt").read_text() == text


@pytest.mark.parametrize(
    ("source", "text", "done", "error"),
    [
        (["-"], b"a\nb\n\xff\nc\n", 2, "line 3 of stdin is not UTF-8 (byte 0xff at 0)"),
        (["--jsonl", "-"], b"1\n\n{]\n2\n", 1, "line 3 of stdin is not JSON: "),
        (["--csv", "-", "--column", "b"], b"a,b\n1,2\n3\n", 1, "line 3 of stdin has no cell for 'b', but only 1"),
        (["--csv", "-", "--column", "b"], b'a,b\n1,2\n3,"x\n', 1, "line 3 of stdin is not CSV: "),
    ],
)
def test_bad_input(poolwise: Any, source: list[str], text: bytes, done: int, error: str) -> None:
    """Input that cannot be read on is named by line; what came before is done and reported; the exit code is 1."""
    ended = poolwise("run", "functions:same", *source, stdin=text)
    assert ended.code == 1
    assert len(ended.values) == done
    assert f"error: {error}" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("shape", ["1x1", "1x2", "2x1"])
def test_head_ends_an_endless_run_quietly(poolwise: Any, shape: str) -> None:
    """`yes | poolwise run | head -n 3` gives three outcomes and ends, with nothing on stderr."""
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        process = poolwise.start("run", "functions:same", "-", "--shape", shape, stdin=yes.stdout)
        assert yes.stdout is not None
        yes.stdout.close()
        head = subprocess.run(["head", "-n", "3"], stdin=process.stdout, capture_output=True, check=True, timeout=90)
        process.stdout.close()
        process.stdout = None
        ended = poolwise.end(process)
        yes.kill()
    assert [json.loads(line)["value"] for line in head.stdout.splitlines()] == ["y"] * 3
    assert (ended.code, ended.err) == (1, "")


@pytest.mark.parametrize("name", ["/dev/full", "stdout"])
def test_a_full_disk_is_an_error(poolwise: Any, lines: Lines, name: str) -> None:
    """Outcomes that cannot be written end the run with a sentence, which is said once."""
    words = ["run", "functions:same", lines([1])]
    if name == "stdout":
        with open("/dev/full", "wb") as full:
            ended = poolwise(*words, stdout=full)
    else:
        ended = poolwise(*words, "-o", name)
    assert ended.code == 1
    assert ended.err.splitlines()[0] == f"error: cannot write outcomes to {name}: No space left on device"
    assert ended.err.count("error: ") == 1


@pytest.mark.parametrize("shape", ["1x1", "1x2", "2x1"])
def test_outcomes_come_as_they_complete(poolwise: Any, shape: str) -> None:
    """An outcome can be read while the rest of the input is still to come."""
    process = poolwise.start("run", "functions:same", "-", "--shape", shape, stdin=subprocess.PIPE)
    for item in ("a", "b", "c"):
        process.stdin.write(f"{item}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["value"] == item
    process.stdin.close()
    process.stdin = None
    assert poolwise.end(process).code == 0


@pytest.mark.parametrize(("closed", "lines_out"), [("<&-", 2), ("2>&-", 2), (">&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_streams(poolwise: Any, lines: Lines, closed: str, lines_out: int) -> None:
    """Standard streams that are closed do no harm, and nothing else takes their numbers."""
    done = subprocess.run(
        f"{sys.executable} -m poolwise run functions:shout {lines([1, 2])} --shape 1x1 {closed}",
        shell=True,
        cwd=poolwise.folder,
        env=poolwise.environment,
        capture_output=True,
    )
    assert done.returncode == 0, done
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [True] * lines_out


@pytest.mark.parametrize("words", ["-", "--csv - --column a"])
def test_items_from_a_stdin_that_is_closed(poolwise: Any, words: str) -> None:
    """Standard input that is closed is not an empty one: a usage error."""
    done = subprocess.run(
        f"{sys.executable} -m poolwise run functions:same {words} <&-",
        shell=True,
        cwd=poolwise.folder,
        env=poolwise.environment,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"error: cannot read stdin: it is closed\n")


def test_help_is_there(poolwise: Any) -> None:
    """Help names every option and the exit codes, and does not import what only runs need."""
    ended = poolwise("run", "--help")
    assert ended.code == 0
    for word in [
        "--jsonl",
        "--csv",
        "--column",
        "--glob",
        "--starred",
        "--shape",
        "--ordered",
        "--retry",
        "--timeout",
        "--isolate",
    ]:
        assert word in ended.out.decode()
    assert "130" in ended.out.decode()


def test_version(poolwise: Any) -> None:
    """--version names the program and its version."""
    import poolwise as package

    assert poolwise("--version").out.decode() == f"poolwise {package.__version__}\n"
