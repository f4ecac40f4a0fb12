"""Sparse matrices: read as their writers mean them, refused where their index arrays do not fit, each entry once."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import svdflow
from svdflow.compat import TruncatedSVD, randomized_svd
from svdflow.matrix import as_source, open_matrix
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.store import open_published, read_table
from svdflow.store.shards import items

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((17, 17)) < 0.3, RNG.integers(1, 100, (17, 17)), 0).astype(
    float
)  # square: no help
SIDES = ("csr", "csc")
FILES = Path(__file__).parent / "data" / "matrix_files"
ANNDATA = np.load(FILES / "anndata.npz")


def put(group, matrix, **attrs):
    """The three arrays of a compressed matrix as datasets of a group."""
    for part in ("data", "indices", "indptr"):
        group[part] = getattr(matrix, part)
    for key, value in attrs.items():
        group.attrs[key.replace("_type", "-type").replace("_version", "-version")] = value


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("writer", ["anndata", "h5sparse"])
def test_the_encoding_of_a_group_says_which_way_it_is_compressed(tmp_path, kind, writer):
    matrix = getattr(sp, f"{kind}_array")(DENSE)
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        group = file.create_group("X")
        if writer == "anndata":
            put(group, matrix, encoding_type=f"{kind}_matrix", encoding_version="0.1.0", shape=DENSE.shape)
        else:  # anndata before 0.7
            put(group, matrix, h5sparse_format=kind, h5sparse_shape=DENSE.shape)
    for source in (open_matrix(tmp_path / "a.h5ad"), open_matrix(tmp_path / "a.h5ad", "X")):
        np.testing.assert_array_equal(source.csr().toarray(), DENSE)


@pytest.mark.parametrize("name", ANNDATA.files)
def test_a_file_that_anndata_wrote(name):
    source = open_matrix(FILES / "anndata.h5ad", name)
    got = source.csr().toarray() if source.sparse else source.read(0, 9)
    np.testing.assert_array_equal(got, ANNDATA[name])


def test_counts_of_10x_are_features_by_barcodes(tmp_path):
    counts = DENSE[:, :11].astype("i4")
    with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "w") as file:
        group = file.create_group("matrix")
        put(group, sp.csc_array(counts))
        group["shape"] = np.array(counts.shape, "i4")
        group["barcodes"] = np.array([b"x"] * 11)
    np.testing.assert_array_equal(
        open_matrix(tmp_path / "filtered_feature_bc_matrix.h5").csr().toarray(), counts
    )


def test_a_group_that_does_not_say_its_format_is_by_rows_as_svdflow_writes_it(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put(file.create_group("A"), sp.csr_array(DENSE), shape=DENSE.shape)
    np.testing.assert_array_equal(open_matrix(tmp_path / "a.h5").csr().toarray(), DENSE)


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("version", [2, 3])
def test_sparse_groups_of_zarr(tmp_path, kind, version):
    zarr = pytest.importorskip("zarr")
    matrix = getattr(sp, f"{kind}_array")(DENSE)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version).create_group("X")
    for part in ("data", "indices", "indptr"):
        group.create_array(part, data=getattr(matrix, part))
    group.attrs.update({"encoding-type": f"{kind}_matrix", "shape": list(DENSE.shape)})
    np.testing.assert_array_equal(open_matrix(tmp_path / "a.zarr", "X").csr().toarray(), DENSE)
    group["indices"][0] = 17
    with pytest.raises(ValueError, match=r"a\.zarr.*1 indices lie outside 0 to 16"):
        open_matrix(tmp_path / "a.zarr", "X")


def changed(part, at, value):
    def change(arrays):
        arrays[part][at] = value

    return change


def cut(part):
    def change(arrays):
        arrays[part] = arrays[part][:-1]

    return change


def cast(part, dtype):
    def change(arrays):
        arrays[part] = arrays[part].astype(dtype)

    return change


FAULTS = {
    "index too large": (changed("indices", 2, 17), "1 indices lie outside 0 to 16 .the first is 17"),
    "index negative": (changed("indices", 2, -1), "1 indices lie outside 0 to 16 .the first is -1"),
    "start": (changed("indptr", 0, 1), "indptr runs from 1"),
    "end": (changed("indptr", -1, 10**6), "indptr runs from 0 to 1000000"),
    "order": (changed("indptr", 4, 60), "indptr decreases behind"),
    "negative pointer": (changed("indptr", 4, -3), "indptr decreases behind"),
    "indices short": (cut("indices"), "entries have"),
    "data short": (cut("data"), "entries have"),
    "pointers short": (cut("indptr"), "indptr has 17 entries"),
    "float indices": (cast("indices", "f8"), "indices are of dtype float64"),
    "float pointers": (cast("indptr", "f8"), "indptr are of dtype float64"),
    "text": (cast("data", "S3"), "are not numbers"),
}


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("fault", FAULTS)
def test_stored_indices_that_do_not_fit_are_refused_at_opening(tmp_path, fault, kind):
    change, message = FAULTS[fault]
    matrix = getattr(sp, f"{kind}_array")(DENSE)
    arrays = {part: getattr(matrix, part).copy() for part in ("data", "indices", "indptr")}
    change(arrays)
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        group = file.create_group("X")
        for part, array in arrays.items():
            group[part] = array
        group.attrs.update({"encoding-type": f"{kind}_matrix", "shape": DENSE.shape})
    np.savez(tmp_path / "a.npz", format=kind.encode(), shape=DENSE.shape, **arrays)
    for path in ("a.h5ad", "a.npz"):
        with pytest.raises(ValueError, match=rf"{path}.*{message}"):
            open_matrix(tmp_path / path)


def test_a_damaged_one_is_one_row_and_the_good_one_stands(tmp_path):
    matrix = sp.csr_array(DENSE)
    for name, index in (("bad", 40), ("good", 3)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            put(file.create_group("X"), matrix, encoding_type="csr_matrix", shape=DENSE.shape)
            if name == "bad":
                file["X/indices"][0] = index
    files = [{"index": i, "path": str(tmp_path / n), "name": n} for i, n in enumerate(("bad.h5", "good.h5"))]
    ingest_matrix(files, tmp_path / "out.h5", dataset="toy", shard="00000")
    (row,) = read_table(tmp_path / "out.h5", "errors").itertuples()
    assert row.code == "unreadable" and "bad.h5" in row.message and "1 indices lie outside" in row.message
    with open_published(tmp_path / "out.h5") as file:
        assert [item.name for item in items(file)] == ["good.h5"]


@pytest.mark.parametrize("kind", SIDES)
def test_indices_in_memory_are_held_to_their_matrix(kind):
    matrix = getattr(sp, f"{kind}_matrix")(DENSE)
    matrix.indices[2] = 17
    with pytest.raises(ValueError, match="1 indices lie outside 0 to 16"):
        svdflow.truncated_svd(matrix, 2)
    coo = sp.coo_array(DENSE)
    coo.coords[0][0] = 99
    with pytest.raises(ValueError, match="coordinates lie outside"):
        as_source(coo)


def doubled(kind, dtype=float):
    """A matrix whose every entry is stored in two halves, out of order; and what it stands for."""
    rows, columns = np.nonzero(DENSE)
    order = RNG.permutation(2 * len(rows))
    both = np.concatenate([rows, rows])[order], np.concatenate([columns, columns])[order]
    values = np.concatenate([DENSE[rows, columns]] * 2)[order].astype(dtype)
    major, minor = both if kind == "csr" else both[::-1]
    by_line = np.argsort(major, kind="stable")
    pointers = np.searchsorted(major[by_line], np.arange(18))
    cls = {"csr": sp.csr_array, "csc": sp.csc_array}[kind]
    return cls((values[by_line], minor[by_line], pointers), shape=(17, 17)), 2 * DENSE


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("method", ["auto", "krylov", "gram", "full"])
def test_entries_stored_twice_are_added(kind, method):
    matrix, meant = doubled(kind)
    before = matrix.data.copy()
    result = svdflow.truncated_svd(matrix, 5, method=method, tol=1e-8)
    s = np.linalg.svd(meant, compute_uv=False)
    np.testing.assert_allclose(result.s, s[:5], rtol=1e-6)
    assert result.info.frobenius_norm == pytest.approx(np.linalg.norm(meant))
    assert result.info.frobenius_error == pytest.approx(np.linalg.norm(s[5:]), rel=1e-6)
    scaled = svdflow.truncated_svd(matrix, 2, scale=True, center=True)
    np.testing.assert_allclose(scaled.info.scale, np.where(meant.std(0) > 0, meant.std(0), 1), rtol=1e-9)
    np.testing.assert_array_equal(matrix.data, before)  # the given matrix is nobody's to change


@pytest.mark.parametrize("kind", SIDES)
def test_stored_entries_twice_and_small_integers(tmp_path, kind):
    matrix, meant = doubled(kind, np.int8)  # up to 2 x 99: the sum does not fit
    np.testing.assert_array_equal(as_source(matrix).csr().toarray(), meant)
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        put(file.create_group("X"), matrix, encoding_type=f"{kind}_matrix", shape=meant.shape)
    source = open_matrix(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(source.csr().toarray(), meant)
    assert source.density == np.count_nonzero(meant) / 17**2
    scipy.io.mmwrite(tmp_path / "a.mtx", sp.coo_array(DENSE))
    lines = (tmp_path / "a.mtx").read_text().splitlines()
    size = next(i for i, line in enumerate(lines) if not line.startswith("%"))
    lines[size] = f"17 17 {2 * int(lines[size].split()[2])}"
    (tmp_path / "a.mtx").write_text("\n".join(lines + lines[size + 1 :]) + "\n")
    np.testing.assert_array_equal(open_matrix(tmp_path / "a.mtx").csr().toarray(), meant)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(t, "csr") for t in ("?", "i1", "u1", "i2", "u2", "i4", "i8", "f4")] + [("i1", "csc"), ("?", "coo")],
)
def test_every_numeric_type_goes_through_every_door(dtype, kind):
    rng = np.random.default_rng(3)
    # As large as it takes for none of the doors to make it dense.
    dense = np.where(rng.random((1500, 300)) < 0.01, rng.integers(1, 100, (1500, 300)), 0).astype(dtype)
    matrix = getattr(sp, f"{kind}_array")(dense)
    s = np.sqrt(np.linalg.eigvalsh(dense.T.astype(float) @ dense.astype(float))[::-1][:3])
    np.testing.assert_allclose(svdflow.truncated_svd(matrix, 3, tol=1e-4).s, s, rtol=1e-3)
    np.testing.assert_allclose(randomized_svd(matrix, 3, random_state=0)[1], s, rtol=0.02)
    np.testing.assert_allclose(randomized_svd(matrix.T, 3, random_state=0)[1], s, rtol=0.02)
    model = TruncatedSVD(3, tol=1e-4).fit(matrix)
    np.testing.assert_allclose(model.singular_values_, s, rtol=1e-3)
    np.testing.assert_allclose(
        model.transform(matrix), dense.astype(float) @ model.components_.T, rtol=1e-3, atol=1e-3
    )
