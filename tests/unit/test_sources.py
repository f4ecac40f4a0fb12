"""Every kind of source reads the same rows and columns, in panels that depend on the layout only."""

import pickle
from itertools import pairwise

import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from svdflow.errors import StoreError
from svdflow.matrix import as_source, open_matrix
from svdflow.matrix.panels import LARGEST_PANEL, PANEL_BYTES, panel_bounds, panel_height
from svdflow.matrix.sources import TransposedSource
from svdflow.store import publish, write_array

A = np.random.default_rng(0).standard_normal((37, 23))
C = A + 1j * A[::-1]


def dense(block):
    return block.toarray() if sp.issparse(block) else np.asarray(block)


def saved_h5(path, array, name="group/A", **options):
    with h5py.File(
        path, "w", **({"userblock_size": options.pop("userblock")} if "userblock" in options else {})
    ) as file:
        file.create_dataset(name, data=array, **options)
    return path


def every_source(folder):
    yield "array", A, as_source(A)
    yield "list", A, as_source(A.tolist())
    yield "csr", A, as_source(sp.csr_array(A))
    yield "coo", A, as_source(sp.coo_matrix(A))
    yield "dask", A, as_source(da.from_array(A, chunks=(10, 7)))
    yield "dask csr", A, as_source(da.from_array(A, chunks=(10, 23)).map_blocks(sp.csr_matrix))
    for name, array in (
        ("c", A),
        ("fortran", np.asfortranarray(A)),
        ("complex", C),
        ("swapped", A.astype(">f4")),
    ):
        np.save(folder / f"{name}.npy", array)
        yield name, array, open_matrix(folder / f"{name}.npy")
    yield "contiguous", A, open_matrix(saved_h5(folder / "contiguous.h5", A))
    yield "user block", A, open_matrix(saved_h5(folder / "block.h5", A, userblock=512))
    yield "h5 complex", C, open_matrix(saved_h5(folder / "complex.h5", C))
    yield "h5 swapped", A, open_matrix(saved_h5(folder / "swapped.h5", A.astype(">f8")))
    yield "chunked", A, open_matrix(saved_h5(folder / "chunked.h5", A, chunks=(5, 6)))
    yield (
        "gzip",
        A,
        open_matrix(f"{saved_h5(folder / 'gzip.h5', A, chunks=(5, 23), compression='gzip')}:/group/A"),
    )
    scipy.io.mmwrite(folder / "m.mtx", sp.coo_matrix(A), precision=17)
    yield "matrix market", A, open_matrix(folder / "m.mtx")
    scipy.io.mmwrite(folder / "dense.mtx", A, precision=17)
    yield "dense matrix market", A, open_matrix(folder / "dense.mtx")
    sp.save_npz(folder / "sparse.npz", sp.csr_matrix(A))
    yield "sparse npz", A, open_matrix(folder / "sparse.npz")
    np.savez(folder / "dense.npz", x=A)
    yield "npz", A, open_matrix(folder / "dense.npz")
    with publish(folder / "store.h5", "matrices") as file:
        write_array(file, "A", A)
        group = file.create_group("csr")
        group.attrs["shape"] = A.shape
        for part in ("data", "indices", "indptr"):
            write_array(group, part, getattr(sp.csr_array(A), part))
    yield "store", A, open_matrix(folder / "store.h5", "A")
    yield "store csr", A, open_matrix(folder / "store.h5", "csr")


def test_every_source_reads_rows_and_columns(tmp_path):
    for name, array, source in every_source(tmp_path):
        assert source.shape == array.shape and source.dtype.kind == array.dtype.kind, name
        np.testing.assert_array_equal(dense(source.read(3, 17)), array[3:17], err_msg=name)
        np.testing.assert_array_equal(dense(source.read_columns(3, 17)), array[:, 3:17], err_msg=name)
        np.testing.assert_array_equal(
            dense(TransposedSource(source).read(2, 9)), array.conj().T[2:9], err_msg=name
        )
        if not source.sparse:
            out = np.empty((14, array.shape[1]), array.dtype)
            source.read_into(3, 17, out)
            np.testing.assert_array_equal(out, array[3:17], err_msg=name)
        bounds = source.bounds()
        assert bounds[0][0] == 0 and bounds[-1][1] == 37, name
        assert 1 <= source.panel_height <= 37, name


