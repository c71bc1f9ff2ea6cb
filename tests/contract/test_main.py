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


CLASSES = """
import abc, dataclasses, enum, functools, typing
import poolwise

class Slotted:
    __slots__ = ("x", "__private")
    def __init__(self, x): self.x, self.__private = x, x
    def __eq__(self, other): return (self.x, self.__private) == (other.x, other.__private)

class Below(Slotted):
    __slots__ = ("y",)

class BelowWithDict(Slotted):
    pass

class Empty(abc.ABC):
    __slots__ = ()
    def __eq__(self, other): return type(self) is type(other)

@dataclasses.dataclass(slots=True, frozen=True)
class Point:
    x: int
    y: int = 2

T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x

class SlottedError(ValueError):
    __slots__ = ("code",)
    def __eq__(self, other): return self.args == other.args

class Pair(typing.NamedTuple):
    left: int

class Size(enum.IntFlag):
    BIG = 1

class Lazy:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x
    @functools.cached_property
    def tenfold(self): return 10 * self.x
    @functools.lru_cache(maxsize=None)
    def plus(self, y): return self.x + y
    __hash__ = object.__hash__

MAKERS = [lambda cls=cls: cls(1) for cls in (Slotted, Below, BelowWithDict, Point, Box, SlottedError, Pair, Size, Lazy)]
MAKERS.append(Empty)

def same(value): return value

def compute(lazy): return lazy.tenfold, lazy.plus(2)

made = list(poolwise.map(lambda n: MAKERS[n](), range(len(MAKERS)), shape="2x1"))
came_back = list(poolwise.map(same, made, shape="2x1"))
for make, there, back in zip(MAKERS, made, came_back):
    assert type(there) is type(back) is type(make()), (there, back)
    assert there == back == make(), (there, back)
assert list(poolwise.map(compute, [Lazy(3)], shape="2x1")) == [(30, 5)]
print("done")
"""

NAMES = """
import functools, sys, types, typing
import poolwise

UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")

@functools.lru_cache(maxsize=7, typed=True)
def cached(x): return 2 * x, cached.cache_parameters()

@functools.cache
def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

def with_cached(x: UserId) -> UserId: return cached(x), fibonacci(50)

def decorator(f: typing.Callable[P, int]):
    def decorated(*args: P.args, **kwargs: P.kwargs) -> int: return f(*args, **kwargs)
    return decorated

class Sentinel:
    def __reduce__(self): return "MISSING"

MISSING = Sentinel()

def look(x): return x is MISSING, x is cached, x

class Nowhere:
    __slots__ = ()
    def __reduce__(self): return "NOWHERE"

NOWHERE = Nowhere()

def local():
    @functools.cache
    def inner(x): return x + 1
    return inner

ghost = sys.modules["ghost"] = types.ModuleType("ghost")
exec("import functools\\n@functools.cache\\ndef square(x): return x * x", vars(ghost))

def mapped(fn, *items): return list(poolwise.map(fn, items, shape="2x1"))

parameters = {"maxsize": 7, "typed": True}
assert mapped(cached, 1, 2) == [(2, parameters), (4, parameters)]
assert mapped(functools.partial(fibonacci), 50) == [12586269025]
assert mapped(with_cached, 1) == [((2, parameters), 12586269025)]
assert mapped(decorator(lambda x: x), 1) == [1]
assert mapped(local(), 1) == [2]
assert mapped(lambda f: f(1), local()) == [2]
assert mapped(ghost.square, 3) == mapped(lambda x: ghost.square(x), 3) == [9]
found = mapped(look, MISSING, cached, 1)
assert [(a, b) for a, b, _ in found] == [(True, False), (False, True), (False, False)]
assert found[0][2] is MISSING and found[1][2] is cached
try:
    poolwise.map(lambda x: NOWHERE, [1], shape="2x1")
except poolwise.NotPicklableError as error:
    assert "NOWHERE" in str(error), error
else:
    raise AssertionError("it was not refused")
outcomes = list(poolwise.run(look, [NOWHERE, 1], shape="2x1", ordered=True))
assert [o.ok for o in outcomes] == [False, True]
print("done")
"""


@pytest.mark.parametrize("text", [CLASSES, NAMES], ids=["classes", "names"])
def test_odd_things_of_main(text: str, tmp_path: Path) -> None:
    """What plain pickle stores by a name of `__main__`, and classes with slots, work and come back the same."""
    with Script([str(script_file(tmp_path, text))], folder=tmp_path) as script:
        assert script.end() == (0, "done\n", "")
        wait_all_gone(script.mark)
