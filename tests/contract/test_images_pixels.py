"""`poolwise.jobs.images`, one file at a time: what must come out of every kind of pixels, and with them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from PIL import ExifTags, Image, ImageCms, ImageFilter, ImageOps

from poolwise.jobs.images import Convert, Converted, ImageError, NotSupported, Settings, checked
from poolwise.jobs.images.fast import psnr

ORIENTATION = 0x0112
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def photograph(size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Image.Image:
    """Make a picture in which every region differs, without noise."""
    parts = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)]
    return Image.merge("RGB", [part.resize(size) for part in parts]).convert(mode)


def done(path: Path, settings: Settings | None = None, **operations: Any) -> Converted:
    """Process a file into a folder `out` beside it."""
    what = tuple(checked(name, value) for name, value in operations.items())
    return Convert(what, settings or Settings(), str(path.parent / "out"))(path)


def reason(path: Path, settings: Settings | None = None, **operations: Any) -> ImageError:
    """Process a file that must fail; nothing may be left."""
    with pytest.raises(ImageError) as caught:
        done(path, settings, **operations)
    assert not list((path.parent / "out").glob("*"))
    return caught.value


def reopened(outcome: Converted) -> Image.Image:
    """Return the result, decoded, having checked what the outcome says of it."""
    with Image.open(outcome) as image:
        assert (image.size, image.format) == ((outcome.width, outcome.height), outcome.format)
        assert getattr(image, "n_frames", 1) == outcome.frames
        image.load()
        return image


# -- orientation and metadata ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
def test_orientation(tmp_path: Path, orientation: int, extension: str) -> None:
    """The picture comes out upright, as Pillow turns it; the tag is reset, the others stay."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    path = tmp_path / f"a.{extension}"
    photograph().save(path, exif=exif, **({"lossless": True} if extension == "webp" else {}))
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).rotate(180)
    with reopened(done(path, rotate=180)) as result:
        assert result.size == expected.size == ((60, 40) if orientation < 5 else (40, 60))
        if extension in ("png", "tif"):
            assert result.tobytes() == expected.tobytes()
        else:
            assert psnr(result, expected) > 30
        assert result.getexif().get(ORIENTATION, 1) == 1
        assert result.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(640, 480), (637, 411)])
