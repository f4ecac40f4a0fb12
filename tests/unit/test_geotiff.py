"""GeoTIFFs as GDAL reads them: values and masks, from files that it wrote (data/gdal/make.py)."""

from pathlib import Path

import numpy as np
import pytest

from svdflow.errors import ItemError
from svdflow.images.io import read_image

FOLDER = Path(__file__).parent / "data" / "gdal"
EXPECTED = np.load(FOLDER / "expected.npz")
NAMES = sorted(name for name in EXPECTED.files if not name.endswith(".mask"))


@pytest.mark.parametrize("name", NAMES)
def test_values_and_mask_are_those_of_gdal(name):
    (page,) = read_image(FOLDER / f"{name}.tif", channels=True).pages
    values, mask = EXPECTED[name], EXPECTED[f"{name}.mask"]
    if name == "alpha":  # which GDAL counts as a mask, and we keep apart
        mask = np.ones_like(mask)
    if name == "bits1":
        values = values * 255
    found = page.array[..., None] if page.array.ndim == 2 else page.array
    assert found.dtype == values.dtype
    assert np.array_equal(np.ones_like(mask) if page.mask is None else page.mask, mask)
    assert np.array_equal(np.moveaxis(found, -1, 0), np.where(mask, values, 0))


def test_alpha_is_what_the_file_says_is_alpha():
    (page,) = read_image(FOLDER / "alpha.tif").pages
    assert np.array_equal(np.moveaxis(page.array, -1, 0), EXPECTED["alpha"][:3])
    assert np.array_equal(page.alpha, EXPECTED["alpha"][3])
    with pytest.raises(ItemError, match="colour=channels"):
        read_image(FOLDER / "infrared.tif")


def test_twelve_bits_are_kept():
    assert read_image(FOLDER / "bits12.tif").attrs["significant_bits"] == 12


def test_the_files_are_what_they_are_named_for():
    """A checker of checkers: masks are partial, and every kind is there."""
    partial = [name for name in NAMES if 0 < EXPECTED[f"{name}.mask"].mean() < 1]
    assert {
        "cog",
        "lerc",
        "lerc-mask",
        "lerc-zstd",
        "mask",
        "mask-overviews",
        "mask-rgb",
        "nodata-bands",
    } <= set(partial)
    assert {"nodata", "nodata-float", "nodata-nan", "sparse"} <= set(partial)
