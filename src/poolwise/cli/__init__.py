"""The command line: every word a user sees, the exit codes, and nothing that decides how work is done.

One file per command (`run`, `images`, `fetch`, ...), and the pieces they share: `sources` (where items come from),
`target` (MODULE:FUNCTION), `records` (an outcome as a line of JSON), `streams` (who may write to stdout), `interrupts`
(Ctrl-C), `terminal` (errors, hints, summaries). Heavy imports happen inside functions, so that
`poolwise --help` is quick.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        code = _run()
    except KeyboardInterrupt:  # Before a command began, or after it ended: there is nothing to finish.
        code = 130
    raise SystemExit(code)


def _run() -> int:
    import sys

    from poolwise.cli.streams import fill_gaps, flush_quietly

    fill_gaps()

    from poolwise.cli.app import run_app

    code = run_app(sys.argv[1:])
    flush_quietly()
    return code
