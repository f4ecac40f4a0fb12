"""What the files of a study hold of one item: matrices, factors, and what tasks kept of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.images.colour import page_of
from svdflow.registry import TASKS
from svdflow.report.select import Shown
from svdflow.store import (
    Factors,
    Item,
    Observation,
    StoredArray,
    factors,
    items,
    open_published,
    read_array,
)


@dataclass(frozen=True)
class Material:
    """What the shard files hold of one item: its matrices, its factors per level and plane, and per level, plane and
    method the estimates and maps that were kept of it."""

    item: Item
    factors: Mapping[tuple[int, str], Factors]
    kept: Mapping[tuple[int, str, str], Mapping[str, np.ndarray]] = field(default_factory=dict)

    def planes(self, level: int) -> dict[str, StoredArray]:
        """Stored planes of one observation; linked and sparse ones are no pictures."""
        found = [o for o in self.item.observations if o.level == level]
        return dense(found[0].planes) if found else {}

    def observation(self, sigma_added: float) -> Observation | None:
        """The observation with this noise level."""
        close = [o for o in self.item.observations if np.isclose(o.sigma_added, sigma_added)]
        return close[0] if close else None


class Library:
    """Finds the stored matrices and factors of an item among the files of a study.

    Parameters
    ----------
    matrices, factors : sequence of path
        Files named ``.../{dataset}/{shard}.h5``.
    tasks : sequence of path
        Files of tasks, of which those of a task that is split by methods, ``.../{task}/{dataset}/{method}/{shard}.h5``,
        may keep arrays of an item under ``/kept``.
    """

    def __init__(
        self,
        matrices: Sequence[str | Path],
        factors: Sequence[str | Path],
        tasks: Sequence[str | Path] = (),
    ) -> None:
        self._split: dict[tuple[str, int], dict[str, Path]] = {}
        split = {task.place for task in TASKS.values() if task.methods is not None}
        for path in map(Path, tasks):
            if path.parts[-4:-3] and path.parts[-4] in split:
                place = path.parent.parent.name, int(path.stem)
                self._split.setdefault(place, {})[path.parent.name] = path
        self._matrices = {_place(path): Path(path) for path in matrices}
        self._factors = {_place(path): Path(path) for path in factors}

    @contextmanager
    def open(self, shown: Shown) -> Iterator[Material | None]:
        """The stored material of an item while its files are open; None where there is none."""
        place = (shown.dataset, shown.shard)
        if place not in self._matrices or place not in self._factors:
            yield None
            return
        with ExitStack() as stack:
            matrices = stack.enter_context(open_published(self._matrices[place], "matrices"))
            stored = stack.enter_context(open_published(self._factors[place], "factors"))
            found = list(items(matrices, shown.item))
            mine = {(f.level, f.plane): f for f in factors(stored, shown.item)}
            yield Material(found[0], mine, self._kept(shown)) if found else None

    def _kept(self, shown: Shown) -> dict[tuple[int, str, str], dict[str, np.ndarray]]:
        kept = {}
        for method, path in sorted(self._split.get((shown.dataset, shown.shard), {}).items()):
            with open_published(path) as file:
                for level, planes in file.get(f"kept/{shown.item:06d}", {}).items():
                    for plane, group in planes.items():
                        arrays = {name: read_array(node) for name, node in group.items()}
                        kept[int(level), plane, method] = arrays
        return kept


def dense(planes: Mapping[str, Any]) -> dict[str, StoredArray]:
    """Stored planes of numbers, of the first page where an item has several."""
    first = min((page_of(name) for name in planes), default="")
    return {
        name: p
        for name, p in planes.items()
        if isinstance(p, StoredArray) and p.ndim == 2 and p.dtype.kind in "uifc" and page_of(name) == first
    }


def _place(path: str | Path) -> tuple[str, int]:
    """Dataset and shard, which the layout of the results folder fixes."""
    return Path(path).parent.name, int(Path(path).stem)
