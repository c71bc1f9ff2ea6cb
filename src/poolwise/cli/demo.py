"""`poolwise demo`: one real job, serially and on two shapes, and what came of it. `make run` calls it."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from poolwise.cli.consume import explain
from poolwise.cli.terminal import DONE, FAILED, CommandError, failure, say, say_error

NEARBY = os.path.join("..", "shared", "photos")
ITEMS = 12
ROUNDS = 2
SERIAL_SECONDS = 8.0
"""The first serial pass is drained after this long, and all others do what it did: all is over within a minute."""

EVEN = 0.03
"""Times that differ by a smaller share are called even: so few rounds cannot tell more."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one shape took.

    Attributes:
        shape: such as `1x2`.
        where: the same in words.
        items: photographs of one round.
        rounds: wall seconds of each, the start of workers included.
    """

    shape: str
    where: str
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


def demo_command(photos: str | None) -> int:
    """Run the demonstration and return the exit code."""
    from poolwise import PoolwiseError
    from poolwise.jobs.images import require_pillow

    try:
        require_pillow()
        with tempfile.TemporaryDirectory(prefix="poolwise-demo-") as folder:
            return _demonstrate(photos, folder)
    except PoolwiseError as error:
        return explain(error)


def _demonstrate(photos: str | None, folder: str) -> int:
    from poolwise._runtime.host import core_count

    source = os.path.join(folder, "source")
    pixels = _link_photographs(_photographs(photos, folder), source)
    cores = core_count()
    lanes = max(2, cores)
    say(
        f"each of {len(pixels)} photographs, {min(pixels) / 1e6:.2g} to {max(pixels) / 1e6:.2g} megapixels, "
        f"is blurred (15), fitted into 1200 and saved, on {cores} core{'s' if cores > 1 else ''}"
    )
    plans = (("1x1", "one after another"), (f"1x{lanes}", f"{lanes} threads"), (f"{lanes}x1", f"{lanes} processes"))
    rounds: dict[str, list[float]] = {shape: [] for shape, _ in plans}
    for number in range(1, ROUNDS + 1):
        for shape, where in plans:
            say(f"round {number} of {ROUNDS}, {shape}: {where} ...")
            first = not rounds["1x1"]
            seconds = _pass(source, os.path.join(folder, "results"), shape, enough=SERIAL_SECONDS if first else None)
            if seconds is None:
                return FAILED
            rounds[shape].append(seconds)
    items = len(os.listdir(source))
    _show([Measured(shape, where, items, tuple(rounds[shape])) for shape, where in plans])
    return DONE


def _photographs(photos: str | None, folder: str) -> list[str]:
    """Find photographs, or make some."""
    from poolwise.jobs.images import find_images

    if photos is None and os.path.isdir(NEARBY) and find_images(NEARBY):
        photos = NEARBY
    if photos is None:
        photos = os.path.join(folder, "generated")
        say(f"no photographs in {NEARBY}, so a few are generated (--photos DIR takes your own) ...")
        generate_photographs(photos)
    found = [os.path.abspath(os.path.join(photos, path)) for path in find_images(photos)]
    if not found:
        raise CommandError(f"there are no photographs in {photos!r}")
    return found[:ITEMS]


def _link_photographs(photographs: list[str], source: str) -> list[int]:
    """Fill a folder with links to photographs, each several times where they are few; return their pixels."""
    os.mkdir(source)
    pixels = [_read_once(photograph) for photograph in photographs]
    copies = max(1, round(ITEMS / len(photographs)))
    for number, photograph in enumerate(photographs * copies):
        link = os.path.join(source, f"{number:03}{os.path.splitext(photograph)[1]}")
        try:
            os.symlink(photograph, link)
        except OSError:  # no links here: Windows without developer mode, some network drives
            import shutil

            shutil.copyfile(photograph, link)
    return pixels * copies


def _read_once(photograph: str) -> int:
    """Read a file into the page cache, so that the first pass does not pay for the disk; return its pixels."""
    from PIL import Image

    try:
        with open(photograph, "rb") as file:
            file.read()
            image = Image.open(file)
            return image.width * image.height
    except OSError as error:
        raise CommandError(f"cannot use {photograph!r}: {error.strerror or 'it is not an image'}") from error


def _pass(source: str, output: str, shape: str, *, enough: float | None) -> float | None:
    """Process the photographs and return the seconds; None where one failed, which is then said.

    Args:
        source, output: folders.
        shape: on which shape.
        enough: take no more after so many seconds, and remove from `source` what was not done by then.
    """
    from poolwise.jobs.images import images

    started = time.perf_counter()
    done = set()
    with images(source, output, blur=15, fit=1200, shape=shape, force=True) as run:
        for outcome in run:
            if outcome.error is not None:
                say_error(f"{os.path.realpath(os.path.join(source, outcome.key))}: {failure(outcome.error)[1]}")
                return None
            done.add(outcome.key)
            if enough is not None and time.perf_counter() - started > enough:
                run.drain()
    seconds = time.perf_counter() - started
    for name in set(os.listdir(source)) - done:
        os.unlink(os.path.join(source, name))
    return seconds


def _show(measured: Sequence[Measured]) -> None:
    from rich.console import Console
    from rich.table import Table

    serial = measured[0]
    table = Table(
        title=f"{serial.items} photographs: blur 15, fit 1200, save (the best of {ROUNDS} rounds)", title_justify="left"
    )
    table.add_column("shape")
    table.add_column("where")
    for heading in ("seconds", "photographs/s", "speed-up"):
        table.add_column(heading, justify="right")
    for each in measured:
        table.add_row(
            each.shape,
            each.where,
            f"{each.seconds:.2f}",
            f"{each.items / each.seconds:.2f}",
            f"{serial.seconds / each.seconds:.2f}x",
        )
    console = Console()
    console.print(table)
    console.print(conclusion(measured), highlight=False)


def conclusion(measured: Sequence[Measured]) -> str:
    """Say in one sentence which shape won here, and by how much; or that none did.

    Args:
        measured: the serial one first.
    """
    serial = measured[0]
    best, second = sorted(measured[1:], key=lambda each: each.seconds)[:2]
    gain = serial.seconds / best.seconds
    lead = second.seconds / best.seconds - 1
    noise = max(each.spread for each in measured)
    if gain < 1 + EVEN:
        return f"Here nothing beat one after another: the best shape, {best.shape}, reached {gain:.2f}x."
    if lead < max(EVEN, noise):
        return (
            f"Here {best.where} and {second.where} came out even: {gain:.2f}x and "
            f"{serial.seconds / second.seconds:.2f}x as fast as one after another, which is no difference where rounds "
            f"of one and the same shape differ by up to {noise:.0%}."
        )
    why = ", as Pillow releases the GIL while it decodes, blurs and saves" if best.shape.startswith("1x") else ""
    return (
        f"Here {best.where} won: {gain:.2f}x as fast as one after another, and {lead:.0%} faster than "
        f"{second.where}{why}; other photographs, or another machine, may differ."
    )


def generate_photographs(folder: str, *, count: int = 4, size: tuple[int, int] = (4000, 3000)) -> None:
    """Make JPEG files that cost what photographs of a camera cost: gradients, edges of all sizes, and sensor noise.

    Args:
        folder: is created.
        count: how many.
        size: width and height in pixels.
    """
    import poolwise

    os.makedirs(folder)
    paths = [os.path.join(folder, f"generated-{number}.jpg") for number in range(count)]
    for _ in poolwise.map(_generate, paths, [size] * count, hint="cpu"):
        pass


def _generate(path: str, size: tuple[int, int]) -> None:
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    chance = random.Random(os.path.basename(path))
    width, height = size
    light = (Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90))
    picture = Image.merge("RGB", [each.resize(size) for each in chance.sample(light, 3)])
    draw = ImageDraw.Draw(picture)
    for number in range(400):
        reach = max(4, width // (3 + number // 2))
        left, top = chance.randrange(-reach, width), chance.randrange(-reach, height)
        box = (left, top, left + chance.randrange(2, reach), top + chance.randrange(2, reach))
        shape = chance.choice((draw.ellipse, draw.rectangle))
        shape(box, fill=(chance.randrange(256), chance.randrange(256), chance.randrange(256)))
    noise = Image.merge("RGB", [Image.effect_noise(size, 8)] * 3)
    picture = ImageChops.add(picture.filter(ImageFilter.BoxBlur(1)), noise, scale=1, offset=-128)
    picture.save(path, quality=92)
