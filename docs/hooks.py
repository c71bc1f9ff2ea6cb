"""What mkdocs does to pages beside rendering them: `<!-- help: COMMAND -->` becomes the help text of that command."""

from __future__ import annotations

import re
from typing import Any

from typer.testing import CliRunner

from poolwise.cli.app import app

_HELP = re.compile(r"^<!-- help:(.*?)-->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put help texts into a page."""
    return _HELP.sub(lambda found: f"```text\n{_help(found[1].split())}\n```", markdown)


def _help(command: list[str]) -> str:
    said = CliRunner().invoke(app, [*command, "--help"], prog_name="poolwise", env={"COLUMNS": "100"})
    if said.exit_code != 0:
        raise SystemExit(f"poolwise {' '.join(command)} --help failed: {said.output}")
    return said.output.strip()
