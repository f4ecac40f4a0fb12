"""How wide blocks are: what plans, cost estimates and methods reckon with."""

# Each of these is part of the plan: another value gives other bits, and other expected times (svd/costs.py).

# Widths of blocks are rounded up to multiples of this, the float32 entries of a 512-bit register: columns up to the
# next multiple cost products little, and serve as oversampling.
LANES = 16
# Columns of a block beyond the k that are wanted: OVERSAMPLING, as Halko, Martinsson and Tropp (2011, section 4.3)
# advise, or WIDENING times k where that is more (chosen). Wider blocks converge in fewer reads of more columns: for
# 40 in the place of 10, in 3.9 reads of 64 columns instead of 5.4 of 32 (benchmarks/results/constants.md).
OVERSAMPLING, WIDENING = 10, 0.25
# Columns of the first block where an error or energy chooses the rank; later ones double (chosen).
FIRST_BLOCK = 32
# Most columns of the blocks of a sparse matrix after the first: narrow blocks make better Krylov spaces of as many
# columns, and take more reads, which a sparse matrix in memory makes cheaply: to 50 triplets 7.7 reads of 32 columns,
# 4.7 of 64, 12.9 of 16 (benchmarks/results/constants.md).
SPARSE_WIDTH = 32
# Columns multiplied in a read by `lanczos`. Narrow blocks make better Krylov spaces of as many columns: to 10 triplets
# within 1e-4 on three flat matrices it took blocks of 4, 8 and 16 about 160, 205 and 283 columns. But products cost
# 1.2, 0.7 and 0.5 ns an entry and column there (benchmarks/results/sparse_products.md), and each step its overhead, so
# that blocks of 16 are as fast as any, and they see 16 copies of a repeated value.
LANCZOS_BLOCK = 16
# Blocks in the Lanczos basis beside twice the rank: it then takes as many reads as one that is never cut back, on the
# flat matrices of benchmarks/svdbench/sparse_cases.py; with 4, up to a quarter more.
LANCZOS_ROOM = 8
# Ritz vectors beyond k in the last read at least, by which s_{k+1} is known. Without them errors came within
# 0.94 of the tolerance, with them within 0.35 (benchmarks/results/constants.md).
FINAL_EXTRA = 4
# Random columns in the last read for the spectral certificate, which with r of them is about sqrt(1e3^(1/r)) times too
# large for a failure of 1e-3: 1.4 for 10, 3.2 for 3 (`svdflow.svd.certificates`).
PROBE_COLUMNS = 10


def lanczos_columns(rank: int, side: int, block: int) -> int:
    """Most columns of the Lanczos basis."""
    return min(side, 2 * rank + LANCZOS_ROOM * block)


def first_width(rank: int) -> int:
    """About ``k + max(10, k / 4)`` columns for rank k, as a multiple of 16."""
    return -(-(rank + max(OVERSAMPLING, int(WIDENING * rank))) // LANES) * LANES


def last_width(rank: int) -> int:
    """Ritz vectors of the last read for that rank: its products are a multiple of 16 wide, probes included."""
    return -(-(rank + FINAL_EXTRA + PROBE_COLUMNS) // LANES) * LANES - PROBE_COLUMNS
