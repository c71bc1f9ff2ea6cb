"""The images job: every photograph of a folder, through a few operations, into a mirrored folder.

    find_images(SRC) ──relative paths──> names told apart ──> poolwise.run(Conversion) ──> outcomes, one per file
                                                                 up to date? by the journal, in DST

What there is, and of what it was made, is in the run's journal; nothing else remembers anything.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Unpack

    from poolwise._core.journal import Recorded

import poolwise
from poolwise import Journal, Limits, UsageError
from poolwise._runtime import host
from poolwise.jobs import RunOptions, check_options
from poolwise.jobs._extras import require
from poolwise.jobs._records import journal_path
from poolwise.jobs.images import operations
from poolwise.jobs.images.convert import Convert, Settings
from poolwise.jobs.images.errors import ImageError, Unreadable
from poolwise.jobs.images.finding import SUFFIXES, find_images
from poolwise.jobs.images.freshness import holds
from poolwise.jobs.images.inplace import Notes
from poolwise.jobs.images.manifest import cause_of
from poolwise.jobs.images.names import clash, result_name
from poolwise.jobs.images.operations import Operations
from poolwise.jobs.images.outcome import Converted
from poolwise.jobs.images.reading import KEPT_BYTES, known_formats, open_image, opened
from poolwise.jobs.images.weight import largest_first, weight_of
from poolwise.jobs.images.writing import remove_leftovers

SAMPLES = 3
"""Files of which `fast` measures the difference, at most; one for each ten."""


class ImagesOptions(Operations, RunOptions, total=False):
    """Operations, what else is wanted, and options of `poolwise.run`.

    Attributes:
        in_place: results take the place of the originals.
        force: process everything again, and go on with a journal that belongs to something else.
        retry_failed: try again what failed in an earlier run.
        format and the others: see `Settings`.
    """

    in_place: bool
    force: bool
    retry_failed: bool
    format: str | None
    quality: int | None
    strip: bool
    truncated: str
    fast: bool
    also: Sequence[str]
    max_pixels: int
    max_frames: int
    durable: bool


def images(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None = None,
    **options: Unpack[ImagesOptions],
) -> poolwise.Run[Converted]:
    """Process the images of a folder into another one: `images("photos", "small", blur=15, fit=1200)`.

    The operations are applied in the order in which they are written here. EXIF orientation is applied first; EXIF
    and ICC profiles are kept; the format stays what it was. Results are mirrored under the same names, and replace
    files of an earlier run. A second call with the same folders processes only what has changed.

    Args:
        source: a folder, searched recursively for the names in `SUFFIXES`. Links to folders are not followed, and
            `destination` is left out where it lies inside.
        destination: a folder, created where it is missing; not one that holds `source`. None only with `in_place`.
        **options: see `Operations`, `Settings` and `ImagesOptions`.

    Returns:
        A run with one outcome per file: `key` is its path in `source`, `value` a `Converted`, which may stand where the
        path of the result is wanted; the `__cause__` of `error` is an `ImageError`.

    Raises:
        UsageError: where an argument cannot be meant, originals might be overwritten, or two of them have one result.
        BackendUnavailable: where Pillow is not installed.
        JournalError: the journal in the folder is damaged, or in use.
    """
    return prepare(source, destination, dict(options)).run()


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of one file.

    Attributes:
        key: path of the file in SRC.
        path: of its result.
        todo: it would be processed.
        why: in words: "new", "up to date", "failed before", ...
    """

    key: str
    path: str
    todo: bool
    why: str


def preview(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None = None,
    **options: Unpack[ImagesOptions],
) -> Iterator[Planned]:
    """Say what `images` with the same arguments would do; nothing is written.

    Raises:
        UsageError, BackendUnavailable, JournalError: as `images` does.
    """
    return prepare(source, destination, dict(options)).preview()


def require_pillow() -> None:
    """Check that Pillow can be imported.

    Raises:
        BackendUnavailable: where it cannot.
    """
    require("PIL.Image", "images", "the images job needs Pillow")


# -- before work starts ------------------------------------------------------------------------------------------------


def prepare(source: Any, destination: Any, options: dict[str, Any]) -> Prepared:
    """Check the arguments, and find the files.

    Raises:
        UsageError: one of them cannot be meant.
    """
    require_pillow()
    if "key" in options:
        raise UsageError("key is for poolwise.run; images knows its outcomes by their paths")
    check_options("images", options.keys() - {"total"}, ImagesOptions.__annotations__.keys())
    switches = {name: options.pop(name, False) for name in ("in_place", "force", "retry_failed")}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}; it must be True or False")
    convert, rest = taken_apart(options)
    settings = convert.settings
    in_place = switches["in_place"]
    folder, output = _folders(source, destination, in_place=in_place)
    if in_place and settings.format is not None:
        raise UsageError("in_place and format exclude each other: results of another name would stand beside originals")
    suffixes = (*SUFFIXES, *_suffixes_of(known_formats(settings.also)[len(known_formats()) :]))
    paths = find_images(folder, without=None if in_place else output, suffixes=suffixes)
    if not in_place:
        collision = clash(paths, settings.format)
        if collision is not None:
            raise UsageError(collision)
        _check_places(folder, output, paths)
    if settings.truncated == "keep":
        rest["isolate"] = True
    return Prepared(folder, output, convert, tuple(paths), in_place, switches["force"], switches["retry_failed"], rest)


