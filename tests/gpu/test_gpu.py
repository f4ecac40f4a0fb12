"""On a CUDA device: known spectra by every method, the factors of NumPy to rounding, the same bits twice, streams and
memory that runs out.

Expected values are spectra that matrices were built from, and NumPy's results. Bounds: a singular value moves by at
most ``||E||`` (Weyl), and E is what rounding adds to the matrix and to products with it, a small multiple of
``sqrt(m) eps s_1``.
"""

from functools import cache

import numpy as np
import pytest

import svdflow
from svdflow.compute import BackendError, DeviceMemoryError, device_of
from svdflow.registry import SVD_METHODS
from svdflow.svd.random_blocks import gaussian

pytestmark = pytest.mark.gpu

DTYPES = ("float32", "float64", "complex64", "complex128")
ON_DEVICES = tuple(name for name, method in SVD_METHODS.items() if "cupy" in method.backends)
SEARCHES = tuple(method for method in ON_DEVICES if method != "full")
TOL = 1e-6


@pytest.fixture
def pool(cupy):
    """The memory pool, empty but for what others hold, and its limit put back afterwards."""
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    pool.free_all_blocks()
    yield pool
    pool.set_limit(size=limit)


def with_spectrum(m, n, s, dtype):
    """Made once for all tests that ask for the same; a copy, because some plant errors in it."""
    return _with_spectrum(m, n, tuple(s), dtype).copy()


@cache
def _with_spectrum(m, n, s, dtype):
    kind = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    left, right = (
        np.linalg.qr(gaussian(0, side, len(s), dtype=kind, domain=domain))[0]
        for domain, side in enumerate((m, n))
    )
    return ((left * np.array(s)) @ right.conj().T).astype(dtype)


def rounding(A):
    """What rounding may move a singular value by, over s_1."""
    return 16 * np.sqrt(max(A.shape)) * np.finfo(A.dtype if A.dtype.kind in "fc" else "float32").eps


def on_device(A, rank=10, **more):
    result = svdflow.truncated_svd(A, rank, backend="cupy", **{"tol": TOL, **more})
    assert result.info.backend == "cupy"
    return result


def assert_orthonormal(result, bound):
    for factor in (result.U.T.conj() @ result.U, result.Vt @ result.Vt.T.conj()):
        np.testing.assert_allclose(factor, np.eye(len(result.s)), atol=bound)


# Factorizations


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3000, 400), (400, 3000)])
@pytest.mark.parametrize("method", SEARCHES)
def test_a_matrix_on_the_device_has_its_known_spectrum(cupy, dtype, shape, method):
    s = 2.0 ** -np.arange(60)
    A = with_spectrum(*shape, s, dtype)
    result = on_device(cupy.asarray(A), method=method)
    np.testing.assert_allclose(result.s, s[:10], rtol=0, atol=rounding(A) + TOL * s[10])
    assert_orthonormal(result, rounding(A))
    left = np.linalg.norm(A - (result.U * result.s) @ result.Vt)
    assert left <= np.linalg.norm(s[10:]) * (1 + 1e-3) + 10 * rounding(A)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", SEARCHES)
def test_a_matrix_streamed_from_the_host_has_its_known_spectrum(cupy, dtype, method):
    s = 2.0 ** -np.arange(60)
    A = with_spectrum(20_000, 300, s, dtype)
    result = on_device(A, method=method)
    np.testing.assert_allclose(result.s, s[:10], rtol=0, atol=rounding(A) + TOL * s[10])
    assert_orthonormal(result, rounding(A))


@pytest.mark.parametrize("method", [name for name in SVD_METHODS if name not in ON_DEVICES])
def test_a_method_without_a_device_path_says_so(cupy, method):
    A = with_spectrum(3000, 400, 2.0 ** -np.arange(60), "float32")
    with pytest.raises(BackendError, match=f"method '{method}' is computed on NumPy only"):
        on_device(A, method=method)


def test_half_precision_is_factorized_as_it_is_stored(cupy):
    A = with_spectrum(5000, 300, 2.0 ** -np.arange(60), "float16")
    exact = np.linalg.svd(A.astype("float64"), compute_uv=False)
    bound = rounding(A.astype("float32"))
    np.testing.assert_allclose(on_device(A).s, exact[:10], rtol=0, atol=bound + TOL * exact[10])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "bool"])
