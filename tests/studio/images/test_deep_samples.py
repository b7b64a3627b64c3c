"""Scientific TIFFs: more than eight bits, no-data, hot pixels, bands that are no alpha."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.images.formats.stretch import fit_stretch
from studio.images.loader import ImagePolicy, PermanentImageError, decode, decode_image
from tests.support.image_files import saved, scene, tiff

POLICY = ImagePolicy()
COLOURS = scene()
GRAY = COLOURS[..., :1]
EXPECTED = np.rint((COLOURS - COLOURS.min()) / np.ptp(COLOURS) * 255)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, POLICY)).astype(float)


def looks_like(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether both are the same picture, but for brightness and contrast."""
    return bool(np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98 and found.std() > 30)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_12_bits_in_16_bit_colour_fill_the_range(
    order: str, compressed: bool, planar: bool, big: bool
) -> None:
    samples = (COLOURS * 4095).astype(np.uint16)
    data = tiff(samples, order=order, compressed=compressed, planar=planar, big=big)
    assert np.abs(pixels(data) - EXPECTED).max() <= 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "samples",
    [
        (GRAY * 4095).astype(np.uint16),
        (GRAY * 4095 - 2000).astype(np.int16),
        (GRAY * 4e9).astype(np.uint32),
        (GRAY * 4e9 - 2e9).astype(np.int32),
        (GRAY * 1e-6).astype(np.float32),
    ],
    ids=lambda samples: str(samples.dtype),
)
def test_every_kind_of_sample_in_both_byte_orders(
    samples: np.ndarray, order: str, compressed: bool
) -> None:
    expected = np.rint((GRAY - GRAY.min()) / np.ptp(GRAY) * 255)
    found = pixels(tiff(samples, order=order, compressed=compressed))
    assert np.abs(found - expected).max() <= 2


