"""Files are read outside the HDF5 library, and what is read is what the library reads."""

import ctypes
import io
import pickle
import threading
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from svdflow.errors import FilterError, StoreError
from svdflow.matrix import open_matrix
from svdflow.matrix.formats.hdf5 import HDF5Source, source_of_h5
from svdflow.matrix.formats.hdf5_chunks import DEFLATE, FLETCHER32, SHUFFLE, decode, fletcher32, unshuffle
from svdflow.matrix.formats.raw import RawFile
from svdflow.store import publish, write_array

A = np.random.default_rng(3).standard_normal((53, 31))
SMOOTH = np.round(np.add.outer(np.arange(53.0), np.arange(31.0)), 1)  # compresses, so no filter is left out
LAYOUTS = {
    "contiguous": {},
    "bands": {"chunks": (7, 31)},
    "one row": {"chunks": (1, 31)},
    "tiles": {"chunks": (8, 9)},
    "wider than the matrix": {"chunks": (8, 50), "maxshape": (None, None)},
    "gzip": {"chunks": (8, 9), "compression": "gzip"},
    "gzip shuffle": {"chunks": (8, 9), "compression": "gzip", "shuffle": True},
    "all three": {"chunks": (7, 31), "compression": 9, "shuffle": True, "fletcher32": True},
    "shuffle": {"chunks": (8, 9), "shuffle": True},
    "fletcher32": {"chunks": (8, 9), "fletcher32": True},
}
DTYPES = ["<f8", ">f4", "f2", "c8", ">c16", "u1", "<i2", ">i8", "?"]


def written(path, array, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("A", data=array, **options)
    return path


def direct(source):
    """The source without its way into the library."""

    def refuse():
        raise AssertionError("read through the library")

    source._open = refuse
    return source


def check(source, expected):
    for start, stop in ((0, 53), (3, 17), (16, 24), (52, 53)):
        rows = source.read(start, stop)
        assert rows.dtype == expected.dtype
        np.testing.assert_array_equal(rows, expected[start:stop])
        for order in "CF":
            out = np.empty((stop - start, 31), expected.dtype, order)
            source.read_into(start, stop, out)
            np.testing.assert_array_equal(out, expected[start:stop])
    for start, stop in ((0, 31), (2, 5), (8, 20), (30, 31)):
        np.testing.assert_array_equal(source.read_columns(start, stop), expected[:, start:stop])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_numbers_are_read_outside_the_library(tmp_path, layout, dtype):
    array = (SMOOTH + 0.5).astype(dtype) if dtype != "?" else SMOOTH % 3 == 0
    path = written(tmp_path / "a.h5", array, **LAYOUTS[layout])
    with h5py.File(path) as file:
        expected = file["A"][...]
    source = open_matrix(path)
    # An edge chunk whose stored size is that of its entries might have been left unfiltered.
    check(source if layout == "shuffle" else direct(source), expected)


def test_random_entries_that_no_filter_makes_smaller(tmp_path):
    for name in ("gzip", "gzip shuffle", "all three"):
        path = written(tmp_path / f"{name}.h5", A, **LAYOUTS[name])
        check(open_matrix(path), A)


def test_missing_chunks_and_fill_values(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in (("plain", {}), ("gzip", {"compression": "gzip"})):
            stored = file.create_dataset(name, (53, 31), ">f4", chunks=(8, 9), fillvalue=2.5, **options)
            stored[8:20, 9:30] = A[8:20, 9:30]
    expected = np.full((53, 31), 2.5, ">f4")
    expected[8:20, 9:30] = A[8:20, 9:30]
    check(direct(open_matrix(tmp_path / "a.h5", "plain")), expected)
    check(direct(open_matrix(tmp_path / "a.h5", "gzip")), expected)


def test_filter_mask_says_which_filters_were_left_out(tmp_path):
    chunk = np.arange(53.0 * 31).reshape(53, 31)
    shuffled = np.ascontiguousarray(chunk.reshape(-1).view(np.uint8).reshape(-1, 8).T).tobytes()
    ways = {
        0b00: zlib.compress(shuffled),
        0b10: shuffled,
        0b01: zlib.compress(chunk.tobytes()),
        0b11: chunk.tobytes(),
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for mask, stored in ways.items():
            made = file.create_dataset(
                f"m{mask}", (53, 31), "f8", chunks=(53, 31), shuffle=True, compression="gzip"
            )
            made.id.write_direct_chunk((0, 0), stored, mask)
    for mask in ways:
        check(direct(open_matrix(tmp_path / "a.h5", f"m{mask}")), chunk)


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True}])
def test_unfiltered_edge_chunks(tmp_path, options):
    libraries = list((Path(h5py.__file__).parents[1] / "h5py.libs").glob("libhdf5-*.so*"))
    if not libraries:
        pytest.skip("h5py brings no HDF5 library of its own, and does not set this option")
    edge = ctypes.CDLL(str(libraries[0])).H5Pset_chunk_opts
    edge.argtypes = [ctypes.c_int64, ctypes.c_uint]
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((8, 9))
        {"compression": properties.set_deflate, "shuffle": properties.set_shuffle}.get(
            next(iter(options)), properties.set_fletcher32
        )()
        assert edge(properties.id, 2) == 0  # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS
        space = h5py.h5s.create_simple((53, 31), (60, 40))
        stored = h5py.h5d.create(file.id, b"A", h5py.h5t.IEEE_F64LE, space, properties)
        h5py.Dataset(stored)[...] = SMOOTH
    source = open_matrix(tmp_path / "a.h5")
    assert source._file is not None
    check(source, SMOOTH)


