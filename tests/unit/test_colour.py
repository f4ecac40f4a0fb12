"""Colour planes against Pillow, against the definition, and back."""

import numpy as np
import pytest
from PIL import Image

from svdflow.images.colour import cmyk_to_rgb, from_planes, page_planes, to_dtype, to_planes


@pytest.fixture(scope="module")
def every_corner():
    """Random colours, the 8 corners of the cube and all greys."""
    rng = np.random.default_rng(7)
    corners = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255], indexing="ij"), -1).reshape(8, 3)
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    colours = np.concatenate([rng.integers(0, 256, (3736, 3)), corners, greys])
    return colours.reshape(40, 100, 3).astype(np.uint8)


def test_gray_is_within_a_level_of_pillow(every_corner):
    # Pillow rounds the weights to 1/65536, so that a value next to a half may fall on its other side.
    grey = to_planes(every_corner, "gray")["grey"]
    apart = np.abs(grey.astype(int) - np.asarray(Image.fromarray(every_corner).convert("L")))
    assert grey.dtype == np.uint8
    assert apart.max() <= 1
    assert apart.mean() < 0.002


def test_gray_is_the_rounded_weighted_mean(every_corner):
    grey = to_planes(every_corner, "gray")["grey"].astype(int)
    assert np.abs(1000 * grey - every_corner.astype(int) @ [299, 587, 114]).max() <= 500


def test_ycbcr_is_within_a_level_of_pillow(every_corner):
    # Pillow rounds its tables, not the sum, so the last bit may differ.
    planes = np.stack(list(to_planes(every_corner, "ycbcr").values()), axis=-1).astype(int)
    peer = np.asarray(Image.fromarray(every_corner).convert("YCbCr")).astype(int)
    assert np.abs(planes - peer).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ycbcr_round_trip_loses_at_most_one_level(dtype):
    # y, cb and cr are each off by 1/2 at most: 0.5 + 1.772/2 < 1.5, which rounds to 1.
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (64, 48, 3), dtype=dtype, endpoint=True)
    back = from_planes(to_planes(image, "ycbcr"), "ycbcr")
    assert back.dtype == dtype
    assert np.abs(back.astype(int) - image.astype(int)).max() <= 1


def test_sixteen_bit_luma_is_the_rounded_weighted_mean():
    image = np.random.default_rng(2).integers(0, 65536, (50, 60, 3), dtype=np.uint16)
    grey = to_planes(image, "gray")["grey"]
    exact = image.astype(float) @ [0.299, 0.587, 0.114]
    assert grey.dtype == np.uint16
    assert np.abs(grey - exact).max() <= 0.5 + 1e-9
    assert np.array_equal(
        to_planes(np.full((2, 2, 3), 65535, np.uint16), "gray")["grey"], np.full((2, 2), 65535)
    )


def test_floats_stay_floats_and_round_trip():
    image = np.random.default_rng(3).standard_normal((9, 8, 3))
    for colour in ("rgb", "ycbcr"):
        assert np.allclose(from_planes(to_planes(image, colour), colour), image, atol=1e-14)
    assert to_planes(image.astype(np.float32), "gray")["grey"].dtype == np.float32


@pytest.mark.parametrize("colour", ["gray", "rgb", "ycbcr"])
def test_a_grey_image_keeps_its_one_plane(colour):
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    planes = to_planes(image, colour)
    assert list(planes) == ["grey"]
    assert np.array_equal(from_planes(planes, colour), image)


def test_approximated_planes_come_back_in_the_image_dtype():
    planes = {"r": np.full((2, 2), -3.2), "g": np.full((2, 2), 99.5), "b": np.full((2, 2), 300.0)}
    back = from_planes(planes, "rgb", np.uint8)
    assert back.dtype == np.uint8
    assert back[0, 0].tolist() == [0, 100, 255]
    approximated = {
        k: v.astype(np.float32) for k, v in to_planes(np.full((2, 2, 3), 77, np.uint8), "ycbcr").items()
    }
    assert np.array_equal(from_planes(approximated, "ycbcr", np.uint8), np.full((2, 2, 3), 77))


def test_cmyk_is_within_a_level_of_pillow():
    inks = np.random.default_rng(4).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    peer = np.asarray(Image.frombytes("CMYK", (50, 40), inks.tobytes()).convert("RGB"))
    assert np.abs(cmyk_to_rgb(inks).astype(int) - peer.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([-1.0, 0.5, 254.5, 1e9], np.uint8, [0, 1, 255, 255]),
        ([1e30], np.uint64, [np.nextafter(2.0**64, 0)]),
        ([-40000.0, 2.4], np.int16, [-32768, 2]),
    ],
)
def test_casting_rounds_and_clips(values, dtype, expected):
    assert to_dtype(np.array(values), dtype).tolist() == [int(v) for v in expected]


def test_pages_are_grouped():
    names = ["r_p001", "g_p001", "b_p001", "grey_p000"]
    pages = page_planes({name: np.zeros((1, 1)) for name in names})
    assert [sorted(p) for p in pages] == [["grey"], ["b", "g", "r"]]
    assert [list(p) for p in page_planes({"grey": np.zeros((1, 1))})] == [["grey"]]


def test_wrong_shapes_and_colours_are_refused():
    with pytest.raises(ValueError, match="unknown colour"):
        to_planes(np.zeros((2, 2)), "grey")
    with pytest.raises(ValueError, match="shape"):
        to_planes(np.zeros((2, 2, 4)), "rgb")
