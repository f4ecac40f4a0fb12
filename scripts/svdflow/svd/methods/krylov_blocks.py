"""How a block Krylov space grows: the widths of its blocks, and the rows that the first of them is learnt from."""

from itertools import pairwise

import numpy as np

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Target
from svdflow.svd.random_blocks import uniform
from svdflow.svd.widths import FIRST_BLOCK, SPARSE_WIDTH, first_width

# Reads at most where `max_reads` is not given; more for the narrower blocks of a sparse matrix. They bound the basis in
# memory, and spectra that need more end with a warning and the reason max_reads (chosen).
MAX_READS, SPARSE_READS = 16, 24
# Columns of the blocks of an operator, whose products mostly cost what their columns do. Over ten spectra, three
# tolerances and four seeds it multiplied 0.80 times the columns of blocks of 32 for k = 20, and 0.58 times those of
# blocks of 64 for k = 50, in about twice as many reads; 2 of 360 results missed their tolerance, by a tenth, and 4
# of those of wide blocks. With 8 columns some missed it twofold.
OPERATOR_WIDTH = 16
LARGEST_BLOCK = 256  # columns to which blocks double where the rank is not known beforehand (chosen)
# The first block is learnt from SAMPLE_ROWS rows for each of its columns, in SAMPLE_BANDS bands spread over the matrix
# (chosen: 4 bands took as many reads to 1 %; benchmarks/results/constants.md).
SAMPLE_ROWS, SAMPLE_BANDS = 16, 16
SAMPLE_SHARE = (
    16  # the sample is at most a sixteenth of the rows, so that looking at it costs that much of a read
)


def krylov_widths(
    tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
) -> tuple[int, ...]:
    """Together at most the smaller side. A sparse matrix has a wide first block, to see values that are repeated.

    An operator has narrow blocks from the first on, and probes that see what they miss; a basis as large as another's.
    """
    side, sparse = min(tall.shape), tall.sparse
    steps = range((max_reads or (SPARSE_READS if sparse else MAX_READS)) - 1)
    if block_size is not None:
        asked = [block_size for _ in steps]
    elif target.rank is not None and tall.matrix_free and max_reads is None:
        asked = [OPERATOR_WIDTH for _ in range(MAX_READS * first_width(target.rank) // OPERATOR_WIDTH - 1)]
    elif target.rank is not None:
        first = first_width(target.rank)
        asked = [min(first, SPARSE_WIDTH) if sparse and step else first for step in steps]
    else:
        asked = [min(LARGEST_BLOCK, FIRST_BLOCK * 2**step) for step in steps]
    widths: list[int] = []
    for width in asked:
        left = side - sum(widths)
        if left:
            widths.append(min(width, left))
    return tuple(widths)


def sampled_rows(tall: MatrixSource, width: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Bands of rows to learn the first block from, one in each of as many equal strata; none where they are not few.

    They depend on the size of the matrix only, not on how it is stored, so that all layouts take the same steps.
    """
    m = tall.shape[0]
    height = -(-SAMPLE_ROWS * width // SAMPLE_BANDS)
    if tall.sparse or tall.matrix_free or m < SAMPLE_SHARE * SAMPLE_BANDS * height:
        return ()
    edges = [m * i // SAMPLE_BANDS for i in range(SAMPLE_BANDS + 1)]
    shares = uniform(seed, SAMPLE_BANDS)
    starts = [
        low + int(share * (high - low - height + 1))
        for share, (low, high) in zip(shares, pairwise(edges), strict=True)
    ]
    return tuple((start, start + height) for start in starts)


def bordered(G: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The projected matrix G with the new columns, and their adjoint as new rows."""
    old = G.shape[0]
    out = np.empty((new.shape[0], new.shape[0]), new.dtype)
    out[:old, :old] = G
    out[:, old:] = new
    out[old:, :old] = adjoint(new[:old])
    return out