def test_a_negative_is_turned() -> None:
    negative = (65535 - GRAY * 60000).astype(np.uint16)
    assert looks_like(pixels(tiff(negative, photometric=0))[..., 0], GRAY[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("extra", [None, (0,)])
def test_a_fourth_band_that_is_not_called_alpha_is_none(
    dtype: type, planar: bool, extra: tuple[int, ...] | None
) -> None:
    infrared = 1 - COLOURS[..., :1]
    infrared[:40] = 0
    samples = (np.dstack([COLOURS, infrared]) * 255).astype(dtype)
    found = pixels(tiff(samples, planar=planar, extra=extra))
    assert np.abs(found - COLOURS * 255).mean() < 6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_band_that_is_called_alpha_lies_on_white(dtype: type) -> None:
    most = np.iinfo(dtype).max
    alpha = np.ones_like(GRAY)
    alpha[:20] = 0
    found = pixels(tiff((np.dstack([COLOURS, alpha]) * most).astype(dtype), extra=(2,)))
    assert (found[:20] == 255).all()
    assert looks_like(found[20:], COLOURS[20:])


def marked(*marks: tuple[slice, float]) -> np.ndarray:
    samples = GRAY.astype(np.float32).copy()
    for rows, value in marks:
        samples[rows] = value
    return samples


@pytest.mark.parametrize(
    "marks",
    [
        ((slice(0, 20), -9999),),
        ((slice(0, 1), -9999),),
        ((slice(0, 20), np.nan), (slice(20, 22), np.inf), (slice(22, 24), -np.inf)),
        ((slice(0, 20), -3.4e38),),
        ((slice(0, 20), 3.4e38),),
        ((slice(0, 10), -9999), (slice(10, 24), -32768)),
    ],
)
@pytest.mark.parametrize("hot", [None, 1e6, 1e30])
def test_no_data_and_hot_pixels_leave_the_rest_visible(
    marks: tuple[tuple[slice, float], ...], hot: float | None
) -> None:
    samples = marked(*marks)
    if hot is not None:
        samples[50, 50] = hot
    found = pixels(tiff(samples))[..., 0]
    rest = slice(max(rows.stop for rows, _ in marks), 50)
    assert looks_like(found[rest], GRAY[rest, :, 0])


def test_gdals_no_data_is_left_out() -> None:
    samples = marked((slice(0, 30), 1.3))  # too near to the others to be left out by itself
    assert pixels(tiff(samples))[30:].max() < 200
    assert pixels(tiff(samples, tags={42113: (2, b"1.3\0")}))[30:].max() == 255


def test_one_stretch_holds_for_all_bands() -> None:
    samples = (COLOURS * [1000, 500, 0]).astype(np.uint16)
    found = pixels(tiff(samples))
    assert found[..., 2].max() == 0
    assert found[..., 1].max() == pytest.approx(127.5, abs=3)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-1e6, 1e6),
    no_data=st.sampled_from([None, -9999.0, -32768.0, 3.4e38, float("nan")]),
    hot=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_a_picture_keeps_its_levels(
    scale: float, shift: float, no_data: float | None, hot: int, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    values = scene().ravel() * scale + shift
    clean = values.copy()
    values[dice.choice(values.size, hot, replace=False)] = shift + scale * 1e9
    if no_data is not None and not np.isnan(no_data) and abs(no_data - shift) < 20 * scale:
        return  # it could be a value like others
    if no_data is not None:
        values[: values.size // 3] = no_data
    shown = fit_stretch(values).apply(clean)
    assert len(np.unique(shown)) > 60


@pytest.mark.parametrize(
    ("samples", "levels"),
    [
        (np.full((40, 40, 1), 7, np.uint16), "one grey level"),
        (np.full((40, 40, 3), 900, np.uint16), "one grey level"),
        (np.arange(1600, dtype=np.uint8).reshape(40, 40, 1) % 3, "3 grey levels"),
    ],
)
def test_a_picture_with_hardly_any_grey_levels_is_suspicious(
    samples: np.ndarray, levels: str
) -> None:
    decoded = decode_image(tiff(samples), POLICY)
    assert decoded.image.mode == "RGB"
    assert decoded.warning is not None
    assert levels in decoded.warning


def test_an_ordinary_picture_and_a_scanned_page_are_not_suspicious() -> None:
    assert decode_image(tiff((COLOURS * 255).astype(np.uint8)), POLICY).warning is None
    page = Image.fromarray((COLOURS[..., 0] > 0.5).astype(np.uint8) * 255).convert("1")
    for kind in ("PNG", "TIFF"):
        assert decode_image(saved(page, kind), POLICY).warning is None


def test_a_16_bit_png_that_is_almost_black_is_shown_as_browsers_do_and_said() -> None:
    dark = Image.fromarray((GRAY[..., 0] * 1023).astype(np.uint16))
    decoded = decode_image(saved(dark, "PNG"), POLICY)
    assert np.asarray(decoded.image).max() == 3
    assert decoded.warning == "the picture is suspicious, with only 4 grey levels"


@pytest.mark.parametrize(
    ("samples", "name"),
    [
        (np.zeros((9, 9, 5), np.uint16), "a TIFF with 5 bands of 16 bits, which can't be read"),
        (np.zeros((9, 9, 3), np.float32), "3 bands of 32 bits as floating-point numbers"),
        (np.zeros((9, 9, 1), np.float64), "1 band of 64 bits as floating-point numbers"),
        (np.zeros((9, 9, 40), np.uint8), "40 bands of 8 bits"),
    ],
)
def test_what_cannot_be_read_is_named(samples: np.ndarray, name: str) -> None:
    with pytest.raises(PermanentImageError, match=name):
        decode(tiff(samples), POLICY)


@pytest.mark.parametrize("most", [4095, 65535])
def test_a_deep_pgm_and_a_deep_jpeg_2000_are_stretched(most: int) -> None:
    samples = (GRAY[..., 0] * most).astype(np.uint16)
    pgm = b"P5 96 64 %d\n" % most + samples.astype(">u2").tobytes()
    for data in (pgm, saved(Image.fromarray(samples), "JPEG2000")):
        assert looks_like(pixels(data)[..., 0], GRAY[..., 0])


def test_a_directory_that_leads_nowhere() -> None:
    for start in (0, 7, 10**9):
        with pytest.raises(PermanentImageError, match="a TIFF"):
            decode(b"II*\0" + struct.pack("<I", start) + bytes(40), POLICY)
