"""What is done to one file. Knows no folder tree, no journal and no engine: a path in, a path out.

open ─> how many pixels, pictures? ─> operations ─> nothing changed? ─> copy its bytes
                                               └──> encode ──────────> rename, complete
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from poolwise import UsageError
from poolwise.jobs.images import fast, operations
from poolwise.jobs.images.canvas import Canvas
from poolwise.jobs.images.errors import DamagedImage, ImageError, NotSupported, Unreadable
from poolwise.jobs.images.freshness import Source
from poolwise.jobs.images.metadata import Metadata, read_metadata
from poolwise.jobs.images.names import EXTENSIONS, result_name
from poolwise.jobs.images.operations import Operation
from poolwise.jobs.images.outcome import Converted
from poolwise.jobs.images.reading import (
    KEPT_BYTES,
    count_frames,
    ends_too_early,
    explained,
    has_deep_colour,
    is_lossless_webp,
    known_formats,
    open_image,
    opened,
    own_format,
    pieces,
)
from poolwise.jobs.images.weight import weight_of
from poolwise.jobs.images.writing import LOSSY, Animation, encode, explained_as_storage, fitting, replacing

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_COMPRESSION = "tiff_lzw"
"""For a TIFF that was compressed, and has other pixels by now: fax and JPEG take one kind each."""

_VERSION = 1
"""Of what recipes mean: results of another one are made again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How images are read and written.

    Args:
        format: "jpeg", "png", "webp" or "avif"; None keeps each file's own.
        quality: 1 to 100, of what is lossy; None is Pillow's own (75 for JPEG).
        strip: keep neither EXIF nor ICC profile nor XMP; colours are brought into sRGB before.
        truncated: "fail", or "keep" what there is of a file that ends too early. That is a switch of the whole process
            in Pillow, so the job runs such files in processes of their own.
        fast: compute at the smallest scale that the operations permit; not the same pixels.
        also: formats, by Pillow's names, that are read beyond the usual ones. "eps" runs Ghostscript.
        max_pixels: of one file, all its pictures together.
        max_frames: of one file.
        durable: each result is on the disk when its outcome is given.

    Raises:
        UsageError: where one of them cannot be meant.
    """

    format: str | None = None
    quality: int | None = None
    strip: bool = False
    truncated: str = "fail"
    fast: bool = False
    also: tuple[str, ...] = ()
    max_pixels: int = 200_000_000
    max_frames: int = 1_000
    durable: bool = False

    def __post_init__(self) -> None:
        for name in ("strip", "fast", "durable"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}; it must be True or False")
        for name in ("max_pixels", "max_frames"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}; it must be a whole number above 0")
        if self.format is not None:
            name = str(self.format).upper()
            name = "JPEG" if name == "JPG" else name
            if name not in EXTENSIONS:
                known = ", ".join(each.lower() for each in EXTENSIONS)
                raise UsageError(f"format is {self.format!r}; it must be one of {known}")
            object.__setattr__(self, "format", name)
        if self.quality is not None:
            if isinstance(self.quality, bool) or not isinstance(self.quality, int) or not 1 <= self.quality <= 100:
                raise UsageError(f"quality is {self.quality!r}; it must be a whole number from 1 to 100")
            if self.format is not None and self.format not in LOSSY:
                raise UsageError(f"quality is {self.quality}, and {self.format} has none; it keeps every pixel")
        if self.truncated not in ("fail", "keep"):
            raise UsageError(f"truncated is {self.truncated!r}; it must be 'fail' or 'keep'")
        if isinstance(self.also, str) or not all(isinstance(each, str) for each in self.also):
            raise UsageError(f"also is {self.also!r}; it must be a list of names of formats")
        object.__setattr__(self, "also", tuple(self.also))


@dataclass(frozen=True)
class Convert:
    """What is done to a file. Picklable; called with a path it puts the result into `destination`: a stage.

    Args:
        operations: names and checked values (`operations.checked`), in order.
        settings: how images are read and written.
        destination: a folder, for results of calls with a path alone; None where `convert` is told each result's path.

    Attributes:
        recipe: a digest of all that a result depends on beside its source.
    """

    operations: tuple[Operation, ...]
    settings: Settings = Settings()
    destination: str | None = None
    recipe: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # What functions are called by, in progress bars and messages.
        object.__setattr__(self, "__qualname__", "images")
        object.__setattr__(self, "recipe", _recipe(self.operations, self.settings))

    def __call__(self, path: str | os.PathLike[str]) -> Converted:
        """Process one file into `destination`, under its own name.

        Raises:
            ImageError: saying in one sentence why that cannot be done.
            UsageError: there is no destination.
        """
        if self.destination is None:
            raise UsageError("this Convert has no destination; give it one, or call convert(path, result)")
        source = os.fspath(path)
        name = result_name(os.path.basename(source), self.settings.format)
        return self.convert(source, os.path.join(self.destination, name))

    def convert(
        self,
        path: str,
        result: str,
        *,
        in_place: bool = False,
        sampled: bool = False,
        kept_bytes: int = KEPT_BYTES,
        about_to_replace: Callable[[Converted], object] | None = None,
    ) -> Converted:
        """Process one file.

        Args:
            path: of the file.
            result: path of the result; its folder is made where it is missing.
            in_place: the result may take the place of the file, and keeps its permissions.
            sampled: with `fast`, also compute the exact result, and say how far this one is from it.
            kept_bytes: of memory, that malloc may keep for the next file of this thread; more goes back to the system.
            about_to_replace: called with the outcome when the result is complete, before it has its name.

        Raises:
            ImageError: saying in one sentence why that cannot be done.
        """
        source = None
        try:
            with opened(path) as file:
                if not in_place and os.path.exists(result) and os.path.samefile(path, result):
                    raise Unreadable("would be overwritten by its own result")
                status = os.fstat(file.fileno())
                source = Source.of(file)
                work = _Work(self, file, sampled=sampled, kept_bytes=kept_bytes)
                prepared = work.prepare()
                if _has_changed(file, status):
                    raise Unreadable("was changed while it was read")
                if in_place and not prepared.pictures:
                    return self._outcome(result, source, source, work, prepared)
                with replacing(result, like=path if in_place else None, durable=self.settings.durable) as target:
                    with explained_as_storage():
                        prepared.write(file, target)
                    target.seek(0)
                    outcome = self._outcome(result, Source.of(target), source, work, prepared)
                    if about_to_replace is not None:
                        about_to_replace(outcome)
                    if in_place:
                        file.close()  # Windows replaces no file that is open.
            return outcome
        except ImageError as error:
            error.source, error.recipe = source, self.recipe
            raise

    def _outcome(self, path: str, result: Source, source: Source, work: _Work, prepared: _Prepared) -> Converted:
        return Converted(
            path,
            "converted" if prepared.pictures else "copied",
            prepared.format,
            *prepared.size,
            prepared.frames,
            result,
            source,
            self.recipe,
            tuple(dict.fromkeys(work.notes)),
            work.psnr,
        )


def _recipe(done: tuple[Operation, ...], settings: Settings) -> str:
    from poolwise._runtime.identity import owner_of

    said: list[Any] = [_VERSION]
    for name, value in done:
        function = operations.function_of(value) if name == "apply" else None
        said.append([name, value if function is None else repr(owner_of(function))])
    bounds = ("max_pixels", "max_frames", "durable")  # They do not change what comes out.
    said += [[each.name, getattr(settings, each.name)] for each in fields(Settings) if each.name not in bounds]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _has_changed(file: BinaryIO, before: os.stat_result) -> bool:
    now = os.fstat(file.fileno())
    return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A result that is ready to be written.

    Attributes:
        format: of it.
        size: width and height.
        frames: number of pictures.
        pictures: to be encoded; empty where the bytes are copied.
        parameters: for the encoder.
    """

    format: str
    size: tuple[int, int]
    frames: int
    pictures: tuple[Image, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)

    def write(self, source: BinaryIO, target: BinaryIO) -> None:
        """Write the result into an open file."""
        if self.pictures:
            encode(self.pictures, target, self.format, self.parameters)
        else:
            source.seek(0)
            shutil.copyfileobj(source, target, 1 << 20)


