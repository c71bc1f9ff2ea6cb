"""The images job as a stage of a pipeline: behind `fetch`, or behind anything that gives paths of images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolwise import UsageError
from poolwise._core.stage import JobStage, check_stage_options
from poolwise.jobs import images

if TYPE_CHECKING:
    from typing import Unpack

    from poolwise._core.stage import StageOptions


def images_stage(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    operations: Mapping[str, Any],
    **options: Unpack[StageOptions],
) -> JobStage:
    """Process images as a stage of `poolwise.pipeline`: `images_stage("photos", "small", {"fit": 1200})`.

    Its items are paths relative to `source`, or values with such a `path`, as those of `fetch_stage(source)`. Its
    values are paths of results.

    Args:
        source: the folder that paths are relative to.
        destination: the folder of the results, which have the same names there.
        operations: as for `images`, applied in this order.
        **options: those of `Stage`.

    Raises:
        UsageError: where an argument cannot be meant, or originals might be overwritten.
        BackendUnavailable: where Pillow is not installed.
    """
    images.require_pillow()
    if not operations:
        raise UsageError("no operation is given to images_stage")
    checked = tuple(images.checked_operation(name, value) for name, value in operations.items())
    check_stage_options(options, "images_stage")
    for name, path in (("source", source), ("destination", destination)):
        if not os.fspath(path):
            raise UsageError(f"{name} is empty; it must name a folder")
    folder, output = os.path.abspath(source), os.path.abspath(destination)
    images.check_folders(folder, output)
    process = _OfPath(images.Conversion(folder, output, checked))
    given: dict[str, Any] = {"hint": "cpu", **options}
    return JobStage(process, "images", given)


@dataclass(frozen=True)
class _OfPath:
    """Calls a function with the path that an item is, or has. Picklable."""

    process: images.Conversion

    def __post_init__(self) -> None:
        object.__setattr__(self, "__qualname__", "images")  # What functions are called by, in reports.

    def __call__(self, item: Any) -> str:
        return self.process(getattr(item, "path", item))