def test_files_pickle_as_descriptions(tmp_path):
    big = np.zeros((2000, 500))
    for path in (saved_h5(tmp_path / "a.h5", big), saved_h5(tmp_path / "b.h5", big, chunks=(100, 500))):
        source = open_matrix(path)
        source.read(0, 1)
        packed = pickle.dumps(source)
        assert len(packed) < 2000
        np.testing.assert_array_equal(pickle.loads(packed).read(5, 7), big[5:7])


def test_an_open_dataset_is_read_through_its_handle(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        stored = file.create_dataset("A", data=A)
        np.testing.assert_array_equal(as_source(stored).read(0, 5), A[:5])


def test_damaged_band_of_a_stored_array_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with publish(path, "matrices") as file:
        write_array(file, "A", A)
    with h5py.File(path, "r") as file:
        at = file["A"].id.get_chunk_info(0).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(at + 100)
        byte = raw.read(1)[0]
        raw.seek(at + 100)
        raw.write(bytes([byte ^ 1]))
    with pytest.raises(StoreError, match="rows 0 to 36"):
        open_matrix(path, "A").read(0, 37)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: open_matrix(f / "genotipes.h5"), "nearest name: .*genotypes.h5"),
        (lambda f: open_matrix(f / "nowhere" / "a.h5"), "folder .*nowhere does not exist"),
        (lambda f: open_matrix(f / "genotypes.h5"), "2 matrices inside; name one of '/A', '/B'"),
        (lambda f: open_matrix(f / "genotypes.h5", "/C"), "no dataset '/C'; there is '/A', '/B'"),
        (lambda f: open_matrix(f / "genotypes.h5", "/cube"), "this has 3 .shape"),
        (lambda f: open_matrix(f / "genotypes.h5", "/names"), "are not numbers"),
        (lambda f: open_matrix(f / "cut.npy"), "truncated"),
        (lambda f: open_matrix(f / "notes.txt"), "unknown kind of matrix file"),
        (lambda f: open_matrix(f / "junk.h5"), "is not an HDF5 file"),
        (lambda f: as_source(np.zeros((2, 2), object)), "are not numbers"),
        (lambda f: as_source(np.zeros((2, 2, 2))), "2 dimensions, this has 3"),
        (lambda f: as_source(np.zeros((0, 2))), "empty"),
        (lambda f: as_source(np.zeros((2, 2), np.longdouble)), "convert to float64"),
        (lambda f: as_source(np.ma.masked_array(A, A > 1)), "masked array"),
        (lambda f: as_source(da.from_array(A)[da.from_array(A)[:, 0] > 0]), "compute_chunk_sizes"),
        (lambda f: as_source(object()), "cannot read a matrix from"),
    ],
)
def test_errors_name_the_thing_and_the_remedy(tmp_path, make, message):
    with h5py.File(tmp_path / "genotypes.h5", "w") as file:
        file["A"], file["B"], file["cube"] = A, A, np.zeros((2, 2, 2))
        file["names"] = np.array([[b"x", b"y"]])
    np.save(tmp_path / "cut.npy", A)
    with open(tmp_path / "cut.npy", "r+b") as raw:
        raw.truncate(1000)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "junk.h5").write_bytes(b"not hdf5")
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        make(tmp_path)


@given(
    m=st.integers(1, 10**7),
    n=st.integers(1, 10**6),
    itemsize=st.sampled_from([4, 8, 16]),
    band=st.none() | st.integers(1, 10**5),
)
def test_panels_stay_small_and_keep_bands_whole(m, n, itemsize, band):
    height = panel_height((m, n), itemsize, band)
    assert 1 <= height <= m
    whole_bands = band and band < m and band * n * itemsize <= LARGEST_PANEL
    if height > 1:
        assert height * n * itemsize <= (LARGEST_PANEL if whole_bands else PANEL_BYTES)
    if whole_bands and height < m:
        assert height % band == 0


@given(
    m=st.integers(1, 1000),
    n=st.integers(1, 10**6),
    itemsize=st.sampled_from([4, 8, 16]),
    band=st.none() | st.integers(1, 2000),
)
def test_panels_are_neighbours_and_each_row_is_in_one(m, n, itemsize, band):
    bounds = panel_bounds((m, n), itemsize, band)
    assert [i for a, b in bounds for i in range(a, b)] == list(range(m))


@given(bands=st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_uneven_bands_are_joined_and_never_split(bands):
    bounds = panel_bounds((sum(bands), 1000), 8, bands)
    edges = set(np.cumsum([0, *bands]).tolist())
    assert bounds[0][0] == 0 and bounds[-1][1] == sum(bands)
    assert all(a < b and a in edges and b in edges for a, b in bounds)
    assert all(x[1] == y[0] for x, y in pairwise(bounds))
