"""The images job as a stage of a pipeline: behind `fetch`, or behind anything that gives paths of images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolwise import UsageError
from poolwise._core.job import Job
from poolwise._core.stage import JobStage, StageOptions, check_stage_options
from poolwise.jobs.images.job import Conversion, check_folders, kept_bytes_of, require_pillow, taken_apart, weighing
from poolwise.jobs.images.operations import Operations

if TYPE_CHECKING:
    from typing import Unpack

    from poolwise.jobs.images.outcome import Converted


class ImagesStageOptions(Operations, StageOptions, total=False):
    """Operations, what results are like (see `Settings`), and options of `poolwise.Stage`."""

    format: str | None
    quality: int | None
    strip: bool
    max_pixels: int
    max_frames: int
    durable: bool


def images_stage(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], **options: Unpack[ImagesStageOptions]
) -> JobStage:
    """Process images as a stage of `poolwise.pipeline`: `images_stage("photos", "small", fit=1200)`.

    Its items are paths relative to `source`, or values with such a `path`, as those of `fetch_stage(source)`. Its
    values are `Converted`. Two items that have one result are not told apart, as those of a folder are: the later one
    replaces the earlier.

    Args:
        source: the folder that paths are relative to.
        destination: the folder of the results, which have the same names there.
        **options: see `Operations`, `Settings` and `ImagesStageOptions`; operations are applied in this order.

    Raises:
        UsageError: where an argument cannot be meant, or originals might be overwritten.
        BackendUnavailable: where Pillow is not installed.
    """
    require_pillow()
    convert, rest = taken_apart(dict(options))
    check_stage_options(rest, "images_stage", more=ImagesStageOptions.__annotations__.keys())
    for name, path in (("source", source), ("destination", destination)):
        if not os.fspath(path):
            raise UsageError(f"{name} is empty; it must name a folder")
    folder, output = os.path.abspath(source), os.path.abspath(destination)
    check_folders(folder, output)
    given: dict[str, Any] = {"hint": "cpu", **rest}
    weight = weighing(folder, convert)
    job = Job(weight=lambda item: weight(getattr(item, "path", item)), owner="poolwise.jobs.images:images")
    return JobStage(OfPath(Conversion(folder, output, convert, kept_bytes=kept_bytes_of(given))), "images", given, job)


@dataclass(frozen=True)
class OfPath:
    """Calls a conversion with the path that an item is, or has. Picklable."""

    conversion: Conversion

    def __post_init__(self) -> None:
        object.__setattr__(self, "__qualname__", "images")  # What functions are called by, in reports.

    @property
    def recipe(self) -> str:
        """See `Convert`."""
        return self.conversion.convert.recipe

    def __call__(self, item: Any) -> Converted:
        return self.conversion(getattr(item, "path", item))
