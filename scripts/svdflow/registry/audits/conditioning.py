"""Solvers, ranks and the laws of singular values, on matrices whose answer is known."""

from math import nan

from svdflow.registry.audit import Audit
from svdflow.registry.thresholds import KNOWN_BAD, Threshold

DECLARED = [
    Audit(
        name="enclosures",
        summary="Enclosures of singular values that are known in closed form: they hold them, and they are narrow",
        family="conditioning",
        limits={
            "enclosure_width": Threshold(
                1e-08, nan, source="Rump (2011): widest enclosure, relative, kappa below 1e10"
            ),
            "enclosure_truth": Threshold(nan, 1, 0, source="law: a singular value known exactly lies inside"),
        },
        load="svdflow.selfcheck.known_enclosures:audit_enclosures",
    ),
    Audit(
        name="posterior",
        summary="Randomized factors against proof: what they say of their error, and how far from the optimum they are",
        family="conditioning",
        limits={
            "leave_one_out": Threshold(
                1,
                nan,
                0.1,
                source="Epperly and Tropp (2022): |log2| of estimate over error, so within a factor 2",
            )
        },
        load="svdflow.selfcheck.posterior:audit_posterior",
    ),
    Audit(
        name="hilbert",
        summary="What NumPy says of the Hilbert matrix of order 14 without a word, beside the panel's INCONCLUSIVE",
        family="conditioning",
        limits={
            "silent_number": Threshold(
                nan, 1, 0, source="law: beyond 1/(n eps) a condition number is no number"
            ),
            "peer_silence": Threshold(
                0.01, nan, 1e-08, source="relative error of a peer that raises and warns of nothing"
            ),
        },
        poor=frozenset({"peer_silence"}),
        load="svdflow.selfcheck.hilbert:audit_hilbert",
    ),
    Audit(
        name="integer_rank",
        summary="Count the matrices of 100,000 whose rank a rule gets wrong, beside what simpler rules get wrong",
        family="conditioning",
        limits={
            "integer_rank": Threshold(
                nan, 1, 0, source="law: the exact rank of integer matrices, none missed"
            ),
            "integer_rank_naive": Threshold(0, nan, 0, source=KNOWN_BAD),
        },
        poor=frozenset({"integer_rank_naive"}),
        load="svdflow.selfcheck.integer_ranks:audit_integer_rank",
    ),
    Audit(
        name="solve",
        summary="Backward and forward errors of a solver for condition numbers from 10 to 1e14, beside those of inv",
        family="conditioning",
        limits={
            "solve_backward": Threshold(
                10, 30, 0.1, source="LAPACK TESTING/dtest.in fails DGET02, DGET07 at 30, in eps"
            ),
            "solve_forward": Threshold(
                nan, 1, 0.001, source="law: Oettli and Prager (1964); Higham (2002), theorem 7.4"
            ),
            "solve_bound": Threshold(
                nan, 1, 0.001, source="law: DGET07, the true error is within the promised one"
            ),
            "peer_backward_error": Threshold(10, nan, 10, source=KNOWN_BAD),
        },
        poor=frozenset({"peer_backward_error"}),
        load="svdflow.selfcheck.linear_solvers:audit_solve",
        curves="svdflow.selfcheck.curves:digits_lost",
    ),
    Audit(
        name="strd",
        summary="Digits lost on NIST's data sets, and whether that can be seen without the certified answers",
        family="conditioning",
        limits={
            "strd_data": Threshold(
                nan, 1, 1, source="NIST certifies 15 digits: the exact fit must give them"
            ),
            "strd_digits": Threshold(
                1, 3, 1, source="NIST StRD; digits below the exact fit of the rounded data"
            ),
            "peer_digits": Threshold(
                1, nan, 1, source="NIST StRD; digits below what a stable method reaches, " + KNOWN_BAD
            ),
            "rank_loss": Threshold(
                0, nan, 0, source="columns lost that are independent once scaled, " + KNOWN_BAD
            ),
        },
        poor=frozenset({"peer_digits", "rank_loss"}),
        load="svdflow.selfcheck.strd:audit_strd",
    ),
    Audit(
        name="least_squares",
        summary="LAPACK's ratios on full and deficient problems, and the backward error for kappa from 10 to 1e11",
        family="conditioning",
        limits={
            "ls_ratios": Threshold(
                10, 30, 1, source="LAPACK TESTING/dtest.in fails DQRT12, 14, 16 and 17 at 30, in eps"
            ),
            "ls_backward": Threshold(
                10,
                30,
                10,
                source="30 max(m, n) eps as LAPACK dtest.in; Karlson and Walden (1997), columns scaled",
            ),
        },
        load="svdflow.selfcheck.least_squares_solvers:audit_least_squares",
    ),
    Audit(
        name="penrose",
        summary="The four equations, the norm of the inverse, and a sweep of the cut-off",
        family="conditioning",
        limits={
            "penrose": Threshold(10, 30, 10, source="30 max(m, n) eps, scaled as LAPACK DGET03"),
            "pinv_norm": Threshold(
                10, 30, 10, source="LAPACK dtest.in 30, in max(m, n) eps kappa; Wedin (1973)"
            ),
            "peer_pinv_norm": Threshold(10, nan, 10, source=KNOWN_BAD),
        },
        poor=frozenset({"peer_pinv_norm"}),
        load="svdflow.selfcheck.penrose:audit_penrose",
    ),
    Audit(
        name="tikhonov",
        summary="Normal equations, filter factors, the limit without damping, and monotony along the damping",
        family="conditioning",
        limits={
            "tikhonov": Threshold(10, 30, 10, source="30 max(m, n) eps, as LAPACK TESTING/dtest.in"),
            "tikhonov_limit": Threshold(
                nan, 1, 0.1, source="law: |x_l - x_0| <= (l / s_r)^2 |x_0|, and rounding"
            ),
            "tikhonov_monotone": Threshold(
                nan, 1, 1, source="law: Hansen (1998), section 4.6: |x| falls, |r| grows"
            ),
        },
        load="svdflow.selfcheck.penrose:audit_tikhonov",
    ),
    Audit(
        name="perturbation_laws",
        summary="Weyl's, Mirsky's and Wedin's laws on random and on adversarial perturbations",
        family="conditioning",
        limits={
            "weyl": Threshold(
                nan, 1, 0.1, source="law: Weyl (1912); rounding of 10 max(m, n) eps s_1 allowed"
            ),
            "mirsky": Threshold(
                nan, 1, 0.1, source="law: Mirsky (1960); rounding of 10 max(m, n) eps |A|_F allowed"
            ),
            "wedin": Threshold(nan, 1, 0.1, source="law: Wedin (1972); rounding as for Weyl"),
            "perturbed_exactly": Threshold(
                nan,
                1,
                0.1,
                source="closed form where E is made of vectors of A; in units of 10 max(m, n) eps s_1",
            ),
        },
        load="svdflow.selfcheck.perturbation:audit_perturbation_laws",
    ),
    Audit(
        name="cluster_subspaces",
        summary="Clusters of singular values: their projectors are compared, and vectors of simple values alone",
        family="conditioning",
        limits={
            "cluster_subspaces": Threshold(
                nan, 1, 1, source="law: Davis and Kahan (1970): |P - P'| <= 2 |E| / gap"
            ),
            "simple_vectors": Threshold(
                nan, 1, 1, source="law: sqrt(2) times that of projectors; LAPACK DDISNA"
            ),
            "clustered_vectors": Threshold(
                nan, nan, source="LAPACK DDISNA: undefined below 10 max(m, n) eps s_1"
            ),
        },
        load="svdflow.selfcheck.perturbation:audit_cluster_subspaces",
    ),
    Audit(
        name="random_spectra",
        summary="Random complex states: entropy against Page's, singular values against the Marchenko-Pastur law",
        family="conditioning",
        limits={
            "page_entropy": Threshold(
                4, 8, 4, source="standard deviations: Page (1993), Wei (2017); two-sided"
            ),
            "marchenko_pastur_rank": Threshold(
                4, 8, 4, source="standard deviations, measured over 2000 seeds"
            ),
            "marchenko_pastur_quantiles": Threshold(
                4, 8, 4, source="standard deviations: Su (2006), sqrt(ln n / 2) / pi"
            ),
            "energy_rank": Threshold(
                nan, 1, 0, source="law: the smallest rank that keeps the share asked for"
            ),
        },
        load="svdflow.selfcheck.random_states:audit_random_spectra",
    ),
    Audit(
        name="cholesky_sampling",
        summary="Samples of a multivariate normal law, and the Cholesky factor behind them",
        family="conditioning",
        limits={
            "cholesky_factor": Threshold(
                10, 30, 1, source="LAPACK TESTING/dtest.in fails DPOT01 at 30, in eps / 2"
            ),
            "mahalanobis": Threshold(
                3, 6, 3, source="-log10 p after Bonferroni: Kolmogorov-Smirnov against chi2"
            ),
            "sample_covariance": Threshold(
                3, 6, 3, source="-log10 p after Bonferroni: exact normal and chi2 laws"
            ),
            "not_positive_definite": Threshold(
                nan, 1, 0, source="law: an error, or samples of that covariance"
            ),
        },
        load="svdflow.selfcheck.random_states:audit_cholesky_sampling",
    ),
    Audit(
        name="reproducibility",
        summary="Same bits from the same seed, other engines and containers; from other panels within rounding of sums",
        family="conditioning",
        limits={
            "reproducible_bits": Threshold(nan, 1, 0, source="entries that differ; law: none"),
            "reproducible_sums": Threshold(
                nan, 1, 0.1, source="Higham (2002), 3.5: two orders of one sum differ by 2 gamma_m |A^H| |A|"
            ),
        },
        load="svdflow.selfcheck.reproducibility:audit_reproducibility",
    ),
]