def left_to_the_library(folder):
    yield "other filter", open_matrix(written(folder / "lzf.h5", A, chunks=(8, 9), compression="lzf"))
    with h5py.File(folder / "block.h5", "w", userblock_size=512) as file:
        file.create_dataset("A", data=A, chunks=(8, 9))
    yield "user block", open_matrix(folder / "block.h5")
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((53, 31), "f8")
        layout[...] = h5py.VirtualSource(folder / "block.h5", "A", (53, 31))
        file.create_virtual_dataset("A", layout)
    yield "virtual", open_matrix(folder / "virtual.h5")
    with h5py.File(folder / "external.h5", "w") as file:
        made = file.create_dataset("A", (53, 31), "f8", external=[(folder / "bytes", 0, 53 * 31 * 8)])
        made[...] = A
    yield "external", open_matrix(folder / "external.h5")
    memory = h5py.File("nowhere.h5", "w", driver="core", backing_store=False)
    yield "in memory", source_of_h5(memory.create_dataset("A", data=A))
    stream = io.BytesIO(written(folder / "plain.h5", A, chunks=(8, 9)).read_bytes())
    yield "a stream of bytes", source_of_h5(h5py.File(stream, "r")["A"])
    writing = h5py.File(folder / "writing.h5", "w")
    yield "open for writing", source_of_h5(writing.create_dataset("A", data=A, chunks=(8, 9)))
    with h5py.File(folder / "compact.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((53, 31))
        h5py.Dataset(h5py.h5d.create(file.id, b"A", h5py.h5t.IEEE_F64LE, space, properties))[...] = A
    yield "compact", open_matrix(folder / "compact.h5")


def test_what_only_the_library_knows_is_left_to_it(tmp_path):
    for name, source in left_to_the_library(tmp_path):
        assert source._file is None and source._plain is None, name
        check(source, A)


def test_numbers_of_odd_precision_are_left_to_the_library(tmp_path):
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = h5py.h5d.create(file.id, b"A", kind, h5py.h5s.create_simple((53, 31)))
        h5py.Dataset(stored)[...] = SMOOTH.astype("i4")
    source = open_matrix(tmp_path / "a.h5")
    assert source._plain is None
    np.testing.assert_array_equal(source.read(0, 53), SMOOTH)


def test_external_links_are_followed(tmp_path):
    written(tmp_path / "there.h5", A, chunks=(8, 9))
    written(tmp_path / "flat.h5", A)
    with h5py.File(tmp_path / "here.h5", "w") as file:
        file["link"], file["flat"] = h5py.ExternalLink("there.h5", "A"), h5py.ExternalLink("flat.h5", "A")
    check(direct(open_matrix(tmp_path / "here.h5", "link")), A)
    check(direct(open_matrix(tmp_path / "here.h5", "flat")), A)


@pytest.mark.parametrize("byte", [0, 40, -1])
@pytest.mark.parametrize("name", ["gzip", "fletcher32"])
def test_damaged_chunks_are_refused(tmp_path, name, byte):
    path = written(tmp_path / "a.h5", SMOOTH, **LAYOUTS[name])
    with h5py.File(path) as file:
        chunk = file["A"].id.get_chunk_info_by_coord((16, 9))
    flip(path, chunk.byte_offset + byte % chunk.size)
    source = open_matrix(path)
    np.testing.assert_array_equal(source.read(0, 16), SMOOTH[:16])
    with pytest.raises(ValueError, match="chunk at row 16, column 9 is damaged"):
        source.read(16, 24)


def flip(path, place):
    with open(path, "r+b") as raw:
        raw.seek(place)
        byte = raw.read(1)[0]
        raw.seek(place)
        raw.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("size", [*range(12), 359, 360, 361, 719, 720, 721, 999, 65_535, 2**17 + 1])
@pytest.mark.parametrize("entries", ["random", "ones", "zeros"])
def test_fletcher_checksum_is_that_of_its_definition(size, entries):
    data = {"random": np.random.default_rng(size).integers(0, 256, size, np.uint8)}.get(
        entries, np.full(size, 255 * (entries == "ones"), np.uint8)
    )
    low = high = 0
    for word in np.append(data, np.zeros(size % 2, np.uint8)).view(">u2").tolist():
        low += word
        high += low
    # 65535 stands for a sum that is a multiple of it, but for the empty one.
    assert fletcher32(data) == (((high - 1) % 65535 + 1) << 16 | ((low - 1) % 65535 + 1) if low else 0)


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 5, 8, 16, 24])
@pytest.mark.parametrize("entries", [0, 1, 2, 3, 7, 1000])
@pytest.mark.parametrize("rest", [0, 1, 7, 15])
def test_shuffled_bytes_come_together_as_the_format_defines(itemsize, entries, rest):
    size = entries * itemsize + min(rest, itemsize - 1)
    entry_by_entry = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    planes = [entry_by_entry[: entries * itemsize][byte::itemsize] for byte in range(itemsize)]
    stored = np.concatenate([*planes, entry_by_entry[entries * itemsize :]])
    np.testing.assert_array_equal(unshuffle(stored, itemsize), entry_by_entry)


