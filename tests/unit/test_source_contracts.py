"""What every door asks of a matrix in memory: no masks, no integers that would be rounded, panels as promised."""

import os

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

import svdflow
from svdflow.audit.conditioning import audit_matrix
from svdflow.audit.enclosures import certify_svd
from svdflow.codec import decode, encode
from svdflow.compat import TruncatedSVD, randomized_svd, svd_compressed
from svdflow.denoisers import patch_svd
from svdflow.errors import LossyIntegerError, MaskedError, SourceError
from svdflow.least_squares.dense import lstsq_qr, lstsq_svd, pinv, tikhonov
from svdflow.matrix import as_source
from svdflow.matrix.formats.raw import RawFile
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.metrics import psnr
from svdflow.ranks.cross_validation import bi_cross_validation
from svdflow.store import read_table
from svdflow.svd import SinglePassSVD

A = np.random.default_rng(0).standard_normal((40, 12))
HIDDEN = 1e6  # what lies under the mask: a door that reads it answers with it


def masked(missing=3):
    mask = np.zeros(A.shape, bool)
    mask.flat[5 : 5 + missing] = True
    return np.ma.masked_array(np.where(mask, HIDDEN, A), mask)


DOORS = {
    "as_source": lambda x: as_source(x).read(0, 40),
    "truncated_svd": lambda x: svdflow.truncated_svd(x, 2),
    "randomized_svd": lambda x: randomized_svd(x, 2, random_state=0),
    "svd_compressed": lambda x: svd_compressed(x, 2, seed=0, compute=True),
    "TruncatedSVD": lambda x: TruncatedSVD(2).fit(x),
    "TruncatedSVD.transform": lambda x: TruncatedSVD(2).fit(A).transform(x),
    "lstsq_svd": lambda x: lstsq_svd(x, np.ones(40)),
    "lstsq_qr": lambda x: lstsq_qr(x, np.ones(40)),
    "lstsq_svd, b": lambda x: lstsq_svd(A, x),
    "tikhonov": lambda x: tikhonov(x, np.ones(40), 0.1),
    "pinv": lambda x: pinv(x),
    "certify_svd": lambda x: certify_svd(x, *np.linalg.svd(A, full_matrices=False)),
    "cross-validation": lambda x: bi_cross_validation(x),
}


@pytest.mark.parametrize("door", DOORS)
def test_masked_values_are_refused_with_their_number(door):
    with pytest.raises(MaskedError, match=r"3 of 480 values.* masked .*fill"):
        DOORS[door](masked())
    DOORS[door](masked(0))  # a mask that hides nothing is no reason to refuse


def test_an_audit_of_masked_values_is_an_error():
    (record,) = audit_matrix(masked())
    assert str(record.verdict) == "ERROR" and "3 of 480" in record.reason
    assert len(audit_matrix(masked(0))) > 5


def test_masks_of_dask_blocks_are_seen_however_they_came():
    whole = da.from_array(masked(), chunks=(10, 5), asarray=False)
    plain = da.from_array(np.asarray(A), chunks=(10, 5))
    # A masked array whose meta says nothing of masks: joining its blocks would drop them.
    hidden = plain.map_blocks(lambda b: np.ma.masked_array(b, b > 2), dtype=float, meta=np.empty((0, 0)))
    count = int((A > 2).sum())
    for array, missing in ((whole, 3), (hidden, count)):
        for door in ("truncated_svd", "svd_compressed", "TruncatedSVD"):
            with pytest.raises(MaskedError, match=f"{missing} of 480 values"):
                DOORS[door](array)
    nothing = da.from_array(masked(0), chunks=(10, 5), asarray=False)
    np.testing.assert_allclose(
        svdflow.truncated_svd(nothing, 3).s, np.linalg.svd(A, compute_uv=False)[:3], rtol=1e-6
    )


def dask_arrays_of(given):
    """The same masked values in blocks that are masked, one array knowing it and one not."""
    yield da.from_array(given, chunks=(10, 5), asarray=False)
    hide = {"dtype": given.dtype, "meta": np.empty((0, 0), given.dtype)}
    yield da.from_array(np.ma.getdata(given), chunks=(10, 5)).map_blocks(
        lambda b: np.ma.masked_array(b, b == HIDDEN), **hide
    )


def test_doors_that_honour_masks_see_those_of_dask_blocks(tmp_path):
    given = masked()
    for array in dask_arrays_of(given):
        encode(array, tmp_path / "a.h5", rel_error=1e-3)
        back = decode(tmp_path / "a.h5")
        assert np.ma.count_masked(back) == 3 and np.abs(back).max() < 10
        assert psnr(A, array, data_range=1.0) == np.inf
        picture = patch_svd(array, 0.1).values
        assert np.ma.count_masked(picture) == 3 and np.abs(picture).max() < 10
        (record,) = audit_matrix(array)
        assert str(record.verdict) == "ERROR" and "3 of 480" in record.reason
        with pytest.raises(MaskedError, match="3 of 480"):
            certify_svd(array, *np.linalg.svd(A, full_matrices=False))


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("kind", ["array", "csr", "dask", "npy", "h5", "wide"])
def test_integers_that_float64_rounds_are_refused(tmp_path, dtype, kind):
    big = np.arange(480).reshape(40, 12).astype(dtype)
    big[7, 3] = 2**53 + 1
    big[8, 3] = 2**60 + 2**10
    if kind == "wide":
        big = np.ascontiguousarray(big.T)
    given = {
        "array": lambda: big,
        "wide": lambda: big,
        "csr": lambda: sp.csr_array(big),
        "dask": lambda: da.from_array(big, chunks=(10, 12)),
        "npy": lambda: _saved(tmp_path, big, "npy"),
        "h5": lambda: _saved(tmp_path, big, "h5"),
    }[kind]()
    for method in ("auto", "krylov", "single_pass"):
        with pytest.raises(LossyIntegerError, match=rf"1 integers .*2\^53.*{2**53 + 1}"):
            svdflow.truncated_svd(given, 2, method=method)
    with pytest.raises(LossyIntegerError):
        randomized_svd(given, 2, random_state=0)


