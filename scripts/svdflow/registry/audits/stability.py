"""Sums, exponentials and contractions in every precision, against exact arithmetic."""

from math import nan

from svdflow.registry.audit import Audit
from svdflow.registry.thresholds import LAPACK_RATIO, OWN_BOUND, Threshold

DECLARED = [
    Audit(
        name="sum",
        summary="Sums in order, in pairs (NumPy), compensated and exact (fsum), of each format, against fractions",
        family="stability",
        limits={"sum": Threshold(nan, 1, 0.1, source=OWN_BOUND)},
        load="svdflow.selfcheck.sums:audit_sum",
    ),
    Audit(
        name="variance",
        summary="Variance algorithms against exact rational arithmetic, on a mean far from zero as in NIST NumAcc4",
        family="stability",
        limits={
            "variance": Threshold(
                nan, 1, 0.1, source="Chan, Golub and LeVeque (1983), table 1: a priori bounds"
            )
        },
        load="svdflow.selfcheck.sums:audit_variance",
    ),
    Audit(
        name="numacc",
        summary="Mean and standard deviation on NIST NumAcc1 to 4: digits below what the data allow, of the worst set",
        family="stability",
        limits={
            "numacc": Threshold(
                1,
                3,
                0.1,
                source="digits below the ceiling of the data; NIST StRD NumAcc1-4, stable methods lose < 1",
            ),
            "textbook_variance": Threshold(
                1,
                nan,
                source="known-bad demonstration, so no fail: digits that the one-pass formula loses on NumAcc",
            ),
        },
        poor=frozenset({"textbook_variance"}),
        load="svdflow.selfcheck.sums:audit_numacc",
    ),
    Audit(
        name="softmax",
        summary="Softmax per format against long double, its sum, its shift invariance and the borders",
        family="stability",
        limits={
            "softmax": Threshold(nan, 1, 0.1, source=OWN_BOUND),
            "sum_to_one": Threshold(nan, 1, 0.1, source=OWN_BOUND),
            "shift_invariance": Threshold(nan, 1, 0.1, source=OWN_BOUND),
            "overflow": Threshold(nan, 1, 0.1, source=OWN_BOUND),
            "unshifted": Threshold(
                1,
                nan,
                source="known-bad demonstration, so no fail: exp overflows without the shift by the maximum",
            ),
        },
        poor=frozenset({"unshifted"}),
        load="svdflow.selfcheck.softmax:audit_softmax",
    ),
    Audit(
        name="log_sum_exp",
        summary="Log-sum-exp per format against long double, its shift law and the borders",
        family="stability",
        limits={"log_sum_exp": Threshold(nan, 1, 0.1, source=OWN_BOUND)},
        load="svdflow.selfcheck.softmax:audit_log_sum_exp",
    ),
    Audit(
        name="precision",
        summary="What each format holds, found by probing its arithmetic, against the standards",
        family="stability",
        limits={
            "precision": Threshold(nan, 1, 1, source="IEEE 754-2019, table 3.5; law: equality"),
            "likely_rounding": Threshold(
                1,
                nan,
                source="Higham and Mary (2019), theorem 2.4, lambda = 7: warn of the stability audits that have none",
            ),
        },
        load="svdflow.selfcheck.precision:audit_precision",
    ),
    Audit(
        name="low_precision_matmul",
        summary="Products of float16 and bfloat16 matrices, shapes (6, n) and (n, 5), against float64",
        family="stability",
        limits={
            "low_precision_matmul": Threshold(nan, 1, 0.1, source="Higham (2002), eq. 3.13: gamma_n |A| |B|")
        },
        load="svdflow.selfcheck.precision:audit_low_precision_matmul",
    ),
    Audit(
        name="singular_value_floor",
        summary="Down to where singular values are known: value in max(m, n) eps s_1",
        family="stability",
        limits={
            "singular_value_floor": Threshold(
                1, 50, 1, source="backward stability: n eps s_1; " + LAPACK_RATIO
            )
        },
        load="svdflow.selfcheck.precision:audit_singular_value_floor",
    ),
    Audit(
        name="einsum",
        summary="Patterns of attention in float32 and float64 against plain loops over rational numbers",
        family="stability",
        limits={
            "einsum": Threshold(
                nan, 1, 1, source="Higham (2002), section 3.1: gamma_k |A| |B|; sees one rounding"
            )
        },
        load="svdflow.selfcheck.contractions:audit_einsum",
    ),
    Audit(
        name="layer_norm",
        summary="Layer normalization against fractions: plain rows, a variance near 1e-5, a mean of 1000",
        family="stability",
        limits={"layer_norm": Threshold(nan, 1, 1, source=OWN_BOUND)},
        load="svdflow.selfcheck.contractions:audit_layer_norm",
    ),
    Audit(
        name="kronecker",
        summary="Identities of the Kronecker product, A (4, 3) and B (5, 6), whose product has shape (20, 18)",
        family="stability",
        limits={
            "kronecker": Threshold(
                nan,
                1,
                0.1,
                source="Van Loan (2000): identities, exact on integers, else within gamma of both sides",
            ),
            "kronecker_singular_values": Threshold(
                1, 50, 1, source="Van Loan (2000); n eps s_1; " + LAPACK_RATIO
            ),
        },
        load="svdflow.selfcheck.contractions:audit_kronecker",
    ),
]
