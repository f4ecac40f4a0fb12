"""Compressed sparse matrices in HDF5 groups, read as their writers mean them.

AnnData says ``encoding-type``, before version 0.7 ``h5sparse_format``; 10x Genomics stores features by barcodes by
columns, with the shape as a dataset; MATLAB v7.3 by columns, as data, ir and jc; svdflow and others by rows.
"""

from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

from svdflow.matrix.bounded import refuse_bloated, refuse_unfit, refuse_unheld
from svdflow.matrix.formats.hdf5_chunks import open_for_reading, read_vector
from svdflow.matrix.formats.hdf5_source import complex_of
from svdflow.matrix.formats.hdf5_written import refuse_unwritten
from svdflow.matrix.links import located
from svdflow.matrix.sparse import compressed
from svdflow.store import read_array
from svdflow.store.arrays import SUFFIX

PARTS = ("data", "indices", "indptr")
ENCODINGS = {"csr_matrix": "csr", "csc_matrix": "csc"}


def is_sparse(group: h5py.Group) -> bool:
    """Whether a group holds a compressed sparse matrix of a kind that is read."""
    return "MATLAB_sparse" in group.attrs or _format(group) is not None


def read_sparse(group: h5py.Group, path: str, allow_links: bool = False) -> sp.csr_array | sp.csc_array:
    """The matrix of a group, its index arrays checked against its shape.

    Raises
    ------
    ValueError
        They do not fit, or are not what they declare; the message names file and group.
    """
    name = f"{path}:{group.name}"
    if "MATLAB_sparse" in group.attrs:
        return _matlab(group, path, name, allow_links)
    kind = _format(group)
    assert kind is not None
    shape = _shape(group, path, allow_links)
    data, indices, indptr = (_part(path, group, part, allow_links) for part in PARTS)
    return compressed(kind, data, indices, indptr, shape, name)


def _format(group: h5py.Group) -> str | None:
    """csr, csc, or None where it is no compressed matrix."""
    if not all(part in set(group) for part in PARTS):
        return None
    encoding = _text(group.attrs.get("encoding-type", ""))
    if encoding:
        return ENCODINGS.get(encoding)
    legacy = _text(group.attrs.get("h5sparse_format", ""))
    if legacy:
        return legacy if legacy in ("csr", "csc") else None
    if "shape" in group.attrs:
        return "csr"
    # 10x: one column a barcode.
    return "csc" if "shape" in set(group) else None


def _shape(group: h5py.Group, path: str, allow_links: bool) -> tuple[int, ...]:
    for key in ("shape", "h5sparse_shape"):
        if key in group.attrs:
            return tuple(np.asarray(group.attrs[key]).ravel().tolist())
    if "shape" in set(group):
        return tuple(_part(path, group, "shape", allow_links).ravel().tolist())
    raise ValueError(f"{path}:{group.name}: the sparse matrix does not say its shape")


def _matlab(group: h5py.Group, path: str, name: str, allow_links: bool) -> sp.csc_array:
    pointers = _part(path, group, "jc", allow_links)
    shape = (int(group.attrs["MATLAB_sparse"]), len(pointers) - 1)
    if "data" not in set(group):  # no entry at all
        return compressed("csc", np.zeros(0), np.zeros(0, np.int32), pointers, shape, name)
    data = _part(path, group, "data", allow_links)
    pairs = complex_of(data.dtype)
    data = data if pairs is None else data.view(pairs)
    if _text(group.attrs.get("MATLAB_class", "")) == "logical":
        data = data.astype(bool)
    return compressed("csc", data, _part(path, group, "ir", allow_links), pointers, shape, name)


def _part(path: str, group: h5py.Group, part: str, allow_links: bool) -> np.ndarray:
    """One array of the group, in memory; its size is checked against what is stored."""
    place = located(path, f"{group.name}/{part}", allow_links)
    if place is None:
        raise ValueError(f"{path}:{group.name}: has no {part}, which its sparse matrix needs")
    with open_for_reading(place[0]) as file:
        stored = file[place[1]]
        name = f"{place[0]}:{place[1]}"
        if not isinstance(stored, h5py.Dataset) or len(stored.shape or ()) != 1:
            if (
                part != "shape"
                and isinstance(stored, h5py.Dataset)
                and sorted(stored.shape or ())[:-1] == [1]
            ):
                return stored[...].ravel()
            raise ValueError(f"{name}: is no array of one dimension, as its sparse matrix needs")
        if not stored.size:
            return np.zeros(0, stored.dtype)
        refuse_unwritten(stored, place[0], allow_links)
        refuse_bloated(stored, name)
        refuse_unfit(2 * stored.size * stored.dtype.itemsize, name)
        if not stored.chunks and not stored.is_virtual and not stored.external:
            refuse_unheld(stored.size * stored.dtype.itemsize, stored.id.get_storage_size(), name)
        if stored.name + SUFFIX in file:
            return read_array(stored)
        return read_vector(stored, name)


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