def test_ingest_refuses_integers_that_float64_rounds(tmp_path):
    np.save(tmp_path / "a.npy", np.full((5, 4), 2**53 + 1))
    np.save(tmp_path / "b.npy", np.full((5, 4), 2**53))
    files = [{"index": i, "path": str(tmp_path / n), "name": n} for i, n in enumerate(("a.npy", "b.npy"))]
    ingest_matrix(files, tmp_path / "out.h5", dataset="toy", shard="00000")
    (row,) = read_table(tmp_path / "out.h5", "errors").itertuples()
    assert (row.name, row.code) == ("a.npy", "integer_overflow")
    assert "20 integers" in row.message and str(2**53 + 1) in row.message


def _saved(folder, array, suffix):
    import h5py

    path = folder / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "A", data=array, chunks=(1000, 12) if len(array) > 1000 else (10, 12), compression="gzip"
            )
    return path


def test_rows_of_a_stream_are_held_to_the_same():
    stream = SinglePassSVD(2)
    with pytest.raises(MaskedError, match="3 of 480"):
        stream.partial_fit(masked())
    with pytest.raises(LossyIntegerError):
        stream.partial_fit(np.full((40, 12), 2**53 + 1))
    twice = sp.csr_array((np.ones(2), [3, 3], [0, 2] + [2] * 39), shape=(40, 12))
    assert stream.partial_fit(twice).partial_fit(A).result().info.frobenius_norm == pytest.approx(
        np.hypot(2, np.linalg.norm(A))
    )


def test_large_integers_that_float64_holds_are_used():
    even = (np.arange(480).reshape(40, 12) + 1) * 2**50
    s = svdflow.truncated_svd(even, 2).s
    np.testing.assert_allclose(s, np.linalg.svd(even.astype(float), compute_uv=False)[:2], rtol=1e-6)
    top = np.full((4, 3), 2**64 - 2**11, np.uint64)
    assert svdflow.truncated_svd(top, 1).s[0] == pytest.approx(float(2**64 - 2**11) * 12**0.5)


class Source:
    """A user's own source; `give` makes its panels from the right ones."""

    dtype = np.dtype(np.float64)

    def __init__(self, rows, give):
        self.rows, self.give, self.reads = rows, give, 0
        self.shape = rows.shape

    def read(self, start, stop):
        self.reads += 1
        return self.give(self.rows[start:stop], self.reads)


TALL = np.random.default_rng(1).standard_normal((30000, 70))
FAULTS = {
    "short": (
        lambda rows, read: rows[:-1],
        r"rows \d+ to \d+ came with shape \(\d+, 70\), where \(\d+, 70\) is due",
    ),
    "narrow": (lambda rows, read: rows[:, :-1], r"came with shape \(\d+, 69\)"),
    "other dtype": (lambda rows, read: rows.astype("f4"), "came as float32, where float64 was promised"),
    "sparse": (lambda rows, read: sp.csr_array(rows), "came sparse, where dense ones were promised"),
    "a list": (lambda rows, read: rows[:2].tolist(), "came as list"),
    "other values": (
        lambda rows, read: rows + read,
        r"rows \d+ to \d+ are others than when they were read before",
    ),
    "shuffled": (
        lambda rows, read: np.roll(rows, read, axis=0),
        r"rows \d+ to \d+ are others than when they were read before",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_panels_that_break_a_promise_are_named(fault):
    give, message = FAULTS[fault]
    with pytest.raises(SourceError, match=message):
        svdflow.truncated_svd(Source(TALL, give), 2, method="krylov", engine=1)


def test_panels_that_keep_their_promises_are_used():
    s = svdflow.truncated_svd(Source(TALL, lambda rows, read: rows.copy()), 2, method="krylov", tol=1e-6).s
    np.testing.assert_allclose(s, np.linalg.svd(TALL, compute_uv=False)[:2], rtol=1e-3)


BLOCKS = {
    "dtype": (lambda b: b.astype("f4"), r"rows \d+ to \d+: a block came as float32, where float64"),
    "shape": (lambda b: b[:-1], r"a block came with shape \(9, 12\), where \(10, 12\)"),
    "sparsity": (lambda b: sp.csr_array(b), r"a block came sparse"),
}


@pytest.mark.parametrize("fault", BLOCKS)
def test_dask_blocks_that_do_not_match_their_meta_are_named(fault):
    give, message = BLOCKS[fault]
    array = da.from_array(A, chunks=(10, 12)).map_blocks(give, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(SourceError, match=message):
        svdflow.truncated_svd(array, 2)
    with pytest.raises(SourceError, match=message):
        svd_compressed(array, 2, seed=0, compute=True)


@pytest.mark.parametrize("door", ["truncated_svd", "randomized_svd"])
@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_a_file_that_is_written_to_while_it_is_read_is_named(tmp_path, monkeypatch, suffix, door):
    path = _saved(tmp_path, TALL, suffix)
    read_into, reads = RawFile.read_into, []

    def disturbed(self, *arguments):
        reads.append(1)
        if len(reads) == 2:
            os.utime(path, ns=(0, 0))
        return read_into(self, *arguments)

    monkeypatch.setattr(RawFile, "read_into", disturbed)
    with pytest.raises(SourceError, match="was written to while it was read"):
        DOORS[door](path)
    assert len(reads) > 2
    DOORS[door](path)
