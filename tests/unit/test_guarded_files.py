"""Matrix files that refer to others, declare more than they hold, or were replaced since: refused by name."""

import gzip
import io
import os
import resource
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from svdflow.errors import DeclaredSizeError, LinkError
from svdflow.matrix import open_matrix
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.store import open_published, read_table
from svdflow.store.shards import items
from svdflow.svd.factorize_shard import factorize_shard

A = np.random.default_rng(0).standard_normal((12, 7))
SECRET = "hunter2 is the password of the backup"


def h5(path, array=A, name="A", **options):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=array, **options)
    return path


def external_link(folder, target):
    with h5py.File(folder / "a.h5", "w") as file:
        file["A"] = h5py.ExternalLink(os.path.relpath(target, folder), "A")


def external_absolute(folder, target):
    with h5py.File(folder / "a.h5", "w") as file:
        file["A"] = h5py.ExternalLink(str(target), "A")


def soft_then_external(folder, target):
    with h5py.File(folder / "a.h5", "w") as file:
        file["group/out"] = h5py.ExternalLink(os.path.relpath(target, folder), "/")
        file["A"] = h5py.SoftLink("/group/out/A")


def virtual(folder, target):
    with h5py.File(folder / "a.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 7), "f8")
        layout[...] = h5py.VirtualSource(os.path.relpath(target, folder), "A", (12, 7))
        file.create_virtual_dataset("A", layout)


def virtual_of_link(folder, target):
    external_link(folder, target)
    (folder / "a.h5").rename(folder / "b.h5")
    virtual(folder, folder / "b.h5")


def raw(folder, target):
    A.tofile(target.with_suffix(".raw"))
    with h5py.File(folder / "a.h5", "w") as file:
        outside = os.path.relpath(target.with_suffix(".raw"), folder)
        file.create_dataset("A", (12, 7), "f8", external=[(outside, 0, A.nbytes)])


REFERENCES = {
    f.__name__: f
    for f in (external_link, external_absolute, soft_then_external, virtual, virtual_of_link, raw)
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_references_stay_in_the_folder_unless_they_are_allowed_out(tmp_path, reference, monkeypatch):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    monkeypatch.chdir(tmp_path)  # where HDF5 itself would look for raw data
    REFERENCES[reference](inside, h5(outside / "there.h5"))
    with pytest.raises(LinkError, match=r"[ab]\.h5.* leads to .*outside the folder.*allow_links=True"):
        open_matrix(inside / "a.h5", "A")
    with pytest.raises(LinkError):
        open_matrix(f"{inside / 'a.h5'}:A").read(0, 12)
    np.testing.assert_array_equal(open_matrix(inside / "a.h5", "A", allow_links=True).read(0, 12), A)
    near = inside / "near"
    REFERENCES[reference](inside, h5(near / "there.h5"))
    np.testing.assert_array_equal(open_matrix(inside / "a.h5", "A").read(0, 12), A)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_parts_of_a_sparse_group_stay_in_the_folder_too(tmp_path, part):
    matrix = sp.csr_array(np.where(A > 0, A, 0))
    outside, inside = tmp_path / "there.h5", tmp_path / "inside"
    inside.mkdir()
    h5(outside, getattr(matrix, part), part)
    with h5py.File(inside / "a.h5", "w") as file:
        group = file.create_group("X")
        for name in ("data", "indices", "indptr"):
            group[name] = h5py.ExternalLink("../there.h5", name) if name == part else getattr(matrix, name)
        group.attrs["shape"] = A.shape
    with pytest.raises(LinkError, match="outside the folder"):
        open_matrix(inside / "a.h5", "X")
    got = open_matrix(inside / "a.h5", "X", allow_links=True).csr().toarray()
    np.testing.assert_array_equal(got, matrix.toarray())


def test_a_symbolic_link_within_the_folder_that_leads_out_is_no_way_out(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    h5(tmp_path / "there.h5")
    (inside / "near.h5").symlink_to(tmp_path / "there.h5")
    external_link(inside, inside / "near.h5")
    with pytest.raises(LinkError, match="outside the folder"):
        open_matrix(inside / "a.h5", "A")
    # A link that the user names is the user's own.
    np.testing.assert_array_equal(open_matrix(inside / "near.h5").read(0, 12), A)


def test_links_in_a_circle_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["A"], file["B"] = h5py.SoftLink("/B"), h5py.SoftLink("/A")
    with pytest.raises(LinkError, match="circle"):
        open_matrix(tmp_path / "a.h5", "A")


def test_symbolic_links_of_a_zarr_store_stay_in_it(tmp_path):
    zarr = pytest.importorskip("zarr")
    store = tmp_path / "a.zarr"
    zarr.create_array(store, data=A, chunks=(6, 7))
    chunk = next(path for path in store.rglob("1/0"))
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkError, match=r"a\.zarr: its symbolic link .*outside"):
        open_matrix(store)
    np.testing.assert_array_equal(open_matrix(store, allow_links=True).read(0, 12), A)
    chunk.unlink()
    (tmp_path / "elsewhere").rename(store / "near")
    chunk.symlink_to(store / "near")
    np.testing.assert_array_equal(open_matrix(store).read(0, 12), A)


def test_allow_links_reaches_ingest_and_factorize(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    external_link(inside, h5(tmp_path / "there.h5"))
    for allowed, errors in ((False, 1), (True, 0)):
        linked(tmp_path, inside / "a.h5", dataset="A", allow_links=allowed)
        rows = read_table(tmp_path / "matrices.h5", "errors")
        assert len(rows) == errors
        assert not errors or rows.code[0] == "link"
    assert read_table(factorized(tmp_path), "errors").empty


# Files that are no matrix.


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.mtx", "a.mtx.gz", "a.h5", "a.txt", "a.zarr"])
def test_no_message_repeats_what_stands_in_a_file_that_is_no_matrix(tmp_path, name):
    """A link to a text file, in a folder that someone else filled."""
    (tmp_path / "secret").write_text(f"{SECRET}\n" * 20)
    if name.endswith("zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(f'{{"zarr_format": 3, "node_type": "{SECRET}"}}')
    else:
        (tmp_path / name).symlink_to(tmp_path / "secret")
    found = entry_error(tmp_path, tmp_path / name)
    assert "hunt" not in found.message and "password" not in found.message


def test_headers_are_not_repeated_either(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\x40\x00" + f"{{'{SECRET}': 3}}".ljust(64).encode())
    lines = f"%%MatrixMarket matrix array real general\n2 1\n1\n{SECRET}\n"
    (tmp_path / "a.mtx").write_text(lines)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", SECRET)
    for name in ("a.npy", "a.mtx", "a.npz"):
        assert "hunt" not in entry_error(tmp_path, tmp_path / name).message


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ValueError, match="no regular file"):
        open_matrix(tmp_path / "pipe.h5")


# Files that declare more than they hold.


def npy_bytes(shape, held=100, dtype="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(held)


def declare_npz(path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", npy_bytes((10**7, 10**6)))


def declare_sparse_npz(path):
    np.savez(path, format=b"csr", shape=(10**14, 3), data=[1.0], indices=[0], indptr=[0, 1])


def declare_market(path):
    path.write_text("%%MatrixMarket matrix coordinate real general\n1000000 1000000 900000000000\n1 1 1\n")


def declare_dense_market(path):
    path.write_text("%%MatrixMarket matrix array real general\n1000000 1000000\n1\n")


def declare_rows(path):
    path.write_text("%%MatrixMarket matrix coordinate real general\n100000000000000 3 1\n1 1 1\n")


def declare_zipped_market(path):
    with gzip.open(path, "wt") as file:
        file.write("%%MatrixMarket matrix coordinate real general\n1000000 1000000 9000000\n" + "\n" * 10**6)


def declare_hdf5(path):
    """One chunk of a trillion, the rest standing for a fill value that the file sets."""
    with h5py.File(path, "w") as file:
        made = file.create_dataset("A", (2, 10**13), "f8", chunks=(1, 10**6), fillvalue=0)
        made[0, :3] = 1.0


def declare_hdf5_sparse(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.create_dataset("data", (10**13,), "f8", chunks=(1000,), fillvalue=0)[:3] = 1.0
        group["indices"], group["indptr"] = np.zeros(3, "i8"), np.array([0, 3])
        group.attrs["shape"] = (1, 3)


def declare_zarr(path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(path, shape=(4, 4), dtype="f8", chunks=(2, 2))[...] = 1.0
    text = (path / "zarr.json").read_text().replace("4,\n    4", "1000000000000,\n    1000000000000")
    (path / "zarr.json").write_text(text.replace("2,\n          2", "1000000,\n          1000000"))


DECLARED = {
    "a.npz": declare_npz,
    "sparse.npz": declare_sparse_npz,
    "a.mtx": declare_market,
    "dense.mtx": declare_dense_market,
    "rows.mtx": declare_rows,
    "a.mtx.gz": declare_zipped_market,
    "a.h5": declare_hdf5,
    "sparse.h5": declare_hdf5_sparse,
    "a.zarr": declare_zarr,
}


@pytest.mark.parametrize("name", DECLARED)
def test_headers_that_declare_enormous_arrays_are_one_row_of_errors(tmp_path, name):
    DECLARED[name](tmp_path / name)
    np.save(tmp_path / "good.npy", A)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = entry_error(tmp_path, tmp_path / name, tmp_path / "good.npy")
    assert name in found.message and found.code in ("declared_size", "unreadable")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB
    with open_published(tmp_path / "matrices.h5") as file:
        assert [item.name for item in items(file)] == ["good.npy"]


def bloated_hdf5(path):
    """A gzip chunk of 8 kB that holds 64 MB, where the dataset declares 800 bytes a chunk."""
    with h5py.File(path, "w") as file:
        made = file.create_dataset("A", (10, 10), "f8", chunks=(10, 10), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(64 * 2**20)))


def bloated_hdf5_sparse(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        data = group.create_dataset("data", (100,), "f8", chunks=(100,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(64 * 2**20)))
        group["indices"], group["indptr"] = np.arange(100), np.array([0, 100])
        group.attrs["shape"] = (1, 100)


def bloated_npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_bytes((10, 10), 64 * 2**20))
    raw = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # says 900 bytes, unpacks to 64 MB
        at = raw.index(signature) + place
        raw[at : at + 4] = (928).to_bytes(4, "little")
    path.write_bytes(raw)


def bloated_zarr(compressor):
    def write(path):
        zarr = pytest.importorskip("zarr")
        numcodecs = pytest.importorskip("numcodecs")
        codec = {
            "zstd": numcodecs.Zstd,
            "blosc": numcodecs.Blosc,
            "lz4": numcodecs.LZ4,
            "gzip": numcodecs.GZip,
        }[compressor]()
        made = {"shape": (10, 10), "dtype": "f8", "chunks": (10, 10), "zarr_format": 2, "compressors": codec}
        zarr.create_array(path, **made)[...] = 1.0
        (path / "0.0").write_bytes(codec.encode(bytes(64 * 2**20)))

    return write


BLOATED = {
    "a.h5": bloated_hdf5,
    "sparse.h5": bloated_hdf5_sparse,
    "a.npz": bloated_npz,
    **{f"{name}.zarr": bloated_zarr(name) for name in ("zstd", "blosc", "lz4", "gzip")},
}


@pytest.mark.parametrize("name", BLOATED)
def test_chunks_that_unpack_to_more_than_declared_are_refused_in_bounded_memory(tmp_path, name, monkeypatch):
    BLOATED[name](tmp_path / name)
    monkeypatch.setattr("svdflow.matrix.formats.zarr_chunks.HARMLESS", 2**20)  # our limit, lowered
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = entry_error(tmp_path, tmp_path / name)
    assert name in found.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # kB; it holds 64 MB


def test_a_chunk_of_two_deflate_filters_is_not_unpacked(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((12, 7))
        properties.set_deflate(1)
        properties.set_deflate(1)
        space = h5py.h5s.create_simple((12, 7))
        h5py.Dataset(h5py.h5d.create(file.id, b"A", h5py.h5t.IEEE_F64LE, space, properties))[...] = A
    with pytest.raises(DeclaredSizeError, match="deflate twice"):
        open_matrix(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", ["npz", "h5", "mtx", "mtx.gz", "zarr"])
def test_sound_data_that_compress_a_thousandfold_are_read(tmp_path, suffix):
    zeros = np.zeros((4000, 1000))
    zeros[0, 0] = 1
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, zeros)
    elif suffix == "h5":
        h5(path, zeros, chunks=(1000, 1000), compression="gzip", compression_opts=9)
    elif suffix == "zarr":
        pytest.importorskip("zarr").create_array(path, data=zeros, chunks=(1000, 1000))
    else:
        small = zeros[:400, :100]
        scipy.io.mmwrite(tmp_path / "a.mtx", small)
        if suffix == "mtx.gz":
            path.write_bytes(gzip.compress((tmp_path / "a.mtx").read_bytes()))
        zeros = small
    np.testing.assert_array_equal(open_matrix(path).read(0, len(zeros)), zeros)


# Files that are replaced between ingest and factorize.


def linked(folder, *paths, **options):
    dataset = options.pop("dataset", None)
    entries = [
        {"index": i, "path": str(path), "name": path.name, "dataset": dataset} for i, path in enumerate(paths)
    ]
    ingest_matrix(entries, folder / "matrices.h5", dataset="toy", shard="00000", **options)


def entry_error(folder, *paths):
    """The only row of errors after these files were ingested."""
    linked(folder, *paths)
    (row,) = read_table(folder / "matrices.h5", "errors").itertuples()
    return row


def factorized(folder):
    factorize_shard(
        folder / "matrices.h5",
        folder / "factors.h5",
        dataset="toy",
        shard=0,
        item_rank=2,
        noisy_rank=0,
        seed=0,
    )
    return folder / "factors.h5"


def longer(path):
    np.save(path, np.vstack([A, A]))


def other_type(path):
    np.save(path, np.hstack([A, A]).astype("f4"))


def same_size(path):
    np.save(path, A[::-1])
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


def gone(path):
    path.unlink()


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (longer, "it had 800 bytes and has 1472"),
        (same_size, "it was written to"),
        (other_type, "12 x 14, float32|it was written to"),
        (gone, "was there at ingest and is gone"),
    ],
)
def test_a_file_that_was_replaced_since_ingest_is_named(tmp_path, replace, message):
    np.save(tmp_path / "a.npy", A)
    np.save(tmp_path / "good.npy", A)
    linked(tmp_path, tmp_path / "a.npy", tmp_path / "good.npy")
    replace(tmp_path / "a.npy")
    (row,) = read_table(factorized(tmp_path), "errors").itertuples()
    assert row.code in ("changed", "missing") and "a.npy" in row.message and "run again" in row.message
    with open_published(tmp_path / "factors.h5") as file:
        assert list(file["items"]) == ["000001"]
    linked(tmp_path, tmp_path / "good.npy")
    assert read_table(factorized(tmp_path), "errors").empty


def test_a_zarr_store_whose_chunk_was_written_to_is_named(tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "a.zarr", data=A, chunks=(6, 7))
    linked(tmp_path, tmp_path / "a.zarr")
    assert read_table(factorized(tmp_path), "errors").empty
    array[0, 0] = 5.0
    (row,) = read_table(factorized(tmp_path), "errors").itertuples()
    assert row.code == "changed" and "a.zarr" in row.message


def test_a_value_that_stands_for_missing_ones_goes_with_the_link(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["A"] = np.where(A > 1, -9999.0, A)
        file["A"].attrs["_FillValue"] = -9999.0
    linked(tmp_path, tmp_path / "a.h5", fill=0.5)
    factorized(tmp_path)
    s = np.linalg.svd(np.where(A > 1, 0.5, A), compute_uv=False)
    with open_published(tmp_path / "factors.h5") as file:
        np.testing.assert_allclose(file["items/000000/0/matrix/s"][...], s[:2])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["A"] = A.astype("i2")
        file["A"].attrs["_FillValue"] = np.int16(3)
    with pytest.raises(ValueError, match=r"fill=0\.5 is no finite number of its dtype int16"):
        open_matrix(tmp_path / "b.h5", fill=0.5)
