"""Rank by bi-cross-validation: held-out blocks predicted from the rest."""

from itertools import product

import numpy as np

from svdflow.matrix.masks import materialized, unmasked
from svdflow.ranks.evidence import Evidence
from svdflow.ranks.singular_values import whole

# Groups of rows and columns. Large holdouts find the rank, small ones find too much (Owen and Perry 2009, section 6).
FOLDS = (2, 2)


def bi_cross_validation(
    A: np.ndarray, *, max_rank: int | None = None, folds: tuple[int, int] = FOLDS, seed: int = 0
) -> int:
    """The rank that predicts blocks of A best from the rows and columns that they lie in (Owen and Perry 2009).

    Parameters
    ----------
    A : array (m, n), real or complex
    max_rank : int, optional
        By default what the smallest held-in block allows.
    folds : (int, int)
        Groups of rows and of columns; every pair of them is held out once.
    seed : int
        Of the assignment of rows and columns to groups.

    Returns
    -------
    int
        0 where predicting zero is best.

    Raises
    ------
    ValueError
        A is not a finite matrix, or has fewer rows or columns than folds.
    TypeError
        A maximal rank, folds or a seed that are no whole numbers.

    Notes
    -----
    With ``A = [a b; c D]`` the block a is predicted as ``b D_k^+ c``, D_k being D truncated to rank k (section 2.1,
    equation 2.2): one SVD of D gives the errors of all ranks.
    """
    A = np.asarray(unmasked(materialized(A), "matrix"))
    if max_rank is not None:
        whole("max_rank", max_rank, 0)
    folds = (whole("folds", folds[0], 2), whole("folds", folds[1], 2))
    whole("seed", seed, 0, 2**64 - 1)
    if A.ndim != 2 or A.dtype.kind not in "iufc" or not np.isfinite(A).all():
        raise ValueError("bi-cross-validation needs a matrix of finite numbers")
    if min(A.shape[0] - folds[0], A.shape[1] - folds[1]) < 0:
        raise ValueError(
            f"a {A.shape[0]} x {A.shape[1]} matrix cannot be held out in {folds} folds of at least 2"
        )
    A = A.astype(np.result_type(A.dtype, np.float64), copy=False)
    generator = np.random.Generator(np.random.Philox(key=seed))
    groups = [np.array_split(generator.permutation(side), number) for side, number in zip(A.shape, folds)]
    most = min(side - len(parts[0]) for side, parts in zip(A.shape, groups))
    most = most if max_rank is None else min(most, max_rank)
    errors = sum(_errors(A, rows, columns, most) for rows, columns in product(*groups))
    return int(np.argmin(errors))


def _errors(A: np.ndarray, rows: np.ndarray, columns: np.ndarray, most: int) -> np.ndarray:
    """Squared error of the block at every rank from 0 to `most`."""
    inside_rows, inside_columns = (
        np.setdiff1d(np.arange(side), out) for side, out in zip(A.shape, (rows, columns))
    )
    U, s, Vh = np.linalg.svd(A[np.ix_(inside_rows, inside_columns)], full_matrices=False)
    alive = s > max(A.shape) * np.finfo(float).eps * (s[0] if len(s) else 0)
    count = min(most, int(np.count_nonzero(alive)))
    left = A[np.ix_(rows, inside_columns)] @ Vh[:count].conj().T / s[:count]
    right = U[:, :count].conj().T @ A[np.ix_(inside_rows, columns)]
    block = A[np.ix_(rows, columns)]
    # |a - sum_{i<=k} l_i r_i|^2 from inner products: no rank needs a residual of its own.
    gram = (left.conj().T @ left) * (right @ right.conj().T).T
    cross = np.real(np.sum((left.conj().T @ block) * right.conj(), axis=1))
    power = np.array([np.sum(gram[: k + 1, : k + 1]).real for k in range(count)])
    fitted = np.real(np.vdot(block, block)) - 2 * np.cumsum(cross) + power
    errors = np.append(np.real(np.vdot(block, block)), fitted)
    return np.append(errors, np.full(most - count, errors[-1]))


def bi_cross_validation_rule(evidence: Evidence) -> int:
    """`bi_cross_validation` of the matrix; 0 without one."""
    return bi_cross_validation(evidence.matrix(), seed=evidence.seed) if evidence.matrix else 0
