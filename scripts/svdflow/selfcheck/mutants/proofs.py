"""Faults in proofs, in samples of random laws, and in what should come out the same again."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import numpy as np

from svdflow.audit.enclosures import Certificate, certify_svd
from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.known_enclosures import audit_enclosures
from svdflow.selfcheck.mutants.mutant import AuditOf, Limits, Mutant
from svdflow.selfcheck.random_states import audit_cholesky_sampling, cholesky_sample
from svdflow.selfcheck.reproducibility import audit_reproducibility
from svdflow.svd.factorization import truncated_svd

Array = np.ndarray
Generator = np.random.Generator


def unproved(A: Array, U: Array, s: Array, Vt: Array) -> Certificate:
    """Computed values and a little room called an enclosure, whatever the factors are worth."""
    values = np.zeros(min(A.shape))
    values[: len(s)] = np.sort(s)[::-1]
    room = 1e-12 * values[0]
    return Certificate(np.maximum(values - room, 0), values + room, (0.0, room))


def from_the_residual(A: Array, U: Array, s: Array, Vt: Array) -> Certificate:
    """Weyl's theorem as if U and V were orthonormal, which nobody has asked."""
    room = float(np.linalg.norm(A - (U * s) @ Vt)) + 1e-9
    values = np.zeros(min(A.shape))
    values[: len(s)] = np.sort(s)[::-1]
    return Certificate(np.maximum(values - room, 0), values + room, (0.0, room))


def transposed_factor(rng: Generator, mean: Array, covariance: Array, n: int) -> Array:
    """z' L in place of z' L'."""
    cholesky_sample(rng, mean, covariance, 0)
    return mean + rng.standard_normal((n, len(mean))) @ np.linalg.cholesky(covariance)


def covariance_as_factor(rng: Generator, mean: Array, covariance: Array, n: int) -> Array:
    """The covariance where its root belongs."""
    cholesky_sample(rng, mean, covariance, 0)
    return mean + rng.standard_normal((n, len(mean))) @ covariance


def mean_forgotten(rng: Generator, mean: Array, covariance: Array, n: int) -> Array:
    """Samples around zero."""
    return cholesky_sample(rng, 0 * mean, covariance, n)


def made_definite(rng: Generator, mean: Array, covariance: Array, n: int) -> Array:
    """Negative eigenvalues turned round without a word."""
    w, Q = np.linalg.eigh(np.nan_to_num(covariance))
    return mean + (rng.standard_normal((n, len(w))) * np.sqrt(np.abs(w))) @ Q.T


def seed_ignored() -> Callable[..., Any]:
    """A factorization that draws a sketch of its own at every call."""
    calls = count()
    return lambda **options: truncated_svd(**{**options, "seed": next(calls)})


def seed_used() -> Callable[..., Any]:
    """The control."""
    return truncated_svd


def _reproducibility(seed: int, limits: Limits, make: Callable[[], Callable[..., Any]]) -> Iterable[Record]:
    # Made anew for every run, or the calls of one run would change the rows of the next.
    return audit_reproducibility(seed, limits, make())


FAULTS: list[tuple[str, str, str, AuditOf, Any, Any]] = [
    (
        "enclosure without a proof",
        "enclosure_truth",
        "outside with wrong values",
        audit_enclosures,
        unproved,
        certify_svd,
    ),
    (
        "enclosure that trusts the vectors",
        "enclosure_truth",
        "outside with the right product alone",
        audit_enclosures,
        from_the_residual,
        certify_svd,
    ),
    (
        "Cholesky factor transposed in sampling",
        "sample_covariance",
        "smallest of",
        audit_cholesky_sampling,
        transposed_factor,
        cholesky_sample,
    ),
    (
        "covariance in place of its root",
        "mahalanobis",
        "smallest of",
        audit_cholesky_sampling,
        covariance_as_factor,
        cholesky_sample,
    ),
    (
        "mean forgotten in sampling",
        "sample_covariance",
        "smallest of",
        audit_cholesky_sampling,
        mean_forgotten,
        cholesky_sample,
    ),
    (
        "covariance made definite silently",
        "not_positive_definite",
        "silently wrong",
        audit_cholesky_sampling,
        made_definite,
        cholesky_sample,
    ),
    ("seed ignored", "reproducible_bits", "values", _reproducibility, seed_ignored, seed_used),
]

MUTANTS = [
    Mutant(name, row, Verdict.FAIL, phrase, audit, fault, right)
    for name, row, phrase, audit, fault, right in FAULTS
]