@pytest.mark.parametrize("center", [False, True])
def test_integers_are_factorized_as_they_are_stored(cupy, dtype, center):
    A = (with_spectrum(5000, 300, 1 / np.arange(1, 101), "float64") * 2000 + 64).clip(0, 127).astype(dtype)
    exact = np.linalg.svd(A - A.mean(axis=0) * center, compute_uv=False)
    for where in (A, cupy.asarray(A)):
        result = on_device(where, method="krylov", center=center)
        np.testing.assert_allclose(
            result.s, exact[:10], rtol=0, atol=rounding(A) * exact[0] + TOL * exact[10]
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", SEARCHES)
@pytest.mark.parametrize("center", [False, True])
def test_the_device_agrees_with_numpy(cupy, dtype, method, center):
    A = with_spectrum(5000, 600, 1 / np.sqrt(np.arange(1, 301)), dtype)
    host, device = (
        svdflow.truncated_svd(A, 20, method=method, backend=backend, center=center, max_reads=8)
        for backend in ("numpy", "cupy")
    )
    # The same reads of the same panels: only rounding is left, by the method's own conditioning of s.
    assert host.info.reads == device.info.reads and host.info.reason == device.info.reason
    np.testing.assert_allclose(device.s, host.s, rtol=100 * rounding(A))
    assert device.U.dtype == host.U.dtype and type(device.U) is type(device.Vt) is np.ndarray
    assert abs(device.info.frobenius_error - host.info.frobenius_error) <= 100 * rounding(A)


@pytest.mark.parametrize("target", [{"error": 0.1}, {"energy": 0.9}])
def test_the_device_chooses_the_same_rank(cupy, target):
    A = with_spectrum(5000, 600, 1 / np.arange(1, 301), "float32")
    host, device = (svdflow.truncated_svd(A, **target, backend=backend) for backend in ("numpy", "cupy"))
    assert host.info.rank == device.info.rank


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("method", SEARCHES)
def test_twice_the_same_bits(cupy, dtype, where, method):
    A = with_spectrum(20_000, 300, 1 / np.sqrt(np.arange(1, 201)), dtype)
    A = cupy.asarray(A) if where == "device" else A
    for first, second in zip(*(on_device(A, method=method, max_reads=6) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_bits(cupy, threads):
    A = with_spectrum(20_000, 300, 1 / np.sqrt(np.arange(1, 201)), "float32")
    for one, more in zip(on_device(A, engine=1), on_device(A, engine=threads), strict=True):
        np.testing.assert_array_equal(one, more)


def test_a_file_is_streamed_through_the_device(cupy, tmp_path):
    s = 1 / np.arange(1, 201)
    A = with_spectrum(20_000, 300, s, "float32")
    np.save(tmp_path / "A.npy", A)
    result = on_device(tmp_path / "A.npy", method="krylov")
    np.testing.assert_allclose(result.s, s[:10], atol=rounding(A) + TOL * s[10])


def test_an_array_in_column_order_is_streamed_too(cupy):
    s = 1 / np.arange(1, 201)
    A = np.asfortranarray(with_spectrum(20_000, 300, s, "float32"))
    np.testing.assert_allclose(on_device(A).s, s[:10], atol=rounding(A) + TOL * s[10])


@pytest.mark.parametrize("where", ["host", "device"])
def test_nan_is_named_by_its_row(cupy, where):
    A = with_spectrum(20_000, 300, 1 / np.arange(1, 101), "float32")
    A[12_345, 6] = np.nan
    with pytest.raises(ValueError, match="12345"):
        on_device(cupy.asarray(A) if where == "device" else A, method="krylov")


# Memory


def test_less_memory_changes_no_bits_and_is_noted(cupy, pool):
    A = with_spectrum(40_000, 500, 1 / np.sqrt(np.arange(1, 201)), "float32")
    roomy = on_device(A, method="krylov")
    peak, panel = pool.total_bytes(), roomy.info.panel_height * 500 * 4
    assert not roomy.info.notes
    pool.free_all_blocks()
    pool.set_limit(size=peak - panel)
    tight = on_device(A, method="krylov")
    assert "out of device memory" in " ".join(tight.info.notes)
    for one, other in zip(roomy, tight, strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_that_cannot_do_is_an_error_that_says_what_to_do(cupy, pool):
    pool.set_limit(size=pool.total_bytes() + 2**20)
    with pytest.raises(DeviceMemoryError, match="memory_limit"):
        on_device(with_spectrum(40_000, 500, 1 / np.arange(1, 101), "float32"), method="krylov")


def test_a_factorization_leaves_nothing_on_the_device(cupy, pool):
    A = with_spectrum(20_000, 300, 1 / np.arange(1, 101), "float32")
    used = pool.used_bytes()
    for _ in range(3):
        on_device(A)
    assert pool.used_bytes() == used


# The device itself


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "float32", "complex128", ">f4"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_panels_arrive_as_they_are_stored(cupy, dtype, layout, monkeypatch):
    monkeypatch.setattr("svdflow.compute.cuda.PIECE_BYTES", 2**16)
    A = np.asarray(np.arange(4000 * 70).reshape(4000, 70) % 251, dtype=dtype, order=layout)
    bounds = [(start, min(start + 700, 4000)) for start in range(0, 4000, 700)]
    device = device_of("cupy", threads=2)
    for panel, (start, stop) in zip(device.feed(lambda a, b: A[a:b], bounds), bounds, strict=True):
        assert isinstance(panel, cupy.ndarray) and panel.dtype == A.dtype.newbyteorder("=")
        np.testing.assert_array_equal(device.get(panel), A[start:stop])


def test_copies_and_products_that_overlap_do_not_disturb_each_other(cupy):
    """Long products on each panel while the next are copied: sums of integers are exact in any order."""
    A = gaussian(1, 8000, 500).astype(np.float32).round()
    bounds = [(start, start + 500) for start in range(0, 8000, 500)]
    device = device_of("cupy", threads=4)
    busy = cupy.ones((2000, 2000), dtype=cupy.float32)

    def work(panel, start, stop):
        busy @ busy
        return panel.sum(axis=0, dtype=cupy.float64), start

    for _ in range(5):
        for total, start in [*device.each(work, lambda a, b: A[a:b], bounds)]:
            np.testing.assert_array_equal(device.get(total), A[start : start + 500].sum(axis=0, dtype=float))


def test_work_that_runs_out_of_memory_is_done_again(cupy, pool):
    A = np.ones((4096, 2048), np.uint8)
    bounds = [(start, start + 512) for start in range(0, 4096, 512)]  # 1 MiB each, three of them in flight
    with device_of("cupy", memory_limit=6 * 2**20) as device:
        sums = device.each(
            lambda P, start, stop: device.get(P.astype(np.float32).sum()), lambda a, b: A[a:b], bounds
        )
        assert list(map(float, sums)) == [512.0 * 2048] * 8
    assert device.notes and "out of device memory" in device.notes[0]


def test_failed_factorizations_raise(cupy):
    with device_of("cupy").errors(), pytest.raises(np.linalg.LinAlgError):
        cupy.linalg.cholesky(-cupy.eye(3))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3])
def test_mixed_precision_is_within_the_tolerance_and_rounds_nothing_else(cupy, dtype, tol):
    if int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("no TF32 on this card")
    s = np.arange(1, 401) ** -0.5
    A = with_spectrum(3000, 400, s, dtype)
    result = on_device(A, method="krylov", tol=tol, precision="mixed")
    assert any("TF32" in note for note in result.info.notes)
    squares = np.sum(np.abs(A.conj().T @ result.U.astype(np.complex128)) ** 2, axis=0)
    assert np.max(np.abs(s[:10] ** 2 - squares)) <= tol * s[10] ** 2
    # Products of others are as they were.
    ones = cupy.full((64, 64), 1 + 2**-12, dtype=dtype)
    np.testing.assert_allclose((ones @ ones).get(), 64 * (1 + 2**-12) ** 2, rtol=1e-6)


def test_tf32_is_refused(cupy, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(BackendError, match="CUPY_TF32"):
        on_device(with_spectrum(3000, 400, 1 / np.arange(1, 101), "float32"))
