"""Panels on a device: their order, their values, memory that runs out, and that nothing moves unasked."""

import pickle
import sys
import threading
from contextlib import closing
from types import ModuleType, SimpleNamespace

import array_api_strict
import numpy as np
import pytest
import scipy.sparse

from svdflow.compute import BackendError, Device, DeviceMemoryError, backend, cuda, device_of
from unit.fake_cupy import FakeCupy, OutOfMemoryError
from unit.strict_device import StrictDevice, no_implicit_transfers


def matrix(rows=103, columns=7, dtype="uint8"):
    return np.arange(rows * columns).reshape(rows, columns).astype(dtype)


def cut(rows, height):
    return [(start, min(start + height, rows)) for start in range(0, rows, height)]


def reader(A):
    return lambda start, stop: A[start:stop]


def sums_on(fake, device, A, bounds):
    """Sum of every panel, by kernels that run when the streams let them."""
    sums = []
    for panel in device.feed(reader(A), bounds):
        fake.launch(lambda panel=panel: sums.append(np.asarray(panel).astype(object).sum()))
    device.compute.synchronize()
    return sums


def expected(A, bounds):
    return [A[start:stop].astype(object).sum() for start, stop in bounds]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(cuda, "PIECE_BYTES", 64)
    return FakeCupy().install(monkeypatch)


def test_numpy_moves_nothing():
    A = matrix()
    with device_of("numpy") as device:
        assert type(device) is Device and device.xp.__name__ == "array_api_compat.numpy"
        assert device.put(A) is A and device.get(A) is A
        panels = list(device.feed(reader(A), cut(103, 10)))
        assert all(np.shares_memory(panel, A) for panel in panels)
        np.testing.assert_array_equal(np.concatenate(panels), A)
        with device.errors():
            assert list(
                device.each(lambda P, start, stop: (start, P.sum()), reader(A), [(0, 50), (50, 103)])
            ) == [
                (0, A[:50].sum()),
                (50, A[50:].sum()),
            ]


def test_the_numpy_device_goes_to_other_processes():
    device = pickle.loads(pickle.dumps(device_of("numpy")))
    assert device.name == "numpy" and device.notes == []


def test_sparse_panels_pass_through_numpy():
    A = scipy.sparse.csr_array(np.eye(4))
    assert [panel.nnz for panel in device_of("numpy").feed(reader(A), [(0, 3), (3, 4)])] == [3, 1]


def test_an_unknown_backend_is_named():
    with pytest.raises(ValueError, match="'torch' is not one of"):
        device_of("torch")


@pytest.mark.parametrize(
    "dtype", ["uint8", "bool", "float16", "float32", "float64", "complex64", "int64", ">f4"]
)
@pytest.mark.parametrize("layout", ["rows", "columns", "every second row"])
def test_panels_arrive_in_order_with_their_type_and_values(fake, dtype, layout):
    A = matrix(dtype=dtype)
    if layout == "columns":
        A = np.asfortranarray(A)
    elif layout == "every second row":
        A = np.repeat(A, 2, axis=0)[::2]
    bounds = cut(len(A), 10)
    with device_of("cupy", threads=2) as device:
        shapes = []
        for panel, (start, stop) in zip(device.feed(reader(A), bounds), bounds, strict=True):
            shapes.append(panel.shape)
            assert panel.dtype == A.dtype.newbyteorder("=")
            np.testing.assert_array_equal(landed(device, panel), A[start:stop])
        assert shapes == [(stop - start, 7) for start, stop in bounds]


def landed(device, panel):
    device.compute.synchronize()
    return np.array(panel.view(np.ndarray))


