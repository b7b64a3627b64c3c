"""Every kind of image file that people have, and files that are none."""

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.images.loader import ImageError, ImagePolicy, PermanentImageError, decode

POLICY = ImagePolicy()
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Red, with a blue square in the upper left corner: no rotation looks like another."""
    image = Image.new("RGB", (width, height), RED)
    ImageDraw.Draw(image).rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=BLUE)
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def close(pixel: object, colour: tuple[int, int, int], by: int = 12) -> bool:
    return bool(np.abs(np.asarray(pixel, float) - colour).max() <= by)


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes whose header speaks of that many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("MPO", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("AVIF", {"quality": 95}),
        ("TGA", {}),
    ],
)
def test_common_formats(kind: str, options: dict[str, object]) -> None:
    image = decode(saved(picture(), kind, **options), POLICY)
    assert image.mode == "RGB"
    assert image.size == (64, 48)
    assert close(image.getpixel((5, 5)), BLUE)
    assert close(image.getpixel((50, 40)), RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    # The way back from upright: what a camera stores that was held in this orientation.
    stored = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation](picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(saved(stored, kind, exif=exif), POLICY)
    assert image.size == (64, 48)
    assert close(image.getpixel((5, 5)), BLUE, by=40)
    assert close(image.getpixel((58, 5)), RED, by=40)
    assert close(image.getpixel((5, 42)), RED, by=40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_lose_the_image() -> None:
    data = saved(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert decode(data, POLICY).size == (64, 48)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in (GREEN, RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert close(decode(data, POLICY).getpixel((10, 5)), GREEN)


def test_cmyk() -> None:
    data = saved(picture().convert("CMYK"), "JPEG", quality=95)
    image = decode(data, POLICY)
    assert image.mode == "RGB"
    assert close(image.getpixel((50, 40)), RED, by=30)


def test_16_bit_gray_is_scaled_and_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    gray = np.asarray(decode(saved(Image.fromarray(ramp), "PNG"), POLICY))[0, :, 0].astype(int)
    assert np.abs(gray - np.arange(256)).max() <= 1


def test_16_bit_colour() -> None:
    pixels = struct.pack(">6H", 0xFFFF, 0, 0, 0, 0x8000, 0)
    data = b"P6 2 1 65535\n" + pixels
    image = decode(data, POLICY)
    assert close(image.getpixel((0, 0)), RED, by=1)
    assert close(image.getpixel((1, 0)), (0, 128, 0), by=1)


def test_12_bits_in_a_16_bit_tiff_are_not_black() -> None:
    ramp = np.tile(np.linspace(0, 4095, 256).astype(np.uint16), (4, 1))
    gray = np.asarray(decode(saved(Image.fromarray(ramp), "TIFF"), POLICY))[0, :, 0].astype(int)
    assert np.abs(gray - np.arange(256)).max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_natural_range_are_stretched(dtype: type) -> None:
    values = np.array([[-1000, 0, 1000]], dtype)
    gray = np.asarray(decode(saved(Image.fromarray(values), "TIFF"), POLICY))[0, :, 0]
    assert gray.tolist() == [0, 128, 255]


def test_floats_that_are_no_numbers_do_no_harm() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    image = decode(saved(Image.fromarray(values), "TIFF"), POLICY)
    assert image.getpixel((3, 0)) == WHITE


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    kind = "TIFF" if mode == "LA" else "PNG"
    if mode == "PA":
        image = image.quantize(8)
    elif mode == "LA":
        image = image.convert("LA")
    result = decode(saved(image, kind), POLICY)
    assert result.getpixel((0, 0)) == WHITE
    assert close(result.getpixel((1, 0)), (127, 127, 127), by=2)
    assert result.getpixel((3, 3)) == (0, 0, 0)


def test_a_transparent_palette_colour_and_a_transparent_rgb_colour() -> None:
    palette = picture().quantize(4)
    transparent = palette.getpixel((50, 40))
    gif = decode(saved(palette, "GIF", transparency=transparent), POLICY)
    png = decode(saved(picture(), "PNG", transparency=RED), POLICY)
    for image in (gif, png):
        assert image.getpixel((50, 40)) == WHITE
        assert close(image.getpixel((5, 5)), BLUE)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "I;16"])
def test_a_single_pixel(mode: str) -> None:
    image = decode(saved(Image.new(mode, (1, 1)), "PNG"), POLICY)
    assert (image.mode, image.size) == ("RGB", (1, 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text file\n", "text, 24 bytes"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive, 104 bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image that can be read"),
    ],
)
def test_what_is_no_image(data: bytes, reason: str) -> None:
    with pytest.raises(PermanentImageError, match=reason):
        decode(data, POLICY)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_file_that_was_cut_off_is_broken(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(PermanentImageError, match="broken or cut off"):
        decode(data[: len(data) // 2], POLICY)


@pytest.mark.parametrize("side", [10_000, 12_000, 30_000])
@pytest.mark.parametrize("warned", ["ignore", "error"])
def test_a_bomb_is_refused_by_its_header(side: int, warned: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(warned)  # Pillow warns of big images where it does not refuse them
        with pytest.raises(PermanentImageError, match="too many pixels"):
            decode(png_claiming(side, side), POLICY)


def test_the_limit_on_pixels_is_the_policys() -> None:
    data = saved(picture(), "PNG")
    assert decode(data, ImagePolicy(max_pixels=64 * 48)).size == (64, 48)
    with pytest.raises(PermanentImageError, match="64 × 48"):
        decode(data, ImagePolicy(max_pixels=64 * 48 - 1))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_big_jpeg_is_shrunk_but_never_below_the_limit(mode: str) -> None:
    data = saved(picture(1600, 1200).convert(mode), "JPEG")
    small = decode(data, ImagePolicy(draft_side=300))
    assert small.size == (400, 300)
    assert close(small.getpixel((20, 20)), decode(data, POLICY).getpixel((80, 80)))
    assert decode(data, ImagePolicy(draft_side=0)).size == (1600, 1200)
    assert decode(data, ImagePolicy(draft_side=601)).size == (1600, 1200)


def test_a_big_photograph_of_a_phone_with_two_lenses_is_shrunk_too() -> None:
    big = picture(1600, 1200)
    data = saved(big, "MPO", save_all=True, append_images=[big.rotate(180)])
    small = decode(data, ImagePolicy(draft_side=300))
    assert small.size == (400, 300)
    assert close(small.getpixel((20, 20)), BLUE)


def _flip(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data))] = dice.randrange(256)


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def _drop(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.randrange(1, 40)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "ICO"])
@pytest.mark.parametrize("damage", [_flip, _cut, _drop])
def test_damage_gives_an_image_or_an_image_error(
    kind: str, damage: Callable[[bytearray, random.Random], None]
) -> None:
    dice = random.Random(f"{kind} {damage.__name__}")
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
    whole = saved(picture(), kind, **options)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            if data:
                damage(data, dice)
        try:
            assert decode(bytes(data), ImagePolicy(max_pixels=1_000_000)).mode == "RGB"
        except ImageError:
            continue
