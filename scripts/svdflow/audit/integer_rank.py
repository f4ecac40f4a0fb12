"""Rank decisions on integer matrices, whose rank is known exactly."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Threshold, Verdict

FAMILY = "conditioning"
SIZE = 4
COUNT = 100_000
HARD_COUNT = 2_000
ENTRIES = {"entries 0 to 4": (0, 4), "entries -5 to 5": (-5, 5)}
ABSOLUTE_CUT = 1e-15
COURSE_CUT = 0.2
INT64_LIMIT = 2**62

Rank = Callable[[np.ndarray], Any]


def exact_rank(stack: np.ndarray) -> np.ndarray:
    """Exact rank of integer matrices.

    Parameters
    ----------
    stack : shape (k, m, n), integers

    Returns
    -------
    ranks : shape (k,), int64

    Notes
    -----
    Fraction-free elimination with full pivoting (Bareiss 1968): every entry that arises is a minor, so
    Hadamard's bound tells whether the products fit int64; Python integers take over where they do not.
    """
    stack = np.asarray(stack)
    if stack.dtype.kind not in "iuO" or stack.ndim != 3:
        raise ValueError(f"expected integer matrices (k, m, n), not {stack.dtype} {stack.shape}")
    n = stack.shape[-1]
    steps = min(stack.shape[1:])
    largest = max((abs(int(v)) for v in (stack.min(initial=0), stack.max(initial=0))), default=0)
    minor = (largest**2 * (steps - 1)) ** (
        steps - 1
    )  # square of Hadamard's bound on minors of one order less
    A = stack.astype(np.int64 if 2 * minor < INT64_LIMIT else object)
    each = np.arange(len(A))
    before = np.ones(len(A), A.dtype)
    rank = np.zeros(len(A), np.int64)
    for k in range(steps):
        where = np.argmax((A[:, k:, k:] != 0).reshape(len(A), -1), axis=1)
        row, column = k + where // (n - k), k + where % (n - k)
        A[each, k], A[each, row] = A[each, row], A[each, k]
        A[each, :, k], A[each, :, column] = A[each, :, column], A[each, :, k]
        pivot = A[:, k, k]
        found = pivot != 0
        rank += found
        # where no pivot is left the rest is zero already, and stays so
        rest = A[:, k + 1 :, k + 1 :]
        new = pivot[:, None, None] * rest - A[:, k + 1 :, k, None] * A[:, k, None, k + 1 :]
        A[:, k + 1 :, k + 1 :] = new // before[:, None, None]
        before = np.where(found, pivot, before)
    return rank


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
    small = s[:, -1] < COURSE_CUT
    counts = np.count_nonzero(s > ABSOLUTE_CUT, axis=1) != exact
    determinant = (np.linalg.det(A) == 0.0) != singular
    for rule, wrong, more in (
        (f"s > {ABSOLUTE_CUT:g}", counts, ""),
        ("det == 0.0", determinant, ""),
        (f"s_4 < {COURSE_CUT}", small != singular, f", {small.sum()} counted"),
    ):
        reason = f"{wrong.sum()} wrong of {len(A)}{more}; use matrix_rank"
        yield judge("integer_rank_naive", f"{rule}, {family}", int(wrong.sum()), 0, reason)


AUDITS = {"integer_rank": audit_integer_rank}
