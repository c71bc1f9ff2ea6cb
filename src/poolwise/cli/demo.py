"""`poolwise demo`: the two built-in jobs, serially and on the shape that poolwise finds. `make run` calls it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from poolwise.cli.consume import explain
from poolwise.cli.terminal import DONE, FAILED, CommandError, duration, failure, say, say_error, say_hint

NEARBY = os.path.join("..", "shared", "photos")
PHOTOGRAPHS = 12
IMAGES = 32
LATENCY_SECONDS = 0.08
ORDER = ("serial", "auto", "auto", "serial")
"""Two rounds, so that what drifts meanwhile, such as the clock of the cores, hits both alike."""

SERIAL_SECONDS = 3.0
"""The first serial pass is ended after this long, and all others do what it did: all is over in half a minute."""

EVEN = 0.03
"""Times that differ by a smaller share are called even: so few rounds cannot tell more."""

_SIZE = (3000, 2250)
_IMAGE = (800, 600)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one way of running a job took.

    Attributes:
        shape: that it ended with, such as `1x16`.
        items: of one round.
        rounds: wall seconds of each, the start of workers included.
    """

    shape: str
    items: int
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The quickest round: what else the machine does can only add to it."""
        return min(self.rounds)

    @property
    def spread(self) -> float:
        """How much slower the slowest round was, as a share."""
        return max(self.rounds) / self.seconds - 1


@dataclass(frozen=True, slots=True)
class Headline:
    """What came of one job.

    Attributes:
        job: its name.
        noun: what its items are, in the plural.
        serial, auto: the two ways.
        verdict: what poolwise says of the run under "auto".
        page: where the report of that run is, or None where it could not be written.
    """

    job: str
    noun: str
    serial: Measured
    auto: Measured
    verdict: str
    page: str | None


Start = Callable[[str], Any]
"""Returns a run of the job under "serial" or "auto", not yet begun."""


class _Stopped(Exception):
    """An item failed, which has been said."""


def demo_command(photos: str | None, output: str) -> int:
    """Run the demonstration and return the exit code.

    Args:
        photos: a folder of photographs, or None.
        output: a folder for the reports.
    """
    from poolwise import PoolwiseError
    from poolwise.jobs.images import require_pillow

    try:
        require_pillow()
        try:
            os.makedirs(output, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot make the folder {output!r}: {error.strerror}") from error
        with tempfile.TemporaryDirectory(prefix="poolwise-demo-") as folder:
            source = _gather(photos, folder)
            headlines = [_download(folder, output)] if find_spec("pycurl") is not None else []
            headlines.append(_process(source, folder, output))
    except _Stopped:
        return FAILED
    except PoolwiseError as error:
        return explain(error)
    _show(headlines)
    if len(headlines) == 1:
        say_hint("the download was left out, as it needs pycurl: pip install 'poolwise[fetch]'")
    return DONE


def _download(folder: str, output: str) -> Headline:
    """Fetch images from a server on this machine."""
    from poolwise.jobs.fetch import fetch
    from poolwise.tour.photographs import photograph_bytes
    from poolwise.tour.server import ImageServer

    images = {f"image-{number:02}.jpg": photograph_bytes(f"image-{number % 4}", _IMAGE) for number in range(IMAGES)}
    with ImageServer(images, seconds=LATENCY_SECONDS) as server:
        say(f"download: {IMAGES} images of a server here that answers after about {LATENCY_SECONDS * 1e3:.0f} ms ...")

        def start(shape: str) -> Any:
            place = tempfile.mkdtemp(dir=folder)
            return fetch(server.urls(), place, allow_private=True, shape=shape)

        return _measure("download", "images", start, output)


def _process(source: str, folder: str, output: str) -> Headline:
    """Blur, shrink and save the photographs of a folder."""
    from poolwise.jobs.images import images

    say("images: blur 15, fit into 1200, save ...")
    results = os.path.join(folder, "results")

    def start(shape: str) -> Any:
        return images(source, results, blur=15, fit=1200, shape=shape, force=True)

    def leave_out(done: set[str]) -> None:
        for name in set(os.listdir(source)) - done:
            os.unlink(os.path.join(source, name))

    return _measure("images", "photographs", start, output, leave_out)


def _gather(photos: str | None, folder: str) -> str:
    """Return a folder of links to photographs that can be read."""
    from poolwise.tour.photographs import link_photographs

    source = os.path.join(folder, "source")
    for photograph in set(link_photographs(_photographs(photos, folder), source, PHOTOGRAPHS)):
        _read_once(photograph)
    return source


def _photographs(photos: str | None, folder: str) -> str:
    """Return a folder of photographs; some are made where there is none."""
    from poolwise.jobs.images import find_images
    from poolwise.tour.photographs import generate_photographs

    if photos is not None:
        return photos
    if os.path.isdir(NEARBY) and find_images(NEARBY):
        return NEARBY
    say(f"no photographs in {NEARBY}, so a few are generated (--photos DIR takes your own) ...")
    generated = os.path.join(folder, "generated")
    generate_photographs(generated, size=_SIZE)
    return generated


def _read_once(photograph: str) -> None:
    """Read a file into the page cache, so that the first pass does not pay for the disk."""
    from PIL import Image

    try:
        with open(photograph, "rb") as file:
            file.read()
            Image.open(file).verify()
    except (OSError, SyntaxError) as error:
        why = getattr(error, "strerror", None) or "it is not an image"
        raise CommandError(f"cannot use {photograph!r}: {why}") from error


def _measure(
    job: str, noun: str, start: Start, output: str, leave_out: Callable[[set[str]], None] | None = None
) -> Headline:
    """Run a job both ways, in rounds.

    Args:
        job: its name.
        noun: what its items are.
        start: makes a run.
        output: a folder for the report.
        leave_out: given the keys that the first pass did; what it did not do in time is left out from then on.
    """
    rounds: dict[str, list[float]] = {"serial": [], "auto": []}
    shapes: dict[str, str] = {}
    reports: list[tuple[str, Any]] = []
    done: set[str] = set()
    for place, shape in enumerate(ORDER):
        began = time.perf_counter()
        with start(shape) as run:
            for outcome in run:
                if outcome.error is not None:
                    say_error(f"{outcome.key}: {failure(outcome.error)[1]}")
                    raise _Stopped
                done.add(outcome.key)
                if leave_out is not None and place == 0 and time.perf_counter() - began > SERIAL_SECONDS:
                    run.cancel()
        rounds[shape].append(time.perf_counter() - began)
        shapes[shape] = str(run.plan.shape)
        if shape == "auto":
            reports.append((run.plan.explain().partition("\n")[0], run.report()))
        if leave_out is not None and place == 0:
            leave_out(done)
    ways = {name: Measured(shapes[name], len(done), tuple(seconds)) for name, seconds in rounds.items()}
    verdict, report = reports[-1]
    page = _write(report, os.path.join(output, f"poolwise-demo-{job}.html"))
    return Headline(job, noun, ways["serial"], ways["auto"], verdict, page)


def _write(report: Any, path: str) -> str | None:
    from poolwise import BackendUnavailable

    try:
        report.to_html(path)
    except BackendUnavailable as error:
        say_error(str(error))
        return None
    return os.path.abspath(path)


def _show(headlines: Sequence[Headline]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="The better of two rounds", title_justify="left")
    for heading in ("job", "how", "shape"):
        table.add_column(heading)
    for heading in ("seconds", "items/s", "speed-up"):
        table.add_column(heading, justify="right")
    for each in headlines:
        for how, way in (("serial", each.serial), ("auto", each.auto)):
            table.add_row(
                f"{way.items} {each.noun}" if how == "serial" else "",
                how,
                way.shape,
                f"{way.seconds:.2f}",
                f"{way.items / way.seconds:.1f}",
                f"{each.serial.seconds / way.seconds:.2f}x",
            )
    console = Console()
    console.print(table)
    for each in headlines:
        console.print(f"\n{each.job}: {conclusion(each)}", highlight=False, markup=False)
        console.print(f"poolwise says: {each.verdict}", highlight=False, markup=False)
        if each.page is not None:
            console.print(f"report: {each.page}", highlight=False, markup=False, soft_wrap=True)


def conclusion(headline: Headline) -> str:
    """Say in one sentence what "auto" gained here over one after another; or that it gained nothing."""
    serial, auto = headline.serial, headline.auto
    gain = serial.seconds / auto.seconds
    noise = max(serial.spread, auto.spread)
    both = f"{duration(auto.seconds)} against {duration(serial.seconds)} one after another"
    if gain < 1 - EVEN:
        return f"auto lost here: {both}, {1 / gain:.2f}x as long."
    if gain < 1 + EVEN:
        return f"auto gained nothing here: {both}."
    if gain < 1 + noise:
        return f"{both}: no difference that counts, as rounds of the same differed by up to {noise:.0%}."
    return f"auto was {gain:.2f}x as fast: {both}; another machine, or other items, may differ."