def test_a_turned_jpeg_is_fitted_as_if_it_were_upright(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    """Decoding at a smaller scale and turning later changes nothing that can be seen; the size is the upright one's."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photograph(size).save(tmp_path / "a.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        upright = ImageOps.exif_transpose(image)
    upright.thumbnail((100, 90))
    with reopened(done(tmp_path / "a.jpg", Settings(quality=95), fit=(100, 90))) as result:
        assert result.size == upright.size
        assert psnr(result, upright) > 35


def test_identical_pixels_where_nothing_is_turned(tmp_path: Path) -> None:
    """The tutorial's operation gives the bytes of the tutorial's program."""
    photograph((640, 480)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        expected = image.filter(ImageFilter.GaussianBlur(15))
        expected.thumbnail((400, 400))
        memory = io.BytesIO()
        expected.save(memory, "JPEG")
    outcome = done(tmp_path / "a.jpg", blur=15, fit=400)
    assert Path(outcome.path).read_bytes() == memory.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("strip", [False, True])
def test_metadata_is_kept_unless_stripped(tmp_path: Path, image_format: str, strip: bool) -> None:
    """EXIF with its GPS, ICC profile, XMP and resolution."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    path = tmp_path / f"a.{'jpg' if image_format == 'JPEG' else image_format.lower()}"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    more = {"dpi": (300, 300)} if image_format in ("JPEG", "TIFF") else {}
    try:
        photograph().save(path, exif=exif.tobytes(), icc_profile=SRGB, xmp=xmp, **more)
    except (KeyError, OSError):
        pytest.skip("this Pillow cannot write the format")
    with Image.open(path) as before:
        has_xmp = bool(before.info.get("xmp")) and image_format != "TIFF"
    with reopened(done(path, Settings(strip=strip), rotate=90)) as result:
        assert (result.info.get("icc_profile") == SRGB) is not strip
        assert (result.getexif().get(0x010F) == "Maker") is not strip
        assert (dict(result.getexif().get_ifd(ExifTags.IFD.GPSInfo)) == {1: "N"}) is not strip
        if has_xmp:
            assert (result.info.get("xmp") == xmp) is not strip
        if more:
            assert round(result.info["dpi"][0]) == 300


def test_metadata_crosses_formats(tmp_path: Path) -> None:
    """From JPEG to PNG and back: EXIF, profile and XMP are there, and a name is not lied about."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    photograph().save(tmp_path / "a.jpg", exif=exif, icc_profile=SRGB, xmp=xmp)
    first = done(tmp_path / "a.jpg", Settings(format="png"))
    assert Path(first.path).name == "a.png"
    second = Convert((), Settings(format="jpg"), str(tmp_path / "back"))(first.path)
    assert Path(second.path).name == "a.jpg"
    with reopened(second) as result:
        assert result.getexif()[0x010F] == "Maker"
        assert (result.info["icc_profile"], result.info["xmp"]) == (SRGB, xmp)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_exif_of_an_upright_picture_crosses_formats(tmp_path: Path, extension: str, image_format: str) -> None:
    """Also where it is kept byte by byte: formats begin it differently."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    photograph().save(tmp_path / f"a.{extension}", exif=exif)
    with reopened(done(tmp_path / f"a.{extension}", Settings(format=image_format), fit=30)) as result:
        assert result.getexif()[0x010F] == "Maker"


def test_orientation_in_xmp_is_reset_too(tmp_path: Path) -> None:
    """What is applied is not said any more, or the next program applies it again."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    photograph().save(tmp_path / "a.jpg", xmp=xmp)
    with reopened(done(tmp_path / "a.jpg", fit=30)) as result:
        assert result.size == (20, 30)
        assert b"Orientation" not in result.info["xmp"]


def test_the_small_picture_in_exif_is_left_out(tmp_path: Path) -> None:
    """It would show what the photograph was before it was blurred."""
    small = io.BytesIO()
    photograph((16, 12)).save(small, "JPEG")
    content = small.getvalue()
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, 0), (0x0202, 4, 1, len(content))]
    first = b"\x01\x00" + _entry(0x0112, 3, 1, 1) + (26).to_bytes(4, "little")
    start = 8 + len(first) + 2 + 12 * len(entries) + 4
    entries[1] = (0x0201, 4, 1, start)
    second = len(entries).to_bytes(2, "little") + b"".join(_entry(*each) for each in entries) + bytes(4)
    exif = b"Exif\0\0II*\0" + (8).to_bytes(4, "little") + first + second + content
    photograph().save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)
    outcome = done(tmp_path / "a.jpg", blur=3)
    assert content not in Path(outcome.path).read_bytes()
    with reopened(outcome) as result:
        assert not result.getexif().get_ifd(ExifTags.IFD.IFD1)


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_costs_the_exif(tmp_path: Path) -> None:
    """The picture is processed, and a note says what was left out."""
    photograph().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    outcome = done(tmp_path / "a.jpg", fit=30)
    assert (outcome.width, outcome.height) == (30, 20)
    with reopened(outcome) as result:
        assert not dict(result.getexif())


def test_exif_that_is_too_long_for_a_jpeg(tmp_path: Path) -> None:
    """It is left out, with a note; a JPEG holds 64 KB of it."""
    exif = Image.Exif()
    exif[0x010F] = "M" * 70_000
    photograph().save(tmp_path / "a.png", exif=exif)
    outcome = done(tmp_path / "a.png", Settings(format="jpeg"))
    assert outcome.notes == ("its EXIF is too long for a JPEG and was left out",)
    reopened(outcome)


# -- pixels ------------------------------------------------------------------------------------------------------------


def test_cmyk(tmp_path: Path) -> None:
    """A CMYK JPEG stays one, with its colours; a PNG of it is RGB, and looks the same."""
    photograph(mode="CMYK").save(tmp_path / "a.jpg", quality=98)
    with Image.open(tmp_path / "a.jpg") as image:
        before = image.convert("RGB")
    with reopened(done(tmp_path / "a.jpg", Settings(quality=98), rotate=180)) as result:
        assert result.mode == "CMYK"
        assert psnr(result.convert("RGB"), before.rotate(180)) > 40
    outcome = done(tmp_path / "a.jpg", Settings(format="png"))
    assert outcome.notes == ("CMYK became RGB, as PNG has no other",)
    with reopened(outcome) as result:
        assert result.tobytes() == before.tobytes()


def test_a_profile_goes_with_its_pixels(tmp_path: Path) -> None:
    """A grey result has no RGB profile, and a profile of another kind of pixels is not kept."""
    photograph().save(tmp_path / "a.png", icc_profile=SRGB)
    with reopened(done(tmp_path / "a.png", grayscale=True)) as result:
        assert result.mode == "L"
        assert "icc_profile" not in result.info
    photograph().save(tmp_path / "b.png", icc_profile=LAB)
    with reopened(done(tmp_path / "b.png", rotate=90)) as result:
        assert "icc_profile" not in result.info


def test_stripping_a_profile_keeps_the_colours(tmp_path: Path) -> None:
    """Pixels of another profile are brought into sRGB, as nothing says any more what they mean."""
    gamma = _with_swapped_primaries()
    photograph().save(tmp_path / "a.png", icc_profile=gamma)
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(gamma)), ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(photograph(), source, target)
    with reopened(done(tmp_path / "a.png", Settings(strip=True), rotate=180)) as result:
        assert "icc_profile" not in result.info
        assert expected is not None
        assert psnr(result, expected.rotate(180)) > 40
        assert psnr(result, photograph().rotate(180)) < 30


def _with_swapped_primaries() -> bytes:
    """Return the sRGB profile with red and blue exchanged, under another name."""
    profile = bytearray(SRGB)
    names = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12)}
    red, blue = names[b"rXYZ"], names[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_becomes_white_paper_in_a_jpeg(tmp_path: Path, mode: str) -> None:
    """What is clear is white, not the colour that it hides; a note says so."""
    picture = Image.new("RGBA", (40, 40), (10, 20, 30, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 20, 40))
    picture.convert(mode).save(tmp_path / "a.png")
    outcome = done(tmp_path / "a.png", Settings(format="jpeg", quality=95))
    assert outcome.notes == ("what is clear became white, as JPEG has no transparency",)
    with reopened(outcome) as result:
        grey = result.convert("L")
        assert grey.getpixel((35, 20)) > 250  # type: ignore[operator]
        assert grey.getpixel((5, 20)) < 5  # type: ignore[operator]


def test_alpha_that_hides_nothing_needs_no_note(tmp_path: Path) -> None:
    """An opaque picture with an alpha channel is a JPEG without more ado."""
    photograph(mode="RGBA").save(tmp_path / "a.png")
    assert done(tmp_path / "a.png", Settings(format="jpeg")).notes == ()


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 0)), ("L", 7)])
def test_a_colour_that_stands_for_clear(tmp_path: Path, mode: str, colour: Any) -> None:
    """It becomes alpha before neighbours are mixed, or its rim would be seen."""
    picture = Image.new(mode, (40, 40), colour)
    picture.paste((0, 0, 255) if mode == "RGB" else 200, (0, 0, 20, 40))
    picture.save(tmp_path / "a.png", transparency=colour)
    with reopened(done(tmp_path / "a.png", blur=2)) as result:
        assert result.mode == ("RGBA" if mode == "RGB" else "LA")
        assert result.getpixel((39, 20))[-1] == 0  # type: ignore[index]
        if mode == "RGB":
            assert all(result.getpixel((x, 20))[0] == 0 for x in range(22))  # type: ignore[index]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 0)), ("L", 7), ("1", 0)])
def test_a_colour_that_stands_for_clear_crosses_formats(tmp_path: Path, mode: str, colour: Any) -> None:
    """A WebP has no such colour, and has alpha."""
    picture = Image.new(mode, (40, 40), colour)
    picture.paste((0, 0, 255) if mode == "RGB" else 200, (0, 0, 20, 40))
    picture.save(tmp_path / "a.png", transparency=colour)
    with reopened(done(tmp_path / "a.png", Settings(format="webp"))) as result:
        assert [result.getchannel("A").getpixel((x, 20)) for x in (5, 39)] == [255, 0]


def test_sixteen_bits_stay_where_they_can(tmp_path: Path) -> None:
    """A grey PNG of 16 bits is fitted, cropped and turned in 16; blur says what it cannot do."""
    deep = Image.linear_gradient("L").convert("I").point(lambda value: value * 257 + 3).convert("I;16")
    deep.save(tmp_path / "a.png")
    with reopened(done(tmp_path / "a.png", fit=100, rotate=90, crop=(50, 50))) as result:
        assert result.mode == "I;16"
        values = set(result.get_flattened_data() if hasattr(result, "get_flattened_data") else result.getdata())
        assert any(value % 257 for value in values)
    with reopened(done(tmp_path / "a.png", rotate=30)) as result:
        assert result.getpixel((0, 0)) == 65_535
    for operations in ({"blur": 2}, {"sharpen": True}, {"autocontrast": True}):
        (tmp_path / "out" / "a.png").unlink(missing_ok=True)
        assert "has 16 bits a channel" in str(reason(tmp_path / "a.png", **operations))


@pytest.mark.parametrize("orientation", [1, 6])
def test_sixteen_bits_much_smaller(tmp_path: Path, orientation: int) -> None:
    """Where Pillow reduces other pixels before it resizes them."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.new("I;16", (300, 200), 12_345).save(tmp_path / "a.png", exif=exif)
    with reopened(done(tmp_path / "a.png", fit=30)) as result:
        assert (result.mode, sorted(result.size)) == ("I;16", [20, 30])
        assert result.getextrema() == (12_345, 12_345)


def test_operations_on_eight_bits_where_the_result_has_no_more(tmp_path: Path) -> None:
    """What the sentence about 16 bits proposes helps."""
    deep = Image.linear_gradient("L").convert("I").point(lambda value: value * 257).convert("I;16")
    deep.save(tmp_path / "a.png")
    assert "format= (--format) jpeg" in str(reason(tmp_path / "a.png", blur=2))
    outcome = done(tmp_path / "a.png", Settings(format="jpeg", quality=95), blur=2)
    assert outcome.notes == ("16 bits a channel became 8, as JPEG has no more",)
    with reopened(outcome) as result:
        assert psnr(result, Image.linear_gradient("L").filter(ImageFilter.GaussianBlur(2))) > 40


def test_sixteen_bits_in_the_other_byte_order(tmp_path: Path) -> None:
    """A big-endian TIFF becomes a PNG of 16 bits, with the same values."""
    values = struct.pack(">12H", *range(0, 60_000, 5_000))
    tags = ((256, 4), (257, 3), (258, 16), (259, 1), (262, 1), (277, 1), (278, 3))
    entries = [struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags]
    entries += [struct.pack(">HHII", tag, 4, 1, value) for tag, value in ((273, 8), (279, len(values)))]
    ifd = struct.pack(">H", len(entries)) + b"".join(sorted(entries)) + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"MM\0*" + struct.pack(">I", 8 + len(values)) + values + ifd)
    with reopened(done(tmp_path / "a.tif", Settings(format="png"))) as result:
        assert result.mode == "I;16"
        assert [result.getpixel((x, y)) for y in range(3) for x in range(4)] == list(range(0, 60_000, 5_000))


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "avif"])
def test_sixteen_bits_are_scaled_where_a_format_has_eight(tmp_path: Path, image_format: str) -> None:
    """From black to white it stays from black to white (Pillow's own conversion cuts off at 255); a note says so."""
    Image.linear_gradient("L").convert("I").point(lambda value: value * 257).convert("I;16").save(tmp_path / "a.png")
    try:
        outcome = done(tmp_path / "a.png", Settings(format=image_format, quality=95))
    except ImageError:
        if image_format != "avif":
            raise
        pytest.skip("this Pillow cannot write the format")
    assert outcome.notes == (f"16 bits a channel became 8, as {image_format.upper()} has no more",)
    with reopened(outcome) as result:
        assert psnr(result.convert("L"), Image.linear_gradient("L")) > 40


