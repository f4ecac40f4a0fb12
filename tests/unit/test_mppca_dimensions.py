"""MP-PCA of series that lack dimensions: the noise is that of the law of those that are left."""

import numpy as np
import pytest

from svdflow.denoisers import mppca
from unit.odd_pictures import noisy


def of_lower_rank(kind, series):
    """A series that lacks dimensions of time, and how many."""
    length = series.shape[-1]
    lacking = series.copy()
    if kind == "mean removed":
        return series - series.mean(-1, keepdims=True)
    if kind == "mean removed in single precision":
        small = (series + 1e5).astype(np.complex64 if np.iscomplexobj(series) else np.float32)
        return small - small.mean(-1, keepdims=True)
    if kind == "regressors removed":
        basis = np.linalg.qr(np.vander(np.linspace(-1, 1, length), 6))[0]
        return series - (series @ basis) @ basis.T
    if kind in ("repeated frame", "both"):
        lacking[..., 5] = lacking[..., 4]
    if kind in ("blank frame", "both"):
        lacking[..., 9] = 0
    return lacking


LOWER = (
    "mean removed",
    "mean removed in single precision",
    "regressors removed",
    "repeated frame",
    "blank frame",
    "both",
)


@pytest.mark.parametrize("kind", LOWER)
@pytest.mark.parametrize(
    ("options", "complex_"),
    [
        ({}, False),
        ({"demean": False, "stride": 2}, True),
        ({"window": 5, "stride": 2}, False),  # fewer voxels than points
        ({"threshold": "gavish_donoho", "stride": 3}, False),
        ({"shrink": "frobenius", "weighting": "rank", "stride": 3}, True),
    ],
)
def test_noise_of_series_that_lack_dimensions(kind, options, complex_):
    rng = np.random.default_rng(0)
    shape = (14, 14, 3, 24) if "window" not in options else (15, 15, 40)
    clean = 500 + 40 * rng.standard_normal((*shape[:-1], 2)) @ rng.standard_normal((2, shape[-1]))
    noise = 10 * rng.standard_normal(shape)
    if complex_:
        noise = (noise + 10j * rng.standard_normal(shape)) / np.sqrt(2)
    series = of_lower_rank(kind, clean + noise)
    found = mppca(series, **options)
    # 2 % is what the full series gives with windows of so few voxels; before, it was 4.5 to 9.5, or 0.7.
    assert np.sqrt(np.mean(found.maps["sigma"] ** 2)) == pytest.approx(10, rel=0.025)
    assert np.std(found.values - of_lower_rank(kind, clean.astype(series.dtype))) < 5.5


def test_noise_of_a_series_with_an_outside():
    rng = np.random.default_rng(1)
    clean = 500 + 40 * rng.standard_normal((14, 14, 6, 2)) @ rng.standard_normal((2, 30))
    series = clean + 10 * rng.standard_normal(clean.shape)
    x, y, z = np.ogrid[-1:1:14j, -1:1:14j, -1:1:6j]
    inside = x**2 + y**2 + z**2 < 1
    found = mppca(np.where(inside[..., None], series, 1e4), mask=inside, stride=2)
    assert np.all(np.isnan(found.maps["sigma"]) == ~inside)
    assert np.nanmean(found.maps["sigma"]) == pytest.approx(10, rel=0.02)
    assert np.std((found.values - clean)[inside]) < 4
    # The same where the outside was set to zero, and nothing said.
    blank = mppca(np.where(inside[..., None], series, 0), stride=2)
    np.testing.assert_array_equal(blank.values[inside], found.values[inside])
    # Windows that take no note of zeros find too little: that of dipy does.
    alike = mppca(np.where(inside[..., None], series, 0), stride=2, estimator="veraart")
    assert alike.maps["sigma"][inside].mean() < 9


def test_a_frame_that_is_masked_everywhere_is_left_out():
    _, series = noisy((7, 8, 12))
    valid = np.ones(series.shape, bool)
    valid[..., 3] = False
    found = mppca(np.where(valid, series, np.nan), mask=valid)
    np.testing.assert_array_equal(np.delete(found.values, 3, -1), mppca(np.delete(series, 3, -1)).values)
    assert np.isnan(found.values[..., 3]).all()


def test_a_clean_series_of_low_rank_comes_back():
    rng = np.random.default_rng(2)
    clean = rng.standard_normal((9, 8, 7, 3)) @ rng.standard_normal((3, 30))
    for options in ({}, {"estimator": "veraart"}, {"shrink": "frobenius"}, {"threshold": "estimator"}):
        found = mppca(clean, **options)  # windows unchanged, so that what is left is rounding of their mean
        np.testing.assert_allclose(
            found.values, clean, rtol=0, atol=4 * np.finfo(float).eps * np.abs(clean).max()
        )
        assert not found.maps["sigma"].any()
