"""A factorization that was stopped goes on from its checkpoint, to the same bits and with the reads that were left."""

import numpy as np
import pytest

from svdflow.matrix import MatrixSource, panels
from svdflow.svd import truncated_svd


class Stopped(Exception):
    pass


class Fragile(MatrixSource):
    """Counts rows read, and stops after so many."""

    def __init__(self, A, rows=None):
        self._A, self._left, self.rows_read = A, rows, 0
        self.shape, self.dtype, self.name = A.shape, A.dtype, "fragile"

    def read(self, start, stop):
        self.rows_read += stop - start
        if self._left is not None and self.rows_read > self._left:
            raise Stopped
        return self._A[start:stop]


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((side, 200)))[0] for side in (2000, 300))
    return ((left * np.arange(1, 201) ** -0.5) @ right.T).astype(np.float32)


@pytest.fixture(autouse=True)
def small_panels(monkeypatch):
    """Panels of 100 rows, so that a small matrix has as many as a large one."""
    monkeypatch.setattr(panels, "PANEL_BYTES", 100 * 300 * 4)
    monkeypatch.setattr("svdflow.svd.plan.PANEL_BYTES", 100 * 300 * 4)


@pytest.mark.parametrize("engine", [1, 2])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("reads", [1, 2])
def test_rows_that_reads_left_behind_are_made_again(tmp_path, engine, scale, reads):
    """Where U takes no read of its own, rows of finished reads are lost in a kill: one read makes them anew."""
    A = (np.random.default_rng(0).standard_normal((2000, 1000)) * np.arange(1, 1001) ** -0.5).astype(
        np.float32
    )
    options = {"rank": 10, "method": "krylov", "center": True, "scale": scale, "tol": 1e-4, "engine": engine}
    source = Fragile(A)
    whole = truncated_svd(source, **options)
    once = source.rows_read - whole.info.reads * len(A)
    assert whole.info.reads >= 3 and once < len(A) / 4  # its panels, pilot and sample; no read for U
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        truncated_svd(Fragile(A, once + (reads + 0.5) * len(A)), checkpoint=folder, **options)
    kept = len(list(folder.glob("read_*.h5")))
    assert kept == reads
    again = Fragile(A)
    result = truncated_svd(again, checkpoint=folder, **options)
    for one, other in zip(whole, result, strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.info.reads == whole.info.reads
    assert again.rows_read <= (whole.info.reads - kept + 1) * len(A) + len(A) / 4


@pytest.mark.parametrize("method", ["krylov", "gram", "rsvd"])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("reads", [1, 2])
def test_resume_gives_the_same_bits(matrix, tmp_path, method, center, reads):
    options = {"rank": 10, "method": method, "center": center, "tol": 1e-4, "engine": 1}
    whole = truncated_svd(Fragile(matrix), **options)
    folder = tmp_path / "checkpoint"
    # Stopped in the middle of the read after that, or in the last one; before it come the panels that tell the matrix.
    height = whole.info.panel_height
    before = 3 * height + (height if center else 0)
    killed = Fragile(matrix, before + (min(reads, whole.info.reads - 1) + 0.5) * len(matrix))
    with pytest.raises(Stopped):
        truncated_svd(killed, checkpoint=folder, **options)
    kept = len(list(folder.glob("read_*.h5")))
    assert kept == min(reads, whole.info.reads - 1)
    again = Fragile(matrix)
    result = truncated_svd(again, checkpoint=folder, **options)
    for one, other in zip(whole, result, strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.info.reads == whole.info.reads
    assert again.rows_read <= (whole.info.reads - kept) * len(matrix) + before
    assert not folder.exists()


def test_another_matrix_is_not_mistaken_for_the_first(matrix, tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        truncated_svd(Fragile(matrix, 3 * len(matrix)), 10, method="krylov", checkpoint=folder, engine=1)
    assert list(folder.glob("read_*.h5"))
    other = matrix[::-1].copy()
    result = truncated_svd(Fragile(other), 10, method="krylov", checkpoint=folder, engine=1)
    np.testing.assert_array_equal(result.s, truncated_svd(Fragile(other), 10, method="krylov", engine=1).s)


def test_damaged_entry_is_read_again(matrix, tmp_path):
    folder = tmp_path / "checkpoint"
    options = {"rank": 10, "method": "krylov", "engine": 1}
    with pytest.raises(Stopped):
        truncated_svd(Fragile(matrix, 3.5 * len(matrix)), checkpoint=folder, **options)
    path = sorted(folder.glob("read_*.h5"))[-1]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    result = truncated_svd(Fragile(matrix), checkpoint=folder, **options)
    np.testing.assert_array_equal(result.s, truncated_svd(Fragile(matrix), **options).s)


def test_a_folder_with_other_files_is_refused(matrix, tmp_path):
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(ValueError, match="holds what svdflow did not write"):
        truncated_svd(matrix, 10, method="krylov", checkpoint=tmp_path)
    assert (tmp_path / "thesis.tex").exists()
