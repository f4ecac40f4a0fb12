"""What examines users' matrices, factors and functions."""

from math import nan

from svdflow.registry.audit import Audit
from svdflow.registry.thresholds import LAPACK_RATIO, Threshold

DECLARED = [
    Audit(
        name="matrix",
        summary="A matrix: its decomposition as LAPACK checks itself, rank, condition, proved enclosures",
        source="LAPACK TESTING; Rump (2011)",
        family="conditioning",
        examines="matrix",
        limits={
            "svd_residual": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "svd_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "svd_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "svd_order": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "svd_values_only": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "truth_full": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "largest_singular_value": Threshold(
                nan, 1, source="backward stability: known to max(m, n) eps s_1"
            ),
            "smallest_singular_value": Threshold(
                nan, 1, source="backward stability: known to max(m, n) eps s_1"
            ),
            "rank": Threshold(nan, nan, source="NumPy matrix_rank: max(m, n) eps s_1"),
            "condition_number": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
            "enclosure_kappa": Threshold(
                1e-08,
                nan,
                source="Rump (2011): relative width of the enclosure; kappa above 1e10 may be wider",
            ),
            "enclosed_values": Threshold(10, 50, source=LAPACK_RATIO),
            "certified_rank": Threshold(
                nan, nan, source="law: Weyl and Ostrowski; the rank is at least the value"
            ),
            "condition_one": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
            "condition_skeel": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
            "condition_laws": Threshold(
                nan, 10, 10, source="law: Higham (2002), chapter 15 and table 6.2; excess in n eps kappa"
            ),
            "rcond_estimate": Threshold(
                3, nan, 1, source="Higham and Tisseur (2000): almost invariably within a factor 3"
            ),
            "rank_rules": Threshold(
                0, nan, 0, source="default cut-offs of NumPy and SciPy; the largest difference"
            ),
            "rank_exact": Threshold(nan, 1, 0, source="law: Bareiss (1968), exact elimination of integers"),
            "effective_rank": Threshold(
                nan, nan, source="Roy and Vetterli (2007); resolution: Audenaert (2007)"
            ),
        },
        load="svdflow.audit.decomposition:full_records",
    ),
    Audit(
        name="factors",
        summary="Stored factors, alone and against a full decomposition",
        source="LAPACK DORT01; Eckart and Young (1936)",
        family="conditioning",
        examines="factors",
        limits={
            "stored_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "stored_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
            "stored_values": Threshold(
                0.001, 0.01, 0.001, source="factorize.tol, default 1e-2, in units of s_1"
            ),
            "stored_truth": Threshold(
                0.001, 0.01, 0.001, source="factorize.tol, default 1e-2, in units of s_1"
            ),
            "eckart_young": Threshold(
                0.001, 0.01, 0.001, source="factorize.tol, default 1e-2; below the optimum is a fault"
            ),
            "recorded_error": Threshold(
                1e-07, 1e-06, 1e-06, source="Pythagoras loses what is below sqrt(eps) of the norm"
            ),
            "suboptimality": Threshold(
                1.5,
                nan,
                0.1,
                source="error over optimum; fails above sqrt(1 + k), Halko et al. (2011), theorem 10.5",
            ),
        },
        load="svdflow.audit.stored_factors:stored_records",
    ),
    Audit(
        name="gradient",
        summary="A gradient against differences that know their own error",
        source="Ridders (1982)",
        family="gradients",
        examines="function",
        limits={
            "gradient": Threshold(
                4, 8, 1e-06, source="multiples of the estimated difference error; resolution relative"
            )
        },
        load="svdflow.audit.difference:check_gradient",
    ),
]
