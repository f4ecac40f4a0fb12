"""`precision="mixed"`: searches by fast products, judged and where need be finished in full precision."""

import sys
import tracemalloc
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from svdbench.regret_matrices import SPECTRA, Shape, matrix, resolution

from svdflow import truncated_svd
from svdflow.compute import Device, cuda
from svdflow.matrix import panels
from svdflow.svd import factorization
from svdflow.svd.methods.krylov import KrylovSearch
from unit.rounding_device import RoundingDevice, bfloat16
from unit.svd_promises import assert_certified, judged, pve
from unit.test_checkpoint import Fragile, Stopped

SHAPES = [
    Shape("single", 1200, 300, 5, "float32"),
    Shape("wide", 300, 900, 8, "float32"),
    Shape("complex", 900, 400, 5, "complex64"),
]
TOLERANCES = (1e-1, 1e-2, 1e-3)
LACKING = "no fast products on this device: computed in full precision"


@pytest.fixture
def device(monkeypatch):
    made = []
    monkeypatch.setattr(
        factorization, "device_of", lambda *_, **__: made.append(RoundingDevice()) or made[-1]
    )
    return made


def mixed(A, k, **options):
    return truncated_svd(A, k, **{"method": "krylov", "precision": "mixed", "engine": 1, **options})


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def went_on(result):
    return any("went on in full precision" in note for note in result.info.notes)


def test_bfloat16_rounds_to_nearest_even():
    """Against figures of the format: 1 + j 2^-7 are its numbers above 1."""
    x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-9), 256 + 0.9, 0])
    np.testing.assert_array_equal(bfloat16(x), np.float32([1, 1, 1 + 2**-6, 1 + 2**-7, -1, 256, 0]))
    z = np.complex64([1 + 2**-9 + 1j * (1 + 2**-8 + 2**-20)])
    np.testing.assert_array_equal(bfloat16(z), np.complex64([1 + 1j * (1 + 2**-7)]))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("name", SPECTRA)
def test_within_tolerance_on_all_spectra_with_certificates_of_full_precision(name, shape, device):
    A, s = matrix(name, shape)
    verdicts = []
    for tol in TOLERANCES:
        result = mixed(A, shape.rank, tol=tol)
        assert result.info.reason == "converged"
        assert pve(A, result, s) <= tol + resolution(A, s, shape.rank)
        assert result.U.dtype == A.dtype and device[-1].types == {A.dtype.name}
        if A.dtype.kind != "c":
            verdicts.append(judged(A, result))
        info, norm = result.info, float(np.linalg.norm(A.astype(np.complex128)))
        assert abs(info.frobenius_norm - norm) <= 1e-5 * norm  # far below what bfloat16 would make of it
    if verdicts:
        assert_certified(verdicts)


def test_searches_that_were_believed_would_miss(device, monkeypatch):
    """Negative control: of the same matrices some miss where the last read has no say."""

    def believe(self, found, last):
        found.reads, found.estimate, found.judged_last = self.reader.reads, 0.0, False
        return True

    monkeypatch.setattr(KrylovSearch, "accepts", believe)
    missed = 0
    for name in ("i^-2", "signal in noise", "flat"):
        A, s = matrix(name, SHAPES[0])
        with np.errstate(all="ignore"):
            result = mixed(A, SHAPES[0].rank, tol=1e-3)
        missed += pve(A, result, s) > 1e-3 + resolution(A, s, SHAPES[0].rank)
    assert missed


def test_what_fast_products_cannot_show_is_searched_on_in_full_precision(device):
    A, _ = matrix("flat", SHAPES[0])
    tight, loose = (mixed(A, 5, tol=tol) for tol in (1e-3, 1e-1))
    assert went_on(tight) and not went_on(loose)
    assert all(any("bfloat16" in note for note in result.info.notes) for result in (tight, loose))


