"""The rank of integer matrices, exactly."""

import numpy as np

INT64_LIMIT = 2**62  # twice a product of minors has to stay below it: their difference then fits int64


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
