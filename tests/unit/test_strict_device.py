"""Every method that computes on a device, on a simulated one: values move by `put` and `get` only, and agree.

The host cuts panels into slices of a few kilobytes here and the device takes them whole, so sums are added up in
another order: what is compared differs by rounding, not by nothing.
"""

import numpy as np
import pytest
from numpy.linalg import norm

from svdflow import truncated_svd
from svdflow.matrix import MatrixSource, panels
from svdflow.svd import factorization
from svdflow.svd.read import converted_panels
from unit.strict_device import StrictDevice, no_implicit_transfers

METHODS = ["gram", "krylov", "shift", "rsvd", "lanczos"]
RANK, LONG, SHORT = 6, 600, 90
SPECTRUM = np.r_[2.0 ** -np.arange(RANK), 0.01 / np.arange(1.0, SHORT - RANK + 1)]
# Of s_1, what s may differ by, and of 1 what the vectors may: the products of this size round by some tens of eps, and
# vectors divide that by gaps between squares, of which the least, relative to s_1^2, is 3 / 4 of 2^-10.
ROUNDINGS, VECTOR_ROUNDINGS = 64, 64 * 2**10


def matrix(shape, dtype, seed=0):
    """Of known spectrum, with clear gaps between the wanted values, so that vectors can be compared."""
    rng = np.random.default_rng(seed)
    sides = []
    for side in shape:
        X = rng.standard_normal((side, SHORT))
        X = X + 1j * rng.standard_normal(X.shape) if np.dtype(dtype).kind == "c" else X
        sides.append(np.linalg.qr(X)[0])
    return ((sides[0] * SPECTRUM) @ sides[1].conj().T).astype(dtype)


class Resident(MatrixSource):
    """A matrix in the device's memory."""

    in_memory = column_access = True
    name = "resident"

    def __init__(self, A, device):
        self.shape, self.dtype, self._array = A.shape, A.dtype, device.put(A)

    def read(self, start, stop):
        return self._array[start:stop, :]

    def read_columns(self, start, stop):
        return self._array[:, start:stop]


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    monkeypatch.setattr(panels, "PANEL_BYTES", 2**16)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 2**16)
    monkeypatch.setattr(converted_panels, "SLICE_BYTES", 2**13)


@pytest.fixture
def device(monkeypatch):
    simulated = StrictDevice()
    monkeypatch.setattr(factorization, "device_of", lambda *_, **__: simulated)
    return simulated


def assert_agree(device_result, host, dtype):
    """Values, vectors and certificates to rounding; both sides made their signs the same way."""
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(device_result.s, host.s, rtol=0, atol=ROUNDINGS * eps * host.s[0])
    for mine, reference in ((device_result.U, host.U), (device_result.Vt, host.Vt)):
        assert mine.dtype == reference.dtype == dtype
        assert norm(mine - reference, axis=None) <= VECTOR_ROUNDINGS * eps
    mine, reference = device_result.info, host.info
    assert (mine.method, mine.reads, mine.reason) == (reference.method, reference.reads, reference.reason)
    # Errors are roots of differences of squares.
    bound = np.sqrt(ROUNDINGS * eps) * reference.frobenius_norm
    assert abs(mine.frobenius_error - reference.frobenius_error) <= bound
    assert abs(mine.spectral_error - reference.spectral_error) <= bound


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(LONG, SHORT), (SHORT, LONG)], ids=["tall", "wide"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("method", METHODS)
def test_no_implicit_transfer_and_the_same_to_rounding(method, dtype, shape, center, monkeypatch):
    A = matrix(shape, dtype) + dtype(0.01)
    options = {"method": method, "center": center, "tol": 1e-3, "engine": 1}
    host = truncated_svd(A, RANK, **options)
    simulated = StrictDevice()
    monkeypatch.setattr(factorization, "device_of", lambda *_, **__: simulated)
    with no_implicit_transfers():
        result = truncated_svd(A, RANK, **options)
    assert_agree(result, host, A.dtype)
    # It did compute there: every read put the matrix on the device.
    assert result.info.backend == "strict"
    assert simulated.put_bytes >= result.info.reads * A.nbytes and simulated.gets >= result.info.reads


SHAPES = [(LONG, SHORT), (SHORT, LONG)]


@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_that_is_on_the_device_stays_there(method, shape, device):
    """Nothing of the size of a panel goes either way but Y, from which U is made."""
    A = matrix(shape, np.float64)
    source = Resident(A, device)
    device.put_bytes = device.got_bytes = 0
    with no_implicit_transfers():
        result = truncated_svd(source, RANK, method=method, engine=1)
    np.testing.assert_allclose(result.s, SPECTRUM[:RANK], atol=1e-4)
    assert norm(A - (result.U * result.s) @ result.Vt, 2) <= 1.01 * SPECTRUM[RANK]
    assert device.put_bytes > 0


class Leaky(StrictDevice):
    """Fetches by conversion."""

    def get(self, array):
        return np.asarray(array)


@pytest.mark.parametrize("method", METHODS)
def test_a_leak_is_caught(method, monkeypatch):
    """Negative control."""
    monkeypatch.setattr(factorization, "device_of", lambda *_, **__: Leaky())
    with no_implicit_transfers(), pytest.raises(AssertionError, match="implicit host transfer"):
        truncated_svd(matrix((LONG, SHORT), np.float64), RANK, method=method, engine=1)


def test_a_device_that_computes_wrongly_is_caught(monkeypatch):
    """Negative control of the comparison: a panel that is put there twice as large by a thousand roundings."""

    class Wrong(StrictDevice):
        def put(self, host):
            array = super().put(host)
            return array * (1 + 1000 * ROUNDINGS * float(np.finfo(float).eps))

    A = matrix((LONG, SHORT), np.float64)
    host = truncated_svd(A, RANK, method="krylov", engine=1)
    monkeypatch.setattr(factorization, "device_of", lambda *_, **__: Wrong())
    with pytest.raises(AssertionError):
        assert_agree(truncated_svd(A, RANK, method="krylov", engine=1), host, A.dtype)
