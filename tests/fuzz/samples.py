"""Valid files of every format that svdflow reads, made at run time: what the fuzzer bends. None is kept."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import scipy.sparse as sp
import tifffile
from PIL import Image

RNG = np.random.default_rng(0)
GREY = (np.add.outer(np.arange(24), np.arange(20)) * 5 % 256).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
A = RNG.standard_normal((30, 12)) @ np.diag(0.5 ** np.arange(12.0))
SPARSE = sp.random(40, 25, density=0.1, random_state=0, format="csr")
Maker = Callable[[Path], Path]


def _pillow(suffix: str, mode: str, **options) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / f"{mode.replace(';', '')}{suffix}"
        image = (
            Image.fromarray(RGB) if mode in ("RGB", "RGBA", "CMYK", "P", "YCbCr") else Image.fromarray(GREY)
        )
        if mode == "I;16":
            image = Image.fromarray(GREY.astype(np.uint16) * 257)
        elif mode != image.mode:
            image = image.convert(mode)
        image.save(path, **options)
        return path

    return make


def _animated(folder: Path) -> Path:
    path = folder / "two.gif"
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def _tiff(name: str, array: np.ndarray, **options) -> Maker:
    def make(folder: Path) -> Path:
        tifffile.imwrite(folder / f"{name}.tif", array, **options)
        return folder / f"{name}.tif"

    return make


def _npy(name: str, array: np.ndarray) -> Maker:
    def make(folder: Path) -> Path:
        np.save(folder / f"{name}.npy", array)
        return folder / f"{name}.npy"

    return make


def _bytes(name: str, content: Callable[[], bytes]) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return make


def _hdf5(name: str, write: Callable[[h5py.File], None]) -> Maker:
    def make(folder: Path) -> Path:
        with h5py.File(folder / name, "w") as file:
            write(file)
        return folder / name

    return make


def _chunked(file: h5py.File) -> None:
    file.create_dataset("A", data=A, chunks=(7, 5), compression="gzip", shuffle=True, fletcher32=True)


def _netcdf(file: h5py.File) -> None:
    values = file.create_dataset("t", data=(A * 100).astype(np.int16), chunks=(10, 12))
    values.attrs["scale_factor"], values.attrs["add_offset"] = 0.01, 3.0
    values.attrs["_FillValue"] = np.int16(-32768)
    for name, size in (("y", 30), ("x", 12)):
        file.create_dataset(name, data=np.arange(size, dtype=float)).make_scale(name)
    values.dims[0].attach_scale(file["y"])
    values.dims[1].attach_scale(file["x"])


def _group(kind: str) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        group, matrix = file.create_group("X"), SPARSE.tocsr() if kind == "csr" else SPARSE.tocsc()
        group.attrs["encoding-type"], group.attrs["encoding-version"] = f"{kind}_matrix", "0.1.0"
        group.attrs["shape"] = np.array(matrix.shape)
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)

    return write


def _npz(folder: Path) -> Path:
    sp.save_npz(folder / "s.npz", SPARSE)
    return folder / "s.npz"


def _npz_dense(folder: Path) -> Path:
    np.savez_compressed(folder / "d.npz", A=A)
    return folder / "d.npz"


def _market(matrix: np.ndarray | sp.spmatrix, packed: bool = False) -> Callable[[], bytes]:
    def content() -> bytes:
        text = io.BytesIO()
        scipy.io.mmwrite(text, matrix)
        return gzip.compress(text.getvalue()) if packed else text.getvalue()

    return content


def _zarr(version: int) -> Maker:
    def make(folder: Path) -> Path:
        import zarr

        array = zarr.create_array(
            folder / "z.zarr", shape=A.shape, chunks=(10, 6), dtype="f8", zarr_format=version
        )
        array[...] = A
        return folder / "z.zarr"

    return make


IMAGES: dict[str, Maker] = {
    "png-grey": _pillow(".png", "L"),
    "png-palette": _pillow(".png", "P"),
    "png-alpha": _pillow(".png", "RGBA"),
    "png-16": _pillow(".png", "I;16"),
    "png-1": _pillow(".png", "1"),
    "jpeg-grey": _pillow(".jpg", "L", quality=80),
    "jpeg-rgb": _pillow(".jpg", "RGB", progressive=True),
    "jpeg-cmyk": _pillow(".jpg", "CMYK"),
    "webp": _pillow(".webp", "RGB", lossless=True),
    "bmp": _pillow(".bmp", "RGB"),
    "gif": _pillow(".gif", "P"),
    "gif-animated": _animated,
    "tiff-plain": _tiff("plain", GREY),
    "tiff-deflate": _tiff("deflate", RGB, compression="zlib", predictor=True),
    "tiff-lzw": _tiff("lzw", GREY.astype(np.uint16), compression="lzw"),
    "tiff-tiles": _tiff("tiles", GREY.astype(np.float32), tile=(16, 16), compression="zlib"),
    "tiff-pages": _tiff("pages", np.stack([GREY] * 3), photometric="minisblack"),
    "tiff-big": _tiff("big", RGB, bigtiff=True, planarconfig="separate"),
    "npy": _npy("image", GREY),
    "hdf5": _hdf5("image.h5", lambda file: file.create_dataset("A", data=GREY, compression="gzip")),
}
MATRICES: dict[str, Maker] = {
    "npy": _npy("a", A),
    "npy-columns": _npy("f", np.asfortranarray(A.astype(">f4"))),
    "npz-sparse": _npz,
    "npz-dense": _npz_dense,
    "market-sparse": _bytes("s.mtx", _market(SPARSE)),
    "market-dense": _bytes("d.mtx", _market(A)),
    "market-gzip": _bytes("s.mtx.gz", _market(SPARSE, packed=True)),
    "hdf5": _hdf5("a.h5", lambda file: file.create_dataset("A", data=A)),
    "hdf5-chunks": _hdf5("c.h5", _chunked),
    "hdf5-csr": _hdf5("r.h5ad", _group("csr")),
    "hdf5-csc": _hdf5("c.h5ad", _group("csc")),
    "netcdf": _hdf5("t.nc", _netcdf),
    "zarr-2": _zarr(2),
    "zarr-3": _zarr(3),
}
