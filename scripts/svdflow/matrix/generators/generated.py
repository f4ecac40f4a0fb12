"""A matrix that is computed where it is read: tiles of rows, noise, and what is known of its spectrum."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from svdflow.matrix.generators.randomness import normal, stream, tile_height

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Bytes of a panel that is computed at once; it moves memory and no bit, for rows are computed in tiles.
PANEL_BYTES = 8 * 2**20  # values that are computed at a time: some tiles, within the last-level cache
# Up to this shorter side, and to so many entries (128 MB of float64, the dense copy that LAPACK needs), the spectrum
# of a family without a formula is computed: seconds. Beyond, nothing is known of it. Chosen.
# The singular values of a matrix without a formula for them are computed by LAPACK up to this smaller side, some
# seconds; above it they are not known. docs/options.md names it for each family.
COMPUTED_SIDE = 2000
COMPUTED_ENTRIES = 16_000_000

Tile = Callable[[int, int], np.ndarray]
SparseTile = Callable[[int, int], "csr_array"]


@dataclass(frozen=True)
class Truth:
    """Known singular values, descending, and how they are known.

    Attributes
    ----------
    values : array, shape (min(m, n),), float64
    label : str
        ``exact`` (built from the spectrum), ``clean`` (of the noise-free part), ``computed`` (LAPACK,
        float64) or ``theory``.
    note : str
        One sentence for whoever reads the file.
    """

    values: np.ndarray
    label: str
    note: str


@dataclass(frozen=True)
class GeneratedMatrix:
    """A dense matrix of a synthetic family, any rows of which can be computed alone.

    Rows are always computed in the tiles of `tile_height` rows that cover them, so their bits depend on
    neither the height of a panel nor the order of reads. Memory: the rows asked for, a few tiles, and
    what the family keeps, (m + n) times a small number.

    Attributes
    ----------
    shape, dtype
        Of the matrix. Tiles are computed in float64 or complex128 and rounded once.
    tile : function
        ``tile(start, stop)`` gives noise-free rows; called on tile boundaries only.
    noise : float
        Standard deviation of the white Gaussian noise of an entry (complex: E|e|^2 = noise^2).
    seed : int
    find_truth : function
        Gives the `Truth`, or None where nothing is known.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    tile: Tile
    noise: float = 0.0
    seed: int = 0
    find_truth: Callable[["GeneratedMatrix"], Truth | None] = lambda _: None

    sparse = False

    @property
    def panel_height(self) -> int:
        """Rows of a panel of about 8 MB, a whole number of tiles."""
        tile = tile_height(self.shape[1])
        row = self.shape[1] * self.dtype.itemsize
        return max(1, PANEL_BYTES // (row * tile)) * tile

    def read(self, start: int, stop: int) -> np.ndarray:
        """Observed rows ``start:stop``: the noise-free ones plus noise."""
        return self._rows(start, stop, with_clean=False)[0]

    def panels(self, height: int | None = None, with_clean: bool = False) -> Iterator["Panel"]:
        """All panels in order: (first row, observed rows, noise-free rows or None)."""
        rows = self.shape[0]
        height = height or self.panel_height
        for start in range(0, rows, height):
            yield start, *self._rows(start, min(start + height, rows), with_clean)

    def truth(self) -> Truth | None:
        """The singular values, where they are known."""
        return self.find_truth(self)

    def _rows(self, start: int, stop: int, with_clean: bool) -> tuple[np.ndarray, np.ndarray | None]:
        observed = np.empty((stop - start, self.shape[1]), self.dtype)
        clean = np.empty_like(observed) if with_clean else None
        for low, high in tiles(self.shape[0], tile_height(self.shape[1]), start, stop):
            piece = self.tile(low, high)
            wanted = slice(max(start, low) - low, min(stop, high) - low)
            place = slice(max(start, low) - start, min(stop, high) - start)
            if clean is not None:
                clean[place] = piece[wanted]
            if self.noise > 0:
                piece = piece + self._noise(low, piece.shape)
            observed[place] = piece[wanted]
        return observed, clean

    def _noise(self, low: int, shape: tuple[int, ...]) -> np.ndarray:
        generator = stream(self.seed, "noise", low // tile_height(self.shape[1]))
        return self.noise * normal(generator, shape, self.dtype.kind == "c")


Panel = tuple[int, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class GeneratedSparseMatrix:
    """A CSR matrix of a synthetic family; see `GeneratedMatrix`.

    Attributes
    ----------
    tile_height : int
        Rows that `tile` computes at once.
    entries : int
        Stored entries of the whole matrix, known before any row is computed.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    tile: SparseTile
    tile_height: int
    entries: int
    index_dtype: np.dtype
    find_truth: Callable[["GeneratedSparseMatrix"], Truth | None] = lambda _: None

    sparse = True
    noise = 0.0

    @property
    def density(self) -> float:
        """Stored entries over m n."""
        return self.entries / (self.shape[0] * self.shape[1])

    @property
    def panel_height(self) -> int:
        """Rows of a panel of about 8 MB of stored entries, a whole number of tiles."""
        row = self.entries / self.shape[0] * (self.dtype.itemsize + self.index_dtype.itemsize)
        return max(1, int(PANEL_BYTES / (row * self.tile_height))) * self.tile_height

    def read(self, start: int, stop: int) -> "csr_array":
        """Rows ``start:stop``, indices sorted."""
        pieces = []
        for low, high in tiles(self.shape[0], self.tile_height, start, stop):
            pieces.append(self.tile(low, high)[max(start, low) - low : min(stop, high) - low])
        from scipy.sparse import vstack  # on use: most families are dense

        return vstack(pieces, format="csr") if len(pieces) > 1 else pieces[0]

    def panels(self, height: int | None = None) -> Iterator[tuple[int, "csr_array"]]:
        """All panels in order: (first row, rows)."""
        rows = self.shape[0]
        height = height or self.panel_height
        for start in range(0, rows, height):
            yield start, self.read(start, min(start + height, rows))

    def truth(self) -> Truth | None:
        """The singular values, where they are known."""
        return self.find_truth(self)


def tiles(rows: int, height: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Row ranges of the whole tiles that cover ``start:stop`` of a matrix with `rows` rows."""
    for low in range(start // height * height, stop, height):
        yield low, min(low + height, rows)


def computed_truth(matrix: GeneratedMatrix | GeneratedSparseMatrix) -> Truth | None:
    """Singular values by LAPACK in float64, of the stored numbers; None past min side 2000."""
    rows, columns = matrix.shape
    if min(rows, columns) > COMPUTED_SIDE or rows * columns > COMPUTED_ENTRIES:
        return None
    stored = matrix.read(0, rows)
    dense = stored if isinstance(stored, np.ndarray) else stored.toarray()
    values = np.linalg.svd(dense.astype(np.result_type(dense.dtype, np.float64)), compute_uv=False)
    return Truth(values, "computed", "LAPACK gesdd in float64 on the stored numbers; error about n eps s_1")