def taken_apart(options: dict[str, Any]) -> tuple[Convert, dict[str, Any]]:
    """Return what is to be done to each file, by the operations and settings among some options, and the others.

    Raises:
        UsageError: one of them cannot be meant, or there is nothing to do.
    """
    done = tuple(operations.checked(name, value) for name, value in options.items() if name in operations.NAMES)
    settings = Settings(**{each.name: options[each.name] for each in fields(Settings) if each.name in options})
    ours = {*operations.NAMES, *(each.name for each in fields(Settings))}
    if not done and settings.format is None and settings.quality is None and not settings.strip:
        known = ", ".join((*operations.NAMES, "format", "quality", "strip"))
        raise UsageError(f"no operation is given; there are: {known}")
    return Convert(done, settings), {name: value for name, value in options.items() if name not in ours}


def _folders(source: Any, destination: Any, *, in_place: bool) -> tuple[str, str]:
    """Return the absolute paths of SRC and DST."""
    if in_place and destination is not None:
        raise UsageError("in_place is given and a destination, too; leave out one of them")
    if destination is None and not in_place:
        raise UsageError("no destination is given; name a folder, or in_place=True (--in-place)")
    for name, path in (("source", source), ("destination", source if in_place else destination)):
        if not os.fspath(path):
            raise UsageError(f"{name} is empty; it must name a folder")
    folder = os.path.abspath(source)
    output = folder if in_place else os.path.abspath(destination)
    if not in_place:
        check_folders(folder, output)
    return folder, output


def check_folders(source: str, destination: str) -> None:
    """Refuse a destination that is no folder, or where results may replace photographs that are not theirs.

    Raises:
        UsageError: saying why.
    """
    if os.path.exists(destination) and not os.path.isdir(destination):
        raise UsageError(f"{destination!r} is not a folder")
    if os.path.realpath(source) == os.path.realpath(destination):
        raise UsageError(
            f"source and destination are the same folder, {source!r}; originals are never overwritten, unless in_place "
            "(--in-place) is given instead of a destination"
        )
    if os.path.join(os.path.realpath(source), "").startswith(os.path.join(os.path.realpath(destination), "")):
        raise UsageError(f"destination {destination!r} holds the source folder; results need a folder of their own")


def _check_places(source: str, destination: str, paths: Iterable[str]) -> None:
    """Refuse folders in DST that are links to where originals are."""
    folders = {os.path.dirname(path) for path in paths}
    originals = {os.path.realpath(os.path.join(source, folder)) for folder in folders}
    for folder in folders:
        place = os.path.join(destination, folder)
        if os.path.realpath(place) in originals:
            raise UsageError(f"{place!r} leads to a folder with originals, which are never overwritten")


def _suffixes_of(formats: Sequence[str]) -> list[str]:
    from PIL import Image

    return [suffix for suffix, name in Image.registered_extensions().items() if name in formats]


