"""The two shard files: matrices (items, their observations, what is known of them) and factors.

What a reader sees; small planes and their factors, and the attributes of images, stand in stacks (`store.stacks`):

``/items/000007``               attributes name, slug, kind (image or matrix), data_range, ...
``.../observations/0/{plane}``  the item itself; levels 1, 2, ... carry added noise (attribute sigma_added)
``.../clean/{plane}``           the noise-free reference where it is not observation 0
``.../alpha``, ``.../singular_values``
``.../mask``                    uint8 (m, n), 1 where a pixel is valid, (pages, m, n) where there are several pages;
                                absent where all are. What stands under it in an observation is 0.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from svdflow.store.reading import StoredArray, StoredFile, StoredGroup, read_array, read_rows

# Characters of a source's name that become part of the names of its pictures; with the index in front and a suffix they
# stay far below the 255 bytes of a file name. Another value renames pictures. Chosen
SLUG_LENGTH = 40


@dataclass(frozen=True)
class Observation:
    """An item at one noise level. `planes` maps a plane name to its array (or CSR group)."""

    level: int
    sigma_added: float
    group: StoredGroup

    @property
    def planes(self) -> dict[str, Any]:
        return dict(self.group)

    @property
    def link(self) -> tuple[str, str] | None:
        """Path and dataset of a matrix file that is linked, not copied."""
        attrs = self.group.attrs
        return (attrs["link_path"], attrs.get("link_dataset", "")) if "link_path" in attrs else None


@dataclass(frozen=True)
class Item:
    """One image or matrix of a shard."""

    index: int
    name: str
    slug: str
    kind: str
    attrs: dict[str, Any]
    group: StoredGroup

    @property
    def observations(self) -> list[Observation]:
        levels = self.group["observations"]
        return [
            Observation(int(k), float(levels[k].attrs["sigma_added"]), levels[k])
            for k in sorted(levels, key=int)
        ]

    @property
    def clean(self) -> dict[str, Any]:
        """Noise-free reference per plane: stored, or observation 0 where noise was added to the item."""
        if "clean" in self.group:
            return dict(self.group["clean"])
        observations = self.observations
        return observations[0].planes if len(observations) > 1 else {}

    @property
    def alpha(self) -> StoredArray | None:
        return self.group.get("alpha")

    @property
    def mask(self) -> StoredArray | None:
        """Where pixels are valid, as it is stored; `mask_of` gives that of a plane. None where all are."""
        return self.group.get("mask")

    def mask_of(self, plane: str) -> np.ndarray | None:
        """Where the pixels of a plane are valid: bool (m, n), True for valid, or None where all are.

        Raises
        ------
        StoreError
            The mask does not match its checksums.
        """
        stored = self.mask
        if stored is None:
            return None
        page = int(plane.partition("_p")[2] or 0)
        values = read_rows(stored, page, page + 1)[0] if stored.ndim == 3 else read_array(stored)
        return None if values.all() else values.astype(bool)

    @property
    def gaps(self) -> int:
        """Missing pixels that nothing fills; an item with any is not factorized."""
        return 0 if self.mask is None or self.attrs.get("filled") else int(self.attrs["masked"])

    @property
    def truth(self) -> StoredArray | None:
        """Known singular values; the attribute ``label`` says how they are known."""
        return self.group.get("singular_values")


@dataclass(frozen=True)
class Factors:
    """Stored factors of one plane of one observation; `U`, `s`, `Vt` are arrays of the file."""

    index: int
    level: int
    plane: str
    group: StoredGroup

    @property
    def U(self) -> StoredArray:
        return self.group["U"]

    @property
    def s(self) -> StoredArray:
        return self.group["s"]

    @property
    def Vt(self) -> StoredArray:
        return self.group["Vt"]

    @property
    def attrs(self) -> dict[str, Any]:
        return _attributes(self.group)


def slug_of(name: str) -> str:
    """First 40 safe characters of a file's stem: ASCII letters without their accents, digits, ``_`` and ``-``."""
    stem = re.split(r"[\\/]", name)[-1]
    stem = stem.rsplit(".", 1)[0] or stem
    stem = "".join(c for c in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:SLUG_LENGTH] or "item"


def add_item(file: h5py.File, index: int, name: str, kind: str, attrs: dict[str, Any]) -> h5py.Group:
    """Begin an item of a matrices file; returns its group."""
    group = file.create_group(f"items/{index:06d}")
    for key, value in described(index, name, kind, attrs).items():
        if key != "index":
            group.attrs[key] = value
    return group


def described(index: int, name: str, kind: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that stands in a file of an item beside its arrays."""
    # A file name need not be text; HDF5 takes only what is.
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return {"index": index, "name": name, "slug": slug_of(name), "kind": kind, **attrs}


def discard_item(file: h5py.File, index: int) -> None:
    """Remove what a failed item left behind."""
    key = f"items/{index:06d}"
    if key in file:
        del file[key]


def add_observation(item: h5py.Group, level: int, sigma_added: float) -> h5py.Group:
    """Begin an observation of an item; write its planes into the group with `write_array`."""
    group = item.create_group(f"observations/{level}")
    group.attrs["sigma_added"] = float(sigma_added)
    return group


def items(file: StoredFile, only: int | None = None) -> Iterator[Item]:
    """The items of a matrices file in the order of the manifest, or the one of an index, where it is there."""
    for index, group in _by_index(file, only):
        attrs = _attributes(group)
        yield Item(index, attrs["name"], attrs["slug"], attrs["kind"], attrs, group)


def factors(file: StoredFile, only: int | None = None) -> Iterator[Factors]:
    """The stored factors of a factors file, ordered by item, level and plane, or those of one item."""
    for index, item in _by_index(file, only):
        for level in sorted(item, key=int):
            for plane, group in item[level].items():
                yield Factors(index, int(level), plane, group)


def _by_index(file: StoredFile, only: int | None) -> Iterator[tuple[int, StoredGroup]]:
    group = file.get("items", {})
    for name in sorted(group, key=int):
        if only is None or int(name) == only:
            yield int(name), group[name]


def _attributes(group: StoredGroup) -> dict[str, Any]:
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in group.attrs.items()}
