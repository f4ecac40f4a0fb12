"""Arguments of denoisers, rank rules and figures that make no sense are refused by name, not believed."""

import numpy as np
import pytest

from svdflow import ranks
from svdflow.denoisers import (
    ObservedSpectrum,
    anscombe,
    denoise_poisson,
    estimate_sigma,
    inverse_anscombe,
    mppca,
    nl_means,
    patch_svd,
    shrink,
    ssa,
    truncate,
    tv,
    wavelet,
    wnnm,
)
from svdflow.metrics import psnr, snr
from svdflow.tasks.denoise import denoise_shard
from unit.odd_pictures import noisy

PICTURE = noisy((16, 16))[1]
SERIES = noisy((5, 5, 8))[1]
S = np.array([9.0, 4.0, 1.0])
FACTORED = ObservedSpectrum(np.eye(3), S, np.eye(3))
NUMBERS = (np.nan, np.inf, -1.0, True, "25", None, 1j, [1.0, 2.0, 3.0, 4.0])


def refused(call, *values):
    """What of the values a call takes without a word, or refuses without one that helps."""
    taken = []
    for value in values:
        words = ""
        try:
            call(value)
        except (ValueError, TypeError) as error:
            words = str(error)
        if len(words) < 15 or "ambiguous" in words:
            taken.append(value)
    return taken


PLACES = {
    "patch_svd sigma": (lambda v: patch_svd(PICTURE, v), [v for v in NUMBERS if v is not None]),
    "patch_svd data_range": (lambda v: patch_svd(PICTURE, 5, data_range=v), (*NUMBERS, 0)),
    "wnnm data_range": (lambda v: wnnm(PICTURE, 5, data_range=v), (*NUMBERS, 0)),
    "tv sigma": (lambda v: tv(PICTURE, v), [v for v in NUMBERS if v is not None]),
    "wavelet data_range": (lambda v: wavelet(PICTURE, 5, data_range=v), (*NUMBERS, 0)),
    "nl_means sigma": (lambda v: nl_means(PICTURE, v), [v for v in NUMBERS if v is not None]),
    "mppca sigma": (lambda v: mppca(SERIES, sigma=v), [v for v in NUMBERS if v is not None]),
    "ssa sigma": (lambda v: ssa(SERIES[0], sigma=v), [v for v in NUMBERS if v is not None]),
    "anscombe gain": (lambda v: anscombe(PICTURE, v), (*NUMBERS, 0)),
    "anscombe sigma": (lambda v: anscombe(PICTURE, 1, v), NUMBERS),
    "inverse_anscombe offset": (lambda v: inverse_anscombe(PICTURE, 1, 0, v), [np.nan, np.inf, True, "1"]),
    "shrink sigma": (lambda v: shrink(FACTORED, sigma=v), NUMBERS),
    "truncate sigma": (lambda v: truncate(FACTORED, sigma=v, rank=1), NUMBERS),
    "gavish_donoho sigma": (
        lambda v: ranks.gavish_donoho(S, (3, 3), v),
        [v for v in NUMBERS if v is not None],
    ),
    "shrinker sigma": (lambda v: ranks.shrunk_values(S, (3, 3), v), NUMBERS),
    "sure sigma": (lambda v: ranks.sure(S, (3, 3), v), NUMBERS),
    "energy": (lambda v: ranks.rank_for_energy(S, v), (*NUMBERS, 0, 1.5)),
    "error": (lambda v: ranks.rank_for_error(S, v), (*NUMBERS, 1)),
    "psnr data_range": (lambda v: psnr(PICTURE, PICTURE + 1, data_range=v), (*NUMBERS, 0)),
}
COUNTS = (0, -1, 1.5, np.nan, np.inf, True, "3", 10**9)
COUNTED = {
    "passes": lambda v: patch_svd(PICTURE, 5, passes=v),
    "wnnm passes": lambda v: wnnm(PICTURE, 5, passes=v),
    "patch": lambda v: patch_svd(PICTURE, 5, patch=v),
    "group": lambda v: patch_svd(PICTURE, 5, group=v),
    "stride": lambda v: patch_svd(PICTURE, 5, stride=v),
    "search": lambda v: patch_svd(PICTURE, 5, search=v),
    "ssa window": lambda v: ssa(SERIES[0], window=v),
}


@pytest.mark.parametrize("place", PLACES)
def test_numbers_that_are_none_are_refused(place):
    call, values = PLACES[place]
    assert refused(call, *values) == []


@pytest.mark.parametrize("place", COUNTED)
def test_counts_that_are_none_are_refused(place):
    assert refused(COUNTED[place], *COUNTS) == []


BAD = [
    np.full((16, 16), np.nan),
    np.where(np.eye(16), np.inf, 1.0),
    np.ones((16, 16), complex),
    np.full((16, 16), "a"),
    np.full((16, 16), None),
    np.zeros((0, 16)),
    np.full((16, 16), 2**60),
]


