"""Whether the values of an HDF5 dataset were ever written: the library reads zeros where nothing was."""

import math
import os

import h5py

from svdflow.errors import LinkError, UnwrittenError
from svdflow.matrix.links import located, referred

USER_DEFINED = 2  # H5D_FILL_VALUE_USER_DEFINED
DEEPEST = 8  # virtual datasets of virtual datasets that are followed; deeper ones are refused. Chosen


def refuse_unwritten(dataset: h5py.Dataset, path: str, allow_links: bool = False, depth: int = 0) -> None:
    """Raise UnwrittenError or LinkError where the library would read fill values for what is not there.

    Parameters
    ----------
    dataset : h5py.Dataset
    path : str
        Of its file, for messages and for files beside it.
    allow_links : bool
        Follow references to files outside the folder.

    Notes
    -----
    Chunks that were never written stand for the fill value only where the file sets one: then leaving them out is
    a way to store them. HDF5's own fill value, zero, is what an unfinished file reads as. A dataset without any
    chunk is refused in any case.
    """
    name = f"{path}:{dataset.name}"
    if dataset.is_virtual:
        _refuse_gaps(dataset, path, name, allow_links, depth)
    elif dataset.external:
        _refuse_short(dataset, path, name, allow_links)
    elif dataset.chunks:
        total = math.prod(-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks))
        found = dataset.id.get_num_chunks()
        if not found:
            raise UnwrittenError(
                f"{name}: was created and never written: none of its {total} chunks is there"
            )
        if found < total and dataset.id.get_create_plist().fill_value_defined() != USER_DEFINED:
            raise UnwrittenError(
                f"{name}: {total - found} of its {total} chunks were never written, and it sets no fill value for "
                "them: is the file unfinished? Where zeros are meant, write them, or create it with fillvalue=0"
            )
    elif dataset.id.get_storage_size() == 0 and dataset.size:
        raise UnwrittenError(f"{name}: was created and never written: no storage was given to it")


def _refuse_gaps(dataset: h5py.Dataset, path: str, name: str, allow_links: bool, depth: int) -> None:
    """Every source of a virtual dataset must be there, as large as the part that is taken, and cover the whole."""
    if depth > DEEPEST:
        raise LinkError(f"{name}: virtual datasets refer to each other more than {DEEPEST} deep")
    covered = 0
    for source in dataset.virtual_sources():
        if any("%" in text.replace("%%", "") for text in (source.file_name, source.dset_name)):
            raise LinkError(
                f"{name}: a virtual dataset over a numbered series ({source.file_name}:{source.dset_name}) leaves no "
                "trace of missing members; make one that names its sources, or copy it into one file"
            )
        file_name = source.file_name.replace("%%", "%")
        other = path if file_name == "." else referred(path, file_name, "virtual dataset", allow_links)
        if not h5py.is_hdf5(other):
            raise LinkError(f"{name}: the source {other} of the virtual dataset is no HDF5 file")
        place = located(other, source.dset_name.replace("%%", "%"), allow_links)
        if place is None:
            raise LinkError(
                f"{name}: the source {other} of the virtual dataset has no dataset {source.dset_name!r}"
            )
        with h5py.File(place[0], "r", locking=False) as file:
            part = file[place[1]]
            taken = _taken(source.src_space, part)
            if taken is None:
                return  # an unlimited source: the shape of the dataset follows that of the source
            wanted = source.vspace.get_select_npoints()
            if taken < wanted:
                raise UnwrittenError(
                    f"{name}: {other}:{source.dset_name} is {part.shape}, less than the part that is taken of it"
                )
            refuse_unwritten(part, place[0], allow_links, depth + 1)
        covered += wanted
    if covered < dataset.size:
        raise UnwrittenError(f"{name}: {dataset.size - covered} of {dataset.size} values have no source")


def _taken(space: h5py.h5s.SpaceID, part: h5py.Dataset) -> int | None:
    """How many values of a source are taken that it has; None where the selection is unlimited."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:  # whose extent the library does not know before it reads
        return int(part.size)
    try:
        ends, count = space.get_select_bounds()[1], space.get_select_npoints()
    except RuntimeError:
        return None
    inside = len(ends) == len(part.shape) and all(end < side for end, side in zip(ends, part.shape))
    return int(count) if inside else 0


def _refuse_short(dataset: h5py.Dataset, path: str, name: str, allow_links: bool) -> None:
    """Raw data in other files must be there in full: the library reads zeros behind their ends."""
    needed = dataset.size * dataset.dtype.itemsize
    for file_name, offset, size in dataset.external:
        other = referred(path, file_name, "external raw data", allow_links)
        part = min(needed, size)
        if os.path.getsize(other) < offset + part:
            raise UnwrittenError(f"{name}: its raw data {other} end after {os.path.getsize(other)} bytes")
        needed -= part
    if needed > 0:
        raise UnwrittenError(f"{name}: {needed} bytes of it lie in no file")
