"""What mkdocs does to pages beside rendering them: `<!-- help: COMMAND -->` becomes the help text of that command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

_HELP = re.compile(r"^<!-- help:(.*?)-->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put help texts into a page."""
    return _HELP.sub(lambda found: f"```text\n{_help(found[1].split())}\n```", markdown)


def _help(command: list[str]) -> str:
    said = subprocess.run(
        [sys.executable, "-m", "poolwise", *command, "--help"],
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.strip()
