"""Design 4, "No main guard, ever": functions, items and results of every kind of unguarded `__main__`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.scripts import Script, script_file, wait_all_gone

PROGRAM = """
import dataclasses, enum, functools, os, typing
import poolwise

@dataclasses.dataclass
class Point:
    x: int
    y: int = 0

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Pair(typing.NamedTuple):
    left: int
    right: int

class OwnError(Exception):
    def __init__(self, text, point):
        super().__init__(text, point)
        self.point = point

class Odd:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
    def method(self, y): return self.x + y

FACTOR = 3

def scale(x):
    return FACTOR * x

def away(x):
    return os.getpid() != PARENT

def move(point):
    assert type(point) is Point, type(point)
    assert isinstance(point, Point)
    return Point(point.x + 1, point.y)

def paint(colour):
    assert colour is Colour.RED or colour is Colour.BLUE
    return Colour.BLUE

def swap(pair):
    assert type(pair) is Pair
    return Pair(pair.right, pair.left)

def fail(x):
    if x == 2:
        raise OwnError("no", Point(x, x))
    return x

def nested(x):
    return {"points": [Point(x), (Colour.RED, Pair(x, x))]}

async def later(x):
    return Point(x)

PARENT = os.getpid()
print("main", __name__)
for shape in ("2x1", "2x2"):
    assert list(poolwise.map(scale, range(5), shape=shape)) == [0, 3, 6, 9, 12]
    assert all(poolwise.map(away, range(5), shape=shape))
    moved = list(poolwise.map(move, [Point(1, 2), Point(3, 4)], shape=shape))
    assert moved == [Point(2, 2), Point(4, 4)]
    assert all(type(p) is Point and isinstance(p, Point) for p in moved)
    assert list(poolwise.map(paint, list(Colour), shape=shape)) == [Colour.BLUE] * 2
    assert next(iter(poolwise.map(paint, list(Colour), shape=shape))) is Colour.BLUE
    swapped = list(poolwise.map(swap, [Pair(1, 2)], shape=shape))
    assert swapped == [Pair(2, 1)] and type(swapped[0]) is Pair
    got = list(poolwise.map(nested, range(3), shape=shape))[2]["points"]
    assert type(got[0]) is Point and got[1][0] is Colour.RED and type(got[1][1]) is Pair
    try:
        list(poolwise.map(fail, range(4), shape=shape))
    except OwnError as error:
        assert type(error) is OwnError and error.point == Point(2, 2) and type(error.point) is Point
    else:
        raise AssertionError("nothing was raised")
    retried, = poolwise.run(fail, [2], shape=shape, retry=poolwise.Retry(2, on=OwnError, backoff=0))
    assert retried.attempts == 2 and type(retried.error.__cause__) is OwnError
    assert list(poolwise.map(lambda p: Point(p.x), [Point(5)], shape=shape)) == [Point(5)]
    assert list(poolwise.map(Odd(4).method, [1, 2], shape=shape)) == [5, 6]
    assert list(poolwise.map(functools.partial(Point, 1), [1, 2], shape=shape)) == [Point(1, 1), Point(1, 2)]
    assert list(poolwise.map(Point, [1, 2], shape=shape)) == [Point(1), Point(2)]
    assert [type(p) for p in poolwise.map(later, [1, 2], shape=shape)] == [Point, Point]