@pytest.mark.parametrize(
    "method",
    [
        lambda x: estimate_sigma(x, kind="picture"),
        lambda x: patch_svd(x, 1.0),
        lambda x: wnnm(x, 1.0),
        lambda x: tv(x, 1.0),
        lambda x: wavelet(x, 1.0),
        lambda x: nl_means(x, 1.0),
        anscombe,
        inverse_anscombe,
        lambda x: denoise_poisson(x, patch_svd),
        lambda x: mppca(x) if x.dtype.kind != "c" else mppca(x * np.nan),
        lambda x: ssa(x) if x.dtype.kind != "c" else ssa(x * np.nan),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(method):
    assert len(refused(method, *BAD)) == 0


def test_other_nonsense():
    noise_map = np.ones((16, 16))
    assert refused(lambda v: patch_svd(PICTURE, 5, rank=v), -1, 1.5, True, "2", np.nan) == []
    assert refused(lambda v: mppca(SERIES, rank=v), -1, 1.5, True, "2", 10**9) == []
    assert refused(lambda v: ssa(SERIES[0], rank=v), -1, 1.5, True, "2", 10**9) == []
    assert refused(lambda v: shrink(FACTORED, sigma=1.0, rank=v), -1, 1.5, True, "2") == []
    assert refused(lambda v: shrink(FACTORED, sigma=1.0, loss=v), None, True, 1, "spectral") == []
    assert refused(lambda v: mppca(SERIES, window=v), 0, True, "3", 1.5, (3,), (3, True)) == []
    assert refused(lambda v: mppca(SERIES, stride=v), 0, True, "1", 1.5, 10**9 + 0.5) == []
    assert refused(lambda v: mppca(SERIES, demean=v), "false", 0, None) == []
    for name in ("estimator", "threshold", "shrink", "weighting"):
        assert refused(lambda v, name=name: mppca(SERIES, **{name: v}), True, 1, "no") == []
    for method in (patch_svd, mppca, ssa):
        values = SERIES[0] if method is ssa else SERIES if method is mppca else PICTURE
        assert refused(lambda v, m=method, x=values: m(x, threads=v), 0, -1, True, "2", 1.5) == []
    for wrong in (np.nan, -1.0, np.inf):
        broken = noise_map.copy()
        broken[3, 4] = wrong
        assert refused(lambda v: patch_svd(PICTURE, v), broken) == []
        valid = np.isfinite(broken) & (broken > 0)
        assert np.isfinite(patch_svd(PICTURE, broken, mask=valid, passes=1).values).all()
    assert refused(lambda v: patch_svd(PICTURE, v), np.ones((15, 16)), np.ones((16, 16), bool)) == []
    for s in ([np.nan, 1, 0], [-1.0, 0, 0], ["a", "b", "c"], np.ma.MaskedArray(S, mask=[1, 0, 0])):
        for rule in (ranks.gavish_donoho, ranks.mp_pca, ranks.screenot):
            assert refused(lambda v, rule=rule: rule(v, (3, 3)), s) == []
        assert refused(lambda v: ranks.rank_for_error(v, 0.1), s) == []
        assert refused(lambda v: ranks.rank_for_energy(v, 0.9), s) == []
        assert refused(ranks.elbow, s) == []
    assert refused(lambda v: ranks.mp_pca(v, (3, 3)), S[::-1]) == []
    assert refused(lambda v: ranks.gavish_donoho(S, v, 1.0), (3,), (0, 3), (3, True), 3) == []


def test_figures_of_nonsense_are_refused():
    broken = PICTURE.copy()
    broken[2, 3] = np.nan
    for figure in (snr, lambda a, b, **more: psnr(a, b, data_range=255.0, **more)):
        assert refused(lambda v, figure=figure: figure(PICTURE, v), broken, broken * np.inf) == []
        assert refused(lambda v, figure=figure: figure(v, PICTURE), broken) == []
        valid = np.isfinite(broken)
        masked = np.ma.MaskedArray(broken + 1, mask=~valid)
        assert figure(PICTURE, masked) == figure(PICTURE, broken + 1, mask=valid)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("sigma", (np.nan, -1.0, np.inf, True, "5")),
        ("passes", (0, 1.5, True, 10**9)),
        ("poisson", ("false", 1, None)),
    ],
)
def test_a_stage_refuses_nonsense_before_it_begins(factored_shard, option, values):
    shard = factored_shard().image(PICTURE.astype(np.uint8)).write()

    def run(value):
        denoise_shard(
            shard.matrices,
            shard.factors,
            shard.out,
            shard.pictures,
            dataset="d",
            shard=0,
            method="patch_svd",
            ranks=[],
            rank_rules=[],
            **({"options": {option: value}} if option == "passes" else {option: value}),
        )

    assert refused(run, *values) == []
    assert not shard.out.exists()
