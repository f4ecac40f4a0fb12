"""Arrays as .npy and HDF5, and files that are no images."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from odd_files import GREY, GREY16, RGB, RGB16, RNG, Odd, cut

BANDS = RNG.integers(0, 4096, (13, 17, 120), dtype=np.uint16)
FLOATS = RNG.normal(size=(13, 17)).astype(np.float32)
INSIDE = RNG.random((13, 17)) > 0.2
ALL = {"channels": True}


def npy(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def header(text: str, body: bytes = b"", version: bytes = b"\1\0") -> bytes:
    packed = text.encode("latin1").ljust(118) + b"\n"
    size = struct.pack("<H", len(packed)) if version == b"\1\0" else struct.pack("<I", len(packed))
    return b"\x93NUMPY" + version + size + packed + body


def described(shape: str, kind: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"


def cases() -> Iterator[Odd]:
    yield from npys()
    yield from hdf5s()
    yield from netcdfs()
    yield from broken_hdf5s()
    yield from strangers()


def npys() -> Iterator[Odd]:
    for dtype in ("u1", ">u2", "<i4", ">f2", ">f4", "f8"):
        values = GREY16.astype(dtype)
        yield Odd(f"{values.dtype.name}.npy", npy(values), pages=[values])
    yield Odd("columns-first.npy", npy(np.asfortranarray(RGB16)), pages=[RGB16])
    yield Odd("bool.npy", npy(GREY > 99), pages=[(GREY > 99) * 255])
    yield Odd("one-channel.npy", npy(GREY[..., None]), pages=[GREY])
    yield Odd("tail.npy", npy(GREY) + b"written after the end", pages=[GREY])
    yield Odd("version2.npy", header(described("(13, 17)"), GREY.tobytes(), b"\2\0"), pages=[GREY])
    yield Odd("four.npy", npy(np.dstack([RGB, GREY])), "unsupported", words="colour=channels")
    yield Odd("bands.npy", npy(BANDS), pages=[BANDS], options=ALL)
    holes = np.where(INSIDE, FLOATS, np.nan).astype(np.float32)
    yield Odd("nan.npy", npy(holes), pages=[np.where(INSIDE, FLOATS, 0)], mask=INSIDE)
    yield Odd("all-nan.npy", npy(np.full((3, 4), np.nan)), "all_masked")
    yield Odd("infinite.npy", npy(np.where(INSIDE, FLOATS, -np.inf)), "non_finite")
    for name, array, code in (
        ("complex", FLOATS.astype(complex), "unsupported"),
        ("record", np.zeros((3, 3), [("x", "f4")]), "unsupported"),
        ("text", np.array([["a", "b"]]), "unsupported"),
        ("dates", np.zeros((3, 3), "M8[s]"), "unsupported"),
        ("line", np.zeros(9), "unsupported"),
        ("cube", np.zeros((4, 4, 5)), "unsupported"),
        ("nothing", np.float64(3), "unsupported"),
        ("no-rows", np.zeros((0, 5)), "zero_size"),
        ("no-columns", np.zeros((5, 0)), "zero_size"),
        ("past-2-53", np.full((3, 3), 2**53 + 1), "integer_overflow"),
        ("past-2-53-below", np.full((3, 3), -(2**60) - 1), "integer_overflow"),
        ("past-2-53-unsigned", np.full((3, 3), 2**64 - 1, np.uint64), "integer_overflow"),
    ):
        yield Odd(f"{name}.npy", npy(array), code)
    yield Odd("up-to-2-53.npy", npy(np.full((3, 3), -(2**53))), pages=[np.full((3, 3), -(2**53))])
    yield Odd("pickled.npy", npy(np.array([[{}]], dtype=object), allow_pickle=True), "unsupported")
    yield from cut("values.npy", npy(GREY16), 0.03, 0.1, 0.4, 0.99)
    for name, text, code in (
        ("huge", described("(1000000000, 1000000000)"), "decompression_bomb|truncated"),
        (
            "larger-than-int64",
            described("(9223372036854775807, 9223372036854775807)"),
            "decompression_bomb|truncated",
        ),
        ("large", described("(60000, 60000)"), "decompression_bomb|truncated"),
        ("negative", described("(-13, 17)"), "zero_size|corrupt"),
        ("fraction", described("(13.5, 17)"), "corrupt"),
        ("no-shape", "{'descr': '|u1', 'fortran_order': False}", "corrupt"),
        ("call", "{'descr': exit(), 'fortran_order': False, 'shape': (3, 3)}", "corrupt"),
        ("open-brackets", "{" * 60, "corrupt|truncated"),
        ("type", described("(13, 17)", "'|Q9'"), "corrupt"),
    ):
        yield Odd(f"{name}.npy", header(text, GREY.tobytes()), code)
    yield Odd("version9.npy", header(described("(13, 17)"), GREY.tobytes(), b"\x09\0"), "unsupported|corrupt")
    yield Odd("npz.npz", zipped({"a.npy": npy(GREY)}), "not_an_image")


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def hdf5(fill: Callable[[h5py.File], Any], **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with h5py.File(path, "w", **options) as file:
            fill(file)

    return make


def stored(array: np.ndarray, attrs: dict[str, Any] | None = None, **options: Any) -> Callable[[Path], None]:
    return hdf5(lambda file: file.create_dataset("a", data=array, **options).attrs.update(attrs or {}))


def hdf5s() -> Iterator[Odd]:
    for name, options in {
        "plain": {},
        "gzip": {"chunks": (5, 7), "compression": "gzip", "shuffle": True},
        "lzf": {"chunks": (5, 7), "compression": "lzf", "fletcher32": True},
        "resizable": {"maxshape": (None, None)},
    }.items():
        yield Odd(f"{name}.h5", stored(GREY16, **options), pages=[GREY16])
    yield Odd("rgb.h5", stored(RGB16), pages=[RGB16])
    yield Odd("big-endian.h5", stored(GREY16.astype(">u2")), pages=[GREY16])
    yield Odd("bands.h5", stored(BANDS), pages=[BANDS], options=ALL)
    yield Odd("bands-refused.h5", stored(BANDS), "unsupported", words="colour=channels")
    yield Odd(
        "user-block.h5", hdf5(lambda f: f.create_dataset("a", data=GREY), userblock_size=512), pages=[GREY]
    )
    two = hdf5(lambda f: (f.create_dataset("a", data=GREY), f.create_dataset("g/b", data=RGB)))
    yield Odd("two.h5", two, "unsupported", words="2 datasets")
    yield Odd("two-named.h5", two, pages=[RGB], inside="/g/b")
    yield Odd("two-missing.h5", two, "unreadable", inside="/g/c")
    yield Odd("a-group.h5", two, "unreadable", inside="/g")
    matlab = stored(np.ascontiguousarray(GREY16.T), {"MATLAB_class": np.bytes_("uint16")})
    yield Odd("matlab.h5", matlab, pages=[GREY16])
    table = stored(GREY, {"CLASS": np.bytes_("IMAGE"), "IMAGE_SUBCLASS": np.bytes_("IMAGE_INDEXED")})
    yield Odd("palette.h5", table, "unsupported")
    holes = np.where(INSIDE, FLOATS, np.nan)
    yield Odd("nan.h5", stored(holes), pages=[np.where(INSIDE, holes, 0)], mask=INSIDE)


def netcdfs() -> Iterator[Odd]:
    """CF conventions, as netCDF4 and xarray apply them."""
    raw = RNG.integers(-99, 99, (13, 17)).astype("i2")
    holes = np.where(INSIDE, raw, -32767).astype("i2")
    filled = np.where(INSIDE, raw, 0)
    yield Odd("fill.nc", stored(holes, {"_FillValue": np.int16(-32767)}), pages=[filled], mask=INSIDE)
    yield Odd("missing.nc", stored(holes, {"missing_value": np.int16(-32767)}), pages=[filled], mask=INSIDE)
    yield Odd(
        "range.nc", stored(holes, {"valid_range": np.array([-200, 200], "i2")}), pages=[filled], mask=INSIDE
    )
    yield Odd("least.nc", stored(holes, {"valid_min": np.int16(-200)}), pages=[filled], mask=INSIDE)
    scaled = {"scale_factor": 0.25, "add_offset": 10.0}
    yield Odd("scaled.nc", stored(raw, scaled), pages=[raw * 0.25 + 10])
    packed = stored(holes, {**scaled, "_FillValue": np.int16(-32767)})
    yield Odd("scaled-fill.nc", packed, pages=[np.where(INSIDE, raw * 0.25 + 10, 0)], mask=INSIDE)
    signed = GREY.view("i1")
    yield Odd("unsigned.nc", stored(signed, {"_Unsigned": "true"}), pages=[GREY])

    def default_fill(file: h5py.File) -> None:
        """As netCDF 4 leaves a variable of which a part was written: no attribute, axes beside it."""
        file.attrs["_NCProperties"] = "version=2,netcdf=4.9.3,hdf5=1.14.6"
        dataset = file.create_dataset("a", data=holes, fillvalue=-32767)
        axis = file.create_dataset("x", data=np.arange(17.0))
        axis.make_scale("x")
        dataset.dims[1].attach_scale(axis)

    yield Odd("default-fill.nc", hdf5(default_fill), pages=[filled], mask=INSIDE)

    def partly(file: h5py.File, fill: int | None) -> None:
        dataset = file.create_dataset("a", (12, 16), "u2", chunks=(6, 8), fillvalue=fill)
        dataset[:6, :8] = GREY16[:6, :8]

    there = np.zeros((12, 16), np.uint16)
    there[:6, :8] = GREY16[:6, :8]
    yield Odd("partly-written.h5", hdf5(lambda f: partly(f, None)), "unwritten")
    yield Odd(
        "partly-written-zero.h5", hdf5(lambda f: partly(f, 0)), pages=[there]
    )  # which the file says it means


def broken_hdf5s() -> Iterator[Odd]:
    for name, shape, options in (
        ("never-written", (13, 17), {}),
        ("never-written-chunks", (13, 17), {"chunks": (5, 5)}),
        ("declared-only", (10_000, 10_000), {"chunks": (100, 100), "compression": "gzip"}),
    ):
        made = hdf5(lambda f, shape=shape, options=options: f.create_dataset("a", shape, "u2", **options))
        yield Odd(f"{name}.h5", made, "unwritten|decompression_bomb")
    huge = hdf5(lambda f: f.create_dataset("a", (2**40, 2**20), "f8", chunks=(64, 64)))
    yield Odd("huge.h5", huge, "decompression_bomb")

    def fat(file: h5py.File) -> None:
        """A chunk of 16 values whose data unpack to 8 million bytes."""
        dataset = file.create_dataset("a", (4, 4), "u1", chunks=(4, 4), compression="gzip")
        dataset[...] = 1
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(8_000_000), 9))

    yield Odd(
        "fat-chunk.h5", hdf5(fat), pages=[np.zeros((4, 4))]
    )  # eight megabytes: harmless, and cut by HDF5
    yield Odd("empty.h5", hdf5(lambda f: None), "unsupported")
    yield Odd("no-space.h5", hdf5(lambda f: f.create_dataset("a", data=h5py.Empty("f4"))), "zero_size")
    yield Odd("no-rows.h5", stored(np.zeros((0, 4))), "zero_size")
    yield Odd("text.h5", hdf5(lambda f: f.create_dataset("a", data=["a", "b"])), "unsupported")
    yield Odd("complex.h5", stored(FLOATS.astype(complex)), "unsupported")
    yield Odd("record.h5", stored(np.zeros((3, 3), [("x", "f4")])), "unsupported")
    yield Odd("line.h5", stored(np.zeros(9)), "unsupported")
    yield Odd("past-2-53.h5", stored(np.full((3, 3), 2**60 + 1)), "integer_overflow")
    yield Odd("infinite.h5", stored(np.where(INSIDE, FLOATS, np.inf)), "non_finite")

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((13, 17), "u1")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "a", (13, 17))
        file.create_virtual_dataset("a", layout)

    yield Odd("virtual.h5", hdf5(virtual), "link", words="elsewhere.h5")
    outside = hdf5(lambda f: f.create_dataset("a", (13, 17), "u1", external=[("/etc/hostname", 0, 13 * 17)]))
    yield Odd("external.h5", outside, "link", words="outside the folder")

    def linked(file: h5py.File) -> None:
        file["a"] = h5py.ExternalLink("elsewhere.h5", "/a")

    yield Odd("link.h5", hdf5(linked), "link", inside="/a", words="elsewhere.h5")
    yield Odd("dangling.h5", hdf5(lambda f: f.update({"a": h5py.SoftLink("/b")})), "unreadable", inside="/a")

    def shorter(share: float) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            stored(np.zeros((200, 300)))(path)
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * share)])

        return make

    for share in (0.001, 0.3, 0.9):
        yield Odd(f"cut-{share}.h5", shorter(share), "truncated|corrupt|not_an_image")

    def flipped(path: Path) -> None:
        stored(GREY16, chunks=(13, 17), fletcher32=True)(path)
        with h5py.File(path) as file:
            at = file["a"].id.get_chunk_info(0).byte_offset
        data = bytearray(path.read_bytes())
        data[at + 7] ^= 4
        path.write_bytes(data)

    yield Odd("flipped.h5", flipped, "corrupt")


SECRET = b"BEGIN PRIVATE KEY: correct horse battery staple"


def strangers() -> Iterator[Odd]:
    """What is no image; no message tells what stands in it."""
    for name, data in {
        "empty": b"",
        "letter": b"hello, I am a letter",
        "secret": SECRET,
        "html": b"<html>404 Not Found</html>",
        "json": b'{"a": 1}',
        "zip": zipped({"a.txt": b"text"}),
        "pdf": b"%PDF-1.7\n" + bytes(99),
        "program": b"\x7fELF" + bytes(99),
        "dicom": bytes(128) + b"DICM" + bytes(99),
        "nifti": struct.pack("<I", 348) + bytes(344),
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "heic": b"\0\0\0\x18ftypheic" + bytes(40),
        "pgm": b"P5 4 4 255\n" + bytes(16),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "psd": b"8BPS\0\1" + bytes(60),
        "zeros": bytes(5000),
        "noise": RNG.bytes(5000),
    }.items():
        yield Odd(f"{name}.png", data, "not_an_image" if data else "empty_file")
    yield Odd("folder.png", lambda path: path.mkdir(), "unreadable")
    yield Odd("nowhere.png", lambda path: path.symlink_to("nowhere"), "unreadable")
    yield Odd("itself.png", lambda path: path.symlink_to(path), "unreadable")
    yield Odd("pipe.png", lambda path: os.mkfifo(path), "unreadable")
    yield Odd("device.png", lambda path: path.symlink_to("/dev/zero"), "unreadable")
    for start in (
        b"\x93NUMPY",
        b"\x93NUMPY\1\0\x2f\0",
        b"II*\0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"\xff\xd8\xff",
    ):
        name = start[:6].hex()
        yield Odd(
            f"secret-{len(start)}-{name}.tif",
            start + SECRET,
            "corrupt|truncated|unsupported|not_an_image|zero_size|decompression_bomb",
        )