def test_filters_that_do_not_fit_are_refused():
    data = np.arange(64, dtype=np.uint8)
    packed = np.frombuffer(zlib.compress(data.tobytes()), np.uint8)
    np.testing.assert_array_equal(decode(packed, (DEFLATE,), 0, 64, 8), data)
    for stored, filters, nbytes in (
        (packed, (DEFLATE,), 63),
        (packed, (DEFLATE,), 72),
        (packed[:-1], (DEFLATE,), 64),
        (data, (FLETCHER32,), 60),
        (data, (SHUFFLE,), 72),
    ):
        with pytest.raises(FilterError):
            decode(stored, filters, 0, nbytes, 8)


def published(path, array):
    with publish(path, "matrices") as file:
        write_array(file, "A", array)
    with h5py.File(path) as file:
        return file["A"].id.get_chunk_info(file["A"].id.get_num_chunks() - 1).byte_offset


@pytest.fixture
def banded(tmp_path, monkeypatch):
    """A file of svdflow's own, of 14 bands, and the place of its last one."""
    monkeypatch.setattr("svdflow.store.arrays.BAND_BYTES", 4 * 31 * 8)
    return tmp_path / "a.h5", published(tmp_path / "a.h5", A)


def test_every_band_is_verified_when_it_is_first_read(banded):
    path, last = banded
    check(direct(open_matrix(path, "A")), A)
    for read in (
        lambda source: source.read(52, 53),
        lambda source: source.read(0, 53),
        lambda source: source.read_columns(30, 31),  # none of the damaged byte's column
        lambda source: source.read_into(52, 53, np.empty((1, 31))),
    ):
        flip(path, last + 3)
        with pytest.raises(StoreError, match="rows 52 to 52 are damaged"):
            read(direct(open_matrix(path, "A")))
        flip(path, last + 3)
    check(direct(open_matrix(path, "A")), A)


def test_a_file_that_was_written_to_is_verified_again(banded):
    path, last = banded
    source = direct(open_matrix(path, "A"))
    source.read(0, 53)
    flip(path, last + 3)
    np.testing.assert_array_equal(source.read(0, 4), A[:4])
    with pytest.raises(StoreError, match="are damaged"):
        source.read(52, 53)


def test_verified_bands_are_not_verified_again(banded, monkeypatch):
    source = open_matrix(banded[0], "A")
    counted = []
    crc32 = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: counted.append(len(data)) or crc32(data))
    for _ in range(3):
        np.testing.assert_array_equal(source.read(0, 53), A)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(5, 7), A[5:7])
    assert counted == [4 * 31 * 8] * 13 + [31 * 8]