# -- the run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that `images` was asked for, checked."""

    source: str
    destination: str
    convert: Convert
    paths: tuple[str, ...]
    in_place: bool
    force: bool
    retry_failed: bool
    options: dict[str, Any]

    def run(self) -> poolwise.Run[Converted]:
        """Open the journal, and hand everything to the engine."""
        from poolwise._api import run_job
        from poolwise._core.job import Job

        options = dict(self.options)
        given = options.pop("journal", None)
        journal = self._journal(given)
        made = given is None and _make_folder(self.destination)
        notes = Notes(self.source)
        if self.in_place:
            notes.clear(os.fspath(journal.path))
        options.setdefault("hint", "cpu")
        options.setdefault("total", len(self.paths))
        order = None if options.get("ordered") else largest_first(self.source)
        job = Job(weight=weighing(self.source, self.convert), order=order, owner="poolwise.jobs.images:images")
        kept_bytes = kept_bytes_of(options)
        function = Conversion(
            self.source, self.destination, self.convert, self.in_place, self._samples(), kept_bytes=kept_bytes
        )
        try:
            run: poolwise.Run[Converted] = run_job(function, self.paths, job, journal=journal, **options)
        except BaseException:
            if made:
                with suppress(OSError):  # It is empty, unless the journal has begun.
                    os.rmdir(self.destination)
            raise
        if given is None:  # Nobody else writes here: the journal is ours.
            remove_leftovers({os.path.dirname(os.path.join(self.destination, path)) for path in self.paths})
        if self.in_place:
            weakref.finalize(run, notes.clear, os.fspath(journal.path))
        return run

    def preview(self) -> Iterator[Planned]:
        """See `preview`."""
        from poolwise._runtime.journal_reader import Reader

        journal = self._journal(self.options.get("journal"))
        path = os.fspath(journal.path)
        reader = Reader(path) if os.path.exists(path) else None
        try:
            for key in self.paths:
                recorded = None if reader is None else reader.find(key)
                why = "new" if recorded is None else self._why(recorded)
                failed = recorded is not None and recorded.error is not None
                if not why:
                    why = "failed before" if failed else "up to date"
                    if failed and journal.retry_failed:
                        yield Planned(key, self.result_of(key), True, "failed before")
                        continue
                    yield Planned(key, self.result_of(key), False, why)
                else:
                    yield Planned(key, self.result_of(key), True, why)
        finally:
            if reader is not None:
                reader.close()

    def result_of(self, key: str) -> str:
        """Return the path of a result."""
        return os.path.join(self.destination, result_name(key, self.convert.settings.format))

    def _journal(self, given: Any) -> Journal:
        journal = given if isinstance(given, Journal) else Journal(journal_path(given, self.destination))
        began = time.time()

        def again(recorded: Recorded) -> bool:
            """Say whether a file is processed again, if it was not in this run."""
            return recorded.started < began and bool(self._why(recorded))

        return replace(
            journal,
            retry_failed=journal.retry_failed or self.retry_failed,
            durable=journal.durable or self.convert.settings.durable,
            force=journal.force or self.force,
            again=again,
        )

    def _why(self, recorded: Recorded) -> str:
        """Say why a file is to be processed again, or "" where it is not."""
        if self.force:
            return "forced"
        original = os.path.join(self.source, recorded.key)
        value = recorded.value
        if isinstance(value, Converted):
            if value.recipe != self.convert.recipe:
                return "other operations"
            if value.path != self.result_of(recorded.key) or not holds(value.path, value.result):
                return "its result is gone, or was changed"
            return "" if self.in_place or holds(original, value.source) else "it has changed"
        cause = None if recorded.error is None else cause_of(recorded.error)
        if isinstance(cause, ImageError) and cause.source is not None and not cause.may_pass:
            if cause.recipe != self.convert.recipe:
                return "other operations"
            return "" if holds(original, cause.source) else "it has changed"
        return "failed before, and not by its content"

    def _samples(self) -> frozenset[str]:
        if not self.convert.settings.fast or not self.paths:
            return frozenset()
        count = max(1, min(SAMPLES, len(self.paths) // 10))
        return frozenset(self.paths[(2 * place + 1) * len(self.paths) // (2 * count)] for place in range(count))


def weighing(source: str, convert: Convert) -> Callable[[str], int]:
    """Return what tells the bytes that a file in `source` may need while it is processed."""
    formats = known_formats(convert.settings.also)

    def weight(path: str) -> int:
        """Return that of one; 0 where it will fail anyway."""
        try:
            with opened(os.path.join(source, path)) as file:
                return weight_of(open_image(file, formats), convert.operations)
        except Exception:  # Pillow raises nearly anything on damaged files; the lane will say so.
            return 0

    return weight


def kept_bytes_of(options: Mapping[str, Any]) -> int:
    """Return what a lane may keep of one image for the next ones, so that all of them fit the budget of a run."""
    limits = options.get("limits")  # Not checked yet.
    budget = limits.buffered_bytes if isinstance(limits, Limits) else None
    return KEPT_BYTES if budget is None else min(KEPT_BYTES, budget // host.core_count())


def _make_folder(path: str) -> bool:
    """Make a folder where there is none, and say whether there was none."""
    if os.path.isdir(path):
        return False
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {path!r} cannot be made: {error.strerror or error}") from error
    return True


@dataclass(frozen=True)
class Conversion:
    """What is done to one file of a folder. Picklable, and callable with the file's path relative to `source`.

    Args:
        source, destination: absolute paths of the folders.
        convert: what is done to each file.
        in_place: results take the place of originals.
        samples: the files of which `fast` measures the difference.
        kept_bytes: see `Convert.convert`.
    """

    source: str
    destination: str
    convert: Convert
    in_place: bool = False
    samples: frozenset[str] = frozenset()
    kept_bytes: int = KEPT_BYTES

    def __post_init__(self) -> None:
        # What functions are called by, in progress bars and messages.
        object.__setattr__(self, "__qualname__", "images")

    def __call__(self, path: str) -> Converted:
        """Process one file.

        Raises:
            ImageError: saying in one sentence why that cannot be done.
        """
        original = os.path.join(self.source, path)
        sampled = path in self.samples
        if not self.in_place:
            result = os.path.join(self.destination, result_name(path, self.convert.settings.format))
            return self.convert.convert(original, result, sampled=sampled, kept_bytes=self.kept_bytes)
        if os.path.islink(original):
            raise Unreadable("is a link, which a result in its place would replace")
        notes = Notes(self.source)
        done = notes.done(path, self.convert.recipe)
        if done is not None:
            return done
        return self.convert.convert(
            original,
            original,
            in_place=True,
            sampled=sampled,
            kept_bytes=self.kept_bytes,
            about_to_replace=lambda outcome: notes.write(path, outcome),
        )
