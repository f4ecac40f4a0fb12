"""Arrays that are images: .npy files and HDF5 datasets, checked by their headers before they are read."""

import zlib
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from svdflow.images.containers import Decoded, Page, check_size
from svdflow.store import ItemError

_DEFLATE = 1  # H5Z_FILTER_DEFLATE
_DEFLATE_FOLD = 1032  # largest ratio of deflate (RFC 1951): 258 bytes in two bits
_CHUNK_BYTES = 2**28  # what one compressed chunk may unpack to before it is looked at closer


def read_npy(stream: BinaryIO, size: int, pixel_limit: int, *, channels: bool = False) -> Decoded:
    """The one page of a .npy file: (H, W) or (H, W, 3); (H, W, C) of any C for `channels`.

    Raises
    ------
    ItemError
        ``unsupported``, ``corrupt``, ``truncated``, ``zero_size`` or ``too_large``.
    """
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ItemError("unsupported", f"npy format {version}, which holds records; save a plain array")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header(stream)
    except Exception as error:  # its text would quote the file
        code = "truncated" if "EOF" in str(error) else "corrupt"
        raise ItemError(code, "the npy header cannot be parsed; save the array again") from None
    _check_array(shape, dtype, size, pixel_limit, channels)
    needed = stream.tell() + prod(shape) * dtype.itemsize
    if size < needed:
        raise ItemError("truncated", f"shape {shape} of {dtype} needs {needed} bytes; the file has {size}")
    stream.seek(0)
    return _decoded(np.load(stream, allow_pickle=False), None, "NPY")


def read_hdf5(file: Path, name: str | None, pixel_limit: int, *, channels: bool = False) -> Decoded:
    """The one page of an HDF5 dataset, with the attributes of netCDF and MATLAB applied.

    ``scale_factor`` and ``add_offset`` give values in floating point; ``_FillValue``, ``missing_value`` and
    ``valid_range`` (CF 1.11, 2.5.1 and 8.1), and chunks that were never written, give the mask. Arrays of MATLAB
    7.3 are turned, for it stores columns first.

    Raises
    ------
    ItemError
        As `read_npy`; ``decompression_bomb`` for chunks that unpack to more than they declare; ``unsupported``
        where the values stand in another file.
    """
    with h5py.File(file, "r", locking=False) as content:
        name = name or _only_dataset(content)
        _refuse_links(content, name)
        dataset = content.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise ItemError("unreadable", f"no dataset {name!r} (datasets here: {_listed(content)})")
        if dataset.shape is None:
            raise ItemError("zero_size", f"dataset {name!r} is empty")
        matlab = "MATLAB_class" in dataset.attrs
        shape = dataset.shape[::-1] if matlab else dataset.shape
        _check_array(shape, dataset.dtype, file.stat().st_size, pixel_limit, channels)
        _check_kind(dataset)
        mask = _written(dataset)
        attrs = dict(dataset.attrs)
        if "_NCProperties" in content.attrs and dataset.dtype.itemsize > 1:
            attrs.setdefault("_FillValue", dataset.fillvalue)  # what netCDF leaves where nothing was written
        array, valid = _converted(dataset[...], attrs)
        mask = valid if mask is None else mask if valid is None else mask & valid
        if matlab:
            array, mask = array.T, None if mask is None else mask.T
        return _decoded(array, mask, "HDF5")


def _refuse_links(content: h5py.File, name: str) -> None:
    """Links out of the file on the way to a dataset: reading it would open whatever they name."""
    path = ""
    for part in filter(None, name.split("/")):
        path += "/" + part
        try:
            link = content.get(path, getlink=True)
        except (KeyError, ValueError):
            return
        if isinstance(link, h5py.ExternalLink):
            raise ItemError("unsupported", f"{path!r} is a link to another file; name that file itself")
        if isinstance(link, h5py.SoftLink):
            raise ItemError("unsupported", f"{path!r} is a link to {link.path!r}; name that dataset itself")


def _only_dataset(content: h5py.File) -> str:
    names = _datasets(content)
    if len(names) != 1:
        raise ItemError("unsupported", f"{len(names)} datasets ({_listed(content)}); ask for file.h5:dataset")
    return names[0]


def _datasets(content: h5py.File) -> list[str]:
    """Names of all datasets but the dimension scales of netCDF, which are axes."""
    names: list[str] = []

    def note(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset) and _text(node.attrs.get("CLASS")) != "DIMENSION_SCALE":
            names.append(name)

    content.visititems(note)
    return names


def _listed(content: h5py.File) -> str:
    names = _datasets(content)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "none"


