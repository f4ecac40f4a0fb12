"""On a CUDA device: the same factors as on NumPy, to rounding; known spectra; files streamed through the device."""

import numpy as np
import pytest

import svdflow

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy():
    module = pytest.importorskip("cupy", reason="CuPy is not installed (extras cuda12, cuda13)")
    if not module.cuda.is_available():
        pytest.skip("no CUDA device")
    return module


def with_spectrum(m, n, s, dtype, seed=0):
    random = np.random.default_rng(seed)
    parts = [random.normal(size=(side, len(s))) for side in (m, n)]
    if np.dtype(dtype).kind == "c":
        parts = [p + 1j * random.normal(size=p.shape) for p in parts]
    left, right = (np.linalg.qr(p)[0] for p in parts)
    return ((left * s) @ right.conj().T).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(3000, 400), (400, 3000)])
@pytest.mark.parametrize("method", ["gram", "krylov", "rsvd"])
def test_an_array_on_the_device_has_its_known_spectrum(cupy, dtype, shape, method):
    s = 1 / np.arange(1, 101)
    A = with_spectrum(*shape, s, dtype)
    U, found, Vt = result = svdflow.truncated_svd(cupy.asarray(A), rank=10, method=method, tol=1e-6)
    assert result.info.backend == "cupy"
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, s[:10], rtol=0, atol=400 * eps + 1e-6 * s[10])
    for factor in (U.T.conj() @ U, Vt @ Vt.T.conj()):
        np.testing.assert_allclose(factor, np.eye(10), atol=400 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_device_agrees_with_numpy(cupy, dtype):
    A = with_spectrum(5000, 600, 1 / np.sqrt(np.arange(1, 301)), dtype)
    on_host = svdflow.truncated_svd(A, rank=20, method="krylov", backend="numpy")
    on_device = svdflow.truncated_svd(A, rank=20, method="krylov", backend="cupy")
    np.testing.assert_allclose(on_device.s, on_host.s, rtol=1000 * np.finfo(dtype).eps)


def test_a_file_is_streamed_through_the_device(cupy, tmp_path):
    s = 1 / np.arange(1, 201)
    np.save(tmp_path / "A.npy", with_spectrum(20000, 300, s, "float32"))
    result = svdflow.truncated_svd(tmp_path / "A.npy", rank=10, method="krylov", backend="cupy", tol=1e-6)
    assert result.info.backend == "cupy"
    np.testing.assert_allclose(result.s, s[:10], atol=1e-5)
