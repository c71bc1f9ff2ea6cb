"""The house rules of the source tree: imports only point down, and nothing below the command line speaks or exits.

    _core <- {_policy | _runtime, never each other} <- backends <- {_helm, _recorder} <- _engine
          <- {_supervisor, _pipeline} <- report <- _drivers <- _prepare <- _stages <- _api
          <- {jobs, _bench, testing} <- {tour, cli}

Everything is read from the syntax tree: imports inside functions, under `if TYPE_CHECKING` and by
`importlib.import_module("poolwise...")` count like all others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = "poolwise"

RANKS = {
    "_core": 0,
    "_policy": 1,
    "_runtime": 1,
    "backends": 2,
    "_helm": 3,
    "_recorder": 3,
    "_engine": 4,
    "_supervisor": 5,
    "_pipeline": 5,
    "report": 6,
    "_drivers": 7,
    "_prepare": 8,
    "_stages": 9,
    "_api": 10,
    "jobs": 11,
    "_bench": 11,
    "testing": 11,
    "tour": 12,
    "cli": 12,
    "__main__": 12,
}
STRANGERS = {frozenset({"_policy", "_runtime"})}  # of one rank, and still not to know each other
PUBLIC = RANKS["_api"]  # who imports `poolwise` itself uses the public names, which stand for _api

FORBIDDEN_BELOW_CLI = ("print", "sys.exit", "signal.signal")
CHILD_MAINS = ("_runtime/worker.py", "_runtime/forkserver.py")  # processes of their own, with handlers of their own


def violations(source: Path) -> list[str]:
    """Check every module of the package below `source`; return a sentence for each rule that one breaks."""
    found = []
    for path in sorted((source / PACKAGE).rglob("*.py")):
        place = path.relative_to(source / PACKAGE)
        if place.as_posix() == "__init__.py":  # the public names: it imports whatever they need
            continue
        tree = ast.parse(path.read_bytes(), str(path))
        found += [f"{place.as_posix()}:{line} {text}" for line, text in _checked(place, tree)]
    return found


def _checked(place: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    room = place.parts[0].removesuffix(".py")
    if room not in RANKS:
        yield 1, f"is in {room!r}, which has no rank in {Path(__file__).name}"
        return
    for line, module in _imports(place, tree):
        complaint = _complaint(room, module)
        if complaint:
            yield line, complaint
    if RANKS[room] < RANKS["cli"]:
        for line, call in _calls(tree):
            if not (call == "signal.signal" and place.as_posix() in CHILD_MAINS):
                yield line, f"calls {call}, which only the command line may"


def _complaint(room: str, module: str) -> str | None:
    """Say what is wrong with importing `module` ("poolwise._core.model") from a room, if anything is."""
    parts = module.split(".")
    if parts[0] != PACKAGE or module == f"{PACKAGE}.__version__":
        return None
    # Every other name directly in the package is one of its public ones.
    other = parts[1] if len(parts) > 1 and parts[1] in RANKS else None
    rank = RANKS[other] if other else PUBLIC
    if rank > RANKS[room]:
        return f"imports {module}, which is above it"
    if other and frozenset({room, other}) in STRANGERS:
        return f"imports {module}: {room} and {other} do not know each other"
    return None


def _imports(place: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of each import, as far down as the name says: `from poolwise import cli` is poolwise.cli."""
    package = [PACKAGE, *place.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, module if alias.name == "*" else f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__") and node.args:
            module = _leading_text(node.args[0])
            if module:
                yield node.lineno, module.rstrip(".")


def _calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each call of what is forbidden below the command line, under whatever name it came."""
    known: dict[str, str] = {}  # local name: what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            name = f"{known.get(first, first)}.{rest}".rstrip(".").removeprefix("builtins.")
            if name in FORBIDDEN_BELOW_CLI:
                yield node.lineno, name


def _last_name(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def _leading_text(value: ast.expr) -> str:
    """Return the text of a literal, or of the literal that an f-string begins with."""
    if isinstance(value, ast.JoinedStr) and value.values:
        value = value.values[0]
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


# --- the tree that is


def test_imports_point_down_and_only_the_command_line_speaks() -> None:
    """Every module of poolwise keeps the rules."""
    assert violations(SOURCE) == []


def test_every_room_that_exists_is_checked() -> None:
    """The check reads the tree that is imported, not an empty one."""
    assert len(list((SOURCE / PACKAGE / "_core").glob("*.py"))) >= 3


# --- the checker itself, on trees made up to be bad


def broken_rules(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """Write a package of these files and check it."""
    for name, text in files.items():
        path = tmp_path / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return violations(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_core/model.py", "import poolwise._runtime.wire"),
        ("_core/model.py", "from poolwise._policy import meter"),
        ("_core/model.py", "from poolwise import _engine"),
        ("_core/model.py", "import poolwise"),
        ("_core/model.py", "from poolwise import map"),
        ("_core/model.py", "from poolwise import *"),
        ("_core/model.py", "from .. import _api"),
        ("_core/model.py", "from .._runtime.wire import pack"),
        ("_core/model.py", "def late():\n    from poolwise.backends import local"),
        (
            "_core/model.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from poolwise._engine import Engine",
        ),
        ("_core/model.py", "import importlib\nimportlib.import_module('poolwise.backends.local')"),
        ("_core/model.py", "from importlib import import_module\nimport_module(f'poolwise.jobs.{1}')"),
        ("_core/model.py", "__import__('poolwise.cli')"),
        ("_policy/meter.py", "from poolwise._runtime import host"),
        ("_runtime/worker.py", "from poolwise._policy.meter import Meter"),
        ("_runtime/worker.py", "from poolwise.backends import load"),
        ("backends/local.py", "import poolwise._engine as engine"),
        ("_engine.py", "from poolwise._drivers import Driver"),
        ("_engine.py", "from . import _drivers"),
        ("_drivers.py", "from poolwise._api import map"),
        ("_api.py", "from poolwise.jobs import images"),
        ("jobs/images.py", "from poolwise.cli.app import main"),
        ("testing.py", "import poolwise.tour"),
        ("report/page.py", "from poolwise._drivers import Stream"),
        ("report/page.py", "import poolwise"),
        ("_new_room/x.py", ""),
        ("_core/model.py", "print('x')"),
        ("_core/model.py", "import builtins\nbuiltins.print('x')"),
        ("_api.py", "import sys\nsys.exit(1)"),
        ("_api.py", "import sys as _sys\n_sys.exit(1)"),
        ("_api.py", "from sys import exit as leave\nleave()"),
        ("jobs/images.py", "def f():\n    import signal\n    signal.signal(2, None)"),
        ("_runtime/launcher.py", "from signal import signal\nsignal(2, None)"),
        ("_runtime/worker.py", "import sys\nsys.exit(3)"),
        ("_runtime/forkserver.py", "print('x')"),
    ],
)
def test_the_checker_sees(tmp_path: Path, name: str, text: str) -> None:
    """Each of these breaks one rule, and is told with its file."""
    (complaint,) = broken_rules(tmp_path, {name: text})
    assert complaint.startswith(f"{name}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("__init__.py", "from poolwise._api import map\nfrom poolwise.cli import main"),
        ("__main__.py", "from poolwise.cli import main"),
        (
            "_core/model.py",
            "from poolwise._core.errors import UsageError\nfrom . import clock\nfrom .clock import Clock",
        ),
        ("_core/model.py", "import os, poolwise_other.cli\nfrom json import loads"),
        ("_runtime/worker.py", "from poolwise._runtime import wire\nimport signal\nsignal.signal(2, None)"),
        ("_runtime/forkserver.py", "import signal\nsignal.signal(2, None)"),
        ("_runtime/worker.py", "from poolwise import __version__"),
        ("_engine.py", "from poolwise.backends import load\nfrom poolwise._policy.retry import delay"),
        ("jobs/images.py", "import poolwise\nfrom poolwise import Shape\npoolwise.map(abs, [1])"),
        ("jobs/images.py", "from poolwise import _api\nfrom poolwise.report import html"),
        (
            "backends/__init__.py",
            "import importlib\nimportlib.import_module(f'poolwise.backends.{1}')\nimport_module(name)",
        ),
        ("_api.py", "import signal\nsignal.getsignal(2)\nconsole.print('x')\nself.exit()\nos._exit(1)\nsignal.SIGINT"),
        ("cli/app.py", "import sys, signal\nprint(1)\nsignal.signal(2, None)\nsys.exit(0)"),
        ("tour/first.py", "print('a lesson')"),
    ],
)
def test_the_checker_allows(tmp_path: Path, name: str, text: str) -> None:
    """Each of these keeps all rules."""
    assert broken_rules(tmp_path, {name: text}) == []
