"""Ingest of synthetic matrices and of matrix files: what is written, linked, or becomes an error."""

import json
import shutil
import tracemalloc

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from svdflow.compute.runtime import Runtime
from svdflow.matrix.generators import FamilyError, derive_seed, generate
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.matrix.ingest_synthetic import ingest_synthetic
from svdflow.store import items, open_published, read_array, read_table
from svdflow.study.families import bytes_of


def synthetic(out, family, parameters, replicates=(0,), seed=42, with_clean=True):
    ingest_synthetic(
        out,
        dataset="toy",
        shard="00000",
        family=family,
        parameters=parameters,
        replicates=list(replicates),
        seed=seed,
        with_clean=with_clean,
        runtime=Runtime(provenance={"seed": seed}),
    )


def link(out, *paths, dataset=None):
    files = [
        {"index": index, "path": str(path), "name": path.name, "dataset": dataset or ""}
        for index, path in enumerate(paths)
    ]
    ingest_matrix(files, out, dataset="toy", shard="00000")


def only_item(file):
    (item,) = items(file)
    return item


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results" / "00000.h5"


@pytest.fixture
def A():
    return np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)


# ---- synthetic


def test_a_noisy_family_is_written_with_its_clean_part_and_truth(out):
    sigma = 0.05
    synthetic(out, "low_rank_plus_noise", {"rows": 400, "columns": 300, "rank": 4, "noise": sigma})
    with open_published(out, "matrices") as file:
        item = only_item(file)
        (observation,) = item.observations
        observed, clean = read_array(observation.planes["matrix"]), read_array(item.clean["matrix"])
        assert (observation.level, observation.sigma_added) == (0, sigma)
        assert observed.dtype == clean.dtype == np.float32
        values = np.linalg.svd(clean.astype(float), compute_uv=False)
        np.testing.assert_allclose(values[:4], np.geomspace(10, 0.1, 4), atol=1e-5)
        np.testing.assert_allclose(read_array(item.truth)[:5], [*np.geomspace(10, 0.1, 4), 0], atol=1e-12)
        assert item.truth.attrs["label"] == "clean"
        assert np.std(observed - clean) == pytest.approx(sigma, rel=5 / np.sqrt(2 * 400 * 300))
        assert item.attrs["data_min"] == observed.min()
        assert item.attrs["data_max"] == observed.max()
        # Never that of a noisy observation.
        assert item.attrs["data_range"] == float(clean.max()) - float(clean.min())
        assert "noise-free" in item.attrs["data_range_source"]
        assert item.attrs["sigma"] == sigma
        assert item.attrs["family"] == item.attrs["source"] == "low_rank_plus_noise"
        assert json.loads(item.attrs["parameters"])["rows"] == 400
        assert (item.kind, item.attrs["bits"], item.attrs["dtype"]) == ("matrix", 32, "float32")
    assert read_table(out, "errors").empty


@pytest.mark.parametrize(("noise", "with_clean"), [(0.05, False), (0.0, True)])
def test_the_clean_part_is_left_out_where_nobody_asks_or_nothing_is_added(out, noise, with_clean):
    synthetic(out, "power_decay", {"rows": 40, "columns": 30, "noise": noise}, with_clean=with_clean)
    with open_published(out) as file:
        assert "clean" not in only_item(file).group


def test_replicates_differ_and_each_can_be_made_alone(tmp_path):
    given = {"rows": 40, "columns": 30}
    synthetic(tmp_path / "a.h5", "power_decay", given, replicates=[3, 4])
    synthetic(tmp_path / "b.h5", "power_decay", given, replicates=[4])
    with open_published(tmp_path / "a.h5") as a, open_published(tmp_path / "b.h5") as b:
        third, fourth = (read_array(item.observations[0].planes["matrix"]) for item in items(a))
        alone = only_item(b)
        assert alone.index == 4
        np.testing.assert_array_equal(read_array(alone.observations[0].planes["matrix"]), fourth)
        assert not np.any(third == fourth)
        remade = generate("power_decay", given, seed=alone.attrs["seed"])
        assert alone.attrs["seed"] == derive_seed(42, "toy", 4)
        np.testing.assert_array_equal(remade.read(0, 40), fourth)


