"""References from a matrix file to other files: followed within its own folder, refused beyond it.

A file that was sent to you may name any other that you can read: an external link, a virtual dataset, raw data kept
outside, a chunk that is a symbolic link. ``allow_links=True`` follows these too. What the path of the file itself
passes through is the caller's, and always followed.
"""

import os
from collections.abc import Iterator

import h5py

from svdflow.errors import LinkError
from svdflow.matrix.formats.hdf5_chunks import open_for_reading

DEEPEST = 16  # links that lead to links, one after the other; HDF5 follows 16 as well (H5Pset_nlinks)


def refuse_outside(target: str, owner: str, folders: tuple[str, ...], what: str) -> None:
    """Raise LinkError unless `target` lies in one of the folders, links resolved."""
    real = os.path.realpath(target)
    for folder in folders:
        if os.path.commonpath([real, os.path.realpath(folder)]) == os.path.realpath(folder):
            return
    raise LinkError(
        f"{owner}: its {what} leads to {target}, outside the folder of the file; where you trust the file, "
        "allow_links=True (in a study: ingest: allow_links: true) follows it"
    )


def folders_of(path: str) -> tuple[str, ...]:
    """The folder of a file as it was named, and the one that it really lies in."""
    return os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))


def referred(path: str, name: str, what: str, allow_links: bool) -> str:
    """The file that the HDF5 file `path` means by `name`, as the HDF5 library looks for it beside the file.

    Raises
    ------
    LinkError
        It does not exist, or lies outside and may not be followed.
    """
    folders = folders_of(path)
    candidates = [name] if os.path.isabs(name) else []
    candidates += [os.path.join(folder, name.lstrip("/")) for folder in folders if not os.path.isabs(name)]
    candidates += [os.path.join(folder, os.path.basename(name)) for folder in folders if os.path.isabs(name)]
    for candidate in candidates:
        if os.path.isfile(candidate):
            if not allow_links:
                refuse_outside(candidate, path, folders, what)
            return candidate
    if not allow_links and os.path.isabs(name):
        refuse_outside(name, path, folders, what)
    raise LinkError(
        f"{path}: its {what} names the file {name}, which is not there; nothing stands for its values"
    )


def located(path: str, name: str, allow_links: bool, depth: int = 0) -> tuple[str, str] | None:
    """File and name where a name within an HDF5 file leads, through soft and external links; None where nothing is."""
    if depth > DEEPEST:
        raise LinkError(f"{path}: {name!r} leads through more than {DEEPEST} links, perhaps in a circle")
    with h5py.File(path, "r", locking=False) if depth else open_for_reading(path) as file:
        return _walked(
            file, path, [part for part in name.split("/") if part not in ("", ".")], allow_links, depth
        )


def _walked(
    file: h5py.File, path: str, parts: list[str], allow_links: bool, depth: int
) -> tuple[str, str] | None:
    group: h5py.Group = file
    for place, part in enumerate(parts):
        if not isinstance(group, h5py.Group):
            return None
        link = group.get(part, getlink=True) if _holds(group, part) else None
        rest = "/".join(parts[place + 1 :])
        if isinstance(link, h5py.ExternalLink):
            target = referred(path, link.filename, f"external link {part!r}", allow_links)
            if not h5py.is_hdf5(target):
                raise LinkError(
                    f"{path}: its external link {part!r} leads to {target}, which is no HDF5 file"
                )
            return located(target, f"{link.path}/{rest}", allow_links, depth + 1)
        if isinstance(link, h5py.SoftLink):
            start = "" if link.path.startswith("/") else group.name
            return located(path, f"{start}/{link.path}/{rest}", allow_links, depth + 1)
        if link is None:
            return None
        group = group[part]
    return path, "/" + "/".join(parts)


def _holds(group: h5py.Group, part: str) -> bool:
    return bool(group.id.links.exists(part.encode()))


def refuse_links_of_store(store: str) -> None:
    """Raise LinkError where a file below the folder of a Zarr store is a symbolic link out of it."""
    for place in _links(store):
        refuse_outside(place, store, (store,), f"symbolic link {os.path.relpath(place, store)!r}")


def _links(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                yield from _links(entry.path)
