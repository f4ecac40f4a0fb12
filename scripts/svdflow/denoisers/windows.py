"""Overlapping windows of a series: where they lie, their values as stacks of matrices, and their sum again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

Block = tuple[np.ndarray, ...]  # first corners of the windows of a block, axis by axis


@dataclass(frozen=True)
class Windows:
    """All windows of `size` in steps of `stride` that lie inside `shape`; the last ones touch the far border.

    Attributes
    ----------
    shape, size, stride : tuple of int
        Of the spatial axes. Every voxel lies in at least one window.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def voxels(self) -> int:
        """Voxels of a window."""
        return prod(self.size)

    def blocks(self, most: int) -> Iterator[Block]:
        """Rectangular groups of at most `most` windows, in a fixed order."""
        axes = []
        for length, size, stride in zip(
            reversed(self.shape), reversed(self.size), reversed(self.stride), strict=True
        ):
            starts = np.arange(0, length - size + 1, stride)
            if starts[-1] != length - size:
                starts = np.append(starts, length - size)
            step = min(len(starts), max(1, most))
            most //= step
            axes.append([starts[i : i + step] for i in range(0, len(starts), step)])
        yield from product(*reversed(axes))

    def values(self, series: np.ndarray, block: Block) -> np.ndarray:
        """Windows of a block as matrices (windows, voxels, T), a copy."""
        views = np.lib.stride_tricks.sliding_window_view(series, self.size, tuple(range(len(self.size))))
        chosen = views[np.ix_(*block)]
        return np.moveaxis(chosen, len(block), -1).reshape(-1, self.voxels, series.shape[-1])

    def sum(self, values: np.ndarray, block: Block) -> tuple[tuple[slice, ...], np.ndarray]:
        """Where a block lies in the series, and the sum there of its windows (windows, voxels, T).

        One axis after the other, so that a sum over w^3 offsets costs 3 w operations on arrays.
        """
        axes = len(block)
        counts = tuple(len(starts) for starts in block)
        total = values.reshape(*counts, *self.size, values.shape[-1])
        for axis, (starts, size) in enumerate(zip(block, self.size, strict=True)):
            parts = np.moveaxis(total, (axes, axis), (0, 1))
            summed = np.zeros((int(starts[-1] - starts[0]) + size, *parts.shape[2:]), values.dtype)
            for offset, part in enumerate(parts):
                summed[_places(starts - starts[0] + offset)] += part
            total = np.moveaxis(summed, 0, axis)
        place = tuple(
            slice(int(starts[0]), int(starts[-1]) + size)
            for starts, size in zip(block, self.size, strict=True)
        )
        return place, total


def smallest_window(shape: Sequence[int], at_least: int) -> tuple[int, ...]:
    """The smallest window of one odd side that holds `at_least` voxels, cut to the series where that is thinner.

    The default of MRtrix's ``dwidenoise`` (``-extent``): 5 x 5 x 5 for 64 volumes.
    """
    side = 1
    while side < max(shape) and prod(min(side, length) for length in shape) < at_least:
        side += 2
    return tuple(min(side, length) for length in shape)


def _places(index: np.ndarray) -> np.ndarray | slice:
    """A slice where the places are evenly spaced, which is several times faster."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    return slice(int(index[0]), int(index[-1]) + 1, step) if np.all(np.diff(index) == step) else index