def test_the_same_call_writes_the_same_file(tmp_path):
    for name in ("a.h5", "b.h5"):
        synthetic(tmp_path / name, "waves", {})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_csr_is_stored_as_its_three_arrays(out):
    given = {"rows": 500, "columns": 400, "density": 0.02}
    synthetic(out, "sparse_random", given)
    with open_published(out) as file:
        item = only_item(file)
        group = item.observations[0].planes["matrix"]
        assert group.attrs["format"] == "csr"
        parts = [read_array(group, part) for part in ("data", "indices", "indptr")]
        stored = sp.csr_array(tuple(parts), shape=tuple(group.attrs["shape"]))
        assert stored.nnz == 4000
        assert item.attrs["data_min"] == min(0, stored.data.min())
        np.testing.assert_array_equal(
            stored.toarray(), generate("sparse_random", given, item.attrs["seed"]).read(0, 500).toarray()
        )
        values = np.linalg.svd(stored.toarray(), compute_uv=False)
        np.testing.assert_allclose(read_array(item.truth), values, atol=500 * 2.3e-16 * values[0])
        written = sum(part.nbytes for part in parts) + item.truth.nbytes
    assert written == bytes_of("sparse_random", given)


def test_a_complex_state_keeps_its_phases(out):
    synthetic(out, "gaussian_state", {"rows": 64, "columns": 64})
    with open_published(out) as file:
        item = only_item(file)
        state = read_array(item.observations[0].planes["matrix"])
        assert state.dtype == np.complex128
        assert np.linalg.norm(state) == pytest.approx(1)
        assert item.attrs["data_max"] == np.abs(state).max()
        assert item.attrs["bits"] == 64


def test_a_wrong_parameter_stops_before_anything_is_written(out):
    with pytest.raises(FamilyError, match="did you mean 'rows'"):
        synthetic(out, "power_decay", {"row": 3})
    assert not out.exists()


def test_an_item_that_fails_is_a_row_of_errors_and_its_neighbours_stand(out, monkeypatch):
    class Broken:
        shape, dtype, noise = (10, 5), np.dtype("f8"), 0.0

        def panels(self, with_clean):
            yield 0, np.ones((4, 5)), None
            yield 4, np.full((6, 5), np.nan), None

    real = generate
    bad = derive_seed(42, "toy", 1)
    monkeypatch.setattr(
        "svdflow.matrix.ingest_synthetic.generate",
        lambda f, p, seed: Broken() if seed == bad else real(f, p, seed),
    )
    synthetic(out, "power_decay", {"rows": 10, "columns": 5}, replicates=[0, 1, 2])
    with open_published(out) as file:
        assert [item.index for item in items(file)] == [0, 2]
    (row,) = read_table(out, "errors").to_dict("records")
    assert (row["dataset"], row["item"], row["stage"], row["code"]) == ("toy", 1, "ingest", "not_finite")
    assert "row 4" in row["message"]


def test_memory_is_a_few_panels(out):
    tracemalloc.start()
    try:
        synthetic(out, "power_decay", {"rows": 6000, "columns": 2000, "dtype": "float32", "noise": 0.1})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out.stat().st_size > 2 * 6000 * 2000 * 4  # 92 MB with the clean part
    assert peak < 80 * 2**20