def _check_array(
    shape: tuple[int, ...], dtype: np.dtype, stored: int, pixel_limit: int, channels: bool
) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ItemError("unsupported", f"an array of type {dtype}; an image is integers, floats or booleans")
    bands = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or (bands not in (1, 3) and not channels):
        raise ItemError(
            "unsupported",
            f"an array of shape {shape}; an image is (H, W) or (H, W, 3), and colour=channels reads (H, W, C) as "
            "C planes",
        )
    check_size(shape[1], shape[0], 1, 2**62)
    check_size(
        shape[1] * -(-bands // 4),
        shape[0],
        bool(bands),
        pixel_limit,
        stored=stored,
        pixel_bytes=4 * dtype.itemsize,
    )


def _check_kind(dataset: h5py.Dataset) -> None:
    """Refuse what is stored elsewhere, what is an index, and chunks that unpack to more than they declare."""
    if dataset.is_virtual or dataset.external:
        raise ItemError("unsupported", "its values stand in other files; copy them into one dataset")
    for key in ("IMAGE_SUBCLASS", "PALETTE"):  # HDF5 Image and Palette Specification 1.2
        if _text(dataset.attrs.get(key)) == "IMAGE_INDEXED" or (key == "PALETTE" and key in dataset.attrs):
            raise ItemError(
                "unsupported", "its values are indices of a palette; store the colours, (H, W, 3)"
            )
    if dataset.chunks is None:
        return
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    if filters.count(_DEFLATE) > 1:
        raise ItemError("decompression_bomb", "its chunks are compressed twice; store them once")
    if _DEFLATE not in filters:
        return
    declared = prod(dataset.chunks) * dataset.dtype.itemsize
    for number in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(number)
        if info.size * _DEFLATE_FOLD <= max(_CHUNK_BYTES, declared):
            continue
        _, raw = dataset.id.read_direct_chunk(info.chunk_offset)
        room = declared + 2**16  # checksums of other filters
        if len(zlib.decompressobj().decompress(raw, room + 1)) > room:
            raise ItemError(
                "decompression_bomb", f"chunk {number} unpacks to more than the {declared} bytes declared"
            )


def _written(dataset: h5py.Dataset) -> np.ndarray | None:
    """(H, W), False in chunks that were never written, whose values HDF5 makes up; None where all were."""
    if dataset.id.get_storage_size() == 0:
        raise ItemError("unsupported", "the dataset was declared, and no value was ever written to it")
    if dataset.chunks is None:
        return None
    grid = [range(0, side, step) for side, step in zip(dataset.shape, dataset.chunks, strict=True)]
    count = dataset.id.get_num_chunks()
    if count == prod(map(len, grid)):
        return None
    there = {dataset.id.get_chunk_info(i).chunk_offset for i in range(count)}
    mask = np.ones(dataset.shape, bool)
    for start in product(*grid):
        if start not in there:
            mask[tuple(slice(at, at + step) for at, step in zip(start, dataset.chunks, strict=True))] = False
    return _over_bands(mask)


def _over_bands(mask: np.ndarray) -> np.ndarray:
    return np.asarray(np.all(mask, axis=-1)) if mask.ndim == 3 else mask


def _converted(array: np.ndarray, attrs: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Values as netCDF4 and xarray read them, and where they are valid, (H, W)."""
    if _text(attrs.get("_Unsigned")).lower() == "true" and array.dtype.kind == "i":
        array = array.view(array.dtype.str.replace("i", "u"))
    valid = np.ones(array.shape, bool)
    for key in ("_FillValue", "missing_value"):
        for value in _numbers(attrs, key):
            valid &= array != value.astype(array.dtype)
    low, high = _numbers(attrs, "valid_min"), _numbers(attrs, "valid_max")
    if len(both := _numbers(attrs, "valid_range")) == 2:
        low, high = both[:1], both[1:]
    if len(low):
        valid &= array >= low[0]
    if len(high):
        valid &= array <= high[0]
    scale, offset = _numbers(attrs, "scale_factor"), _numbers(attrs, "add_offset")
    if len(scale):
        array = array * scale[0]
    if len(offset):
        array = array + offset[0]
    return array, None if valid.all() else _over_bands(valid)


def _numbers(attrs: Any, key: str) -> np.ndarray:
    values = np.atleast_1d(np.asarray(attrs.get(key, ())))
    return values if values.dtype.kind in "iuf" else values[:0]


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")


def _decoded(array: np.ndarray, mask: np.ndarray | None, kind: str) -> Decoded:
    mode = "x".join(map(str, array.shape[2:])) or "2-D"
    attrs = {"format": kind, "mode": mode, "exif_orientation": 1, "icc_profile": b""}
    return [Page(array[..., 0] if array.shape[2:] == (1,) else array, None, mask)], attrs
