"""The limits of every audit, each with its source; the config may change any of them.

docs/audits.md is generated from here.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from math import inf, nan
from numbers import Real
from typing import Any

from svdflow.audit.verdicts import Threshold

KEYS = ("warn", "fail", "resolution", "excuse")
LAPACK_RATIO = (
    "LAPACK TESTING/svd.in fails at 50; NumPy's worst over 35 matrix types is 2, so 10 is a warning"
)
PEERS = frozenset(
    {
        "integer_rank_naive",
        "lndet_naive",
        "peer_backward_error",
        "peer_digits",
        "peer_pinv_norm",
        "peer_silence",
        "rank_loss",
        "svd_naive",
        "textbook_variance",
        "unshifted",
    }
)  # audits of methods known to be poor, beside the sound ones: their rows are a family of their own
KNOWN_BAD = "a method known to lose digits, shown beside the sound one: it warns and never fails a run"
OWN_BOUND = (
    "share of the first-order rounding bound, whose constants are those of Higham (2002), chapters 3 and 4"
)

DEFAULTS: dict[str, Threshold] = {
    "svd_residual": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_order": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "svd_values_only": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "truth_full": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_orthogonality_u": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_orthogonality_v": Threshold(10, 50, 10, source=LAPACK_RATIO),
    "stored_values": Threshold(1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2, in units of s_1"),
    "stored_truth": Threshold(1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2, in units of s_1"),
    "eckart_young": Threshold(
        1e-3, 1e-2, 1e-3, source="factorize.tol, default 1e-2; below the optimum is a fault"
    ),
    "recorded_error": Threshold(
        1e-7, 1e-6, 1e-6, source="Pythagoras loses what is below sqrt(eps) of the norm"
    ),
    "rank": Threshold(nan, nan, source="NumPy matrix_rank: max(m, n) eps s_1"),
    "condition_number": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
    "largest_singular_value": Threshold(nan, 1, source="backward stability: known to max(m, n) eps s_1"),
    "smallest_singular_value": Threshold(nan, 1, source="backward stability: known to max(m, n) eps s_1"),
    "gradient": Threshold(
        4, 8, 1e-6, source="multiples of the estimated difference error; resolution relative"
    ),
    "softmax": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "log_sum_exp": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "shift_invariance": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "overflow": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "variance": Threshold(nan, 1, 0.1, source="Chan, Golub and LeVeque (1983), table 1: a priori bounds"),
    "sum": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "precision": Threshold(nan, 1, 1, source="IEEE 754-2019, table 3.5; law: equality"),
    # -- enclosures and panels
    "enclosure_kappa": Threshold(
        1e-8, nan, source="Rump (2011): relative width of the enclosure; kappa above 1e10 may be wider"
    ),
    "enclosure_width": Threshold(
        1e-8, nan, source="Rump (2011): widest enclosure, relative, kappa below 1e10"
    ),
    "certified_rank": Threshold(nan, nan, source="law: Weyl and Ostrowski; the rank is at least the value"),
    "enclosed_values": Threshold(10, 50, source=LAPACK_RATIO),
    "enclosure_truth": Threshold(nan, 1, 0, source="law: a singular value known exactly lies inside"),
    "condition_one": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
    "condition_skeel": Threshold(nan, 1, source="a value of 1/(max(m, n) eps) is all rounding"),
    "condition_laws": Threshold(
        nan, 10, 10, source="law: Higham (2002), chapter 15 and table 6.2; excess in n eps kappa"
    ),
    "rcond_estimate": Threshold(
        3, nan, 1, source="Higham and Tisseur (2000): almost invariably within a factor 3"
    ),
    "rank_rules": Threshold(0, nan, 0, source="default cut-offs of NumPy and SciPy; the largest difference"),
    "rank_exact": Threshold(nan, 1, 0, source="law: Bareiss (1968), exact elimination of integers"),
    "effective_rank": Threshold(nan, nan, source="Roy and Vetterli (2007); resolution: Audenaert (2007)"),
    "suboptimality": Threshold(
        1.5, nan, 0.1, source="error over optimum; fails above sqrt(1 + k), Halko et al. (2011), theorem 10.5"
    ),
    "leave_one_out": Threshold(
        1, nan, 0.1, source="Epperly and Tropp (2022): |log2| of estimate over error, so within a factor 2"
    ),
    "silent_number": Threshold(nan, 1, 0, source="law: beyond 1/(n eps) a condition number is no number"),
    "peer_silence": Threshold(
        0.01, nan, 1e-8, source="relative error of a peer that raises and warns of nothing"
    ),
    # -- solvers
    "integer_rank": Threshold(nan, 1, 0, source="law: the exact rank of integer matrices, none missed"),
    "integer_rank_naive": Threshold(0, nan, 0, source=KNOWN_BAD),
    "solve_backward": Threshold(
        10, 30, 0.1, source="LAPACK TESTING/dtest.in fails DGET02, DGET07 at 30, in eps"
    ),
    "solve_forward": Threshold(
        nan, 1, 1e-3, source="law: Oettli and Prager (1964); Higham (2002), theorem 7.4"
    ),
    "solve_bound": Threshold(nan, 1, 1e-3, source="law: DGET07, the true error is within the promised one"),
    "peer_backward_error": Threshold(10, nan, 10, source=KNOWN_BAD),
    "ls_ratios": Threshold(
        10, 30, 1, source="LAPACK TESTING/dtest.in fails DQRT12, 14, 16 and 17 at 30, in eps"
    ),
    "ls_backward": Threshold(
        10, 30, 10, source="30 max(m, n) eps as LAPACK dtest.in; Karlson and Walden (1997), columns scaled"
    ),
    "rank_loss": Threshold(0, nan, 0, source="columns lost that are independent once scaled, " + KNOWN_BAD),
    "strd_data": Threshold(nan, 1, 1, source="NIST certifies 15 digits: the exact fit must give them"),
    "strd_digits": Threshold(1, 3, 1, source="NIST StRD; digits below the exact fit of the rounded data"),
    "peer_digits": Threshold(
        1, nan, 1, source="NIST StRD; digits below what a stable method reaches, " + KNOWN_BAD
    ),
    "penrose": Threshold(10, 30, 10, source="30 max(m, n) eps, scaled as LAPACK DGET03"),
    "pinv_norm": Threshold(10, 30, 10, source="LAPACK dtest.in 30, in max(m, n) eps kappa; Wedin (1973)"),
    "peer_pinv_norm": Threshold(10, nan, 10, source=KNOWN_BAD),
    "tikhonov": Threshold(10, 30, 10, source="30 max(m, n) eps, as LAPACK TESTING/dtest.in"),
    "tikhonov_limit": Threshold(nan, 1, 0.1, source="law: |x_l - x_0| <= (l / s_r)^2 |x_0|, and rounding"),
    "tikhonov_monotone": Threshold(nan, 1, 1, source="law: Hansen (1998), section 4.6: |x| falls, |r| grows"),
    # -- laws and ensembles
    "weyl": Threshold(nan, 1, 0.1, source="law: Weyl (1912); rounding of 10 max(m, n) eps s_1 allowed"),
    "mirsky": Threshold(nan, 1, 0.1, source="law: Mirsky (1960); rounding of 10 max(m, n) eps |A|_F allowed"),
    "wedin": Threshold(nan, 1, 0.1, source="law: Wedin (1972); rounding as for Weyl"),
    "perturbed_exactly": Threshold(
        nan, 1, 0.1, source="closed form where E is made of vectors of A; in units of 10 max(m, n) eps s_1"
    ),
    "cluster_subspaces": Threshold(nan, 1, 1, source="law: Davis and Kahan (1970): |P - P'| <= 2 |E| / gap"),
    "simple_vectors": Threshold(nan, 1, 1, source="law: sqrt(2) times that of projectors; LAPACK DDISNA"),
    "clustered_vectors": Threshold(nan, nan, source="LAPACK DDISNA: undefined below 10 max(m, n) eps s_1"),
    "page_entropy": Threshold(4, 8, 4, source="standard deviations: Page (1993), Wei (2017); two-sided"),
    "marchenko_pastur_rank": Threshold(4, 8, 4, source="standard deviations, measured over 2000 seeds"),
    "marchenko_pastur_quantiles": Threshold(
        4, 8, 4, source="standard deviations: Su (2006), sqrt(ln n / 2) / pi"
    ),
    "energy_rank": Threshold(nan, 1, 0, source="law: the smallest rank that keeps the share asked for"),
    "cholesky_factor": Threshold(10, 30, 1, source="LAPACK TESTING/dtest.in fails DPOT01 at 30, in eps / 2"),
    "mahalanobis": Threshold(3, 6, 3, source="-log10 p after Bonferroni: Kolmogorov-Smirnov against chi2"),
    "sample_covariance": Threshold(3, 6, 3, source="-log10 p after Bonferroni: exact normal and chi2 laws"),
    "not_positive_definite": Threshold(nan, 1, 0, source="law: an error, or samples of that covariance"),
    # -- floating point
    "likely_rounding": Threshold(
        1,
        nan,
        source="Higham and Mary (2019), theorem 2.4, lambda = 7: warn of the stability audits that have none",
    ),
    "sum_to_one": Threshold(nan, 1, 0.1, source=OWN_BOUND),
    "unshifted": Threshold(
        1, nan, source="known-bad demonstration, so no fail: exp overflows without the shift by the maximum"
    ),
    "numacc": Threshold(
        1, 3, 0.1, source="digits below the ceiling of the data; NIST StRD NumAcc1-4, stable methods lose < 1"
    ),
    "textbook_variance": Threshold(
        1, nan, source="known-bad demonstration, so no fail: digits that the one-pass formula loses on NumAcc"
    ),
    "low_precision_matmul": Threshold(nan, 1, 0.1, source="Higham (2002), eq. 3.13: gamma_n |A| |B|"),
    "singular_value_floor": Threshold(1, 50, 1, source="backward stability: n eps s_1; " + LAPACK_RATIO),
    "einsum": Threshold(nan, 1, 1, source="Higham (2002), section 3.1: gamma_k |A| |B|; sees one rounding"),
    "layer_norm": Threshold(nan, 1, 1, source=OWN_BOUND),
    "kronecker": Threshold(
        nan, 1, 0.1, source="Van Loan (2000): identities, exact on integers, else within gamma of both sides"
    ),
    "kronecker_singular_values": Threshold(1, 50, 1, source="Van Loan (2000); n eps s_1; " + LAPACK_RATIO),
    # -- engines
    "dual_exact": Threshold(8, 32, 1, source="ulps over condition; 16,000 random expressions: at most 4.3"),
    "value_exact": Threshold(8, 32, 1, source="ulps over condition; 16,000 random expressions: at most 4.5"),
    "value_engine": Threshold(1e-12, 1e-9, 1e-12, source="relative; first-order rounding of the sums"),
    "xor_loss": Threshold(nan, 1e-3, 1e-6, source="a 2-8-1 network of tanh can represent exclusive or"),
    "engine_laws": Threshold(nan, 1, source="broken laws; equalities in exact arithmetic"),
    "mutant": Threshold(
        nan, 1, 0, source="law: a planted fault is caught, as expected and for the expected reason"
    ),
    "kill_rate": Threshold(nan, 1e-6, 0, source="law: no planted fault survives"),
    # -- gradients
    "identity": Threshold(
        nan, 1e-12, 1e-12, source="complex step (Squire and Trapp 1998): rounding alone; times kappa"
    ),
    "lndet_kappa": Threshold(
        nan, 1, 1e-2, source="law: multiples of the bound of a central difference; resolution relative"
    ),
    "lndet_naive": Threshold(
        0.1, nan, source="control: differences that ignore s_min err by 100 %; relative error"
    ),
    "taylor_order": Threshold(
        0.05, 0.1, 1e-3, source="pyadjoint, pymanopt: slope 2; |slope - 2|, resolution relative"
    ),
    "taylor_order_hessian": Threshold(
        0.1, 0.2, 1e-2, source="pyadjoint, pymanopt: slope 3; |slope - 3|, resolution relative"
    ),
    # -- operators and derivatives of the SVD
    "adjoint_dot": Threshold(
        10, 100, 10, source="units of n eps ||A v|| ||u||: Cauchy and Higham (2002), 3.5; PyLops takes 1e-6"
    ),
    "hvp": Threshold(
        1e-8, 1e-5, 1e-8, source="relative; after pymanopt check_hessian; largest of 4,000: 3e-13"
    ),
    "hvp_order": Threshold(0.1, 0.2, 0.1, source="slope 3 of Taylor's theorem; pyadjoint taylor_test"),
    "svd_derivative": Threshold(
        10, 100, 10, source="units of max(m, n) eps s_1 / gap: Wedin (1972); largest of 150 seeds: 3.5"
    ),
    "svd_gauge": Threshold(
        10, 100, 10, source="units of max(m, n) eps and the gap within the cluster: Davis and Kahan (1970)"
    ),
    "svd_clusters": Threshold(1e-8, 1e-6, 1e-6, source="as fine as `gradient`; rounding makes u s_1 / gap"),
    "svd_truncated": Threshold(
        1e-12, 1e-9, 1e-12, source="first-order rounding n eps (s_1/gap)^2; Francuz et al. (2025)"
    ),
    "svd_naive": Threshold(
        1e-6, nan, source="a known fault, shown beside svd_truncated: Francuz et al. (2025)"
    ),
    "reproducible_bits": Threshold(nan, 1, 0, source="entries that differ; law: none"),
    "reproducible_sums": Threshold(
        nan, 1, 0.1, source="Higham (2002), 3.5: two orders of one sum differ by 2 gamma_m |A^H| |A|"
    ),
}


def resolve(overrides: Mapping[str, float] | None = None) -> dict[str, Threshold]:
    """Defaults with a user's thresholds over them.

    Parameters
    ----------
    overrides : mapping, optional
        ``{"svd_residual.fail": 30, "gradient.resolution": 1e-8}``: the audit, a dot, and one of warn, fail,
        resolution, excuse.

    Raises
    ------
    ValueError
        An unknown audit or key (the message names the nearest one), a limit that is no finite number of at least 0,
        or a warn above its fail.
    """
    table = dict(DEFAULTS)
    for name, value in (overrides or {}).items():
        audit, _, key = name.partition(".")
        if audit not in table:
            raise ValueError(f"audit.thresholds: no audit {audit!r}{nearest(audit, table)}")
        if key not in KEYS:
            raise ValueError(
                f"audit.thresholds: {name!r} should end in one of {', '.join(KEYS)}: '{audit}.fail'"
            )
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < inf:
            raise ValueError(
                f"audit.thresholds: {name!r} is {value!r}; a limit is a finite number of at least 0: with "
                "anything else an audit would always pass, or always fail"
            )
        table[audit] = replace(table[audit], **{key: float(value), "source": "config"})
    for audit in sorted({name.partition(".")[0] for name in overrides or {}}):
        limit = table[audit]
        if limit.warn > limit.fail and f"{audit}.warn" in (overrides or {}):
            raise ValueError(
                f"audit.thresholds: '{audit}.warn' is {limit.warn:g} and '{audit}.fail' {limit.fail:g}: what fails "
                "would never have warned; give warn at most what fail is"
            )
        if limit.warn > limit.fail:  # a stricter fail takes the default of warn with it
            table[audit] = replace(limit, warn=limit.fail)
    return table


def nearest(word: str, known: Any) -> str:
    """`` (nearest: X)`` or the list of what there is, for an error message."""
    close = get_close_matches(word, list(known), 1)
    return f" (nearest: {close[0]!r})" if close else f" (known: {', '.join(sorted(known))})"
