"""Randomized factors against proof: what they say of their error, and how far from the optimum they are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import inf, log2, sqrt
from typing import Any

import numpy as np

from svdflow.audit.enclosures import certify_error, certify_svd
from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold
from svdflow.selfcheck.sample_matrices import randsvd
from svdflow.svd import truncated_svd


def audit_posterior(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[..., Any] = truncated_svd
) -> Iterator[Record]:
    """Randomized factors against proof: what they say of their error, and how far from the optimum they are.

    `subject` stands for `svdflow.svd.truncated_svd`, called as ``subject(A, rank=k, method=..., seed=...)``. The
    leave-one-out estimate is Epperly's and Tropp's (2022), section 3; the mean error of one sketch of k + p columns is
    at most ``sqrt(1 + k / (p - 1))`` times the optimum (Halko, Martinsson and Tropp 2011, theorem 10.5).
    """
    judge = Judge("conditioning", "posterior", seed, limits)
    rng = np.random.default_rng(seed)
    k = 20
    for name, decay in (("slow decay", 1 / np.arange(1, 121)), ("fast decay", np.geomspace(1, 1e-6, 120))):
        A = randsvd(rng, 200, 120, decay)
        least, most = certify_svd(A, *np.linalg.svd(A, full_matrices=False)).tail(k)
        for method in ("single_pass", "rsvd", "krylov"):
            result = subject(A, rank=k, method=method, seed=seed)
            low, high = certify_error(A, result.U, result.s, result.Vt)
            fail = sqrt(1 + k)  # p = 2, the least that the theorem allows
            limit = replace(limits["suboptimality"], fail=fail)
            reason = f"{method}: error in [{low:.9g}, {high:.9g}], optimum in [{least:.9g}, {most:.9g}]"
            width = high / least - low / most
            yield judge("suboptimality", name, (low / most + high / least) / 2, width, reason, limit=limit)
            said, apart = result.info.frobenius_error, 0.0
            apart = max(low - said, 0.0 if result.info.frobenius_kind == "floor" else said - high, 0.0)
            norm = float(np.linalg.norm(A))
            reason = (
                f"{method}: said {said:.9g} ({result.info.frobenius_kind}), proved [{low:.9g}, {high:.9g}]"
            )
            yield judge("recorded_error", name, apart / norm, (high - low) / norm, reason)
            estimate = getattr(result.info, "leave_one_out", None)
            if estimate is not None:
                reason = f"{method}: estimate {estimate:.6g}, proved [{low:.9g}, {high:.9g}]"
                octaves = abs(log2(estimate / high)) if estimate > 0 else inf
                yield judge("leave_one_out", name, octaves, width, reason)
