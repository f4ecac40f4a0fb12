"""Arrays that are images: .npy files and HDF5 datasets, checked by their headers before they are read."""

import os
import zlib
from math import prod
from typing import Any, BinaryIO

import h5py
import numpy as np

from svdflow.errors import ItemError, LinkError
from svdflow.images.formats.containers import Decoded, ImageFile, Page, check_size
from svdflow.matrix.formats.hdf5 import by_columns, coding_of_dataset, refuse_odd
from svdflow.matrix.formats.hdf5_chunks import open_for_reading
from svdflow.matrix.formats.hdf5_written import refuse_unwritten
from svdflow.matrix.links import located

_DEFLATE = 1  # H5Z_FILTER_DEFLATE
_DEFLATE_FOLD = 1032  # largest ratio of deflate (RFC 1951): 258 bytes in two bits
_CHUNK_BYTES = 2**28  # bytes that one compressed chunk may unpack to before it is looked at closer; chosen


def read_npy(file: ImageFile) -> Decoded:
    """The one page of a .npy file: (H, W) or (H, W, 3); (H, W, C) of any C for ``file.channels``.

    Raises
    ------
    ItemError
        ``unsupported``, ``corrupt``, ``truncated``, ``zero_size`` or ``too_large``.
    """
    with file.path.open("rb") as stream:
        return _npy(stream, file)


def _npy(stream: BinaryIO, file: ImageFile) -> Decoded:
    size = os.fstat(stream.fileno()).st_size
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ItemError("unsupported", f"npy format {version}, which holds records; save a plain array")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header(stream)
    except Exception as error:  # its text would quote the file
        code = "truncated" if "EOF" in str(error) else "corrupt"
        raise ItemError(code, "the npy header cannot be parsed; save the array again") from None
    _check_array(shape, dtype, size, file)
    needed = stream.tell() + prod(shape) * dtype.itemsize
    if size < needed:
        raise ItemError("truncated", f"shape {shape} of {dtype} needs {needed} bytes; the file has {size}")
    stream.seek(0)
    return _decoded(np.load(stream, allow_pickle=False), None, "NPY")


def read_hdf5(file: ImageFile) -> Decoded:
    """The one page of an HDF5 dataset, as the readers of netCDF, xarray and MATLAB give it.

    Packing, missing values and valid range are those of `svdflow.matrix.formats.conventions`; what is missing is False
    in the mask.

    Raises
    ------
    ItemError
        As `read_npy`; ``decompression_bomb`` for chunks that unpack to more than they declare.
    ConventionError, LinkError, UnwrittenError
        Attributes that are not decoded; a reference out of the file's folder; values that nobody wrote.
    """
    try:
        return _hdf5(file)
    except LinkError as error:
        said = str(error).partition("; where you trust")[0]
        raise ItemError("link", f"{said}; copy the values into one file, or read it as a matrix") from error


def _hdf5(file: ImageFile) -> Decoded:
    with open_for_reading(str(file.path)) as content:
        name = file.dataset or _only_dataset(content)
        known = _listed(content)
    place = located(str(file.path), name, allow_links=False)
    if place is None:
        raise ItemError("unreadable", f"no dataset {name!r} (datasets here: {known})")
    with open_for_reading(place[0]) as content:
        dataset = content[place[1]]
        if not isinstance(dataset, h5py.Dataset):
            raise ItemError("unreadable", f"{name!r} is no dataset (datasets here: {known})")
        if dataset.shape is None:
            raise ItemError("zero_size", f"dataset {name!r} is empty")
        shape = dataset.shape[::-1] if by_columns(dataset) else dataset.shape
        held = dataset.id.get_storage_size() or os.path.getsize(place[0])
        _check_array(shape, dataset.dtype, held, file)
        refuse_odd(dataset, name)
        _check_kind(dataset)
        refuse_unwritten(dataset, place[0])
        coding = coding_of_dataset(dataset, dataset.dtype, name)
        numbers = dataset[...]
        array, absent = coding.values(numbers), coding.mask(numbers)
        if by_columns(dataset):
            array, absent = array.T, None if absent is None else absent.T
    mask = None
    if absent is not None and np.any(absent):
        mask = ~(np.any(absent, axis=-1) if absent.ndim == 3 else absent)
    return _decoded(array, mask, "HDF5")


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


def _check_array(shape: tuple[int, ...], dtype: np.dtype, stored: int, file: ImageFile) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ItemError("unsupported", f"an array of type {dtype}; an image is integers, floats or booleans")
    bands = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or (bands not in (1, 3) and not file.channels):
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
        file.pixel_limit,
        stored=stored,
        pixel_bytes=4 * dtype.itemsize,
    )


def _check_kind(dataset: h5py.Dataset) -> None:
    """Refuse what is an index, and chunks that unpack to more than they declare."""
    indexed = _text(dataset.attrs.get("IMAGE_SUBCLASS")) == "IMAGE_INDEXED"
    if indexed or "PALETTE" in dataset.attrs:  # HDF5 Image and Palette Specification 1.2
        raise ItemError("unsupported", "its values are indices of a palette; store the colours, (H, W, 3)")
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


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")


def _decoded(array: np.ndarray, mask: np.ndarray | None, kind: str) -> Decoded:
    mode = "x".join(map(str, array.shape[2:])) or "2-D"
    attrs = {"format": kind, "mode": mode, "exif_orientation": 1, "icc_profile": b""}
    return [Page(array[..., 0] if array.shape[2:] == (1,) else array, None, mask)], attrs
