"""sparse_random: a sparse matrix in rows (CSR), its entries at random places."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from svdflow.matrix.generators.generated import GeneratedSparseMatrix, computed_truth
from svdflow.matrix.generators.randomness import stream
from svdflow.registry.generators.sparse_random import stored_entries
from svdflow.study.families import index_size

# A tile is drawn at once; other sizes give other matrices from the same seed.
SPARSE_TILE_ENTRIES = 2**15  # entries of a tile: half a megabyte of values and places, which stays in cache
SPARSE_TILE_ROWS = 2**20  # most rows of a tile, however sparse they are


def build(params: dict[str, Any], seed: int) -> GeneratedSparseMatrix:
    """round(density m n) entries; every tile of rows gets its share, at places drawn without replacement."""
    shape = (params["rows"], params["columns"])
    dtype = np.dtype(params["dtype"])
    total = stored_entries(params)
    index_dtype = np.dtype(f"int{8 * index_size(*shape, total)}")
    height = _sparse_tile_height(params)

    def tile(start: int, stop: int) -> csr_array:
        count = total * stop // shape[0] - total * start // shape[0]
        draws = stream(seed, "entries", start // height)
        places = np.sort(draws.choice((stop - start) * shape[1], count, replace=False, shuffle=False))
        values = draws.standard_normal(count) if params["values"] == "normal" else draws.random(count)
        lengths = np.bincount(places // shape[1], minlength=stop - start)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(index_dtype)
        columns = (places % shape[1]).astype(index_dtype)
        return csr_array((values.astype(dtype), columns, bounds), shape=(stop - start, shape[1]))

    return GeneratedSparseMatrix(shape, dtype, tile, height, total, index_dtype, computed_truth)


def _sparse_tile_height(params: dict[str, Any]) -> int:
    """Rows of a tile: a power of two that holds about 2^15 entries.

    The count of a tile is fixed, so low tiles would even out the counts of their rows.
    """
    expected = params["density"] * params["columns"]
    rows = min(SPARSE_TILE_ROWS, int(SPARSE_TILE_ENTRIES / expected))
    return 1 << max(0, rows.bit_length() - 1)