def test_colours_of_sixteen_bits_are_told_of(tmp_path: Path) -> None:
    """Pillow reads 8 of them: a note says that, and a copy keeps all."""
    (tmp_path / "a.png").write_bytes(_png_of_48_bits(8, 8))
    outcome = done(tmp_path / "a.png", rotate=90)
    assert outcome.notes == ("16 bits a channel became 8, as Pillow reads no more of colours",)
    outcome = done(tmp_path / "a.png", fit=100)
    assert (outcome.action, outcome.notes) == ("copied", ())
    assert Path(outcome.path).read_bytes() == (tmp_path / "a.png").read_bytes()


def _png_of_48_bits(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(6)) * width for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits(tmp_path: Path, mode: str) -> None:
    """A TIFF of 32 bits keeps them; what cannot be done, or held, is said."""
    Image.linear_gradient("L").convert(mode).save(tmp_path / "a.tif")
    with reopened(done(tmp_path / "a.tif", fit=50, crop=(40, 40), rotate=270)) as result:
        assert result.mode == mode
    (tmp_path / "out" / "a.tif").unlink()
    assert isinstance(reason(tmp_path / "a.tif", blur=1), NotSupported)
    assert isinstance(reason(tmp_path / "a.tif", rotate=3), NotSupported)
    for image_format in ("jpeg", "png"):
        assert "cannot hold" in str(reason(tmp_path / "a.tif", Settings(format=image_format)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize(
    "operations",
    [
        {"fit": 20},
        {"fill": (16, 16)},
        {"resize": (10, 30)},
        {"crop": (30, 20, 5, 5)},
        {"rotate": 90},
        {"rotate": -33.5},
        {"blur": 2},
        {"sharpen": True},
        {"grayscale": True},
        {"autocontrast": True},
        {"apply": ImageOps.mirror},
    ],
)
def test_every_operation_on_every_mode(tmp_path: Path, mode: str, operations: dict[str, Any]) -> None:
    """In a TIFF, and as a JPEG and a PNG: a result that opens, of the right size, or one sentence."""
    path = tmp_path / "a.tif"
    photograph(mode="L").convert("I").convert("I;16").save(path) if mode == "I;16" else photograph(mode=mode).save(path)
    sizes = {"fit": (20, 13), "fill": (16, 16), "resize": (10, 30), "crop": (30, 20)}
    for image_format in (None, "jpeg", "png"):
        try:
            outcome = done(path, Settings(format=image_format), **operations)
        except NotSupported as error:
            assert mode == "I;16" and "has 16 bits a channel" in str(error)  # noqa: PT017, PT018
            continue
        (name,) = operations
        with reopened(outcome) as result:
            assert sizes.get(name, result.size) == result.size
            if name == "rotate":
                assert (result.size == (40, 60)) == (operations[name] == 90)
            if name == "grayscale":
                assert result.mode in ("1", "L", "LA", "I;16")


# -- operations --------------------------------------------------------------------------------------------------------


def test_rotating_is_clockwise_and_corners_are_white_or_clear(tmp_path: Path) -> None:
    """As mogrify turns; a quarter is exact."""
    photograph().save(tmp_path / "a.png")
    with reopened(done(tmp_path / "a.png", rotate=90)) as result:
        assert result.tobytes() == photograph().transpose(Image.Transpose.ROTATE_270).tobytes()
    with reopened(done(tmp_path / "a.png", rotate=45)) as result:
        assert result.getpixel((0, 0)) == (255, 255, 255)
    photograph(mode="RGBA").save(tmp_path / "b.png")
    with reopened(done(tmp_path / "b.png", rotate=45)) as result:
        assert result.getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_cropping_is_bounded_by_the_image(tmp_path: Path) -> None:
    """The middle, a place, what there is of a part that stands over; nothing of it is a sentence."""
    photograph().save(tmp_path / "a.png")
    for value, box in {
        (20, 10): (20, 15, 40, 25),
        (20, 10, 5, 6): (5, 6, 25, 16),
        (100, 10, 50, 0): (50, 0, 60, 10),
        (100, 10): (0, 15, 60, 25),
    }.items():
        with reopened(done(tmp_path / "a.png", crop=value)) as result:
            assert result.tobytes() == photograph().crop(box).tobytes()
    (tmp_path / "out" / "a.png").unlink()
    assert "has 60 x 40 pixels, and the crop begins at 60, 0" in str(reason(tmp_path / "a.png", crop=(5, 5, 60, 0)))


def test_autocontrast_ignores_the_colour_of_what_is_clear(tmp_path: Path) -> None:
    """Alpha stays, and hidden black and white do not keep what is seen from being stretched."""
    picture = Image.new("RGBA", (30, 10), (255, 255, 255, 0))
    picture.paste((100, 100, 100, 255), (0, 0, 10, 10))
    picture.paste((150, 150, 150, 128), (10, 0, 20, 10))
    picture.save(tmp_path / "a.png")
    with reopened(done(tmp_path / "a.png", autocontrast=True)) as result:
        assert [result.getpixel((x, 5)) for x in (5, 15)] == [(0, 0, 0, 255), (255, 255, 255, 128)]
        assert result.getpixel((25, 5))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw"])
def test_a_fax_has_greys_when_it_is_smaller(tmp_path: Path, compression: str) -> None:
    """A TIFF whose compression holds black and white only gets one that holds all."""
    photograph(mode="1").save(tmp_path / "a.tif", compression=compression)
    with reopened(done(tmp_path / "a.tif", fit=30)) as result:
        assert (result.mode, result.size, result.info["compression"]) == ("L", (30, 20), "tiff_lzw")
    with reopened(done(tmp_path / "a.tif", rotate=90)) as result:
        assert (result.mode, result.info["compression"]) == ("1", compression)


def test_apply(tmp_path: Path) -> None:
    """A function gets the upright image, and may change it, or return another; metadata stays all the same."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Maker"
    photograph().save(tmp_path / "a.png", exif=exif, icc_profile=SRGB)

    def new(image: Image.Image) -> Image.Image:
        assert image.size == (40, 60)
        return Image.new("RGB", (5, 7))

    with reopened(done(tmp_path / "a.png", apply=new)) as result:
        assert (result.size, result.info["icc_profile"]) == ((5, 7), SRGB)
        assert dict(result.getexif()) == {0x010F: "Maker"}
    with reopened(done(tmp_path / "a.png", apply=lambda image: image.paste(0, (0, 0, 40, 60)))) as result:
        assert result.getextrema() == ((0, 0),) * 3
    with reopened(done(tmp_path / "a.png", apply="PIL.ImageOps:invert")) as result:
        assert result.size == (40, 60)
    (tmp_path / "out" / "a.png").unlink()
    assert "returned a int; it must return an image" in str(reason(tmp_path / "a.png", apply=lambda image: 3))
    assert "raised ZeroDivisionError" in str(reason(tmp_path / "a.png", apply=lambda image: 1 / 0))
    nothing = reason(tmp_path / "a.png", apply=lambda image: Image.new("RGB", (0, 3)))
    assert "returned an image of 0 x 3 pixels" in str(nothing)


# -- nothing to do -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_where_nothing_changes_the_bytes_are_copied(tmp_path: Path, extension: str) -> None:
    """No second loss of a JPEG, no other palette of a GIF."""
    path = tmp_path / f"a.{extension}"
    photograph().save(path)
    with Image.open(path) as image:
        own = str(image.format)
    none: dict[str, Any] = {"fit": 60, "resize": (60, 40), "fill": (60, 40), "crop": (99, 99), "rotate": 360}
    outcome = done(path, **none)
    assert outcome.action == "copied"
    assert Path(outcome.path).read_bytes() == path.read_bytes()
    assert outcome.result.sha256 == outcome.source.sha256
    if own in ("JPEG", "PNG", "WEBP"):
        assert done(path, Settings(format=own, strip=True), fit=60).action == "copied"
    assert done(path, Settings(format="png")).action == ("copied" if own == "PNG" else "converted")


def test_quality_and_metadata_are_something_to_change(tmp_path: Path) -> None:
    """A quality is asked for, or there is something to strip: that is no copy."""
    photograph().save(tmp_path / "a.jpg", quality=95)
    outcome = done(tmp_path / "a.jpg", Settings(quality=20), fit=100)
    assert outcome.action == "converted"
    assert outcome.result.bytes < outcome.source.bytes
    photograph().save(tmp_path / "b.jpg", icc_profile=SRGB)
    assert done(tmp_path / "b.jpg", Settings(strip=True), fit=100).action == "converted"


# -- animations --------------------------------------------------------------------------------------------------------


def animation(path: Path, **more: Any) -> list[Image.Image]:
    """Save an animation of four pictures that differ, each with its own duration; return them as they are seen."""
    colours = ["red", "lime", "blue", "white"]
    pictures = []
    for number, colour in enumerate(colours):
        picture = Image.new("RGBA", (40, 30), (0, 0, 0, 0) if more.get("disposal") == 2 else "black")
        picture.paste(colour, (number * 8, 4, number * 8 + 10, 20))
        pictures.append(picture if path.suffix != ".avif" else picture.convert("RGB"))
    durations = [100, 200, 300, 400]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, **more)
    return seen(path)[0]


def seen(path: Any) -> tuple[list[Image.Image], list[int], Any]:
    """Return the pictures of an animation as they are seen, their durations, and the loop."""
    with Image.open(path) as image:
        pictures, durations = [], []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            pictures.append(image.convert("RGBA"))
            durations.append(int(image.info.get("duration", 0)))
        return pictures, durations, image.info.get("loop")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("a.gif", {"loop": 0}),
        ("a.gif", {}),
        ("a.gif", {"loop": 3, "disposal": 2}),
        ("a.png", {"loop": 2}),
        ("a.png", {"loop": 0, "disposal": 2}),
        ("a.webp", {"loop": 5, "lossless": True}),
        ("a.avif", {}),
    ],
)
def test_animations_are_processed_picture_by_picture(tmp_path: Path, name: str, more: dict[str, Any]) -> None:
    """Each picture, as it is seen, is turned; durations and loop stay."""
    path = tmp_path / name
    try:
        before = animation(path, **more)
    except (KeyError, OSError):
        pytest.skip("this Pillow cannot write the format")
    durations, loop = seen(path)[1:]
    outcome = done(path, rotate=180)
    assert (outcome.action, outcome.frames) == ("converted", 4)
    after = seen(outcome)
    assert after[1:] == (durations, loop)
    assert durations == [100, 200, 300, 400]
    for old, new in zip(before, after[0]):
        flat = [Image.alpha_composite(Image.new("RGBA", old.size, "grey"), each) for each in (old.rotate(180), new)]
        assert psnr(flat[0].convert("RGB"), flat[1].convert("RGB")) > (25 if name.endswith("avif") else 35)


def test_an_animation_may_change_its_format(tmp_path: Path) -> None:
    """A GIF that is shown once becomes a WebP and a PNG that are shown once; a JPEG would hold one picture."""
    animation(tmp_path / "a.gif")
    for image_format in ("webp", "png"):
        outcome = done(tmp_path / "a.gif", Settings(format=image_format), fit=20)
        pictures, durations, loop = seen(outcome)
        assert (durations, loop) == ([100, 200, 300, 400], 1)
        assert {picture.size for picture in pictures} == {(20, 15)}
        Path(outcome.path).unlink()
    assert "holds 4 pictures, and a JPEG holds one" in str(reason(tmp_path / "a.gif", Settings(format="jpeg")))


def test_an_animation_that_ends_between_its_pictures(tmp_path: Path) -> None:
    """It has lost some, wherever it was cut; on request what there is of it is taken."""
    animation(tmp_path / "whole.gif", disposal=2)
    whole = (tmp_path / "whole.gif").read_bytes()
    for length in range(1, len(whole)):
        (tmp_path / "a.gif").write_bytes(whole[:length])
        reason(tmp_path / "a.gif", fit=20)
    (tmp_path / "a.gif").write_bytes(whole[: whole.rindex(b"!\xf9")])
    assert str(reason(tmp_path / "a.gif", fit=20)) == "is a GIF that ends too early"
    outcome = done(tmp_path / "a.gif", Settings(truncated="keep"), fit=20)
    assert (outcome.frames, len(outcome.notes)) == (3, 1)
    (tmp_path / "a.gif").write_bytes(whole + b"more")
    assert done(tmp_path / "a.gif", rotate=90).frames == 4


def test_an_animation_without_change_is_copied(tmp_path: Path) -> None:
    """Not only its first picture."""
    animation(tmp_path / "a.gif", loop=0)
    outcome = done(tmp_path / "a.gif", fit=40)
    assert (outcome.action, outcome.frames) == ("copied", 4)
    assert Path(outcome.path).read_bytes() == (tmp_path / "a.gif").read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_pictures_of_an_animation_have_one_size(tmp_path: Path, name: str) -> None:
    """A function that crops each of them differently gets a sentence."""
    animation(tmp_path / name, disposal=2) if name != "a.webp" else animation(tmp_path / name)
    widths = iter([20, 21, 20, 21])
    error = reason(tmp_path / name, apply=lambda image: image.crop((0, 0, next(widths), 9)))
    assert str(error) == "would have pictures of 20 x 9 and of 21 x 9 pixels, in one animation"


def test_a_png_with_a_still_picture(tmp_path: Path) -> None:
    """It stays apart from the animation; where a format has none a note says that it is gone."""
    pictures = [Image.new("RGB", (20, 20), colour) for colour in ("black", "red", "blue")]
    pictures[0].save(
        tmp_path / "a.png", save_all=True, append_images=pictures[1:], default_image=True, duration=[70, 90], loop=0
    )
    outcome = done(tmp_path / "a.png", rotate=90)
    with Image.open(outcome) as image:
        assert image.info["default_image"]
    assert seen(outcome)[1][1:] == [70, 90]
    outcome = done(tmp_path / "a.png", Settings(format="webp"), rotate=90)
    assert seen(outcome)[1] == [70, 90]
    assert outcome.notes == ("the picture for those that show no animation was left out, as WEBP has none",)


def test_pages_are_no_animation(tmp_path: Path) -> None:
    """A TIFF with pages is refused with a sentence."""
    photograph().save(tmp_path / "a.tif", save_all=True, append_images=[photograph()])
    assert "holds 2 pictures that are no animation" in str(reason(tmp_path / "a.tif", fit=9))


# -- fast --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    "operations",
    [
        {"blur": 15, "fit": 400},
        {"blur": 15, "fit": 5000},
        {"blur": 9, "resize": (300, 300)},
        {"blur": 15},
        {"blur": 15, "crop": (100, 90)},
        {"blur": 15, "rotate": 30},
    ],
)
def test_fast_is_nearly_the_same(tmp_path: Path, extension: str, orientation: int, operations: dict[str, Any]) -> None:
    """Sizes are those of the exact result, and the difference is what is said."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{extension}"
    photograph((803, 601)).save(path, exif=exif, quality=95)
    what = tuple(checked(name, value) for name, value in operations.items())
    results = []
    for number, settings in enumerate((Settings(quality=None), Settings(fast=True))):
        outcome = Convert(what, settings).convert(str(path), str(tmp_path / f"{number}.{extension}"), sampled=True)
        results.append((reopened(outcome), outcome.psnr))
    (exact, none), (quick, said) = results
    assert exact.size == quick.size
    assert none is None
    assert said is not None
    assert said > 40
    assert psnr(exact, quick) > 38


@pytest.mark.parametrize(
    "operations", [{"blur": 2, "fit": 100}, {"fit": 500}, {"grayscale": True}, {"rotate": 90, "blur": 20}]
)
def test_fast_leaves_alone_what_it_cannot_shorten(tmp_path: Path, operations: dict[str, Any]) -> None:
    """The same bytes as without it."""
    photograph((803, 601)).save(tmp_path / "a.jpg")
    exact = Path(done(tmp_path / "a.jpg", **operations).path).read_bytes()
    outcome = done(tmp_path / "a.jpg", Settings(fast=True), **operations)
    assert Path(outcome.path).read_bytes() == exact
    assert outcome.psnr is None