@pytest.mark.parametrize("height", [1, 10, 40, 103])
def test_no_panel_is_computed_before_its_copy_nor_overwritten_after_it_too_early(fake, height):
    A, bounds = matrix(), cut(103, height)
    assert sums_on(fake, device_of("cupy"), A, bounds) == expected(A, bounds)
    pieces = [-(-(stop - start) // max(1, 64 // 7)) for start, stop in bounds]
    copies = np.cumsum([what == "copy" for _, what in fake.log])
    kernels = [copies[place] for place, (_, what) in enumerate(fake.log) if what == "kernel"]
    assert len(kernels) == len(bounds) and (np.array(kernels) >= np.cumsum(pieces)).all()
    assert len(fake.pinned) == min(sum(pieces), cuda.BUFFERS)


def test_copies_run_ahead_of_the_panel_that_is_computed_with(fake):
    A, bounds = matrix(), cut(103, 1)
    ahead = threading.Event()

    def read(start, stop):
        if start == 2:
            ahead.set()
        return A[start:stop]

    with closing(device_of("cupy").feed(read, bounds)) as panels:
        next(panels)
        assert ahead.wait(10), "panel 2 is not read while panel 0 is computed with"


@pytest.mark.parametrize("broken", ["wait_event", "synchronize"])
def test_a_forgotten_wait_would_be_seen(monkeypatch, broken):
    monkeypatch.setattr(cuda, "PIECE_BYTES", 64)
    fake = FakeCupy(broken=[broken]).install(monkeypatch)
    A, bounds = matrix(), cut(103, 20)
    assert sums_on(fake, device_of("cupy"), A, bounds) != expected(A, bounds)


def test_a_panel_that_is_on_the_device_is_not_copied(fake):
    A = device_of("cupy").put(matrix())
    panels = list(device_of("cupy").feed(reader(A), cut(103, 50)))
    assert [panel.shape for panel in panels] == [(50, 7), (50, 7), (3, 7)]
    assert all(np.shares_memory(panel, A) for panel in panels)
    assert fake.allocations == 0 and not fake.pinned and not fake.log


def test_no_bounds_no_panels(fake):
    assert list(device_of("cupy").feed(reader(matrix()), [])) == []


def test_an_error_of_the_reader_reaches_the_caller_and_the_thread_ends(fake):
    def read(start, stop):
        if start == 60:
            raise OSError("row 60 cannot be read")
        return matrix()[start:stop]

    threads = threading.active_count()
    seen = []
    with pytest.raises(OSError, match="row 60"):
        seen.extend(panel.shape for panel in device_of("cupy").feed(read, cut(103, 20)))
    assert seen == [(20, 7)] * 3 and threading.active_count() == threads


def test_leaving_early_ends_the_thread_and_waits_for_its_copies(fake):
    threads = threading.active_count()
    panels = device_of("cupy").feed(reader(matrix()), cut(103, 5))
    next(panels)
    panels.close()
    assert threading.active_count() == threads and not fake.copies[0].work


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_out_of_memory_halves_what_is_staged_and_says_so_with_the_same_values(monkeypatch, failures):
    # The first slot of each attempt fails; three slots of 20 x 7 bytes are asked for at first.
    fake = FakeCupy(fail_at=range(1, failures + 1)).install(monkeypatch)
    A, bounds = matrix(), cut(103, 20)
    device = device_of("cupy")
    assert sums_on(fake, device, A, bounds) == expected(A, bounds)
    assert len(device.notes) == failures and fake.pool.freed == failures
    assert "at most 210 instead of 420 bytes of panels in flight" in device.notes[0]
    assert fake.allocations == failures + 1, "one slot is left"


def test_the_third_slot_failing_leaves_one_of_three(monkeypatch):
    fake = FakeCupy(fail_at=[3]).install(monkeypatch)
    A, bounds = matrix(), cut(103, 20)
    device = device_of("cupy")
    assert sums_on(fake, device, A, bounds) == expected(A, bounds)
    assert fake.allocations == 4 and len(device.notes) == 1


def test_one_short_feed_does_not_narrow_the_next(fake):
    device = device_of("cupy")
    for bounds, allocations in ([(0, 20)], 1), (cut(103, 20), 4), (cut(103, 20), 7):
        assert sums_on(fake, device, matrix(), bounds) == expected(matrix(), bounds)
        assert fake.allocations == allocations


def test_work_on_a_matrix_that_is_on_the_device_is_done_again_too(monkeypatch):
    fake = FakeCupy(fail_at=[2]).install(monkeypatch)
    device = device_of("cupy")
    A = device.put(matrix())

    def work(panel, start, stop):
        fake.allocate(1)
        return start

    assert list(device.each(work, reader(A), cut(103, 20))) == [0, 20, 40, 60, 80, 100]
    assert len(device.notes) == 1 and "done again; the result is the same" in device.notes[0]


def test_memory_that_stays_too_small_is_an_error_that_says_what_to_do(monkeypatch):
    FakeCupy(fail_at=range(1, 99)).install(monkeypatch)
    with pytest.raises(DeviceMemoryError, match=r"Out of memory allocating 140 bytes.*memory_limit"):
        list(device_of("cupy").feed(reader(matrix()), cut(103, 20)))


@pytest.mark.parametrize("fail_at", [[4], [4, 6], [6]])
def test_work_that_runs_out_of_memory_is_done_again_from_its_panel(monkeypatch, fail_at):
    fake = FakeCupy(fail_at=fail_at).install(monkeypatch)
    A, bounds = matrix(), cut(103, 20)
    device, sums = device_of("cupy"), []

    def work(panel, start, stop):
        fake.allocate(1)
        fake.launch(lambda: sums.append((start, np.asarray(panel).astype(object).sum())))
        return start

    starts = list(device.each(work, reader(A), bounds))
    device.compute.synchronize()
    assert starts == [start for start, _ in bounds]
    assert sums == [(start, total) for (start, _), total in zip(bounds, expected(A, bounds))]
    assert len(device.notes) == len(fail_at) and "the result is the same" in device.notes[0]


def test_work_that_never_fits_is_an_error(monkeypatch):
    FakeCupy().install(monkeypatch)

    def work(panel, start, stop):
        raise OutOfMemoryError("Out of memory allocating 9 bytes.")

    with pytest.raises(DeviceMemoryError, match="in vain"):
        list(device_of("cupy").each(work, reader(matrix()), cut(103, 20)))


def test_the_memory_limit_is_set_beyond_what_is_held_and_taken_back(fake):
    with device_of("cupy", memory_limit=5000):
        assert fake.pool.limit == 1000 + 5000
    assert fake.pool.limit == 0
    fake.pool.limit = 3000  # the user's own, CUPY_GPU_MEMORY_LIMIT
    with device_of("cupy", memory_limit=5000):
        assert fake.pool.limit == 3000
    assert fake.pool.limit == 3000


def test_tf32_is_refused_unless_allowed(fake, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(BackendError, match="CUPY_TF32 is set"):
        device_of("cupy")
    assert "TF32" in device_of("cupy", allow_tf32=True).notes[0]
    monkeypatch.setenv("CUPY_TF32", "0")
    assert device_of("cupy").notes == []


def test_tf32_that_cupy_has_kept_is_refused_too(fake, monkeypatch):
    """CuPy looks at its variable at the first product only: unset later, products stay in TF32."""
    kept = {"type": 7}
    core = ModuleType("cupy._core")
    core._routines_linalg = SimpleNamespace(COMPUTE_TYPE_TF32=7, get_compute_type=lambda dtype: kept["type"])
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    with pytest.raises(BackendError, match="the compute type TF32 is set"):
        device_of("cupy")
    assert "the compute type TF32" in device_of("cupy", allow_tf32=True).notes[0]
    kept["type"] = 1
    assert device_of("cupy").notes == []


def test_a_default_stream_a_thread_is_refused(fake, monkeypatch):
    monkeypatch.setenv("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM", "1")
    with pytest.raises(BackendError, match="CUPY_CUDA_PER_THREAD_DEFAULT_STREAM is set"):
        device_of("cupy")
    monkeypatch.setenv("CUPY_CUDA_PER_THREAD_DEFAULT_STREAM", "0")
    assert device_of("cupy").name == "cupy"


def test_cupy_raises_on_failed_factorizations_inside_errors(fake):
    with device_of("cupy").errors():
        assert fake.log == [("errstate", "raise")]


def test_values_come_home_after_all_work_on_them(fake):
    device = device_of("cupy")
    array = device.put(np.zeros(3))
    fake.launch(lambda: np.add(array, 1, out=array))
    np.testing.assert_array_equal(device.get(array), [1, 1, 1])


def test_the_simulated_device_counts_transfers():
    A = matrix(dtype="float64")
    device = StrictDevice()
    panels = [device.get(panel) for panel in device.feed(reader(A), cut(103, 50))]
    np.testing.assert_array_equal(np.concatenate(panels), A)
    assert (device.puts, device.gets, device.put_bytes, device.got_bytes) == (3, 3, A.nbytes, A.nbytes)
    assert device.put(device.put(A)).device == array_api_strict.Device("device1") and device.puts == 4


@pytest.mark.parametrize(
    "leak",
    [
        lambda x: float(x[0, 0]),
        lambda x: bool(x[0, 0] == 0),
        np.from_dlpack,
        np.asarray,
        backend.to_numpy,
        lambda x: x @ array_api_strict.ones((7, 2)),
        lambda x: x + np.ones(7),
    ],
)
def test_an_implicit_transfer_is_caught(leak):
    panel = StrictDevice().put(matrix(dtype="float64"))
    with no_implicit_transfers(), pytest.raises((AssertionError, RuntimeError, ValueError, TypeError)):
        leak(panel)


def test_what_stays_on_the_device_passes():
    device = StrictDevice()
    A = matrix(dtype="float64")
    with no_implicit_transfers():
        panel = device.put(A)
        product = panel.T @ (panel @ device.put(np.ones((7, 2))))
    np.testing.assert_array_equal(device.get(product), A.T @ (A @ np.ones((7, 2))))