def test_fast_products_take_no_more_than_a_read_more_where_they_suffice(device):
    """The last read is one; where the search began anew another judged it."""
    for name in SPECTRA:
        A, _ = matrix(name, SHAPES[0])
        full = truncated_svd(A, 5, method="krylov", engine=1)
        result = mixed(A, 5)
        assert result.info.reads <= full.info.reads + 1 + went_on(result), name


@pytest.mark.parametrize("tol", TOLERANCES)
@pytest.mark.parametrize("name", ["1/sqrt i", "i^-2", "flat"])
@pytest.mark.parametrize("rows", [300, 40])
def test_a_basis_on_the_longer_side(device, name, tol, rows):
    """Where columns cannot be read alone: a basis as large as the rows holds them but for rounding."""
    shape = Shape("broad", rows, 900, 8, "float32")
    A, s = matrix(name, shape)
    result = mixed(Fragile(A), 8, tol=tol)
    assert device[-1].types == {"float32"} and result.info.reason in ("converged", "saturated")
    assert pve(A, result, s) <= tol + resolution(A, s, 8)


@pytest.mark.parametrize("target", [{"error": 0.8}, {"energy": 0.5}])
def test_open_ranks_are_those_of_full_precision(device, target):
    A, s = matrix("flat", SHAPES[0])
    full = truncated_svd(A, method="krylov", engine=1, **target)
    result = truncated_svd(A, method="krylov", precision="mixed", engine=1, **target)
    assert device[-1].types == {"float32"}
    assert (result.info.rank, result.info.reason) == (full.info.rank, full.info.reason)
    assert pve(A, result, s) <= 1e-2


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_means_and_deviations_are_of_full_precision(device, center, scale):
    A, _ = matrix("1/sqrt i", SHAPES[0])
    A = A + np.float32(0.3) * np.arange(300, dtype=np.float32) / 300
    full = truncated_svd(A, 5, method="krylov", center=center, scale=scale, engine=1)
    result = mixed(A, 5, center=center, scale=scale)
    assert result.info.reason == "converged" and device[-1].types == {"float32"}
    B = A.astype(np.float64)
    if center:
        B -= B.mean(axis=0)
        np.testing.assert_allclose(result.info.mean, A.astype(np.float64).mean(axis=0), atol=1e-6)
    if scale:
        np.testing.assert_allclose(result.info.scale, full.info.scale, rtol=1e-5)
        B /= A.astype(np.float64).std(axis=0)
    s = np.linalg.svd(B, compute_uv=False)
    assert pve(B, result, s) <= 1e-2


def test_not_a_number_is_found(device):
    A, _ = matrix("1/i", SHAPES[0])
    A[7, 3] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        mixed(A, 5)


def test_without_fast_products_the_bits_are_those_of_full_precision():
    A, _ = matrix("1/i", SHAPES[0])
    full, asked = truncated_svd(A, 5, method="krylov"), mixed(A, 5, engine=None)
    assert same(full, asked) and full.info.notes == () and asked.info.notes == (LACKING,)


@pytest.mark.parametrize("method", ["full", "gram", "shift", "lanczos", "rsvd", "single_pass"])
def test_other_methods_compute_as_usual_and_say_so(device, method):
    A, _ = matrix("1/i", SHAPES[0])
    full, asked = (truncated_svd(A, 5, method=method, precision=p, engine=1) for p in ("full", "mixed"))
    assert same(full, asked)
    assert f"no fast products by method '{method}': computed in full precision" in asked.info.notes


@pytest.mark.parametrize("kind", ["float64", "sparse"])
def test_other_matrices_are_computed_as_usual_and_say_so(device, kind):
    A, _ = matrix("1/i", SHAPES[0])
    A = scipy.sparse.csr_array(A) if kind == "sparse" else A.astype(kind)
    full = truncated_svd(A, 5, method="krylov", engine=1)
    asked = mixed(A, 5)
    assert same(full, asked) and not device[-1].types
    assert any(note.endswith("computed in full precision") for note in asked.info.notes)


