"""All of tests/unit/test_svd_extremes.py: methods, matrices, types, ranks, centred, sparse, wide; minutes."""

import numpy as np
import pytest
import scipy.sparse as sp

from svdflow import truncated_svd
from unit.svd_extremes import MATRICES, Truth, complaints, extreme

METHODS = ["full", "gram", "krylov", "shift", "lanczos", "rsvd", "single_pass"]
TYPES = ["float16", "float32", "float64", "complex64", "complex128"]
pytestmark = pytest.mark.filterwarnings("ignore::svdflow.svd.ConvergenceWarning")


def centred(A):
    """Its truth, the mean taken off in 80 bits."""
    truth = Truth.of(A)
    wide = truth.A.astype(np.clongdouble if A.dtype.kind == "c" else np.longdouble)
    less = (wide - wide.mean(axis=0)).astype(truth.A.dtype)
    return Truth(less, truth.power, np.linalg.svd(less, compute_uv=False))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", MATRICES)
def test_every_word_of_a_result_is_true(name, dtype, method):
    with np.errstate(over="ignore"):
        A = extreme(name, dtype)
    if not np.isfinite(A).all():
        pytest.skip(f"no {dtype} is so large")
    if name == "largest" and dtype in ("float64", "complex128"):
        pytest.skip("s_1 is no float64; tests/unit/test_truncated_svd.py")
    for turned in (A, np.ascontiguousarray(A.conj().T)):
        truth, mean = Truth.of(turned), centred(turned)
        for k in (5, 12, 20, 40):
            assert not complaints(truth, truncated_svd(turned, k, method=method, engine=1))
            if method == "full" or name in ("1e200", "largest"):
                continue
            assert not complaints(mean, truncated_svd(turned, k, method=method, engine=1, center=True))
            if dtype != "float16":
                assert not complaints(truth, truncated_svd(sp.csr_array(turned), k, method=method, engine=1))
