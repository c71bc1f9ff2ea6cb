"""What can be done to an image: how each operation is written, checked and carried out.

A change is told to the canvas; an operation that has nothing to do tells none, and a file to which nothing was done is
copied byte by byte.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from poolwise import UsageError
from poolwise._core.errors import sentence_of
from poolwise.jobs.images.canvas import Canvas, Size
from poolwise.jobs.images.errors import FunctionFailed, ImageError, NotSupported

if TYPE_CHECKING:
    from PIL.Image import Image

Operation = tuple[str, Any]
"""Name and checked value."""

_MOST_SIDE = 1_000_000
_MOST_RADIUS = 10_000
_REDUCING_GAP = 2  # Of Image.thumbnail: what it decodes is at least so many times the size that is wanted.


class Operations(TypedDict, total=False):
    """What is done to each image, in the order in which the operations are written.

    Attributes:
        fit: shrink, never enlarge, into this width and height (a number means both), keeping the proportions.
        fill: scale to cover this width and height, keeping the proportions, and cut off what stands over, evenly.
        resize: scale to this width and height, whatever the proportions.
        crop: cut out (width, height) from the middle, or (width, height, left, top); only what there is of that.
        rotate: turn clockwise by degrees. Turns of 90 are exact; otherwise corners are clear, or white without alpha.
        blur: Gaussian blur of this radius, in pixels.
        sharpen: unsharp mask with Pillow's values (radius 2, 150 %, threshold 3).
        grayscale: to grey.
        autocontrast: stretch each channel to its whole range.
        apply: call this function with the image (a `PIL.Image.Image`, upright), and go on with what it returns, or with
            the same image where it returns None. Or "module:name" of such.
    """

    fit: int | tuple[int, int]
    fill: int | tuple[int, int]
    resize: tuple[int, int]
    crop: tuple[int, int] | tuple[int, int, int, int]
    rotate: float
    blur: float
    sharpen: bool
    grayscale: bool
    autocontrast: bool
    apply: str | Callable[[Image], Image | None]


# -- checked -----------------------------------------------------------------------------------------------------------


def _is_whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST_SIDE


def _checked_size(name: str, value: Any) -> Size:
    size = (value, value) if name != "resize" and _is_whole(value) else value
    if not isinstance(size, tuple | list) or len(size) != 2 or not all(map(_is_whole, size)):
        one = "" if name == "resize" else "a number of pixels above 0, or "
        raise UsageError(f"{name} is {value!r}; it must be {one}a (width, height) of numbers of pixels above 0")
    return size[0], size[1]


def _checked_crop(name: str, value: Any) -> tuple[int, ...]:
    fine = isinstance(value, tuple | list) and len(value) in (2, 4) and all(map(_is_whole, value[:2]))
    if not fine or not all(_is_whole(each, 0) for each in value[2:]):
        raise UsageError(f"{name} is {value!r}; it must be (width, height) or (width, height, left, top), in pixels")
    return tuple(value)


def _checked_number(name: str, value: Any) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == "blur" and not (fine and 0 < value <= _MOST_RADIUS):
        raise UsageError(f"blur is {value!r}; it must be a radius in pixels, above 0")
    if not fine:
        raise UsageError(f"{name} is {value!r}; it must be a number of degrees")
    return float(value)


def _checked_switch(name: str, value: Any) -> bool:
    if value is not True:
        raise UsageError(f"{name} is {value!r}; it must be True, or be left out")
    return True


def _checked_function(name: str, value: Any) -> Any:
    if isinstance(value, str):
        _resolved(value)
    elif not callable(value):
        raise UsageError(f"{name} is {value!r}; it must be a function of a PIL image, or 'module:name' of one")
    return value


def function_of(value: Any) -> Callable[[Any], Any]:
    """Return the function of an `apply`."""
    return _resolved(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=64)
def _resolved(target: str) -> Callable[[Any], Any]:
    """Return the function that "module:name" names.

    Raises:
        UsageError: there is none.
    """
    import importlib

    module, _, name = target.partition(":")
    if not module or not name:
        raise UsageError(f"apply is {target!r}; it must be 'module:name' of a function")
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"apply is {target!r}, which cannot be imported: {error}") from error
    if not callable(function):
        raise UsageError(f"apply is {target!r}; it must be 'module:name' of a function")
    return function  # type: ignore[no-any-return]


# -- carried out -------------------------------------------------------------------------------------------------------


def _fit(canvas: Canvas, size: Size) -> None:
    """Shrink as `Image.thumbnail` does, which decodes a JPEG at a smaller scale where nothing was done to it yet."""
    final = fitted(canvas.size(), size)
    if final == canvas.size():
        return
    image = canvas.mixable()
    gap = None if image.mode == "I;16" else float(_REDUCING_GAP)  # Image.reduce has no 16 bits.
    if canvas.is_turned:  # `thumbnail` rounds width and height differently, so it would give another size.
        wide, high = size[1] * _REDUCING_GAP, size[0] * _REDUCING_GAP
        drafted = image.draft(None, (wide, high))
        box = drafted[1] if drafted is not None else None
        image = image.resize((final[1], final[0]), box=box, reducing_gap=gap)
    else:
        image.thumbnail(size, reducing_gap=gap)
    canvas.put(image)


def fitted(size: Size, within: Size) -> Size:
    """Return the size that fit gives, as `Image.thumbnail` rounds it."""
    width, height = size
    x, y = within
    if x >= width and y >= height:
        return size
    aspect = width / height
    if x / y >= aspect:
        return _nearer(y * aspect, lambda n: abs(aspect - n / y)), y
    return x, _nearer(x / aspect, lambda n: abs(aspect - x / n) if n else 0)


def _nearer(number: float, distance: Callable[[int], float]) -> int:
    return max(min(math.floor(number), math.ceil(number), key=distance), 1)


def _fill(canvas: Canvas, size: Size) -> None:
    from PIL import ImageOps

    if canvas.size() != size:
        canvas.put(ImageOps.fit(canvas.mixable(), size))


def _resize(canvas: Canvas, size: Size) -> None:
    wanted = (size[1], size[0]) if canvas.is_turned else size
    if canvas.image.size != wanted or canvas.box is not None:
        canvas.put(canvas.mixable().resize(wanted, box=canvas.box))


def _crop(canvas: Canvas, value: tuple[int, ...]) -> None:
    width, height = canvas.size()
    left, top = value[2:] if len(value) == 4 else (max(0, (width - value[0]) // 2), max(0, (height - value[1]) // 2))
    box = (left, top, min(width, left + value[0]), min(height, top + value[1]))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise NotSupported(f"has {width} x {height} pixels, and the crop begins at {left}, {top}")
    if box != (0, 0, width, height):
        canvas.put(canvas.image.crop(box))


def _rotate(canvas: Canvas, degrees: float) -> None:
    from PIL import Image

    quarter = {
        90.0: Image.Transpose.ROTATE_270,
        180.0: Image.Transpose.ROTATE_180,
        270.0: Image.Transpose.ROTATE_90,
    }.get(degrees % 360)
    if quarter is not None:
        canvas.put(canvas.image.transpose(quarter))
    elif degrees % 360:
        image = canvas.mixable()
        if image.mode in ("I", "F"):
            raise NotSupported("has 32 bits a channel, which are turned by 90, 180 or 270 degrees only")
        corner: dict[str, Any] = {"RGB": (255, 255, 255), "L": 255, "I;16": 65_535}
        fill = corner.get(image.mode, 0)
        canvas.put(image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill))


def _filtered(image: Image, by: Any) -> Image:
    """Apply a filter that treats each channel by itself.

    Transparent pixels have a colour too, which must not bleed into visible ones: weigh by alpha.
    Pillow keeps pixels of two and three channels in four bytes and filters all four: channel by channel is the same
    to the bit, and less work.
    """
    weighed = {"RGBA": "RGBa", "LA": "La"}.get(image.mode)
    if weighed is not None:
        return _filtered(image.convert(weighed), by).convert(image.mode)
    channels = len(image.getbands())
    if channels not in (2, 3):
        return image.filter(by)
    from PIL import Image as pillow

    return pillow.merge(image.mode, [image.getchannel(channel).filter(by) for channel in range(channels)])


def _blur(canvas: Canvas, radius: float) -> None:
    from PIL import ImageFilter

    canvas.put(_filtered(canvas.eight_bits("blur"), ImageFilter.GaussianBlur(radius)), box=canvas.box)


def _sharpen(canvas: Canvas, _: bool) -> None:
    from PIL import ImageFilter

    canvas.put(_filtered(canvas.eight_bits("sharpen"), ImageFilter.UnsharpMask()))


def _grayscale(canvas: Canvas, _: bool) -> None:
    if canvas.image.mode in ("1", "L", "LA", "I", "F") or canvas.image.mode.startswith("I;16"):
        return
    image = canvas.rgb_or_grey("grayscale")
    canvas.put(image.convert("LA" if image.mode in ("RGBA", "LA") else "L"))


def _autocontrast(canvas: Canvas, _: bool) -> None:
    from PIL import Image, ImageOps

    image = canvas.rgb_or_grey("autocontrast")
    if image.mode not in ("LA", "RGBA"):
        canvas.put(ImageOps.autocontrast(image))
        return
    *colours, alpha = image.split()
    plain = colours[0] if len(colours) == 1 else Image.merge("RGB", colours)
    visible = alpha.point(lambda value: 255 if value else 0)  # The colour of what is clear counts for nothing.
    stretched = ImageOps.autocontrast(plain, mask=visible) if visible.getbbox() else plain
    canvas.put(Image.merge(image.mode, [*stretched.split(), alpha]))


def _apply(canvas: Canvas, value: Any) -> None:
    from PIL.Image import Image

    function = function_of(value)
    name = value if isinstance(value, str) else getattr(value, "__qualname__", type(value).__qualname__)
    given = canvas.image.copy()
    try:
        returned = function(given)
    except ImageError:
        raise
    except Exception as error:
        raise FunctionFailed(f"{name} raised {sentence_of(error)}") from error
    if returned is not None and not isinstance(returned, Image):
        raise FunctionFailed(f"{name} returned a {type(returned).__qualname__}; it must return an image, or None")
    image = given if returned is None else returned
    if not image.width or not image.height:
        raise FunctionFailed(f"{name} returned an image of {image.width} x {image.height} pixels")
    canvas.put(image)


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    check: Callable[[str, Any], Any]
    carry_out: Callable[[Canvas, Any], None]


_KINDS: dict[str, _Kind] = {
    "fit": _Kind(_checked_size, _fit),
    "fill": _Kind(_checked_size, _fill),
    "resize": _Kind(_checked_size, _resize),
    "crop": _Kind(_checked_crop, _crop),
    "rotate": _Kind(_checked_number, _rotate),
    "blur": _Kind(_checked_number, _blur),
    "sharpen": _Kind(_checked_switch, _sharpen),
    "grayscale": _Kind(_checked_switch, _grayscale),
    "autocontrast": _Kind(_checked_switch, _autocontrast),
    "apply": _Kind(_checked_function, _apply),
}

NAMES = tuple(_KINDS)
"""All operations."""

SWITCHES = ("sharpen", "grayscale", "autocontrast")
"""Operations without a value."""

_BEFORE_TURNING = ("fit",)
"""Done before the orientation is applied: the same picture, and a JPEG can still be decoded at a smaller scale."""


def checked(name: str, value: Any) -> Operation:
    """Check the value of an operation and put it into the form in which it is carried out.

    Raises:
        UsageError: where the operation cannot be meant.
    """
    return name, _KINDS[name].check(name, value)


def carry_out(canvas: Canvas, operations: Iterable[Operation]) -> None:
    """Do operations to an image, in order; it is upright then.

    Raises:
        ImageError: one cannot be done to it.
    """
    for name, value in operations:
        if name not in _BEFORE_TURNING:
            canvas.upright()
        _KINDS[name].carry_out(canvas, value)
    canvas.upright()


# -- written -----------------------------------------------------------------------------------------------------------

_SIZE = re.compile(r"\s*(\d{1,7})\s*(?:[xX]\s*(\d{1,7})\s*)?", re.ASCII)
_CROP = re.compile(r"\s*(\d{1,7})\s*[xX]\s*(\d{1,7})\s*(?:\+\s*(\d{1,7})\s*\+\s*(\d{1,7})\s*)?", re.ASCII)


def read_value(name: str, text: str) -> Any:
    """Read the value of an operation as it is written on a command line: `1200`, `1200x800`, `300x200+10+20`, `1.5`.

    Raises:
        UsageError: it is not understood.
    """
    if name in ("fit", "fill", "resize"):
        match = _SIZE.fullmatch(text)
        if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0 or (name == "resize" and not match[2]):
            _misread(name, text, "a size", "1200x800" if name == "resize" else "1200, or 1200x800")
        return int(match[1]), int(match[2] or match[1])
    if name == "crop":
        match = _CROP.fullmatch(text)
        if match is None:
            _misread(name, text, "a part of an image", "800x600, or 800x600+LEFT+TOP")
        return tuple(int(each) for each in match.groups() if each is not None)
    if name == "apply":
        return text
    try:
        return float(text)
    except ValueError:
        _misread(name, text, "a number", "15")


def _misread(name: str, text: str, what: str, remedy: str) -> NoReturn:
    raise UsageError(f"--{name} {text!r} is not {what}; write {remedy}")
