"""MP-PCA beside dipy itself, where it is installed; its stored output is held by tests/unit/test_mppca.py."""

from pathlib import Path

import numpy as np
import pytest

from svdflow.denoisers import mppca
from unit.test_mppca import AS_DIPY, planted


def test_dipy_itself():
    localpca = pytest.importorskip("dipy.denoise.localpca")
    clean, noise = planted((10, 10, 6), 20, 3)
    for window, radius in ((3, 1), (5, 2)):
        values, sigma = localpca.mppca(clean + noise, patch_radius=radius, return_sigma=True)
        got = mppca(clean + noise, window=window, **AS_DIPY)
        np.testing.assert_allclose(np.maximum(got.values, 0), values, rtol=1e-10)
        np.testing.assert_allclose(got.maps["sigma"], sigma, rtol=1e-9)


def test_dipy_on_its_own_sample():
    localpca = pytest.importorskip("dipy.denoise.localpca")
    nibabel = pytest.importorskip("nibabel")
    sample = Path(localpca.__file__).parents[1] / "data" / "files" / "small_64D.nii"
    series = np.asarray(nibabel.load(sample).dataobj).astype(np.float64)
    values = localpca.mppca(series, patch_radius=2)
    got = np.maximum(mppca(series, window=5, **AS_DIPY).values, 0)
    np.testing.assert_allclose(got, values, rtol=0, atol=1e-12 * values.max())
