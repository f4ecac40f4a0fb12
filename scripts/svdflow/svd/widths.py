"""How wide blocks are: what plans, cost estimates and methods reckon with."""

LANES = 16  # block widths are rounded up to this: matrix products are fastest at multiples of the SIMD width
OVERSAMPLING, WIDENING = 10, 0.25  # of the block width over k
FIRST_BLOCK = 32  # where the rank is not known beforehand
SPARSE_WIDTH = 32  # two slices of a cache line; narrow blocks make better Krylov spaces
FINAL_EXTRA = 4  # Ritz vectors beyond k that the last read carries along, at least
PROBE_COLUMNS = 10  # random columns that it carries for the spectral certificate


def first_width(rank: int) -> int:
    """About ``k + max(10, k / 4)`` columns for rank k, as a multiple of 16."""
    return -(-(rank + max(OVERSAMPLING, int(WIDENING * rank))) // LANES) * LANES


def last_width(rank: int) -> int:
    """Ritz vectors of the last read for that rank: its products are a multiple of 16 wide, probes included."""
    return -(-(rank + FINAL_EXTRA + PROBE_COLUMNS) // LANES) * LANES - PROBE_COLUMNS
