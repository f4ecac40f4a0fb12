"""Arrays of equal shape and type as one array each, and a table that says whose they are: a shard of many small planes.

``/stacks/00000/{part}``  (count, ...), a row an entry: ``pixels`` of planes; ``U``, ``s``, ``Vt``, ``spectrum`` and
                          ``mean`` of factors
``/stacks/entries``       table: ``item``, ``level``, ``plane``, ``stack``, ``row``, and the attributes of the entry
``/stacks/items``         table of a matrices file: the attributes of the items, ``index`` among them

Whoever reads by name finds each entry where it would be without stacks: ``/items/000007/observations/0/grey`` of
matrices, ``/items/000007/0/grey`` of factors.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import h5py
import numpy as np

from svdflow.errors import DamagedError
from svdflow.store.arrays import CRC, SUFFIX
from svdflow.store.reading import REMEDY, Attributes, StoredArray, StoredFile, StoredGroup, read_array

STACKS, ITEMS, ENTRIES = "stacks", "items", "entries"
# Bytes of a band of a stack, whole entries: what one read and one checksum cover. Small, as the last band is rarely
# full and takes its place all the same. It is part of the layout of stored files, and changes no result. Chosen
STACK_BYTES = 2**17
# Arrays of more bytes are stored for themselves, in row bands; HDF5 reads bands of 4 to 16 MB at the speed of the disk
LARGEST = 2**22
BANDS_KEPT = 4  # bands of a stack that stay in memory for whoever reads entry by entry; chosen
PLACE = ("item", "level", "plane", "stack", "row")


def stacks_well(array: np.ndarray) -> bool:
    """Whether an array belongs into a stack: it is small."""
    return array.nbytes <= LARGEST


class StackWriter:
    """Write entries, those of equal shapes and types into one stack; a context manager that ends with the tables."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._stacks: dict[tuple[Any, ...], dict[str, _Rows]] = {}
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._entries: list[dict[str, Any]] = []
        self._items: list[Mapping[str, Any]] = []

    def add_item(self, attrs: Mapping[str, Any]) -> None:
        """An item of a matrices file: numbers, texts and truth values; ``index`` among them."""
        self._items.append(attrs)

    def add(
        self, entries: Sequence[tuple[int, int, str, Mapping[str, Any]]], parts: Mapping[str, np.ndarray]
    ) -> None:
        """Entries as (item, level, plane, attributes), and their arrays: every part is (len(entries), ...)."""
        kind = tuple((name, part.dtype.str, part.shape[1:]) for name, part in sorted(parts.items()))
        if kind not in self._stacks:
            self._numbers[kind] = len(self._stacks)
            group = self._file.require_group(f"{STACKS}/{self._numbers[kind]:05d}")
            self._stacks[kind] = {name: _Rows(group, name, part) for name, part in sorted(parts.items())}
        rows = self._stacks[kind]
        first = next(iter(rows.values())).count
        for offset, (item, level, plane, attrs) in enumerate(entries):
            place = (item, level, plane, self._numbers[kind], first + offset)
            self._entries.append({**dict(zip(PLACE, place, strict=True)), **attrs})
        for name, part in parts.items():
            rows[name].write(part)

    def __enter__(self) -> "StackWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for stack in self._stacks.values():
                for rows in stack.values():
                    rows.close()
            _write_records(self._file, ENTRIES, sorted(self._entries, key=_by_place))
            _write_records(self._file, ITEMS, self._items)


