"""Matrices in HDF5 files: which dataset or group, and how its numbers are to be read."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from svdflow.errors import ConventionError
from svdflow.matrix.decoded import DecodedSource, FlippedSource
from svdflow.matrix.formats.conventions import TELLING, Coding, coding_of
from svdflow.matrix.formats.hdf5_chunks import open_for_reading
from svdflow.matrix.formats.hdf5_source import HDF5Source, complex_of
from svdflow.matrix.formats.hdf5_sparse import PARTS, is_sparse, read_sparse
from svdflow.matrix.links import located
from svdflow.matrix.sources import NUMERIC, ArraySource, MatrixSource, SparseSource, listed
from svdflow.matrix.sparse import compressed
from svdflow.store import StoredArray, StoredGroup, open_published, read_array
from svdflow.store.reading import COMPLETE, unwrapped
from svdflow.store.stacks import STACKS, StackedArray

MATLAB_NUMBERS = (
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
NETCDF_MARKS = ("_Netcdf4Dimid", "_Netcdf4Coordinates", "DIMENSION_LIST")


def source_of_h5(node: Any) -> MatrixSource:
    """A source of an open h5py dataset, or of a group that holds a compressed sparse matrix."""
    if isinstance(node, StoredGroup) and all(part in node for part in PARTS):
        name = f"{node.path}:{node.name}"
        data, indices, indptr = (read_array(node, part) for part in PARTS)
        shape = tuple(map(int, node.attrs["shape"]))
        return SparseSource(compressed("csr", data, indices, indptr, shape, name), name)
    if isinstance(node, StoredArray):
        node = unwrapped(node)  # the source verifies its bands itself, and reads past the HDF5 library
    if isinstance(node, h5py.Dataset):
        return _dense(HDF5Source.of(node), node)
    if isinstance(node, h5py.Group) and is_sparse(node):
        path = node.file.filename
        return SparseSource(read_sparse(node, path), f"{path}:{node.name}")
    raise ValueError(
        f"{getattr(node, 'name', node)}: neither a dataset nor a sparse group (data, indices, indptr and a shape)"
    )


def open_hdf5(
    path: str, dataset: str | None, *, fill: float | None = None, allow_links: bool = False
) -> MatrixSource:
    """A matrix of an HDF5 file; arguments as of `open_matrix`."""
    with _opened(path, dataset) as file:
        if not dataset:
            names = _matrices(file)
            if len(names) != 1:
                raise ValueError(f"{path}: {len(names)} matrices inside; name one of {listed(names)}")
            dataset = names[0]
        place = located(path, dataset, allow_links)
        stacked = place is None and STACKS in file and COMPLETE in file.attrs
        if place is None and not stacked:
            raise ValueError(f"{path}: no dataset {dataset!r}; there is {listed(_matrices(file))}")
    if place is None:
        return _stacked(path, dataset)
    with open_for_reading(place[0]) as file:
        node = file[place[1]]
        if isinstance(node, h5py.Group):
            if not is_sparse(node):
                raise ValueError(f"{path}: {dataset!r} is {_kind(node)}; there is {_known(path)}")
            return SparseSource(read_sparse(node, place[0], allow_links), f"{path}:{dataset}")
        if not isinstance(node, h5py.Dataset):
            raise ValueError(f"{path}: {dataset!r} is no dataset; there is {_known(path)}")
        refuse_odd(node, f"{path}:{dataset}")
        dense = HDF5Source(*place, allow_links=allow_links)
        return _dense(dense, node, fill)


def _stacked(path: str, dataset: str) -> MatrixSource:
    """A plane that svdflow keeps in a stack, by the name of its item."""
    with open_published(path) as file:
        if dataset not in file or not isinstance(file[dataset], StackedArray):
            raise ValueError(f"{path}: no dataset {dataset!r}; there is {_known(path)}")
        return ArraySource(read_array(file, dataset), f"{path}:{dataset}")


def _dense(source: HDF5Source, node: h5py.Dataset, fill: float | None = None) -> MatrixSource:
    """The source as its own reader gives it: decoded, and the right way round."""
    refuse_odd(node, source.name)
    if source.verified_by_svdflow:
        return source  # ours: numbers are the values
    decoded: MatrixSource = source
    coding = coding_of_dataset(node, source.dtype, source.name)
    if not coding.trivial:
        decoded = DecodedSource(source, coding, fill)
    return FlippedSource(decoded) if by_columns(node) else decoded


def coding_of_dataset(node: h5py.Dataset, dtype: np.dtype, name: str) -> Coding:
    """How the values are made of the stored numbers, of type `dtype`; errors as of `coding_of`."""
    missing = None
    if dtype.itemsize > 1 and (
        "_NCProperties" in node.file.attrs or any(mark in node.attrs for mark in NETCDF_MARKS)
    ):
        # What was never written in a netCDF file reads as its fill value, and means a missing value; bytes use all
        # their values (NetCDF Users' Guide, "Fill Values").
        properties = node.id.get_create_plist()
        if properties.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
            missing = node.fillvalue
    if dtype.kind == "c":
        missing = None
    return coding_of(_attributes(node), dtype, name, fill=missing)


def _attributes(node: h5py.Dataset) -> Mapping[str, Any]:
    """The attributes; those of types that h5py does not read say nothing of numbers, unless their name does."""
    found: dict[str, Any] = {}
    for key in node.attrs:
        try:
            found[key] = node.attrs[key]
        except (OSError, TypeError, KeyError, RuntimeError, UnicodeDecodeError):
            if key in TELLING:
                raise ConventionError(
                    f"{node.file.filename}:{node.name}: its attribute {key} cannot be read, and without it the values "
                    "are not known"
                ) from None
    return found


def refuse_odd(node: h5py.Dataset, name: str) -> None:
    """Refuse by name what looks like numbers and means something else, or holds nothing."""
    kind = _matlab_class(node)
    if kind and (kind not in MATLAB_NUMBERS or "MATLAB_object_decode" in node.attrs):
        raise ConventionError(
            f"{name}: is a MATLAB {kind}, no matrix of numbers; save the numbers as a variable"
        )
    if node.attrs.get("MATLAB_empty", 0):
        raise ValueError(f"{name}: the matrix is empty; the dataset holds its shape")
    if node.shape is None:
        raise ValueError(f"{name}: the dataset is empty and has no shape")
    names = h5py.check_enum_dtype(node.dtype)
    if names is not None:
        raise ConventionError(
            f"{name}: holds codes of an enumeration ({', '.join(list(names)[:3])}, ...), no numbers; store what they "
            "stand for"
        )
    if node.dtype.names and complex_of(node.dtype) is None:
        fields = ", ".join(node.dtype.names[:4])
        raise ConventionError(
            f"{name}: its entries are records ({fields}), no numbers; store a field as a matrix"
        )
    if (
        h5py.check_ref_dtype(node.dtype)
        or h5py.check_vlen_dtype(node.dtype)
        or h5py.check_string_dtype(node.dtype)
    ):
        raise ConventionError(
            f"{name}: entries are references, lists or text: they are not numbers; convert them first"
        )


def by_columns(node: h5py.Dataset) -> bool:
    """Whether a program with arrays in columns wrote them as they lay, which turns them round for all others."""
    octave = node.name.endswith("/value") and "OCTAVE_NEW_FORMAT" in node.parent.attrs
    return bool(_matlab_class(node)) or octave


def _matlab_class(node: Any) -> str:
    kind = node.attrs.get("MATLAB_class", b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)


def _kind(group: h5py.Group) -> str:
    said = group.attrs.get("encoding-type") or _matlab_class(group)
    said = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    return f"a group of kind {said!r}, which is not read" if said else "a group"


def _opened(path: str, dataset: str | None) -> h5py.File:
    """svdflow's own files must be complete and as they were sealed; anyone else's must open."""
    with open_for_reading(path) as file:
        ours = "schema_version" in file.attrs and "kind" in file.attrs
    if ours:
        with open_published(path) as stored:
            stored.get(dataset or "/")
    return open_for_reading(path)


def _matrices(file: h5py.File) -> list[str]:
    """Names of the matrices; MATLAB keeps cells and objects under names that begin with #."""
    found: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(name, bytes) or name.startswith("#"):  # h5py leaves names as bytes that are no text
            return
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) == 2 and _is_numeric(node):
            found.append("/" + name)
        if isinstance(node, h5py.Group) and is_sparse(node):
            found.append("/" + name)

    file.visititems(visit)
    inside = tuple(name + "/" for name in found if isinstance(file[name], h5py.Group))
    return [name for name in found if not name.startswith(inside)] if inside else found


def _known(path: str) -> str:
    with open_for_reading(path) as file:
        return listed(_matrices(file))


def _is_numeric(node: h5py.Dataset) -> bool:
    number = node.dtype.kind in NUMERIC or complex_of(node.dtype) is not None
    kind = _matlab_class(node)
    return number and (not kind or kind in MATLAB_NUMBERS)


__all__ = ["HDF5Source", "open_hdf5", "source_of_h5"]