assert list(poolwise.map(move, [Point(1, 2)], shape="1x2")) == [Point(2, 2)]
print("done")
"""

NOTEBOOK = """
import pathlib, sys, types
sys.modules["__main__"] = main = types.ModuleType("__main__")
exec(compile(pathlib.Path("cell.txt").read_text(), "<ipython-input-1>", "exec"), main.__dict__)
"""

INTERPRETER = """
import code, pathlib
shell = code.InteractiveInterpreter({"__name__": "__main__", "__doc__": None})
shell.runcode(compile(pathlib.Path("cell.txt").read_text(), "<input>", "exec"))
"""

RUNPY = """
import runpy
runpy.run_path("cell.txt", run_name="__main__")
"""


def _as_file(folder: Path) -> Script:
    return Script([str(script_file(folder, PROGRAM))], folder=folder)


def _as_relative_file(folder: Path) -> Script:
    script_file(folder, PROGRAM)
    return Script(["script.py"], folder=folder)


def _as_module(folder: Path) -> Script:
    script_file(folder, PROGRAM, "program_module.py")
    return Script(["-m", "program_module"], folder=folder)


def _on_stdin(folder: Path) -> Script:
    return Script(["-"], folder=folder, stdin=PROGRAM)


def _as_command(folder: Path) -> Script:
    return Script(["-c", PROGRAM], folder=folder)


def _inside(wrapper: str) -> Callable[[Path], Script]:
    def start(folder: Path) -> Script:
        (folder / "cell.txt").write_text(PROGRAM)
        return Script(["-c", wrapper], folder=folder)

    return start


STARTS = {
    "file": _as_file,
    "relative-file": _as_relative_file,
    "module": _as_module,
    "stdin": _on_stdin,
    "command": _as_command,
    "notebook": _inside(NOTEBOOK),
    "runpy": _inside(RUNPY),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_unguarded_main(start: Callable[[Path], Script], tmp_path: Path) -> None:
    """Functions, classes, enums and exceptions of an unguarded `__main__` work, run once, and come back the same."""
    with start(tmp_path) as script:
        code, out, err = script.end()
        wait_all_gone(script.mark)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["main __main__", "done"]


def test_interactive_interpreter(tmp_path: Path) -> None:
    """Functions of an embedded interpreter, whose `__main__` is not the module of that name, work."""
    cell = """
import os, poolwise
FACTOR = 3
def scale(x):
    return FACTOR * x, os.getpid() != PARENT
PARENT = os.getpid()
assert list(poolwise.map(scale, range(4), shape="2x1")) == [(0, True), (3, True), (6, True), (9, True)]
assert list(poolwise.map(lambda x: scale(x)[0], range(4), shape="2x2")) == [0, 3, 6, 9]
print("done")
"""
    (tmp_path / "cell.txt").write_text(textwrap.dedent(cell))
    with Script(["-c", INTERPRETER], folder=tmp_path) as script:
        assert script.end() == (0, "done\n", "")
        wait_all_gone(script.mark)


@pytest.mark.parametrize("shape", ["2x1", "2x2"])
def test_interactive_prompt(tmp_path: Path, shape: str) -> None:
    """Typed at the interactive prompt, line by line, it works."""
    typed = f"""
import poolwise
def scale(x):
    return 3 * x

print(list(poolwise.map(scale, range(4), shape="{shape}")))
"""
    with Script(["-i", "-q"], folder=tmp_path, stdin=typed) as script:
        code, out, _ = script.end()  # its prompts go to stderr
        wait_all_gone(script.mark)
    assert (code, out) == (0, "[0, 3, 6, 9]\n")


def test_functions_redefined_between_runs(tmp_path: Path) -> None:
    """A function redefined between two runs, as cells do all day, runs as it is now."""
    text = """
    import poolwise

    def scale(x):
        return 2 * x

    assert list(poolwise.map(scale, [1], shape="2x1")) == [2]

    def scale(x):
        return 5 * x

    assert list(poolwise.map(scale, [1], shape="2x1")) == [5]
    print("done")
    """
    with Script([str(script_file(tmp_path, text))], folder=tmp_path) as script:
        assert script.end() == (0, "done\n", "")


def test_interpreter_flags(tmp_path: Path) -> None:
    """Workers run with the parent's flags."""
    text = """
    import sys
    import poolwise

    def look(x):
        return sys.flags.optimize, sys.flags.utf8_mode, sys.flags.dont_write_bytecode, sys.flags.dev_mode, __debug__

    seen = set(poolwise.map(look, range(4), shape="2x1"))
    assert seen == {look(0)}, (seen, look(0))
    print(*look(0))
    """
    arguments = ["-O", "-X", "utf8", "-B", str(script_file(tmp_path, text))]
    with Script(arguments, folder=tmp_path) as script:
        assert script.end() == (0, "1 1 1 False False\n", "")
