"""Bands and tiles of a large picture, worked on one after the other with what lies around them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil, isqrt, prod
from typing import NamedTuple, TypeVar

# Values of a picture that scikit-image works on at once, 10 to 20 arrays of 32 MB; larger pictures go in bands.
VALUES_AT_ONCE = 2**22


T = TypeVar("T")
R = TypeVar("R")


class RowBand(NamedTuple):
    """Rows `first` to `stop` of a picture, seen with their surroundings, rows `start` to `end`."""

    first: int
    stop: int
    start: int
    end: int

    @property
    def inner(self) -> slice:
        """The rows of the band among those that are seen."""
        return slice(self.first - self.start, self.stop - self.start)


def row_bands(rows: int, height: int, halo: int, *, step: int = 1) -> Iterator[RowBand]:
    """Bands of about equal height, at most `height` where that is a multiple of `step`; all rows where they fit.

    Parameters
    ----------
    rows : int
        Of the picture.
    height : int
        Most rows of a band without its surroundings.
    halo : int
        Rows above and below that a result depends on.
    step : int
        Bands, and what is seen of the picture, begin at multiples of it.
    """
    count = ceil(rows / max(1, height))
    each = ceil(rows / count / step) * step
    for first in range(0, rows, each):
        stop = min(first + each, rows)
        yield RowBand(first, stop, max(0, first - halo) // step * step, min(rows, stop + halo))


def tiles(shape: tuple[int, ...], most: int, halo: int) -> Iterator[tuple[RowBand, RowBand]]:
    """Rows and columns of parts of a picture (H, W) or (H, W, C), about square, of at most so many values without their
    surroundings; all of it where it fits."""
    height, width = shape[:2]
    pixels = most // prod(shape[2:])
    for columns in row_bands(width, width if height * width <= pixels else isqrt(pixels), halo):
        for rows in row_bands(height, pixels // (columns.stop - columns.first), halo):
            yield rows, columns


def in_order(work: Callable[[T], R], jobs: Iterable[T], pool: ThreadPoolExecutor, most: int) -> Iterator[R]:
    """Results in the order of the jobs, at most so many ahead of whoever takes them, so that no more are held."""
    ahead: deque[Future[R]] = deque()
    for job in jobs:
        ahead.append(pool.submit(work, job))
        if len(ahead) > most:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