class _Rows:
    """One part of a stack, longer with every band."""

    def __init__(self, group: h5py.Group, name: str, like: np.ndarray) -> None:
        self.count = 0
        self._group, self._name, self._shape, self._dtype = group, name, like.shape[1:], like.dtype
        self._band = max(1, STACK_BYTES // max(1, prod(self._shape) * like.itemsize))
        self._waiting: list[np.ndarray] = []
        self._waiting_rows = 0
        self._dataset: h5py.Dataset | None = None
        self._checksums: list[int] = []

    def write(self, rows: np.ndarray) -> None:
        self.count += len(rows)
        while len(rows):
            taken, rows = np.split(rows, [self._band - self._waiting_rows])
            self._waiting.append(taken)
            self._waiting_rows += len(taken)
            if self._waiting_rows == self._band:
                self._flush()

    def close(self) -> None:
        if self._waiting_rows:
            self._flush()
        assert self._dataset is not None
        self._dataset.flush()
        self._group.create_dataset(
            self._name + SUFFIX, data=np.array(self._checksums, np.uint32), track_times=False
        )

    def _flush(self) -> None:
        band = np.ascontiguousarray(np.concatenate(self._waiting))
        self._waiting, self._waiting_rows = [], 0
        if self._dataset is None:
            shape, most = (len(band), *self._shape), (None, *self._shape)
            chunks = shape if prod(shape) else None
            self._dataset = self._group.create_dataset(
                self._name,
                shape,
                self._dtype,
                chunks=chunks,
                maxshape=most if chunks else None,
                track_times=False,
            )
        else:
            self._dataset.resize(len(self._dataset) + len(band), 0)
        self._dataset[len(self._dataset) - len(band) :] = band
        self._checksums.append(crc32(band.data))


@dataclass(frozen=True)
class Stack:
    """Entries of equal shapes: `parts` by name, each (count, ...), and `entries`, row by row, with their attributes."""

    parts: Mapping[str, StoredArray]
    entries: Sequence[Mapping[str, Any]]


def stacks(file: StoredFile) -> list[Stack]:
    """The stacks of a published file; none where all arrays stand for themselves, as in version 2."""
    if STACKS not in file:
        return []
    group = file[STACKS]
    found = {name: Stack(dict(group[name]), []) for name in group if name not in (ENTRIES, ITEMS)}
    for entry in sorted(_records(group, ENTRIES), key=_by_row):
        name = f"{entry['stack']:05d}"
        rows = found[name].entries if name in found else None
        if not isinstance(rows, list) or entry["row"] != len(rows):
            raise DamagedError(
                f"{file.filename}: row {entry['row']} of stack {name} is not what its table says; {REMEDY}"
            )
        rows.append(entry)
    return list(found.values())


class StackedArray(StoredArray):
    """A row of a stack, as the array that it is."""

    def __init__(self, stack: StoredArray, row: int, name: str, bands: "_Bands") -> None:
        self.name, self.path = name, stack.path
        self.attrs = _attributes({}, stack.path, name)
        self.shape, self.dtype, self.chunks = stack.shape[1:], stack.dtype, None
        self._row, self._bands = row, bands

    def rows(self, start: int, stop: int) -> np.ndarray:
        start, stop, _ = slice(start, stop).indices(len(self))
        return self._bands.row(self._row)[start:stop]


class _Bands:
    """The last bands of a stack that were read."""

    def __init__(self, stack: StoredArray) -> None:
        self._stack, self._height = stack, stack.chunks[0] if stack.chunks else max(1, len(stack))
        self._kept: dict[int, np.ndarray] = {}
        self._lock = Lock()

    def row(self, row: int) -> np.ndarray:
        band, place = divmod(row, self._height)
        with self._lock:
            if band not in self._kept:
                if len(self._kept) == BANDS_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[band] = self._stack.rows(band * self._height, (band + 1) * self._height)
            return self._kept[band][place].copy()


class StackedGroup(StoredGroup):
    """A group that the tables describe, with what the file holds under the same name."""

    def __init__(self, name: str, path: Path, beside: StoredGroup | None, attrs: Mapping[str, Any]) -> None:
        self.name, self.path = name, path
        self.attrs = _attributes({**(beside.attrs if beside is not None else {}), **attrs}, path, name)
        self._beside = {} if beside is None else beside
        self._names = dict.fromkeys(self._beside)
        self._children: dict[str, StoredArray | StoredGroup] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def put(self, name: str, child: StoredArray | StoredGroup) -> None:
        """Add a member."""
        self._names[name] = None
        self._children[name] = child

    def inner(self, name: str, attrs: Mapping[str, Any] | None = None) -> "StackedGroup":
        """A group in this one, made where there is none."""
        there = self._children.get(name)
        if not isinstance(there, StackedGroup):
            there = StackedGroup(f"{self.name}/{name}", self.path, self._beside.get(name), attrs or {})
            self.put(name, there)
        return there

    def _opened(self, name: str) -> StoredArray | StoredGroup:
        child: StoredArray | StoredGroup = self._beside[name]
        return child


class StackedItems(StackedGroup):
    """The group of the items, each of which is put together when it is first asked for."""

    def __init__(self, path: Path, beside: StoredGroup | None, fills: Mapping[str, "_Fill"]) -> None:
        super().__init__(f"/{ITEMS}", path, beside, {})
        self._names |= dict.fromkeys(fills)
        self._fills = fills

    def _opened(self, name: str) -> StoredArray | StoredGroup:
        if name not in self._fills:
            return super()._opened(name)
        fill = self._fills[name]
        item = StackedGroup(f"{self.name}/{name}", self.path, self._beside.get(name), fill.attrs)
        if fill.of_matrices:
            item.inner("observations")
        for stack, bands, row, entry in fill.rows:
            attrs = {k: v for k, v in entry.items() if k not in PLACE}
            level, plane = str(entry["level"]), entry["plane"]
            if fill.of_matrices:
                place, parts = item.inner("observations").inner(level, attrs), {plane: "pixels"}
            else:
                place, parts = item.inner(level).inner(plane, attrs), {part: part for part in stack.parts}
            for member, part in parts.items():
                array = StackedArray(stack.parts[part], row, f"{place.name}/{member}", bands[part])
                place.put(member, array)
        return item


@dataclass
class _Fill:
    """What an item consists of: its attributes, and rows of stacks with their entries in the table."""

    attrs: Mapping[str, Any]
    of_matrices: bool
    rows: list[tuple[Stack, Mapping[str, _Bands], int, Mapping[str, Any]]] = field(default_factory=list)


class StackedFile(StoredFile):
    """A published file with stacks: ``items`` shows what stands in them, too."""

    def __init__(self, file: h5py.File, path: Path, sealed: bool) -> None:
        super().__init__(file, path, sealed)
        self._stored = tuple(self._names)
        if STACKS in self._names and ITEMS not in self._names:
            self._names = dict.fromkeys(sorted([*self._names, ITEMS]))

    def arrays(self) -> Iterator[StoredArray]:
        for name in self._stored:
            child = super()._opened(name)
            yield from [child] if isinstance(child, StoredArray) else child.arrays()

    def _opened(self, name: str) -> StoredArray | StoredGroup:
        if name == ITEMS and STACKS in self._stored:
            return self._tree(super()._opened(name) if name in self._stored else None)
        return super()._opened(name)

    def _tree(self, beside: Any) -> StackedGroup:
        """All items: those of the stacks, with what the file holds of them and of others."""
        group = self[STACKS]
        of_matrices = ITEMS in group
        fills = {
            f"{attrs['index']:06d}": _Fill({k: v for k, v in attrs.items() if k != "index"}, of_matrices)
            for attrs in _records(group, ITEMS)
        }
        for stack in stacks(self):
            bands = {name: _Bands(part) for name, part in stack.parts.items()}
            for row, entry in enumerate(stack.entries):
                fill = fills.setdefault(f"{entry['item']:06d}", _Fill({}, of_matrices))
                fill.rows.append((stack, bands, row, entry))
        return StackedItems(self.path, beside, fills)


def _by_place(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in PLACE)


def _by_row(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["stack"], entry["row"]


def _write_records(file: h5py.File, name: str, records: Sequence[Mapping[str, Any]]) -> None:
    """A table of attributes, a row a record; all have the same keys, and values of a key are of one type."""
    if not records:
        return
    columns = {key: _column([record[key] for record in records]) for key in records[0]}
    table = np.zeros(len(records), [(key, _declared(values.dtype)) for key, values in columns.items()])
    for key, values in columns.items():
        table[key] = values
    dataset = file.require_group(STACKS).create_dataset(name, data=table, track_times=False)
    dataset.attrs[CRC] = crc32(table.tobytes())


def _column(values: list[Any]) -> np.ndarray:
    if isinstance(values[0], str):
        return np.array([value.encode("utf-8", "replace") or b"" for value in values])
    return np.array(values)


def _declared(dtype: np.dtype) -> np.dtype:
    return h5py.string_dtype("utf-8", max(1, dtype.itemsize)) if dtype.kind == "S" else dtype


def _records(group: StoredGroup, name: str) -> Iterable[dict[str, Any]]:
    if name not in group:
        return []
    table = read_array(group, name)
    columns = [_values(table[key]) for key in table.dtype.names or ()]
    return [dict(zip(table.dtype.names or (), row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: np.ndarray) -> list[Any]:
    values: list[Any] = column.tolist()
    return [value.decode() for value in values] if column.dtype.kind == "S" else values


def _attributes(attrs: Mapping[str, Any], path: Path, name: str) -> Attributes:
    return Attributes(SimpleNamespace(attrs=attrs), path, name)
