"""`poolwise show`: what a journal holds, for people and for machines."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolwise._core.journal import Recorded
from poolwise.cli.records import outcome_fields, plain_key, recorded_line
from poolwise.cli.run import open_file
from poolwise.cli.streams import LineWriter, OutputClosed, OutputFailed, claim_stdout, keep_apart
from poolwise.cli.terminal import DONE, FAILED, one_line, say, say_error

if TYPE_CHECKING:
    from poolwise._runtime.journal_reader import Reader, Summary

_UNENDED = {True: "goes on", False: "did not end by itself (killed?)", None: "did not end by itself, or goes on"}
_SURROGATE = re.compile("[\ud800-\udfff]")  # Alone, so no UTF-8; only an escape can say it.
_COLUMNS = (
    "key", "ok", "value", "error_type", "error", "attempts", "started", "finished", "seconds", "cpu_seconds", "worker",
    "lane",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShowCommand:
    """What the user asked for.

    Args:
        path: the journal.
        as_json: print the summary as JSON.
        values: write the outcomes: "jsonl", "csv", or None for the summary.
        output: a file for them, or "-" for stdout.
        save: copy what can be read into this new journal.
    """

    path: str
    as_json: bool = False
    values: str | None = None
    output: str = "-"
    save: str | None = None


def show_command(command: ShowCommand) -> int:
    """Run the command and return the exit code."""
    from poolwise import JournalError
    from poolwise._runtime.journal_reader import Reader, salvage

    keep_apart(
        (command.path, "the journal"),
        (command.output, "the file for outcomes"),
        (command.save, "the copy of a journal"),
    )
    try:
        if command.save is not None:
            saved, wrong = salvage(command.path, command.save)
            lost = f"; {wrong:,} were damaged and left out" if wrong else ""
            say(f"{saved:,} outcomes of {command.path} are in {command.save}{lost}")
            return DONE
        with Reader(command.path) as reader:
            if command.values is not None:
                return _export(reader, command)
            summary = reader.summary()
    except JournalError as error:
        say_error(str(error))
        return FAILED
    text = json.dumps(_as_dict(summary), indent=2) if command.as_json else "\n".join(map(one_line, _lines(summary)))
    with claim_stdout()() as stdout:
        stdout.write(f"{text}\n".encode("utf-8", "backslashreplace"))
    return DONE


# -- the summary -------------------------------------------------------------------------------------------------------


def _as_dict(summary: Summary) -> dict[str, Any]:
    return {
        "path": summary.path,
        "function": summary.function,
        "options": summary.options,
        "done": summary.done,
        "failed": summary.failed,
        "failures": summary.failures,
        "slowest": [{"key": plain_key(slow.key), "seconds": slow.seconds} for slow in summary.slowest],
        "seconds": summary.seconds,
        "cpu_seconds": summary.cpu_seconds,
        "first_started": summary.first,
        "last_started": summary.last,
        "runs": summary.runs,
    }


def _lines(summary: Summary) -> list[str]:
    from poolwise._runtime.journal_reader import in_use

    lines = [f"{summary.function}: {summary.done:,} done, {summary.failed:,} failed"]
    lines += [f"  {name} = {value}" for name, value in summary.options.items()]
    if summary.failures:
        lines += ["", "Failures", *(f"  {count:>9,}  {name}" for name, count in summary.failures.items())]
    if summary.slowest:
        lines += ["", "Slowest", *(f"  {slow.seconds:>9.3g} s  {_short(slow.key)}" for slow in summary.slowest)]
    running = in_use(summary.path)
    lines += ["", "Runs", *(f"  {_run(run, running and run is summary.runs[-1])}" for run in summary.runs)]
    last = next((run for run in reversed(summary.runs) if _executed(run) > 0), None)
    if last is not None:
        lines += ["", "Plan", f"  {str(last['explanation']).partition(chr(10))[0]}"]
    return lines


def _short(key: Any) -> str:
    text = key if isinstance(key, str) else repr(key)
    return text if len(text) <= 90 else f"{text[:60]}...{text[-25:]}"


def _executed(run: dict[str, Any]) -> int:
    """Return how many items a run executed, as far as it came to tell."""
    return int(run.get("done", 0) + run.get("failed", 0) - run.get("recorded", 0))


def _run(run: dict[str, Any], running: bool | None) -> str:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["started"]))
    if "done" not in run:
        return f"{began}  {_UNENDED[running]}"
    executed = _executed(run)
    known = f", {run['recorded']:,} were known" if run["recorded"] else ""
    ended = "" if run["finished"] else "; stopped"
    return f"{began}  {executed:,} executed in {run['seconds']:.2f} s on {run['plan']['shape']}{known}{ended}"


# -- the outcomes ------------------------------------------------------------------------------------------------------


def _export(reader: Reader, command: ShowCommand) -> int:
    line = _csv_line if command.values == "csv" else recorded_line
    open_stdout = claim_stdout()
    made = command.output != "-" and not os.path.exists(command.output)
    file = open_stdout() if command.output == "-" else open_file(command.output)
    unreadable = 0
    try:
        with LineWriter(file, command.output, b"") as writer:
            if command.values == "csv":
                writer.write(_csv(_COLUMNS))
            for outcome in reader.outcomes():
                if isinstance(outcome, Recorded):
                    writer.write(line(outcome))
                else:
                    unreadable += 1
                    say_error(one_line(str(outcome[1])))
    except OutputClosed:
        return FAILED
    except OutputFailed as error:
        say_error(str(error))
        if made:
            with contextlib.suppress(OSError):
                os.unlink(command.output)
        return FAILED
    return FAILED if unreadable else DONE


def _csv_line(outcome: Any) -> bytes:
    fields = outcome_fields(outcome)
    error = fields.pop("error") or {"type": "", "message": ""}
    value = fields.pop("repr", None)  # What JSON cannot say exactly is there as its repr.
    fields["value"] = fields["value"] if value is None else value
    fields |= {"error_type": error["type"], "error": error["message"]}
    return _csv([_cell(fields[name]) for name in _COLUMNS])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) and not _SURROGATE.search(value) else json.dumps(value)


def _csv(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
