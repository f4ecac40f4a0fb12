"""Orthonormal blocks: twice-repeated block Gram-Schmidt with CholeskyQR2, Householder where it breaks down.

Written against the array API, so the same lines run on NumPy and CuPy. CholeskyQR2 keeps orthogonality at rounding
while the condition number stays below about 1e8 (Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2
algorithm"); every block is checked, and one that fails goes through Householder reflections.
"""

from collections.abc import Callable
from typing import Any

from svdflow.compute import array_namespace
from svdflow.errors import BreakdownError

# Least over largest diagonal entry of the Cholesky factor for which CholeskyQR2 is trusted; below, Householder
# reflections take over. It breaks down where the condition number nears 1e8 (Yamamoto et al. 2015), which the factor's
# diagonal may understate: so two digits are kept.
SAFE_DIAGONAL = 1e-6
# Length that a second projection leaves of a unit column, above which the first one had taken all off: the criterion of
# Daniel, Gragg, Kaufman and Stewart (1976), by which twice is enough.
SETTLED = 0.5
# Length of what projections leave of a unit column below which that is rounding, and the column depends on the others
# (chosen: a million times eps, for columns of any length).
DEPENDENT = 1e-10


def adjoint(X: Any) -> Any:
    """Conjugate transpose of a matrix."""
    xp = array_namespace(X)
    return xp.conj(X).T if xp.isdtype(X.dtype, "complex floating") else X.T


class Blocks:
    """Products of n x b blocks with each other and with small matrices."""

    def inner(self, A: Any, B: Any) -> Any:
        """``A^H B``."""
        return adjoint(A) @ B

    def times(self, A: Any, C: Any) -> Any:
        """``A C``."""
        return A @ C

    def minus(self, X: Any, A: Any, C: Any) -> Any:
        """``X - A C``."""
        return X - A @ C


PLAIN = Blocks()


def orthonormalize(X: Any) -> Any:
    """An orthonormal basis of the columns of X, shape (n, b), of full column rank.

    Raises
    ------
    BreakdownError
        The columns are linearly dependent to rounding.
    """
    Q = _cholesky_qr(X, 2)
    if Q is not None:
        return Q
    xp = array_namespace(X)
    Q, R = xp.linalg.qr(X)
    diagonal = xp.abs(xp.linalg.diagonal(R))
    if not bool(xp.min(diagonal) > DEPENDENT * xp.max(diagonal)):
        raise BreakdownError
    return Q


def orthonormal_columns(X: Any, fresh: Callable[[int], Any], blocks: Blocks = PLAIN) -> Any:
    """The same where columns may depend on each other: `fresh` ones take their place, as in `extend_basis`."""
    Q = _cholesky_qr(X, 2, blocks)
    return extend_basis(X[:, :0], X, fresh, blocks) if Q is None else Q


def extend_basis(K: Any, X: Any, fresh: Callable[[int], Any], blocks: Blocks = PLAIN) -> Any:
    """Orthonormal columns that extend the basis K by the new directions of X.

    Parameters
    ----------
    K : array, shape (n, p), orthonormal columns; p may be 0
    X : array, shape (n, b), p + b <= n
    fresh : callable
        ``fresh(c)`` gives c random columns; they take the place of columns of X that K and the others contain
        already, as after an invariant subspace was found (rank-deficient or repeated singular values).
    blocks : Blocks
        How products are computed.

    Returns
    -------
    array, shape (n, b)
        Orthonormal, and orthogonal to K.
    """
    # One pass each: what the first leaves of orthonormality, eps times the squared condition, the second takes off.
    quick = _cholesky_qr(_project(X, K, blocks), 1, blocks)
    # Columns that were mostly rounding lose as much again in the second projection: then the basis would go astray.
    quick = None if quick is None else _cholesky_qr(_project(quick, K, blocks), 1, blocks, safe=SETTLED)
    if quick is not None:
        return quick
    xp = array_namespace(X)
    new = _unit_columns(X)
    new = _unit_columns(new, project=K)
    try:
        return _settled(K, new)
    except BreakdownError:
        pass
    kept = _independent(xp, new, K)
    return _settled(K, xp.concat([kept, _project(fresh(X.shape[1] - kept.shape[1]), K)], axis=1))


def _settled(K: Any, X: Any) -> Any:
    """Orthonormalize, project once more (the second Gram-Schmidt), orthonormalize again."""
    return orthonormalize(_project(orthonormalize(X), K))


def _project(X: Any, K: Any, blocks: Blocks = PLAIN) -> Any:
    return blocks.minus(X, K, blocks.inner(K, X)) if K.shape[1] else X


def _unit_columns(X: Any, project: Any = None) -> Any:
    """Columns scaled to length one; projected first, and dropped to zero where next to nothing is left."""
    xp = array_namespace(X)
    if project is not None:
        X = _project(X, project)
    length = (
        xp.sqrt(xp.sum(xp.real(X * xp.conj(X)), axis=0))
        if xp.isdtype(X.dtype, "complex floating")
        else (xp.sqrt(xp.sum(X * X, axis=0)))
    )
    floor = DEPENDENT if project is not None else 0.0
    alive = length > floor
    return X * xp.astype(
        xp.where(alive, 1 / xp.where(alive, length, xp.ones_like(length)), 0 * length), X.dtype
    )


def _independent(xp: Any, X: Any, K: Any) -> Any:
    """Those columns of X, one after the other, that add a direction. Slow, and rarely needed."""
    kept = X[:, :0]
    for j in range(X.shape[1]):
        column = X[:, j : j + 1]
        for _ in range(2):
            column = _project(_project(column, K), kept)
        length = float(xp.linalg.vector_norm(column))
        if length > DEPENDENT:
            kept = xp.concat([kept, column / length], axis=1)
    return kept


def _cholesky_qr(X: Any, passes: int, blocks: Blocks = PLAIN, safe: float = SAFE_DIAGONAL) -> Any:
    """CholeskyQR, repeated; or None where it cannot be trusted."""
    xp = array_namespace(X)
    for _ in range(passes):
        gram = blocks.inner(X, X)
        try:
            L = xp.linalg.cholesky(gram)
        except Exception as error:  # each array library has its own LinAlgError
            if "LinAlgError" not in type(error).__name__:
                raise
            return None
        diagonal = (
            xp.real(xp.linalg.diagonal(L))
            if xp.isdtype(L.dtype, "complex floating")
            else xp.linalg.diagonal(L)
        )
        if not bool(xp.min(diagonal) > safe * xp.max(diagonal)):
            return None
        # L is well conditioned here, and a product with its inverse is many times faster than a general solve.
        X = blocks.times(X, adjoint(xp.linalg.inv(L)))
    return X