def test_a_full_disk_is_not_the_fault_of_an_item(out, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("svdflow.matrix.ingest_synthetic.create_array", no_space)
    with pytest.raises(OSError, match="No space"):
        synthetic(out, "waves", {})
    assert not out.exists()


# ---- links


def save(path, A):
    sparse = sp.csr_array(np.where(np.abs(A) > 1, A, 0))
    writers = {
        ".h5": lambda: h5py.File(path, "w").create_dataset("group/A", data=A).file.close(),
        ".npy": lambda: np.save(path, A),
        ".npz": lambda: sp.save_npz(path, sparse),
        ".mtx": lambda: scipy.io.mmwrite(path, sparse),
    }
    writers[path.suffix]()
    return A if path.suffix in (".h5", ".npy") else sparse.toarray()


@pytest.mark.parametrize("suffix", [".h5", ".npy", ".npz", ".mtx"])
def test_a_file_is_linked_and_not_copied(tmp_path, out, A, suffix):
    path = tmp_path / f"big{suffix}"
    stored = save(path, A)
    link(out, path)
    with open_published(out, "matrices") as file:
        item = only_item(file)
        (observation,) = item.observations
        assert not observation.planes
        where, inside = observation.link
        assert where == str(path)
        assert inside.strip("/") == ("group/A" if suffix == ".h5" else "")
        for attrs in (item.attrs, observation.group.attrs):
            assert (attrs["m"], attrs["n"], attrs["size"]) == (30, 20, path.stat().st_size)
        assert np.dtype(item.attrs["dtype"]).kind == "f"
        assert item.attrs["data_min"] == pytest.approx(stored.min())
        assert item.attrs["data_max"] == pytest.approx(stored.max())
    assert read_table(out, "errors").empty


def test_a_path_is_recorded_as_it_was_given(tmp_path, out, A, monkeypatch):
    np.save(tmp_path / "a.npy", A)
    monkeypatch.chdir(tmp_path)
    ingest_matrix([{"index": 0, "path": "a.npy", "name": "a.npy"}], out, dataset="toy", shard="00000")
    with open_published(out) as file:
        assert only_item(file).observations[0].link[0] == "a.npy"


def test_a_named_dataset_is_taken(tmp_path, out, A):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["first"], file["second"] = A, 2 * A[:, :7]
    link(out, tmp_path / "two.h5", dataset="second")
    with open_published(out) as file:
        assert only_item(file).attrs["n"] == 7


def test_a_large_file_is_not_scanned(tmp_path, out, A, monkeypatch):
    np.save(tmp_path / "a.npy", A)
    monkeypatch.setattr("svdflow.matrix.ingest_matrix.SCAN_BYTES", A.nbytes - 1)
    link(out, tmp_path / "a.npy")
    with open_published(out) as file:
        assert np.isnan(only_item(file).attrs["data_range"])


def bad_files(folder, A):
    """Files that are no matrices, and what the row of each says."""
    with h5py.File(folder / "two.h5", "w") as file:
        file["first"], file["second"] = A, A
    with h5py.File(folder / "vector.h5", "w") as file:
        file["v"] = A[0]
    np.save(folder / "stack.npy", np.zeros((4, 5, 3)))
    np.save(folder / "nothing.npy", np.zeros((0, 5)))
    np.save(folder / "objects.npy", np.array([["a", 1], ["b", 2]], dtype=object), allow_pickle=True)
    np.save(folder / "text.npy", np.array([["a", "b"]]))
    np.save(folder / "nan.npy", np.where(np.arange(600).reshape(30, 20) == 77, np.nan, A))
    np.save(folder / "short.npy", A)
    with (folder / "short.npy").open("r+b") as file:
        file.truncate(1000)
    (folder / "zero.npy").write_bytes(b"")
    (folder / "noise.h5").write_bytes(b"this is no matrix")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 neither is this")
    (folder / "table.csv").write_text("1,2\n")
    return {
        "two.h5": ("unreadable", "first"),
        "vector.h5": ("unreadable", "2-D array"),
        "stack.npy": ("unreadable", "kind images"),
        "nothing.npy": ("unreadable", "empty"),
        "objects.npy": ("unreadable", "object"),
        "text.npy": ("unreadable", "numbers"),
        "nan.npy": ("not_finite", "NaN"),
        "short.npy": ("unreadable", "truncated"),
        "zero.npy": ("empty", "no bytes"),
        "noise.h5": ("unreadable", "HDF5"),
        "broken.npz": ("unreadable", "broken"),
        "table.csv": ("unreadable", "known are"),
        "gone.npy": ("missing", "no such file"),
    }


def test_each_bad_file_is_one_named_error_and_the_good_one_stands(tmp_path, out, A):
    expected = bad_files(tmp_path, A)
    np.save(tmp_path / "good.npy", A)
    link(out, *(tmp_path / name for name in (*expected, "good.npy")))
    with open_published(out) as file:
        assert only_item(file).name == "good.npy"
    rows = read_table(out, "errors").set_index("name")
    assert set(rows.index) == set(expected)
    for name, (code, words) in expected.items():
        assert rows.loc[name, "code"] == code, name
        assert words in rows.loc[name, "message"], rows.loc[name, "message"]
        assert rows.loc[name, "stage"] == "ingest"
        assert code == "not_finite" or name in rows.loc[name, "message"]


def test_a_zarr_array_is_linked(tmp_path, out, A):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "a.zarr"), A)
    link(out, tmp_path / "a.zarr")
    with open_published(out) as file:
        assert only_item(file).attrs["m"] == 30
    shutil.rmtree(tmp_path / "a.zarr")


def test_a_grid_goes_with_the_item_and_must_fit(tmp_path, out, A):
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "B.npy", A[:29])
    files = [{"index": i, "path": str(tmp_path / n), "name": n} for i, n in enumerate(("A.npy", "B.npy"))]
    ingest_matrix(files, out, dataset="toy", shard="00000", grid=[5, 6])
    with open_published(out) as file:
        assert list(only_item(file).attrs["grid"]) == [5, 6]
    (error,) = read_table(out, "errors").itertuples()
    assert error.code == "grid" and "29 rows are not the 5x6 of its grid" in error.message
