"""Taking the outcomes of a run until it ends, one way or another, and saying how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from poolwise.cli.interrupts import Interrupts
from poolwise.cli.sources import InputError
from poolwise.cli.streams import OutputClosed, OutputFailed
from poolwise.cli.terminal import FAILED, INTERRUPTED, USAGE, Tally, bar_shown, is_terminal, say, say_error

if TYPE_CHECKING:
    from poolwise import Outcome, Run


def trace_options(path: str | None) -> dict[str, Any]:
    """Return the options of `poolwise.run` that a trace wants.

    Raises:
        UsageError: it could not be written, which is better known now than at the end.
    """
    if path is None:
        return {}
    from poolwise.report.files import check_writable

    check_writable(path)
    return {"timeline": True}


def consume(
    run: Run[Any],
    interrupts: Interrupts,
    take: Callable[[Outcome[Any]], object],
    tally: Tally,
    *,
    trace: str | None = None,
) -> int:
    """Take every outcome of a run; then say what went wrong, and in one line how it went.

    Args:
        run: not yet begun.
        interrupts: what Ctrl-C does.
        take: called with each outcome.
        tally: counts them. A tally that is `loud` is printed also where all went well and nobody watches.
        trace: a file for what happened when, which is written however the run ends; or None.

    Returns:
        The exit code.
    """
    code = _consume(run, interrupts, take, tally)
    if trace is None:
        return code
    from poolwise import PoolwiseError

    try:
        run.report().to_trace(trace)
    except PoolwiseError as error:
        say_error(str(error))
        return code or FAILED
    return code


def _consume(run: Run[Any], interrupts: Interrupts, take: Callable[[Outcome[Any]], object], tally: Tally) -> int:
    from poolwise import PoolwiseError

    started = time.perf_counter()
    code = None
    interrupts.call_at_first(run.drain)
    try:
        with run:
            for outcome in run:
                tally.add(outcome)
                take(outcome)
    except OutputClosed:  # by Ctrl-C too, which ends everything in a pipeline
        return INTERRUPTED if interrupts.count else FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (InputError, OutputFailed) as error:
        say_error(str(error))
        code = FAILED
    except PoolwiseError as error:
        code = explain(error)
    if interrupts.count:
        code = INTERRUPTED
    if code != USAGE and (tally.loud or tally.failed or code is not None or (is_terminal() and not bar_shown())):
        _summarise(run, tally, time.perf_counter() - started, stopped=code == INTERRUPTED)
    return tally.code if code is None else code


def explain(error: Exception) -> int:
    """Say what an error of poolwise is about, and return the exit code that it means."""
    from poolwise import InternalError, UsageError

    if isinstance(error, InternalError):
        say_error(str(error), hint="this is a fault of poolwise: please report it, with what you ran")
    else:
        say_error(str(error))
    return USAGE if isinstance(error, UsageError) else FAILED


def _summarise(run: Run[Any], tally: Tally, seconds: float, *, stopped: bool) -> None:
    prefix = "interrupted after " if stopped else ""
    shapes = " | ".join(str(stage.plan.shape) for stage in run.report().stages)
    say(prefix + tally.summary(seconds, shapes or str(run.plan.shape)))
    if tally.first_failure and not tally.loud:
        say(f"the first failure: {tally.first_failure}")
