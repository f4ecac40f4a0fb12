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
# Columns multiplied in a read by `lanczos`: narrow blocks make better Krylov spaces of as many columns, and products
# with a sparse matrix cost as much a column from 8 on (benchmarks/sparse_products.py). To 50 triplets of 200,000 x
# 50,000 it took 208 columns, 176 with blocks of 8; but these missed copies of a repeated value in 7 results of 90,
# where none of 360 with blocks of 16 was wrong (ten spectra, ranks of 5 to 40, three tolerances and seeds).
LANCZOS_BLOCK = 16
# Ritz vectors beyond k in the last read at least, by which s_{k+1} is known. Without them errors came within
# 0.94 of the tolerance, with them within 0.35 (benchmarks/results/constants.md).
FINAL_EXTRA = 4
# Random columns in the last read for the spectral certificate, which with r of them is about sqrt(1e3^(1/r)) times too
# large for a failure of 1e-3: 1.4 for 10, 3.2 for 3 (`svdflow.svd.certificates`).
PROBE_COLUMNS = 10


def first_width(rank: int) -> int:
    """About ``k + max(10, k / 4)`` columns for rank k, as a multiple of 16."""
    return -(-(rank + max(OVERSAMPLING, int(WIDENING * rank))) // LANES) * LANES


def last_width(rank: int) -> int:
    """Ritz vectors of the last read for that rank: its products are a multiple of 16 wide, probes included."""
    return -(-(rank + FINAL_EXTRA + PROBE_COLUMNS) // LANES) * LANES - PROBE_COLUMNS
