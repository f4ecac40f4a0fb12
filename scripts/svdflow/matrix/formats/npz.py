""".npz archives: one array, or a SciPy sparse matrix; what they declare is checked before it is allocated."""

import zipfile
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from svdflow.matrix.bounded import DEFLATE_RATIO, refuse_unfit, refuse_unheld
from svdflow.matrix.formats.raw import npy_header
from svdflow.matrix.sources import ArraySource, MatrixSource, SparseSource, listed
from svdflow.matrix.sparse import KINDS, compressed

PARTS = ("data", "indices", "indptr")


def open_npz(path: str, dataset: str | None) -> MatrixSource:
    """The array `dataset` of an archive, its only one, or its sparse matrix; in memory."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise ValueError(f"{path}: is not an .npz archive, or is cut short") from None
    with archive:
        held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if "format" in held and ("indptr" in held or "row" in held or "offsets" in held):
            return SparseSource(_sparse(archive, held, path), path)
        if dataset is None and len(held) == 1:
            dataset = next(iter(held))
        if dataset is None or dataset not in held:
            raise ValueError(f"{path}: no array {dataset!r}; there is {listed(list(held))}")
        return ArraySource(_array(archive, held[dataset], f"{path}:{dataset}"), f"{path}:{dataset}")


def _sparse(archive: zipfile.ZipFile, held: dict[str, zipfile.ZipInfo], path: str) -> Any:
    found = {name: _array(archive, info, f"{path}:{name}") for name, info in held.items()}
    said, shape = (
        found["format"].ravel().tolist()[:1],
        tuple(found.get("shape", np.zeros(0)).ravel().tolist()),
    )
    kind = "".join(word.decode("ascii", "replace") if isinstance(word, bytes) else str(word) for word in said)
    if kind in KINDS and all(part in found for part in PARTS):
        return compressed(kind, found["data"], found["indices"], found["indptr"], shape, path)
    try:
        if kind == "coo":
            return sp.coo_array((found["data"], (found["row"], found["col"])), shape=shape)
        if kind == "dia":
            return sp.dia_array((found["data"], found["offsets"]), shape=shape)
        if kind == "bsr":
            return sp.bsr_array(tuple(found[part] for part in PARTS), shape=shape)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: its sparse matrix is damaged ({error})") from None
    raise ValueError(f"{path}: its sparse matrix is of no format that SciPy writes, or lacks parts of it")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    """One member; its header, its length in the archive and the bytes there must agree."""
    refuse_unheld(info.file_size, info.compress_size, name, ratio=DEFLATE_RATIO if info.compress_type else 1)
    refuse_unfit(2 * info.file_size, name)
    try:
        with archive.open(info) as stream:
            shape, fortran, dtype = npy_header(stream, name)
            if dtype.hasobject:
                raise ValueError(f"{name}: entries of dtype object are not numbers; convert them first")
            count = 1
            for side in shape:
                count *= side
            if count < 0 or count * dtype.itemsize > info.file_size:
                raise ValueError(
                    f"{name}: declares shape {shape} of {dtype}, and holds {info.file_size} bytes"
                )
            return _entries(stream, shape, fortran, dtype, name)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name}: is damaged ({error})") from None


def _entries(
    stream: BinaryIO | Any, shape: tuple[int, ...], fortran: bool, dtype: np.dtype, name: str
) -> np.ndarray:
    flat = np.frombuffer(stream.read(), dtype=np.uint8)
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(flat) < needed:
        raise ValueError(f"{name}: truncated: {needed} bytes expected, {len(flat)} found")
    entries = flat[:needed].view(dtype) if dtype.itemsize else np.zeros(shape, dtype)
    return entries.reshape(shape, order="F" if fortran else "C")