@pytest.mark.parametrize("name", ["1/sqrt i", "flat"])
@pytest.mark.parametrize("reads", [1, 2, 4, 6])
def test_resume_gives_the_same_bits(device, monkeypatch, tmp_path, name, reads):
    """Also where the search began anew in full precision."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 100 * 300 * 4)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 100 * 300 * 4)
    A, _ = matrix(name, SHAPES[0])
    options = {"tol": 1e-3, "engine": 1}
    whole = mixed(Fragile(A), 5, **options)
    assert went_on(whole) == (name == "flat")
    stop = (min(reads, whole.info.reads - 1) + 0.5) * len(A) + 3 * whole.info.panel_height
    with pytest.raises(Stopped):
        mixed(Fragile(A, stop), 5, checkpoint=tmp_path / "kept", **options)
    assert list((tmp_path / "kept").glob("read_*.h5"))
    again = mixed(Fragile(A), 5, checkpoint=tmp_path / "kept", **options)
    assert same(whole, again) and whole.info.reads == again.info.reads


def test_a_checkpoint_of_full_precision_is_not_taken(device, tmp_path):
    A, _ = matrix("1/sqrt i", SHAPES[0])
    with pytest.raises(Stopped):
        truncated_svd(
            Fragile(A, 2.5 * len(A)), 5, method="krylov", tol=1e-3, checkpoint=tmp_path / "kept", engine=1
        )
    resumed = mixed(Fragile(A), 5, tol=1e-3, checkpoint=tmp_path / "kept")
    assert same(resumed, mixed(Fragile(A), 5, tol=1e-3))


def test_it_takes_no_more_memory(device):
    """But for the rounded copies of a panel, which the simulation makes and a device does not."""
    A, _ = matrix("1/sqrt i", Shape("tall", 6000, 500, 5, "float32"))
    source, peaks = Fragile(A), []
    for precision in ("full", "mixed"):
        tracemalloc.start()
        result = truncated_svd(source, 5, method="krylov", precision=precision, engine=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= 1.1 * peaks[0] + 3 * result.info.panel_height * 500 * 4


def linalg_of(capability, monkeypatch):
    """As much of CuPy as knows compute types, with the type that each product was taken in."""
    state = {"type": 1}
    products = []

    class Array:
        def __matmul__(self, other):
            products.append(state["type"])
            if other is None:
                raise MemoryError
            return other

    core = ModuleType("cupy._core")
    core._routines_linalg = SimpleNamespace(
        COMPUTE_TYPE_TF32=7,
        get_compute_type=lambda dtype: state["type"],
        set_compute_type=lambda dtype, kind: state.update(type=kind),
    )
    cupy = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(Device=lambda: SimpleNamespace(compute_capability=capability))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    return cupy, Array(), products, state


def test_cupy_multiplies_in_tf32_for_one_product_at_a_time(monkeypatch):
    cupy, array, products, state = linalg_of("90", monkeypatch)
    fast = cuda.tf32_products(cupy)
    assert fast.name == "TF32" and fast.eps == 2.0**-10
    fast.times(array, array)
    with pytest.raises(MemoryError):
        fast.times(array, None)
    assert array @ array and products == [7, 7, 1] and state["type"] == 1


def test_older_cards_and_other_versions_of_cupy_have_none(monkeypatch):
    assert Device().fast is None
    cupy, *_ = linalg_of("75", monkeypatch)
    assert cuda.tf32_products(cupy) is None
    monkeypatch.setitem(sys.modules, "cupy._core", ModuleType("cupy._core"))
    assert cuda.tf32_products(linalg_of("90", monkeypatch)[0]) is not None
    monkeypatch.delattr(sys.modules["cupy._core"], "_routines_linalg")
    assert cuda.tf32_products(cupy) is None