def test_a_replaced_file_is_read_as_it_was(tmp_path):
    path = written(tmp_path / "a.h5", A, chunks=(8, 9))
    source = open_matrix(path)
    written(tmp_path / "b.h5", -A, chunks=(5, 5)).replace(path)
    np.testing.assert_array_equal(source.read(0, 53), A)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0, 53), -A)
    written(tmp_path / "c.h5", A[:9], chunks=(5, 5)).replace(path)
    with pytest.raises(ValueError, match="replaced by another matrix"):
        pickle.loads(pickle.dumps(source)).read(0, 9)


def test_pickles_stay_small_whatever_the_index(tmp_path):
    source = open_matrix(written(tmp_path / "a.h5", np.zeros((400, 400)), chunks=(4, 4)))
    assert source._reader().chunks.offsets.size == 10_000
    packed = pickle.dumps(source)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).read(3, 9), np.zeros((6, 400)))


def test_threads_read_side_by_side(tmp_path):
    source = open_matrix(written(tmp_path / "a.h5", A, **LAYOUTS["gzip shuffle"]))
    found = []

    def work(start):
        found.extend((row, source.read(row, row + 5)) for row in range(start, 45, 2))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 45
    for row, block in found:
        np.testing.assert_array_equal(block, A[row : row + 5])


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".dat", ".f64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_files(tmp_path, suffix, order):
    for dtype, offset in (("f8", 0), (">f4", 12), ("c16", 7)):
        path, array = tmp_path / f"a{suffix}", A.astype(dtype)
        path.write_bytes(bytes(offset) + array.tobytes(order))
        source = open_matrix(path, shape=(53, 31), dtype=dtype, offset=offset, order=order)
        check(source, array)
        check(pickle.loads(pickle.dumps(source)), array)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "does not say its shape and dtype; open it with open_matrix"),
        ({"shape": (53, 31)}, "does not say its dtype"),
        ({"dtype": "f8"}, "does not say its shape"),
        ({"offset": 8}, "does not say its shape and dtype"),
        ({"shape": (53, 31), "dtype": "f8", "order": "K"}, "order must be"),
        ({"shape": (53, 31), "dtype": "f8", "offset": -8}, "must not be negative"),
        ({"shape": (53, 31), "dtype": "f4"}, "13144 bytes, where .* make 6572"),
        ({"shape": (54, 31), "dtype": "f8"}, "truncated"),
        ({"shape": (53, 31), "dtype": "f8", "offset": 8}, "truncated"),
        ({"shape": (53, 31, 1), "dtype": "f8"}, "a matrix has 2 dimensions"),
        ({"shape": (53, 31), "dtype": "S8"}, "are not numbers"),
    ],
)
def test_raw_files_need_shape_and_dtype(tmp_path, arguments, message):
    (tmp_path / "a.bin").write_bytes(A.tobytes())
    with pytest.raises(ValueError, match=message):
        open_matrix(tmp_path / "a.bin", **arguments)


def test_an_hdf5_file_may_be_called_anything(tmp_path):
    assert isinstance(open_matrix(written(tmp_path / "a.dat", A)), HDF5Source)


def test_reads_longer_than_one_call(tmp_path, monkeypatch):
    monkeypatch.setattr("svdflow.matrix.formats.raw.CALL_BYTES", 1000)
    np.save(tmp_path / "a.npy", A)
    check(open_matrix(tmp_path / "a.npy"), A)


def test_a_file_that_shrinks_is_noticed(tmp_path):
    np.save(tmp_path / "a.npy", A)
    source = open_matrix(tmp_path / "a.npy")
    with open(tmp_path / "a.npy", "r+b") as raw:
        raw.truncate(1000)
    with pytest.raises(ValueError, match="truncated: the file ends at byte 1000"):
        source.read(0, 53)


def test_descriptors_are_closed_with_their_source(tmp_path):
    np.save(tmp_path / "a.npy", A)
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc to count descriptors in")
    before = len(list(folder.iterdir()))
    for _ in range(20):
        RawFile(tmp_path / "a.npy").read_into(128, np.empty(3), "a")
    assert len(list(folder.iterdir())) <= before + 1


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "layout", [{"chunks": (7, 31)}, {"chunks": (8, 9)}, {"chunks": (4, 5), "shards": (16, 10)}]
)
def test_zarr(tmp_path, version, layout):
    zarr = pytest.importorskip("zarr")
    if version == 2 and "shards" in layout:
        pytest.skip("version 2 has no shards")
    array = zarr.create_array(tmp_path / "a.zarr", shape=(53, 31), dtype="f8", zarr_format=version, **layout)
    array[...] = A
    check(open_matrix(tmp_path / "a.zarr"), A)
    check(pickle.loads(pickle.dumps(open_matrix(tmp_path / "a.zarr"))), A)
