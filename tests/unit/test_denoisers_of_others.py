"""Denoisers of other packages: what they may give, and what is said where they give something else."""

import sys
from importlib import invalidate_caches

import numpy as np
import pytest

import svdflow
from svdflow.denoisers import denoise_poisson
from svdflow.registry import DENOISERS
from svdflow.store import read_table
from svdflow.tasks.denoise import denoise_shard

NOISY = np.add.outer(np.arange(20.0), np.arange(16.0))
MODULE = """
import numpy as np
from svdflow.denoisers import Denoised
from svdflow.registry import Denoiser

DECLARED = [
    Denoiser(name=f"half_{on}", summary="halves", applies_to=("images",), works_on=on, masks=False, load="halves:half")
    for on in ("picture", "factors")
]
GIVES = "array"

def half(x, sigma=None, *, rank=None):
    half = np.ones((20, 16)) if hasattr(x, "Vt") else np.asarray(x) / 2
    return {
        "array": half,
        "integers": half.astype(int),
        "denoised": Denoised(half, rank=3, method="half"),
        "row": half[0],
        "words": half.astype(str),
        "denoised row": Denoised(half[0]),
        "list": half.tolist(),
        "nothing": None,
    }[GIVES]
"""
WRONG = {
    "row": "an array of float64 of shape (16,)",
    "words": "an array of <U",
    "denoised row": "an array of float64 of shape (16,)",
    "list": "gave builtins.list",
    "nothing": "gave builtins.NoneType",
}


@pytest.fixture
def gives(tmp_path, monkeypatch):
    """Another package with two denoisers, and a function that says what they give."""
    (tmp_path / "halves.py").write_text(MODULE)
    info = tmp_path / "halves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[svdflow.denoisers]\nhalves = halves:DECLARED\n")
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()
    DENOISERS.__dict__.pop("_found", None)
    import halves

    yield lambda what: monkeypatch.setattr(halves, "GIVES", what)
    DENOISERS.__dict__.pop("_found", None)
    sys.modules.pop("halves", None)


def stage(shard, method):
    """The rows of a job with that method on one picture, and its errors."""
    shard.image(NOISY, sigmas=[2.0]).write()
    places = (shard.matrices, shard.factors, shard.out, shard.pictures)
    rules = ["gavish_donoho"] if method == "half_factors" else []
    denoise_shard(*places, dataset="d", shard=0, method=method, ranks=[], rank_rules=rules)
    return read_table(shard.out, "denoise"), read_table(shard.out, "errors")


@pytest.mark.parametrize(("what", "rank"), [("array", -1), ("integers", -1), ("denoised", 3)])
def test_a_plain_array_is_a_result(gives, factored_shard, what, rank):
    gives(what)
    found = svdflow.denoise(NOISY, "half_picture")
    np.testing.assert_array_equal(found, (NOISY / 2).astype(found.dtype))
    assert isinstance(found, svdflow.denoisers.Denoised) and found.shape == NOISY.shape
    assert found.method == ("half" if what == "denoised" else "half_picture")
    rows, errors = stage(factored_shard(stored=1), "half_picture")
    assert len(errors) == 0 and list(rows["rank"]) == [rank]
    # Half of a picture is wrong by half of it; noise and whole numbers change that by their own size at most.
    assert rows["error_clean"].iloc[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("what", WRONG)
def test_anything_else_is_refused_by_the_name_of_the_denoiser(gives, factored_shard, what):
    gives(what)
    with pytest.raises(
        TypeError, match=r"denoiser 'half_picture' gave .*; return a svdflow.denoisers.Denoised"
    ) as caught:
        svdflow.denoise(NOISY, "half_picture")
    assert WRONG[what] in str(caught.value)
    rows, errors = stage(factored_shard(stored=1), "half_picture")
    assert len(rows) == 0 and "denoiser 'half_picture' gave" in errors["message"].iloc[0]
    with pytest.raises(TypeError, match="denoiser 'half' gave"):
        denoise_poisson(NOISY, DENOISERS["half_picture"].code())


def test_one_of_factors_is_told_what_to_return(gives, factored_shard):
    rows, errors = stage(factored_shard(), "half_factors")
    assert len(rows) == 0
    assert "denoiser 'half_factors' gave an array of float64" in errors["message"].iloc[0]
    assert "return a svdflow.denoisers.SpectralEstimate" in errors["message"].iloc[0]
