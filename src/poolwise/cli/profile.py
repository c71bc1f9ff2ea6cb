"""`poolwise profile`: run the first items for a while, then say what they cost and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from poolwise.cli.consume import explain
from poolwise.cli.interrupts import Interrupts
from poolwise.cli.sources import InputError, Items, Source, open_source
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed, claim_stdout
from poolwise.cli.target import load_function, spread
from poolwise.cli.terminal import DONE, FAILED, INTERRUPTED, SOME_FAILED, CommandError, say_error


@dataclass(frozen=True, slots=True)
class ProfileCommand:
    """What the user asked for.

    Args:
        function: MODULE:FUNCTION.
        source: where items come from.
        seconds: how long to run items.
        as_json: print JSON, for machines.
        starred: spread lists and objects over arguments.
        options: further options of `poolwise.profile`.
    """

    function: str
    source: Source
    seconds: float
    as_json: bool = False
    starred: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def profile_command(command: ProfileCommand) -> int:
    """Run the command and return the exit code."""
    command.source.check()
    if command.starred and not command.source.jsonl:
        raise CommandError("--starred spreads lists and objects over arguments, and only --jsonl gives such items")
    open_stdout = claim_stdout()
    fn = load_function(command.function)
    with Interrupts() as interrupts:
        try:
            items = open_source(command.source, interrupts, count=False)
            return _profile(command, fn, items, interrupts, open_stdout)
        except KeyboardInterrupt:
            return INTERRUPTED
        except OutputClosed:
            return FAILED
        except (InputError, OutputFailed) as error:
            say_error(str(error))
            return FAILED


def _profile(
    command: ProfileCommand,
    fn: Callable[..., Any],
    items: Items | list[str],
    interrupts: Interrupts,
    open_stdout: Callable[[], BinaryIO],
) -> int:
    import poolwise
    from poolwise._api import profiled_run
    from poolwise._drivers import profile_of

    total = items.total if isinstance(items, Items) else len(items)
    called = spread(fn) if command.starred else fn
    try:
        run = profiled_run(called, items, total=total, **command.options)
        interrupts.call_at_first(run.drain)
        profile = profile_of(run, command.seconds)
    except poolwise.PoolwiseError as error:
        return explain(error)
    if profile.items == 0 and not interrupts.count:
        raise CommandError("there are no items to run", hint="give a file with one item a line")
    text = json.dumps(profile.to_dict(), indent=2) if command.as_json else profile.explain()
    with LineWriter(open_stdout(), "stdout") as writer:
        writer.write(text.encode() + b"\n")
    if interrupts.count:
        return INTERRUPTED
    return SOME_FAILED if profile.failed else DONE
