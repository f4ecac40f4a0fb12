"""Arrays that say what their numbers mean: read as their own readers read them, or refused by name."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import svdflow
from svdflow.errors import ConventionError, LinkError, MaskedError, UnwrittenError
from svdflow.matrix import as_source, open_matrix
from svdflow.matrix.ingest_matrix import ingest_matrix
from svdflow.store import read_table

FILES = Path(__file__).parent / "data" / "matrix_files"
NETCDF = np.load(FILES / "netcdf4.npz")
XARRAY = np.load(FILES / "xarray.npz")
MATLAB = np.load(FILES / "matlab.npz")
A = np.random.default_rng(0).standard_normal((12, 7))


def everywhere(source, expected):
    """Rows, parts of rows, columns: all ways of reading agree with the values."""
    m, n = expected.shape
    assert source.shape == (m, n)
    np.testing.assert_array_equal(source.read(0, m), expected)
    np.testing.assert_array_equal(source.read(1, m - 1), expected[1:-1])
    np.testing.assert_array_equal(source.read_columns(1, n - 1), expected[:, 1:-1])
    out = np.empty((2, n), source.dtype)
    source.read_into(1, 3, out)
    np.testing.assert_array_equal(out, expected[1:3])


@pytest.mark.parametrize(
    "name", sorted({key.split(".")[0] for key in NETCDF.files} - {"default_byte", "single"})
)
def test_netcdf_is_unpacked_and_masked_as_its_reader_does(name):
    values, mask = NETCDF[f"{name}.values"], NETCDF[f"{name}.mask"]
    source = open_matrix(FILES / "netcdf4.nc", name, fill=0)
    assert source.dtype == values.dtype
    everywhere(source, np.where(mask, 0, values))
    bare = open_matrix(FILES / "netcdf4.nc", name)
    if mask.any():
        with pytest.raises(MaskedError, match=rf"{name}: {mask.sum()} of 30 values are masked.*fill="):
            svdflow.truncated_svd(bare, 2)
    else:
        everywhere(bare, values)
        s = np.linalg.svd(values.astype(float), compute_uv=False)
        np.testing.assert_allclose(svdflow.truncated_svd(bare, 2, method="full").s, s[:2], rtol=1e-6)


def test_where_readers_of_netcdf_differ_the_users_guide_decides():
    stored = open_matrix(FILES / "netcdf4.nc", "default_byte").read(0, 6)
    np.testing.assert_array_equal(
        stored, NETCDF["default_byte.values"]
    )  # bytes have no fill value of their own
    with pytest.raises(MaskedError, match="1 of 30"):
        open_matrix(FILES / "netcdf4.nc", "single").read(0, 6)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    pytest.importorskip("zarr")
    folder = tmp_path_factory.mktemp("stores")
    zipfile.ZipFile(FILES / "xarray.zip").extractall(folder)
    return folder


@pytest.mark.parametrize("key", XARRAY.files)
def test_zarr_is_unpacked_and_masked_as_xarray_does(stores, key):
    version, name = key.split(".")
    values = XARRAY[key]
    mask = np.isnan(values)
    path = stores / f"x{version}.zarr"
    source = open_matrix(path, name, fill=0)
    np.testing.assert_allclose(source.read(0, 6), np.where(mask, 0, values), rtol=1e-6)
    np.testing.assert_allclose(source.read_columns(1, 4), np.where(mask, 0, values)[:, 1:4], rtol=1e-6)
    bare = open_matrix(path, name)
    if mask.any():
        with pytest.raises(MaskedError, match=f"{mask.sum()} of 30 values"):
            svdflow.truncated_svd(bare, 2)
    else:
        svdflow.truncated_svd(bare, 2)


def test_an_open_zarr_array_is_decoded_too(stores):
    import zarr

    array = zarr.open(stores / "x3.zarr", mode="r")["packed"]
    np.testing.assert_allclose(as_source(array).read(0, 6), XARRAY["3.packed"], rtol=1e-6)


@pytest.mark.parametrize("name", MATLAB.files)
def test_matlab_comes_the_right_way_round(name):
    source = open_matrix(FILES / "matlab.mat", name)
    if source.sparse:
        np.testing.assert_array_equal(source.csr().toarray(), MATLAB[name])
    else:
        everywhere(source, MATLAB[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", "is a MATLAB char"),
        ("cell", "is a MATLAB cell"),
        ("empty", "the matrix is empty"),
        ("s", "a group of kind 'struct'"),
    ],
)
def test_what_is_no_matrix_in_matlab_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=message):
        open_matrix(FILES / "matlab.mat", name)


def test_sparse_matlab_without_entries_and_with_complex_ones():
    assert open_matrix(FILES / "matlab.mat", "nosparse").csr().nnz == 0
    np.testing.assert_array_equal(
        open_matrix(FILES / "matlab.mat", "zsparse").csr().toarray(), MATLAB["sparse"] * (1 + 1j)
    )


def test_octave_comes_the_right_way_round(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("A")
        group.attrs["OCTAVE_NEW_FORMAT"] = np.uint8(1)
        group["type"], group["value"] = np.bytes_("matrix"), A.T
    everywhere(open_matrix(tmp_path / "a.h5", "A/value"), A)


def test_a_matlab_file_is_factorized_as_it_is(tmp_path):
    U, s, Vt = svdflow.truncated_svd(open_matrix(FILES / "matlab.mat", "complex"), 4)
    np.testing.assert_allclose((U * s) @ Vt, MATLAB["complex"], atol=1e-12)


PACKINGS = {
    "contiguous": {},
    "chunked": {"chunks": (5, 3)},
    "gzip": {"chunks": (5, 3), "compression": "gzip"},
}


@pytest.mark.parametrize("layout", PACKINGS)
def test_packing_in_plain_hdf5_whatever_the_layout(tmp_path, layout):
    numbers = (A * 100).astype(">i2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("A", data=numbers, **PACKINGS[layout])
        stored.attrs.update(
            {"scale_factor": 0.01, "add_offset": np.array([2.0]), "_FillValue": np.int16(-32768)}
        )
    everywhere(open_matrix(tmp_path / "a.h5"), numbers * 0.01 + 2.0)
    with h5py.File(tmp_path / "a.h5") as file:
        everywhere(as_source(file["A"]), numbers * 0.01 + 2.0)


def test_ingest_counts_what_is_missing_in_one_row_of_errors(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["A"] = np.where(A > 1, -9999.0, A)
        file["A"].attrs["_FillValue"] = -9999.0
    entry = {"index": 0, "path": str(tmp_path / "a.h5"), "name": "a.h5"}
    ingest_matrix([entry], tmp_path / "out.h5", dataset="toy", shard="00000")
    (row,) = read_table(tmp_path / "out.h5", "errors").itertuples()
    assert row.code == "masked" and f"{(A > 1).sum()} of 84" in row.message and "fill=" in row.message


def put(folder, array, **attrs):
    with h5py.File(folder / "a.h5", "w") as file:
        file["A"] = array
        file["A"].attrs.update(attrs)
    return folder / "a.h5"


@pytest.mark.parametrize(
    "attrs",
    [
        {"scale_factor": "twice"},
        {"scale_factor": np.array([1.0, 2.0])},
        {"add_offset": np.nan},
        {"ScaleFactor": 0.1},
        {"Offset": 5.0},
        {"Slope": 0.1},
        {"_FillValue": "none"},
    ],
)
def test_attributes_that_are_not_understood_are_refused_by_name(tmp_path, attrs):
    with pytest.raises(ConventionError, match=rf"a\.h5.*attribute {next(iter(attrs))}"):
        open_matrix(put(tmp_path, A.astype("f4"), **attrs), "A")


def test_attributes_that_change_nothing_are_no_reason_to_refuse(tmp_path):
    attrs = {
        "scale_factor": 1.0,
        "ScaleFactor": 1.0,
        "Offset": 0.0,
        "units": "K",
        "valid_range": [-100.0, 100.0],
    }
    everywhere(open_matrix(put(tmp_path, A, **attrs), "A"), A)
    numbers = (A * 100).astype("i2")
    # Limits that the stored type cannot hold limit no stored number (netCDF4 ignores them, and warns).
    attrs = {"missing_value": 1e20, "valid_min": -1e9, "valid_max": np.float32(1e9), "_FillValue": np.nan}
    everywhere(open_matrix(put(tmp_path, numbers, **attrs), "A"), numbers)


def test_stored_quantization_gives_the_numbers_that_h5py_gives(tmp_path):
    numbers = (A * 100).astype("i4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("floats", data=A, chunks=(5, 3), scaleoffset=3)
        file.create_dataset("ints", data=numbers, chunks=(5, 3), scaleoffset=0)
        kind = h5py.h5t.STD_I32LE.copy()
        kind.set_precision(17)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((5, 3))
        properties.set_filter(h5py.h5z.FILTER_NBIT, 0)
        packed = h5py.h5d.create(file.id, b"nbit", kind, h5py.h5s.create_simple((12, 7)), properties)
        h5py.Dataset(packed)[...] = numbers
    with h5py.File(tmp_path / "a.h5") as file:
        expected = {name: file[name][...] for name in file}
    assert np.abs(expected["floats"] - A).max() < 1e-3
    for name, values in expected.items():
        everywhere(open_matrix(tmp_path / "a.h5", name), values)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">f8", ">i2", ">u4", ">c16", "?"])
def test_types_of_any_order_and_width(tmp_path, dtype):
    array = (A * 100).astype(dtype)
    everywhere(open_matrix(put(tmp_path, array), "A"), array)


def odd_types():
    yield (
        "enumeration",
        (np.arange(84).reshape(12, 7) % 2).astype("i1"),
        h5py.enum_dtype({"LOW": 0, "HIGH": 1}, "i1"),
    )
    yield "records", np.zeros((12, 7), [("x", "f8"), ("y", "f8")]), None
    yield "text", np.full((12, 7), b"1.5"), None
    yield "opaque", np.zeros((12, 7), "V8"), None
    yield "lists", np.full((12, 7), "a"), h5py.string_dtype()


@pytest.mark.parametrize(
    ("name", "array", "dtype"), list(odd_types()), ids=lambda x: x if isinstance(x, str) else ""
)
def test_types_that_are_no_numbers_are_refused_by_name(tmp_path, name, array, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("A", data=array.astype(object) if name == "lists" else array, dtype=dtype)
    with pytest.raises(ValueError, match=r"a\.h5:/?A: .*(no|not) numbers"):
        open_matrix(tmp_path / "a.h5", "A")


def test_references_are_no_numbers(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = A
        file.create_dataset("A", (2, 2), h5py.ref_dtype)[...] = file["x"].ref
    with pytest.raises(ValueError, match="not numbers"):
        open_matrix(tmp_path / "a.h5", "A")


def series(folder, count=3):
    for i in range(count):
        with h5py.File(folder / f"s{i}.h5", "w") as file:
            file["A"] = A[4 * i : 4 * i + 4]
    with h5py.File(folder / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 7), "f8")
        for i in range(3):
            layout[4 * i : 4 * i + 4] = h5py.VirtualSource(f"s{i}.h5", "A", (4, 7))
        file.create_virtual_dataset("A", layout)
    return folder / "v.h5"


def test_a_virtual_dataset_is_read_where_all_its_sources_are(tmp_path):
    everywhere(open_matrix(series(tmp_path)), A)


def test_a_virtual_dataset_with_a_missing_source_is_refused(tmp_path):
    path = series(tmp_path, 2)
    with pytest.raises(LinkError, match=r"v\.h5.*names the file s2\.h5, which is not there"):
        open_matrix(path)
    with h5py.File(tmp_path / "s2.h5", "w") as file:
        file["other"] = A
    with pytest.raises(LinkError, match=r"s2\.h5 of the virtual dataset has no dataset 'A'"):
        open_matrix(path)
    with h5py.File(tmp_path / "s2.h5", "w") as file:
        file["A"] = A[:3]
    with pytest.raises(UnwrittenError, match="less than the part that is taken"):
        open_matrix(path)
    with h5py.File(tmp_path / "s2.h5", "w") as file:
        file.create_dataset("A", (4, 7), "f8")
    with pytest.raises(UnwrittenError, match="never written"):
        open_matrix(path)


def test_a_virtual_dataset_with_a_gap_is_refused(tmp_path):
    series(tmp_path)
    with h5py.File(tmp_path / "gap.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 7), "f8")
        layout[:4] = h5py.VirtualSource("s0.h5", "A", (4, 7))
        file.create_virtual_dataset("A", layout)
    with pytest.raises(UnwrittenError, match="56 of 84 values have no source"):
        open_matrix(tmp_path / "gap.h5")


def test_a_virtual_dataset_without_a_limit_follows_its_source(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("A", data=A, maxshape=(None, 7))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 7), "f8", maxshape=(None, 7))
        source = h5py.VirtualSource("s.h5", "A", (12, 7), maxshape=(None, 7))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("A", layout)
    everywhere(open_matrix(tmp_path / "v.h5"), A)


@pytest.mark.parametrize("options", [{}, {"chunks": (5, 3)}, {"chunks": (5, 3), "fillvalue": 1.5}])
def test_a_dataset_that_was_never_written_is_refused(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("A", (12, 7), "f8", **options)
    with pytest.raises(UnwrittenError, match=r"a\.h5:/A: was created and never written"):
        open_matrix(tmp_path / "a.h5")


def test_missing_chunks_stand_for_a_fill_value_that_the_file_sets_and_for_nothing_else(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in (("bare", {}), ("set", {"fillvalue": 0.0})):
            file.create_dataset(name, (12, 7), "f8", chunks=(5, 3), **options)[:5] = A[:5]
    with pytest.raises(UnwrittenError, match="6 of its 9 chunks were never written"):
        open_matrix(tmp_path / "a.h5", "bare")
    everywhere(open_matrix(tmp_path / "a.h5", "set"), np.where(np.arange(12)[:, None] < 5, A, 0))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_that_was_never_written_is_refused(tmp_path, version):
    zarr = pytest.importorskip("zarr")
    made = {"shape": (12, 7), "dtype": "f8", "chunks": (5, 3), "zarr_format": version}
    zarr.create_array(tmp_path / "none.zarr", **made)
    with pytest.raises(UnwrittenError, match="never written"):
        open_matrix(tmp_path / "none.zarr")
    part = zarr.create_array(tmp_path / "part.zarr", **made)
    part[:5] = A[:5]  # zarr leaves out chunks of nothing but the fill value
    everywhere(open_matrix(tmp_path / "part.zarr"), np.where(np.arange(12)[:, None] < 5, A, 0))


def test_codecs_of_zarr_that_scale_numbers_give_the_numbers_that_zarr_gives(tmp_path):
    zarr = pytest.importorskip("zarr")
    numcodecs = pytest.importorskip("numcodecs")
    packing = numcodecs.FixedScaleOffset(offset=0, scale=100, dtype="f8", astype="i2")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(12, 7), dtype="f8", chunks=(5, 3), filters=[packing], zarr_format=2
    )
    array[...] = A
    everywhere(open_matrix(tmp_path / "a.zarr"), np.round(A * 100) / 100)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"CDF\x01", "netCDF file of the classic format"),
        (b"MATLAB 5.0 MAT-file", "MATLAB file of version 7 or older"),
        (b"\x0e\x03\x13\x01", "HDF4"),
    ],
)
def test_formats_that_are_known_and_not_read_say_what_to_do(tmp_path, start, message):
    (tmp_path / "a.nc").write_bytes(start + bytes(600))
    with pytest.raises(ValueError, match=message):
        open_matrix(tmp_path / "a.nc")
