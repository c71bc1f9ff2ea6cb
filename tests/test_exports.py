"""What `import poolwise` gives, and what it costs: names that are imported when first used, and nothing else."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import poolwise

NAMES = sorted(name for names in poolwise._HOMES.values() for name in names)
HEAVY = {
    *("numpy", "cloudpickle", "psutil", "rich", "typer", "threadpoolctl", "PIL", "jinja2", "matplotlib"),
    *("asyncio", "multiprocessing", "concurrent", "sqlite3"),
}


def in_fresh_interpreter(program: str) -> Any:
    """Run a program that prints JSON."""
    source = str(Path(poolwise.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": source},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_all_is_what_the_homes_hold() -> None:
    """`__all__` and `_HOMES` name the same, each name once, in order."""
    assert sorted(poolwise.__all__) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert all(list(names) == sorted(names) for names in poolwise._HOMES.values())


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING are those of `_HOMES`."""
    tree = ast.parse(Path(poolwise.__file__).read_bytes())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = {
        str(node.module): tuple(alias.name for alias in node.names)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }
    assert {home: sorted(names) for home, names in imports.items()} == {
        home: sorted(names) for home, names in poolwise._HOMES.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there(name: str) -> None:
    """Each name is what its home has under it."""
    (home,) = (home for home, names in poolwise._HOMES.items() if name in names)
    assert getattr(poolwise, name) is getattr(importlib.import_module(home), name)


def test_names_are_imported_when_first_used() -> None:
    """No home is imported with the package; the first use imports one and keeps the name."""
    program = f"""
import json, sys
import poolwise
homes = {list(poolwise._HOMES)!r}
before = [home for home in homes if home in sys.modules]
poolwise.Shape
print(json.dumps([before, [home for home in homes if home in sys.modules], "Shape" in vars(poolwise)]))
"""
    before, after, kept = in_fresh_interpreter(program)
    assert before == []
    assert "poolwise._core.model" in after
    assert "poolwise._api" not in after
    assert kept


def test_the_import_is_light() -> None:
    """`import poolwise` brings none of the heavy modules, in an interpreter that has none of them yet."""
    program = """
import json, sys
before = set(sys.modules)
import poolwise
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
    assert not HEAVY & set(in_fresh_interpreter(program))


def test_star_import() -> None:
    """`from poolwise import *` gives the public names."""
    program = "import json\nfrom poolwise import *\nprint(json.dumps(sorted(n for n in dir() if n[0] != '_')))"
    assert in_fresh_interpreter(program) == sorted({*NAMES, "json"})


def test_an_unknown_name() -> None:
    """A name that is not there is an AttributeError that says which, and an ImportError on import."""
    with pytest.raises(AttributeError, match="'poolwise' has no attribute 'mapp'"):
        poolwise.mapp  # noqa: B018
    assert not hasattr(poolwise, "__wrapped__")
    with pytest.raises(ImportError, match="mapp"):
        from poolwise import mapp  # noqa: F401


def test_dir_lists_the_names() -> None:
    """`dir(poolwise)` has every public name, imported yet or not."""
    listed = dir(poolwise)
    assert set(NAMES) <= set(listed)
    assert listed == sorted(listed)
    assert "__version__" in listed
