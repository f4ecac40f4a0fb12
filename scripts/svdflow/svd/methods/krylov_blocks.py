"""How a block Krylov space grows: the widths of its blocks, and the rows that the first of them is learnt from."""

from itertools import pairwise

from svdflow.matrix.sources import MatrixSource
from svdflow.svd.plan import Target
from svdflow.svd.random_blocks import uniform
from svdflow.svd.widths import FIRST_BLOCK, SPARSE_WIDTH, first_width

MAX_READS, SPARSE_READS = 16, 24  # where `max_reads` is not given
LARGEST_BLOCK = 256  # where the rank is not known beforehand
SAMPLE_ROWS, SAMPLE_BANDS = 16, 16  # rows over block width, and in how many bands
SAMPLE_SHARE = 16  # rows of the matrix over rows of the sample, at least


def krylov_widths(
    tall: MatrixSource, target: Target, block_size: int | None, max_reads: int | None
) -> tuple[int, ...]:
    """Together at most the smaller side. A sparse matrix has a wide first block, to see values that are repeated."""
    side, sparse = min(tall.shape), tall.sparse
    steps = range((max_reads or (SPARSE_READS if sparse else MAX_READS)) - 1)
    if block_size is not None:
        asked = [block_size for _ in steps]
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
    if tall.sparse or m < SAMPLE_SHARE * SAMPLE_BANDS * height:
        return ()
    edges = [m * i // SAMPLE_BANDS for i in range(SAMPLE_BANDS + 1)]
    shares = uniform(seed, SAMPLE_BANDS)
    starts = [
        low + int(share * (high - low - height + 1))
        for share, (low, high) in zip(shares, pairwise(edges), strict=True)
    ]
    return tuple((start, start + height) for start in starts)
