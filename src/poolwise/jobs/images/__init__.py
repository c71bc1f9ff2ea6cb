"""Batch image processing that keeps what it should keep, and overwrites nothing.

finding     which files                              names        what results are called, and which would be one
reading     open, of allowed kinds and sizes         metadata     orientation, EXIF, ICC, XMP
operations  what can be done                         canvas       an image on its way through operations
colours     profiles, alpha, 16 bits                 fast         the same at a smaller scale, and its PSNR
writing     encode into a file, then rename          weight       what a file costs, from its header
convert     all of them together, for one file       freshness    is a result up to date?
job         all files, for `poolwise.run`            manifest     a view of the journal
stage       one after another, in a pipeline
inplace     so that nothing is done twice            outcome      what is known of a result
"""

from __future__ import annotations

from poolwise.jobs.images.convert import Convert, Settings
from poolwise.jobs.images.errors import (
    DamagedImage,
    FunctionFailed,
    ImageError,
    NotAnImage,
    NotSupported,
    StorageFailed,
    TooLarge,
    Unreadable,
)
from poolwise.jobs.images.finding import SUFFIXES, find_images
from poolwise.jobs.images.job import ImagesOptions, Planned, images, preview, require_pillow
from poolwise.jobs.images.operations import Operations, checked, read_value
from poolwise.jobs.images.outcome import Converted
from poolwise.jobs.images.reading import FORMATS
from poolwise.jobs.images.stage import ImagesStageOptions, images_stage

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "Convert",
    "Converted",
    "DamagedImage",
    "FunctionFailed",
    "ImageError",
    "ImagesOptions",
    "ImagesStageOptions",
    "NotAnImage",
    "NotSupported",
    "Operations",
    "Planned",
    "Settings",
    "StorageFailed",
    "TooLarge",
    "Unreadable",
    "checked",
    "find_images",
    "images",
    "images_stage",
    "preview",
    "read_value",
    "require_pillow",
]
