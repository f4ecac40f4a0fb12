"""Reading published files: every number comes after its checksum, every name and attribute after that of its node.

`open_published` hands out the wrappers of this module and no h5py object, so a stage cannot read past the checksums.
A node is a group or an array. What is known of it beside its numbers (name, members, shape, type, band checksums and
attributes) is digested in its attribute ``structure`` when the file is sealed, and compared when the node is first
looked at. HDF5 itself protects most of that, but not the heap in which it keeps text.
"""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from svdflow.errors import DamagedError, MissingError, StoreError
from svdflow.store.arrays import CRC, SUFFIX, band_checksums, checked_rows

STRUCTURE = "structure"
COMPLETE = "complete"
REMEDY = "run again: 'make resume' finds and makes anew what a study lost"


class StoredArray:
    """An array of a published file. However it is read, its numbers come after their checksums.

    Attributes
    ----------
    name, shape, dtype, attrs
        As h5py has them; `attrs` is a plain mapping.
    """

    def __init__(self, node: h5py.Dataset, name: str, path: Path, sealed: bool) -> None:
        self.name, self.path = name, path
        self._node = node
        with damage(path, name):
            self.attrs = Attributes(node, path, name)
            self.shape: tuple[int, ...] = node.shape
            self.dtype: np.dtype = node.dtype
            self.chunks: tuple[int, ...] | None = node.chunks
            self._checksums = band_checksums(node)
            if sealed:
                self.attrs.compare(node)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape, dtype=np.int64)))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.rows(0, len(self)).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        """As h5py's, but bands are read whole, since a part of one has no checksum."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice) and first.step in (None, 1):
            start, stop, _ = first.indices(len(self))
            return self.rows(start, max(start, stop))[(slice(None), *rest)]
        return self.rows(0, len(self))[key]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """What `read_rows` returns."""
        start, stop, _ = slice(start, stop).indices(len(self))
        with damage(self.path, self.name):
            if CRC in self.attrs:
                whole = self._node[...]
                if zlib.crc32(whole.tobytes()) != self.attrs[CRC]:
                    raise StoreError("its bytes are damaged")
                return whole[start:stop]
            return checked_rows(self._node, self._checksums, start, stop)


class StoredGroup(Mapping[str, Any]):
    """A group of a published file: a mapping of names to `StoredArray` and `StoredGroup`, in sorted order.

    Names may be paths, ``group["items/000000"]``; one that is not there raises `MissingError`, which is a KeyError and
    a StoreError. Checksums of arrays are not among the names.
    """

    def __init__(self, node: h5py.Group, name: str, path: Path, sealed: bool) -> None:
        self.name, self.path = name, path
        self._node, self._sealed = node, sealed
        self._children: dict[str, StoredArray | StoredGroup] = {}
        with damage(path, name):
            self.attrs = Attributes(node, path, name)
            # Without values, in order: a shard has thousands of items, and each is looked for by name.
            self._names = dict.fromkeys(sorted(member for member in node if not member.endswith(SUFFIX)))
            if sealed:
                self.attrs.compare(node)

    def __getitem__(self, key: str) -> Any:
        first, _, rest = key.strip("/").partition("/")
        if first not in self._names:
            raise MissingError(f"{self.path}: no {first!r} in {self.name}; {REMEDY}")
        if first not in self._children:
            self._children[first] = self._opened(first)
        child = self._children[first]
        if not rest:
            return child
        if isinstance(child, StoredArray):
            raise MissingError(f"{self.path}: {child.name} is an array; it holds no {rest!r}")
        return child[rest]

    def __contains__(self, key: object) -> bool:  # a Mapping's own would open what it looks for
        first, _, rest = str(key).strip("/").partition("/")
        return first in self._names and (not rest or Mapping.__contains__(self, key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _opened(self, name: str) -> "StoredArray | StoredGroup":
        """A member, looked at for the first time."""
        path = f"{self.name.rstrip('/')}/{name}"
        with damage(self.path, path):
            node = self._node[name]
        kind = StoredArray if isinstance(node, h5py.Dataset) else StoredGroup
        return kind(node, path, self.path, self._sealed)

    def arrays(self) -> Iterator[StoredArray]:
        """Every array at any depth."""
        for child in self.values():
            if isinstance(child, StoredArray):
                yield child
            else:
                yield from child.arrays()


class StoredFile(StoredGroup):
    """A published file, open for reading; its root group."""

    def __init__(self, file: h5py.File, path: Path, sealed: bool) -> None:
        super().__init__(file["/"], "/", path, sealed)
        self.filename = str(path)


class Attributes(dict[str, Any]):
    """The attributes of a node as h5py gives them, without its digest; one that is missing raises `MissingError`."""

    def __init__(self, node: h5py.Group | h5py.Dataset, path: Path, name: str) -> None:
        super().__init__(node.attrs.items())
        self._path, self._name, self._digest = path, name, self.pop(STRUCTURE, None)

    def compare(self, node: h5py.Group | h5py.Dataset) -> None:
        """Raise StoreError where the digest of the node is not that of what it has."""
        if structure(node, self._name, self) != self._digest:
            raise StoreError("names, types or attributes are damaged")

    def __missing__(self, key: str) -> Any:
        raise MissingError(f"{self._path}: {self._name} has no attribute {key!r}; {REMEDY}")


def read_rows(stored: StoredArray | h5py.Dataset, start: int, stop: int) -> np.ndarray:
    """Rows ``start:stop``, verified against the crc32 of every band that they touch.

    Parameters
    ----------
    stored : StoredArray
        Of an open published file. A dataset of anyone's HDF5 file is taken too; it is verified where checksums stand
        beside it.

    Raises
    ------
    StoreError
        A band does not match its checksum, or the file cannot be read; the message names file, array and rows.
    """
    if isinstance(stored, StoredArray):
        return stored.rows(start, stop)
    checksums = band_checksums(stored)
    return stored[start:stop] if checksums is None else checked_rows(stored, checksums, start, stop)


def read_array(
    group: StoredGroup | StoredArray | h5py.Group | h5py.Dataset, name: str | None = None
) -> np.ndarray:
    """A whole array, verified."""
    stored: Any = group if name is None else group[name]
    return read_rows(stored, 0, stored.shape[0])


def unwrapped(stored: StoredArray) -> h5py.Dataset:
    """The dataset itself, for the two readers that verify what they read in another way.

    `svdflow.matrix.formats.hdf5` reads bands outside the HDF5 library, archives have a checksum for each of their
    streams.
    tests/unit/test_reading_verified.py holds that nothing else calls this.
    """
    return stored._node


def seal_nodes(file: h5py.File) -> None:
    """Give every node its digest, and the file its last attribute."""

    def visit(node: h5py.Group | h5py.Dataset, name: str) -> None:
        node.attrs[STRUCTURE] = structure(node, name)
        if isinstance(node, h5py.Group):
            for member in sorted(node):
                if not member.endswith(SUFFIX):
                    visit(node[member], f"{name.rstrip('/')}/{member}")

    visit(file["/"], "/")
    file.attrs[COMPLETE] = True


def structure(node: h5py.Group | h5py.Dataset, name: str, attrs: Mapping[str, Any] | None = None) -> int:
    """crc32 of all that is known of a node beside its numbers; `attrs` are its attributes, where they were read before.

    Of the text ``repr`` of a list: name; attributes sorted by name as (name, type, shape, value), without
    ``structure`` and ``complete``; of a group the sorted names of its members, of an array its shape, its type and the
    bytes of its band checksums.
    """
    skipped = (STRUCTURE, COMPLETE)
    attrs = dict(node.attrs.items()) if attrs is None else attrs
    facts: list[Any] = [name, [(k, *_plain(attrs[k])) for k in sorted(attrs) if k not in skipped]]
    if isinstance(node, h5py.Dataset):
        checksums = band_checksums(node)
        facts += [node.shape, _type(node.dtype), None if checksums is None else checksums.tobytes()]
    else:
        facts.append(sorted(node))
    return zlib.crc32(repr(facts).encode("utf-8", "surrogatepass"))


@contextmanager
def damage(path: Path, name: str = "") -> Iterator[None]:
    """What reading a damaged file raises, in h5py or on the way, becomes a StoreError with the path."""
    where = f"{path}: {name}" if name not in ("", "/") else str(path)
    try:
        yield
    except MissingError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        said = str(error)
        text = said if isinstance(error, StoreError) else f"cannot be read, so it is damaged ({said})"
        if text.startswith(str(path)):
            raise
        raise DamagedError(f"{where}: {text}; {REMEDY}") from error


def _type(dtype: np.dtype) -> Any:
    return dtype.descr if dtype.names else dtype.str


def _plain(value: Any) -> tuple[Any, ...]:
    """Type, shape and value of an attribute as builtins, the same for every version of numpy and h5py."""
    if isinstance(value, str | bytes):
        return type(value).__name__, (), value
    if isinstance(value, h5py.Empty):
        return "empty", (), ""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return "texts", array.shape, [str(text) for text in array.ravel()]
    return array.dtype.str, array.shape, array.tobytes()