class _Work:
    """Processing one opened file.

    Attributes:
        notes: what could not be kept.
        psnr: decibels, where that was measured.
    """

    def __init__(self, convert: Convert, file: BinaryIO, *, sampled: bool, kept_bytes: int) -> None:
        self.notes: list[str] = []
        self.psnr: float | None = None
        self._convert = convert
        self._settings = convert.settings
        self._file = file
        self._sampled = sampled
        self._kept_bytes = kept_bytes
        self._formats = known_formats(self._settings.also)

    def prepare(self) -> _Prepared:
        """Decode, and carry out the operations; where the file ends too early and that is allowed, on what there is."""
        if self._settings.truncated == "fail":
            return self._prepare()
        try:
            return self._prepare()
        except DamagedImage:
            self.notes[:] = ["it ends too early: what is missing is grey, or left out"]
            with _truncated_files_decoded():
                return self._prepare(whole=False)

    def _prepare(self, *, whole: bool = True) -> _Prepared:
        with explained("cannot be processed"):
            image = self._open()
            own = own_format(image)
            if whole and ends_too_early(self._file, own):
                raise DamagedImage(f"is a {own} that ends too early")
            frames = count_frames(image, max_pixels=self._settings.max_pixels, max_frames=self._settings.max_frames)
            pieces.prepare_for(weight_of(image, self._convert.operations), self._kept_bytes)
            deep = has_deep_colour(image)
            metadata = read_metadata(image, self.notes)
            image_format = self._settings.format or own
            if frames > 1 and image_format == "JPEG":
                raise NotSupported(
                    f"holds {frames:,} pictures, and a JPEG holds one; format= (--format) webp, png or avif keeps them"
                )
            reencoded = (
                image_format != own
                or (self._settings.strip and not metadata.is_empty)
                or (self._settings.quality is not None and own in LOSSY)
            )
            if frames > 1:
                prepared = self._animation(image, frames, metadata, image_format, reencoded=reencoded)
            else:
                prepared = self._picture(image, metadata, image_format, reencoded=reencoded)
        if deep and prepared.pictures:
            self.notes.append("16 bits a channel became 8, as Pillow reads no more of colours")
        return prepared

    def _open(self) -> ImageFile:
        return open_image(self._file, self._formats)

    def _picture(self, image: ImageFile, metadata: Metadata, image_format: str, *, reencoded: bool) -> _Prepared:
        canvas = self._carried_out(image, metadata, image_format)
        if not canvas.changed and not reencoded:
            image.load()  # That it is whole.
            return _Prepared(image_format, image.size, 1)
        canvas.image.load()
        picture = self._finished(canvas, image_format)
        parameters = self._parameters(metadata, image_format, picture, canvas)
        return _Prepared(image_format, picture.size, 1, (picture,), parameters)

    def _carried_out(self, image: ImageFile, metadata: Metadata, image_format: str) -> Canvas:
        canvas = Canvas(image, metadata, self.notes, image_format)
        way = fast.shortcut(self._convert.operations, canvas.size()) if self._settings.fast else None
        if way is None:
            operations.carry_out(canvas, self._convert.operations)
            return canvas
        fast.shrink(canvas, way.scale)
        canvas.upright()
        operations.carry_out(canvas, way.operations)
        if self._sampled:
            exact = Canvas(self._open(), metadata, [], image_format)
            operations.carry_out(exact, self._convert.operations)
            self.psnr = round(fast.psnr(exact.image, canvas.image), 2)
        return canvas

    def _animation(
        self, image: ImageFile, frames: int, metadata: Metadata, image_format: str, *, reencoded: bool
    ) -> _Prepared:
        """Process picture by picture; each is whole, whatever parts of it the file holds."""
        canvases, durations = [], []
        has_still = bool(image.info.get("default_image")) and image.format == "PNG"
        loop = image.info.get("loop")
        for number in range(frames):
            image.seek(number)
            image.load()
            if number or not has_still:
                durations.append(round(image.info.get("duration") or 0))
            canvases.append(Canvas(image.copy(), metadata, self.notes, image_format))
            operations.carry_out(canvases[-1], self._convert.operations)
        if not reencoded and not any(canvas.changed for canvas in canvases):
            return _Prepared(image_format, image.size, frames)
        pictures = [self._finished(canvas, image_format) for canvas in canvases]
        sizes = dict.fromkeys(f"{picture.width} x {picture.height}" for picture in pictures)
        if len(sizes) > 1:
            raise NotSupported(f"would have pictures of {' and of '.join(list(sizes)[:2])} pixels, in one animation")
        if has_still and image_format != "PNG":
            pictures = pictures[1:]
            self.notes.append(f"the picture for those that show no animation was left out, as {image_format} has none")
        told = Animation(durations, None if loop is None else int(loop), has_still and image_format == "PNG")
        parameters = self._parameters(metadata, image_format, pictures[0], canvases[0])
        parameters |= told.parameters(image_format, pictures)
        return _Prepared(image_format, pictures[0].size, len(pictures), tuple(pictures), parameters)

    def _finished(self, canvas: Canvas, image_format: str) -> Image:
        if self._settings.strip and canvas.icc:
            canvas.image = canvas.srgb(canvas.mixable())
        picture = fitting(canvas, image_format)
        if self._settings.strip and picture.format == "TIFF":
            picture = picture.copy()  # Or Pillow keeps the tags of the file that it came from.
        return picture

    def _parameters(self, metadata: Metadata, image_format: str, picture: Image, canvas: Canvas) -> dict[str, Any]:
        kept = replace(metadata.stripped(), dpi=metadata.dpi) if self._settings.strip else metadata
        icc = b"" if self._settings.strip else canvas.icc
        parameters = kept.parameters(image_format, picture.mode, icc, self.notes)
        if self._settings.quality is not None and image_format in LOSSY:
            parameters["quality"] = self._settings.quality
        elif image_format == "WEBP" and is_lossless_webp(self._file):
            parameters |= {"lossless": True, "exact": True}
        elif (
            image_format == "TIFF"
            and picture.mode != canvas.opened_mode
            and picture.info.get("compression", "raw") != "raw"
        ):
            parameters["compression"] = _COMPRESSION
        return parameters


@contextmanager
def _truncated_files_decoded() -> Iterator[None]:
    """Have Pillow decode what there is. It is one switch for the process: nothing else must decode meanwhile."""
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
