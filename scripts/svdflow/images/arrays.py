"""Arrays that are images: .npy files and HDF5 datasets, checked by their headers before they are read."""

from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from svdflow.images.containers import Decoded, check_size, split_alpha
from svdflow.store import ItemError


def read_npy(stream: BinaryIO, size: int, pixel_limit: int) -> Decoded:
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ItemError("unsupported", f"npy format {version}, which holds records; save a plain array")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header(stream)
    except ValueError as error:
        raise ItemError("truncated" if "EOF" in str(error) else "corrupt", f"npy header: {error}") from error
    _check_array(shape, dtype, pixel_limit)
    needed = stream.tell() + int(np.prod(shape)) * dtype.itemsize
    if size < needed:
        raise ItemError("truncated", f"shape {shape} of {dtype} needs {needed} bytes; the file has {size}")
    stream.seek(0)
    return _array_page(np.load(stream, allow_pickle=False), "NPY")


def read_hdf5(file: Path, name: str | None, pixel_limit: int) -> Decoded:
    with h5py.File(file, "r", locking=False) as content:
        name = name or _only_dataset(content)
        dataset = content.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise ItemError("unreadable", f"no dataset {name!r} (datasets here: {_listed(content)})")
        if dataset.shape is None:
            raise ItemError("zero_size", f"dataset {name!r} is empty")
        _check_array(dataset.shape, dataset.dtype, pixel_limit)
        return _array_page(dataset[...], "HDF5")


def _only_dataset(content: h5py.File) -> str:
    names = _datasets(content)
    if len(names) != 1:
        raise ItemError("unsupported", f"{len(names)} datasets ({_listed(content)}); ask for file.h5:dataset")
    return names[0]


def _datasets(content: h5py.File) -> list[str]:
    names: list[str] = []
    content.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


def _listed(content: h5py.File) -> str:
    names = _datasets(content)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "none"


def _check_array(shape: tuple[int, ...], dtype: np.dtype, pixel_limit: int) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ItemError("unsupported", f"an array of type {dtype}; an image is integers, floats or booleans")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ItemError(
            "unsupported", f"an array of shape {shape}; an image is (H, W), (H, W, 3) or (H, W, 4)"
        )
    check_size(shape[1], shape[0], 1, pixel_limit)


def _array_page(array: np.ndarray, kind: str) -> Decoded:
    mode = "x".join(map(str, array.shape[2:])) or "2-D"
    attrs = {"format": kind, "mode": mode, "exif_orientation": 1, "icc_profile": b""}
    return [split_alpha(array)], attrs
