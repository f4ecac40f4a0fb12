"""Rank decisions on integer matrices, whose rank is known exactly."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from svdflow.audit.integer_rank import exact_rank
from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict
from svdflow.registry import Threshold

FAMILY = "conditioning"
SIZE = 4  # rows and columns: small enough that of random matrices some are singular
COUNT = 100_000  # matrices of a family: of entries -5 to 5 about 700 are singular
HARD_COUNT = 2_000  # matrices that are built to be singular or nearly so
ENTRIES = {"entries 0 to 4": (0, 4), "entries -5 to 5": (-5, 5)}  # smallest and largest entry of a family
ABSOLUTE_CUT = 1e-15  # a cut-off that does not grow with s_1: rounding of s_1 alone is more
FIXED_CUT = 0.2  # a cut-off far above rounding, which calls regular matrices singular

Rank = Callable[[np.ndarray], Any]


def singular_stack(rng: np.random.Generator, count: int, top: int) -> np.ndarray:
    """Products of random integer 4 x 3 and 3 x 4 matrices with entries up to `top`: rank 3 at most, exactly."""
    left = rng.integers(-top, top + 1, (count, SIZE, SIZE - 1))
    return left @ rng.integers(-top, top + 1, (count, SIZE - 1, SIZE))


def nearly_singular_stack(rng: np.random.Generator, count: int) -> np.ndarray:
    """Integer matrices of determinant 1 whose smallest singular value is below the rounding of the largest.

    Products of random unit triangular matrices: the entries grow and the determinant stays.
    """
    ones = np.eye(SIZE, dtype=np.int64)
    A = ones
    for _ in range(2):
        L = np.tril(rng.integers(-40, 41, (count, SIZE, SIZE)), -1) + ones
        U = np.triu(rng.integers(-40, 41, (count, SIZE, SIZE)), 1) + ones
        A = A @ L @ U
    return A


def audit_integer_rank(
    seed: int, limits: Mapping[str, Threshold], subject: Rank = np.linalg.matrix_rank
) -> Iterator[Record]:
    """Count the matrices of 100,000 whose rank a rule gets wrong, beside what simpler rules get wrong.

    Parameters
    ----------
    seed : int
    limits : mapping of audit name to Threshold
    subject : callable
        Ranks (k,) of a stack (k, 4, 4) of float64 matrices.

    Notes
    -----
    The last family has determinant 1 and ``s_4 < 4 eps s_1``: no rule for floats can tell it from singular
    matrices, so its row is INCONCLUSIVE.
    """
    judge = Judge(FAMILY, "integer_rank", seed, limits)
    rng = np.random.default_rng([seed, 6])
    families = {
        name: rng.integers(low, high + 1, (COUNT, SIZE, SIZE)) for name, (low, high) in ENTRIES.items()
    }
    families["singular, entries to 3e12"] = singular_stack(rng, HARD_COUNT, 10**6)
    name = getattr(subject, "__name__", "rank rule")
    for family, stack in families.items():
        exact, A = exact_rank(stack), stack.astype(float)
        singular = exact < SIZE
        wrong = int(np.count_nonzero(np.asarray(subject(A)) != exact))
        yield judge(
            "integer_rank",
            f"{name}, {family}",
            wrong,
            0,
            f"{wrong} ranks wrong of {len(A)}; {singular.sum()} singular",
        )
        yield from _naive_records(judge, family, A, exact)
    A = nearly_singular_stack(rng, HARD_COUNT)
    full = exact_rank(A) == SIZE
    s = np.linalg.svd(A.astype(float), compute_uv=False)
    hidden = full & (s[:, -1] < SIZE * np.finfo(float).eps * s[:, 0])
    told = int(np.count_nonzero(np.asarray(subject(A.astype(float)))[hidden] < SIZE))
    reason = (
        f"{hidden.sum()} of determinant 1 and kappa over 1/(n eps), {told} called singular: beyond floats"
    )
    yield judge.said("integer_rank", f"{name}, nearly singular", Verdict.INCONCLUSIVE, reason, told)


def _naive_records(judge: Judge, family: str, A: np.ndarray, exact: np.ndarray) -> Iterator[Record]:
    s = np.linalg.svd(A, compute_uv=False)
    singular = exact < SIZE
    small = s[:, -1] < FIXED_CUT
    counts = np.count_nonzero(s > ABSOLUTE_CUT, axis=1) != exact
    determinant = (np.linalg.det(A) == 0.0) != singular
    for rule, wrong, more in (
        (f"s > {ABSOLUTE_CUT:g}", counts, ""),
        ("det == 0.0", determinant, ""),
        (f"s_4 < {FIXED_CUT}", small != singular, f", {small.sum()} counted"),
    ):
        reason = f"{wrong.sum()} wrong of {len(A)}{more}; use matrix_rank"
        yield judge("integer_rank_naive", f"{rule}, {family}", int(wrong.sum()), 0, reason)
