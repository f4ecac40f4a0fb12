"""What is masked is neither used nor changed by a denoiser: True is where a value is valid."""

import dask.array as da
import numpy as np
import pytest

from svdflow.denoisers import (
    denoise_poisson,
    estimate_sigma,
    mppca,
    nl_means,
    patch_svd,
    ssa,
    tv,
    wavelet,
    wnnm,
)
from svdflow.report.reconstructions import _maps
from svdflow.store import read_table
from svdflow.tasks.denoise import denoise_shard
from unit.odd_pictures import NOISE, hole, noisy

SHAPES = {"mppca": (6, 7, 12), "ssa": (40, 3)}
MASKING = {
    "patch_svd": lambda x, **more: patch_svd(x, NOISE, passes=2, **more),
    "patch_svd with a map": lambda x, **more: patch_svd(x, np.full(x.shape[:2], NOISE), passes=2, **more),
    "wnnm": lambda x, **more: wnnm(x, NOISE, passes=2, **more),
    "tv": lambda x, **more: tv(x, NOISE, **more),
    "nl_means": lambda x, **more: nl_means(x, NOISE, **more),
    "mppca": lambda x, **more: mppca(x, **more),
    "ssa": lambda x, **more: ssa(x, **more),
    "poisson": lambda x, **more: denoise_poisson(x, patch_svd, passes=1, **more),
}


@pytest.mark.parametrize("name", MASKING)
def test_what_is_masked_is_neither_used_nor_changed(name):
    clean, values = noisy(SHAPES.get(name, (48, 40)))
    valid = hole(values.shape)
    if name == "mppca":
        valid = np.broadcast_to(valid[..., :1], valid.shape).copy()
    apply = MASKING[name]
    high, low, unknown = (np.where(valid, values, x) for x in (1e6, -1e6, np.nan))
    found = apply(high, mask=valid)
    np.testing.assert_array_equal(found.values[~valid], 1e6)
    assert found.left == np.count_nonzero(~valid)
    for other in (low, unknown):
        again = apply(other, mask=valid)
        np.testing.assert_array_equal(again.values[valid], found.values[valid])
        np.testing.assert_array_equal(again.values[~valid], other[~valid])
        for key, shown in found.maps.items():
            np.testing.assert_array_equal(shown, again.maps[key])
    masked = apply(np.ma.MaskedArray(unknown, mask=~valid)).values
    assert isinstance(masked, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(masked), ~valid)
    np.testing.assert_array_equal(masked.data[valid], found.values[valid])
    lazy = da.from_array(np.ma.MaskedArray(high, mask=~valid), chunks=values.shape)
    np.testing.assert_array_equal(np.ma.getdata(apply(lazy).values)[valid], found.values[valid])
    # And it denoises, with a quarter of the rows gone.
    assert np.std((found.values - clean)[valid]) < 0.6 * NOISE


@pytest.mark.parametrize("method", [patch_svd, tv, nl_means])
def test_a_mask_goes_for_all_channels(method):
    _, values = noisy((24, 20, 3))
    valid = hole((24, 20))
    found = method(values, NOISE, mask=valid)
    np.testing.assert_array_equal(found.values[~valid], values[~valid])
    assert not np.any(found.values[valid] == values[valid])
    one = np.repeat(valid[..., None], 3, axis=2)
    one[..., 1:] = True  # a pixel that lacks its red is left out whole
    np.testing.assert_array_equal(method(values, NOISE, mask=one).values, found.values)


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.ones((8, 8), np.uint8), TypeError, "truth values"),
        (np.ones((8, 9), bool), ValueError, r"mask of shape \(8, 9\)"),
        (np.zeros((8, 8), bool), ValueError, "no valid value"),
    ],
)
@pytest.mark.parametrize("method", [patch_svd, wnnm, tv, wavelet, nl_means, mppca, ssa])
def test_masks_that_are_none(method, mask, error, words):
    more = {} if method in (mppca, ssa) else {"sigma": 1.0}
    with pytest.raises(error, match=words):
        method(noisy((8, 8))[1], mask=mask, **more)


def test_noise_is_estimated_from_valid_pixels():
    noise = 5 * np.random.default_rng(4).standard_normal((128, 128))
    valid = np.ones(noise.shape, bool)
    valid[:40, 30:90] = False
    high, unknown = np.where(valid, noise, 1e6), np.where(valid, noise, np.nan)
    found = estimate_sigma(unknown, valid)
    assert found == estimate_sigma(high, valid)
    assert found == pytest.approx(5, rel=0.06)  # 3,400 wavelets: a median is right within 2 % (one deviation)
    with pytest.raises(ValueError, match="wholly valid"):
        estimate_sigma(noise, np.indices(noise.shape).sum(0) % 2 == 0)


def test_the_stage_keeps_masks(factored_shard):
    clean, _ = noisy((40, 36))
    mask = hole((40, 36))
    shard = factored_shard().image(clean.astype(np.uint8), sigmas=[NOISE], mask=mask).write()
    rows = {}
    for method in ("patch_svd", "tv", "wavelet"):
        denoise_shard(
            shard.matrices,
            shard.factors,
            shard.out,
            shard.pictures,
            dataset="d",
            shard=0,
            method=method,
            ranks=[],
            rank_rules=[],
            options={"passes": 2} if method == "patch_svd" else {},
        )
        rows[method] = read_table(shard.out, "denoise"), read_table(shard.out, "errors")
    for method in ("patch_svd", "tv"):
        (row,) = rows[method][0].itertuples()
        assert row.psnr > 20 * np.log10(255 / NOISE) + 3  # the noisy picture's, on valid pixels
        assert 0.6 < row.residual_ratio < 1.1
    table, errors = rows["wavelet"]
    assert len(table) == 0
    assert list(errors.code) == ["masked"]
    assert "does not take masks" in errors.message[0]


def test_the_report_shows_maps_with_gaps():
    found = mppca(noisy((8, 9, 12))[1], mask=hole((8, 9)))
    assert np.isnan(found.maps["sigma"]).any()
    (shown,) = _maps({"sigma": found.maps["sigma"].astype(np.float32)})
    assert "noise level found" in str(shown)
