"""The documentation as a site, and what its comparison says of poolwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import poolwise

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOADED = re.compile(
    r"""<(?:script|img|iframe)\b[^>]*\ssrc=["']?(?:https?:)?//|<link\b[^>]*rel=["']?stylesheet[^>]*//"""
)


needs_mkdocs = pytest.mark.skipif(
    find_spec("mkdocs") is None and not os.environ.get("POOLWISE_CI"),
    reason="mkdocs is not installed; `make docs` installs it",
)


def mkdocs(*more: str) -> subprocess.CompletedProcess[str]:
    """Run what `make docs` runs, with more options."""
    found = re.search(r"-m (mkdocs build.*)", (ROOT / "Makefile").read_text("utf-8"))
    assert found is not None
    return subprocess.run(
        [sys.executable, "-m", *found[1].split(), *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_mkdocs
@pytest.mark.parametrize("link", ["[page](nowhere.md)", "[place](index.md#nowhere)"])
def test_a_link_that_leads_nowhere_is_an_error(link: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# Title\n\n{link}\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {docs}\nnav: [index.md]\nplugins: []\nhooks: []\n")
    ended = mkdocs("--config-file", str(config), "--site-dir", str(tmp_path / "site"))
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr


@needs_mkdocs
def test_the_site(tmp_path: Path) -> None:
    """It is built without a warning, has every page and every public name, and loads nothing from elsewhere."""
    ended = mkdocs("--site-dir", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    wanted = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    wanted = {path.with_name("index.html") if path.name == "README.html" else path for path in wanted}
    pages = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert wanted | {Path("404.html")} == pages.keys()
    reference = "".join(text for path, text in pages.items() if path.parent == Path("reference"))
    assert [name for name in poolwise.__all__ if f'id="poolwise.{name}"' not in reference] == []
    assert [path for path, text in pages.items() if LOADED.search(text)] == []
    assert "Usage: poolwise fetch" in pages[Path("reference/command-line.html")]


def _cells() -> dict[str, str]:
    """Return what the table says of poolwise, by probe."""
    rows = [line.split(" | ") for line in (DOCS / "peers.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip("|` "): row[1] for row in rows if len(row) > 3}


@pytest.mark.skipif(os.name != "posix", reason="the script needs POSIX")
@pytest.mark.parametrize("probe", ["kill", "exit", "unpicklable", "timeout", "lambda", "guard"])
def test_what_the_comparison_says_of_poolwise(probe: str) -> None:
    """The command of the cell prints what is in the cell."""
    ended = subprocess.run(
        [sys.executable, "benchmarks/peers.py", probe, "poolwise"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, _cells()[probe])
