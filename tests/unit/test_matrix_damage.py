"""Damage that a library finds in a matrix file is told as one kind of error that names the file."""

import gzip

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from svdflow import open_matrix
from svdflow.errors import StoreError
from svdflow.matrix.file_errors import named

A = np.arange(600.0).reshape(30, 20)
HEAD = "%%MatrixMarket matrix coordinate real general\n"


def read(path):
    source = open_matrix(path)
    return source.read(0, source.shape[0])


def replaced(path, old, new):
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("signature", [b"SNOD", b"TREE", b"HEAP"])
def test_hdf5_whose_structure_is_damaged(tmp_path, signature):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["g/A"] = A
        file["g/B"] = A[0]
    assert np.array_equal(read(path), A)
    replaced(path, signature, b"XXXX")
    with pytest.raises(ValueError, match=r"a\.h5: "):
        read(path)


def test_npz_that_is_cut_or_flipped(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, A=A)
    whole = path.read_bytes()
    for bad in (whole[: len(whole) // 2], whole[:200] + bytes(40) + whole[240:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"a\.npz"):
            read(path)


def test_gzip_that_is_damaged(tmp_path):
    path = tmp_path / "a.mtx.gz"
    plain = tmp_path / "a.mtx"
    scipy.io.mmwrite(plain, sp.csr_array(A))
    packed = gzip.compress(plain.read_bytes())
    path.write_bytes(packed)
    assert np.array_equal(open_matrix(path).read(0, 30).toarray(), A)
    path.write_bytes(packed[:200] + bytes(40) + packed[240:])
    with pytest.raises(ValueError, match=r"a\.mtx\.gz"):
        read(path)


def test_zarr_whose_chunk_is_damaged(tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(10, 20), dtype="f8")
    array[...] = A
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(b"no frame")
    source = open_matrix(tmp_path / "a.zarr")
    assert np.array_equal(source.read(10, 30), A[10:])
    with pytest.raises(ValueError, match=r"a\.zarr: damaged"):
        source.read(0, 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("2 2 2\n1 1 1.5\n2 2 2\x01.5\n", "byte 65 is no text"),  # SciPy reads 2.0
        ("2 2 2\n1 1 1.5\n2 2 2.5 7\n", "10 words stand below its comments, where 9"),  # SciPy drops the 7
        ("2 2 2\n1 1 1.5 7\n2 2 2.5\n", "10 words stand below its comments, where 9"),
        ("2 2 2\n1 1 1.5\n2 2 two\n", "its last line is no entry; was it cut"),
        ("2 2 2\n1 1 1.5\n2 2 2.5\nthe end\n", "damaged"),
    ],
)
def test_market_text_that_is_none(tmp_path, body, words):
    path = tmp_path / "a.mtx"
    for name, content in (
        ("a.mtx", (HEAD + body).encode()),
        ("a.mtx.gz", gzip.compress((HEAD + body).encode())),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: .*{words}"):
            read(tmp_path / name)
    path.write_text(HEAD + "2 2 2\n1 1 1.5\n2 2 2.5")
    assert read(path).toarray().tolist() == [[1.5, 0], [0, 2.5]]


@pytest.mark.parametrize(
    ("kind", "body", "values"),
    [
        ("coordinate real general", "2 2 0\n", [[0, 0], [0, 0]]),
        ("coordinate pattern general", "2 2 1\n2 1\n\n", [[0, 0], [1, 0]]),
        ("coordinate integer symmetric", "2 2 1\r\n2 1 -3\r\n", [[0, -3], [-3, 0]]),
        ("coordinate complex general", "2 2 1\n1 2 1e0 -2.5E-1\n", [[0, 1 - 0.25j], [0, 0]]),
        ("array real general", "2 1\n.5\n% the end\n", None),
        ("array real general", "2 1\n.5\n 1.e+2 \n", [[0.5], [100]]),
        ("array real symmetric", "2 2\n1\n2\n3\n", [[1, 2], [2, 3]]),
        ("array real skew-symmetric", "2 2\n7\n", [[0, -7], [7, 0]]),
        ("array integer general", "1 3\n1\n\n2\n3", [[1, 2, 3]]),
    ],
)
def test_market_text_that_is_sound(tmp_path, kind, body, values):
    (tmp_path / "a.mtx").write_bytes(f"%%MatrixMarket matrix {kind}\n% größe\n{body}".encode())
    if values is None:  # SciPy takes no comment between entries
        with pytest.raises(ValueError, match="damaged"):
            read(tmp_path / "a.mtx")
        return
    found = read(tmp_path / "a.mtx")
    assert (found.toarray() if sp.issparse(found) else found).tolist() == values


def test_faults_of_svdflow_itself_are_not_taken_for_damage():
    with pytest.raises(StoreError, match="ours"), named("a.h5"):
        raise StoreError("ours")
    with pytest.raises(FileNotFoundError), named("a.h5"):
        raise FileNotFoundError("gone")
    with (
        pytest.raises(ValueError, match=r"a\.h5: damaged, or of a kind that is not read \(KeyError\)"),
        named("a.h5"),
    ):
        raise KeyError("here the test stands for a library")
    namespace = {"__name__": "svdflow.planted"}
    exec("def fault():\n    raise KeyError('a bug')", namespace)
    with pytest.raises(KeyError, match="a bug"), named("a.h5"):
        namespace["fault"]()
