"""The basis of block Lanczos on ``H = A^H A``, and the Ritz pairs that it tells of.

Orthonormal columns K, the block X that comes next, and small T and S with

    H K = K T + X S,   K^H X = 0.

So ``T = K^H H K``, a Ritz pair ``(theta, K p)`` has the residual ``X S p``, and ``A^H U`` of its left vectors is
``(K T + X S) p / sqrt theta``: nothing of the length of the matrix is kept or computed to look at them. One step takes
off the image of X what the blocks beside it hold of it, by T and S, then what rounding left of the others, by one
projection on all of K (full reorthogonalization). A basis that is cut back to its leading Ritz vectors keeps that form,
with a diagonal T and a full S (Wu and Simon 2000, thick restart; Stewart 2002, Krylov-Schur).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import eigh

from svdflow.svd.orthonormal import PLAIN, adjoint, extend_basis
from svdflow.svd.plan import Target
from svdflow.svd.read.bands import blocks_for
from svdflow.svd.ritz_errors import largest_error, ratios
from svdflow.svd.stopping import NOISE
from svdflow.svd.subspace import Draw, hermitian
from svdflow.svd.widths import FINAL_EXTRA

# Rows of the basis up to which its products are single calls: running bands would take a tenth of the time of a step.
SERIAL = 2**14
# Least over largest diagonal entry of the Cholesky factor of a block, by bytes of a real number: below, its columns,
# scaled to length one, could hold a hundred times eps over it of what one projection left of the basis, and they are
# projected once more.
FIRM = {4: 1e-2, 8: 1e-3}
# Most projections of a block: another one follows where one took off more of a column than it left, as what is left
# then holds more rounding (Daniel, Gragg, Kaufman and Stewart 1976).
PASSES = 3
# Share of the eigenpairs of T up to which these alone take less time than all: of 160, 14 take 0.6 ms and all 1.5 ms.
FEW = 1 / 4


@dataclass
class Pairs:
    """Ritz pairs of a basis at a look, largest first, and how far they may be off.

    Attributes
    ----------
    k : int or None
        How many are wanted; None while the basis does not reach the target.
    theta, P : ndarray, shapes (r,) and (p, r)
        Squared Ritz values, at least those that are wanted, and coefficients of their vectors.
    F : ndarray, shape (b, r)
        ``S P``, the residuals in terms of the next block.
    g, R : ndarray, shapes (w,) and (w, w)
        Squared singular values of ``A^H U`` for the leading pairs, half a step better than theta; the rotation to them.
    errors : ndarray, shape (k,)
        Of the wanted g over ``s_{k+1}^2``, estimated.
    """

    k: int | None = None
    theta: np.ndarray = field(default_factory=lambda: np.zeros(0))
    P: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    F: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    g: np.ndarray = field(default_factory=lambda: np.zeros(0))
    R: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    errors: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def C(self) -> np.ndarray:
        """Coefficients (p, w) of vectors whose images under A are U, rotated to `g`."""
        w = len(self.g)
        return np.asarray((self.P[:, :w] / np.sqrt(self.theta[:w])) @ self.R)

    @property
    def half(self) -> np.ndarray:
        """Coefficients (p + b, w) of ``A^H U`` for those in terms of K and of the next block."""
        w = len(self.g)
        root = np.sqrt(self.theta[:w])
        return np.asarray(np.concatenate([self.P[:, :w] * root, self.F[:, :w] / root]) @ self.R)

    @property
    def residuals(self) -> np.ndarray:
        """``||A^H u - sqrt(theta) v||`` of the leading pairs before the half step, shape (w,)."""
        w = len(self.g)
        return np.asarray(np.linalg.norm(self.F[:, :w], axis=0) / np.sqrt(self.theta[:w]))


class LanczosBasis:
    """K, X, T and S of the module's docstring.

    Parameters
    ----------
    n, columns : int
        Rows, and columns of K and X that there is room for.
    dtype : dtype
        Of K and X: that of the products, as what rounding of K moves is no more than what theirs does. T and S are in
        double precision.
    engine : Engine
    draw : Draw
        Of the columns that take the place of those which an invariant subspace leaves no room for.
    """

    def __init__(self, n: int, columns: int, dtype: np.dtype, engine: Any, draw: Draw) -> None:
        self.n, self.blocks = n, blocks_for(n, engine) if n > SERIAL else PLAIN
        self.draw, self.dtype = draw, dtype
        self.wide = np.dtype(np.complex128 if dtype.kind == "c" else np.float64)
        self.firm = FIRM[np.finfo(dtype).dtype.itemsize]
        self._K = np.empty((n, columns), dtype, order="F")
        self.used = self.width = 0  # columns of K, and of X beside them
        self.T = np.zeros((0, 0), self.wide)
        self.S = np.zeros((0, 0), self.wide)
        self._first = 0  # column of K that is the first one of S

    @property
    def K(self) -> np.ndarray:
        return self._K[:, : self.used]

    @property
    def X(self) -> np.ndarray:
        """The block whose image comes next; of no columns once K is all of the space."""
        return self._K[:, self.used : self.used + self.width]

    def begin(self, X: np.ndarray) -> None:
        """Orthonormal columns to start with."""
        self._put(0, X)
        self.S = np.zeros((self.width, 0), self.wide)

    def expand(self, Z: np.ndarray) -> None:
        """Take X into K by its image Z, and find the next block."""
        old, used = self.used, self.used + self.width
        Z = Z.astype(self.dtype, copy=False)
        own = hermitian(self._inner(self.X, Z))
        beside = np.concatenate([adjoint(self.S), own])
        T = np.zeros((used, used), self.wide)
        T[:old, :old] = self.T
        T[self._first :, old:] = beside
        T[old:, self._first : old] = self.S
        self.T, self.used = T, used
        R = self.blocks.minus(Z, self._K[:, self._first : used], beside.astype(self.dtype))
        for _ in range(PASSES):
            C = self.blocks.inner(self.K, R)
            R = self.blocks.minus(R, self.K, C)
            gram = self._inner(R, R)
            if (np.sum(np.abs(C) ** 2, axis=0) <= np.diagonal(gram).real).all():
                break
        X, self.S = self._factored(R, gram, min(self.width, self.n - used))
        self._first = old
        self._put(used, X)

    def widen(self, columns: int) -> None:
        """Random columns beside X: copies of a repeated value are seen up to the width of the blocks."""
        new = min(columns, self.n - self.used - self.width)
        if new <= 0:
            return
        known = self._K[:, : self.used + self.width].astype(self.wide)
        fresh = extend_basis(known, self.draw(new), self.draw, self.blocks)
        self.S = np.concatenate([self.S, np.zeros((new, self.S.shape[1]), self.S.dtype)])
        self._put(self.used, np.concatenate([self.X, fresh], axis=1))

    def restart(self, keep: int) -> None:
        """Cut K back to its leading Ritz vectors."""
        theta, P = _descending(self.T)
        X, P = self.X.copy(), P[:, :keep]
        self.S = self.S @ P[self._first :]
        self._K[:, :keep] = self.times(P)
        self.used, self._first = keep, 0
        self.T = np.diag(theta[:keep]).astype(self.wide)
        self._put(keep, X)

    def pairs(self, target: Target, norm_squared: float, eps: float) -> Pairs:
        """Ritz pairs, and the errors of the wanted ones by what the newest block made of those without it."""
        wanted = None if target.rank is None else target.rank + FINAL_EXTRA
        theta, P = self._ritz(self.T, wanted)
        F = self.S @ P[self._first :]
        k = target.choose(np.sqrt(theta), norm_squared)
        if k is None:
            return Pairs(None, theta, P, F)
        noise = NOISE * eps * theta[0]
        clear = int(np.count_nonzero(theta > noise))  # the half step divides by their roots
        w = min(k + FINAL_EXTRA, clear)
        g, R = _half_step(theta, F, w)
        # Values below rounding count as there: nothing better can be had.
        own, errors = min(k, w), np.zeros(k)
        gain, c = g[:own] - theta[:own], np.full(own, np.inf)
        if own <= self._first:
            old = slice(0, self._first)
            before, Q = self._ritz(self.T[old, old], wanted)
            d = _half_step(before, self.T[self._first :, old] @ Q, own)[0] - before[:own]
            c = ratios(theta[:own], gain, before[:own], d)
        for i in range(own):
            errors[i] = largest_error(c[i : i + 1], gain[i : i + 1], noise) / g[min(k, w - 1)]
        return Pairs(k, theta, P, F, g, R, errors)

    def _ritz(self, T: np.ndarray, wanted: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Leading eigenpairs of T, as many as are wanted at least; in the precision of K."""
        p = len(T)
        if wanted is None or wanted > FEW * p:
            return _descending(T)
        values, P = eigh(T.astype(self.dtype), subset_by_index=(p - wanted, p - 1), check_finite=False)
        if len(values) < wanted:  # LAPACK's syevr finds fewer where values are all the same
            return _descending(T)
        return np.maximum(values[::-1], 0).astype(float), P[:, ::-1].astype(self.wide)

    def times(self, C: np.ndarray) -> np.ndarray:
        """``K C``, or ``[K X] C`` where C has rows for X as well."""
        return np.asarray(self.blocks.times(self._K[:, : len(C)], C.astype(self.dtype)))

    def images(self) -> np.ndarray:
        """``A^H A K``, shape (n, p)."""
        full = np.concatenate([self.T, np.zeros((self.width, self.used), self.wide)])
        full[self.used :, self._first :] = self.S
        return self.times(full)

    def beyond(self, W: np.ndarray, images: np.ndarray) -> np.ndarray:
        """``E^H E W`` of ``E = A (I - K K^H)``, from ``A^H A W``, shape (n, r), in double precision."""
        C = self.blocks.inner(self.K, W.astype(self.dtype))
        part = np.concatenate([self.T @ C, self.S @ C[self._first :]])
        left = images - self.times(part)
        return np.asarray(left - self.times(self.blocks.inner(self.K, left.astype(self.dtype))))

    def _put(self, at: int, X: np.ndarray) -> None:
        self.width = X.shape[1]
        need, room = at + self.width, self._K.shape[1]
        if need > room:  # more than was planned: the rank showed late
            K = np.empty((self.n, max(need, 2 * room)), self._K.dtype, order="F")
            K[:, :at] = self._K[:, :at]
            self._K = K
        self._K[:, at:need] = X

    def _factored(self, R: np.ndarray, gram: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal X (n, width) beside K, and ``X^H R``; R (n, b) was projected, and `gram` is ``R^H R``."""
        if not width:
            return R[:, :0], np.zeros((0, R.shape[1]), self.wide)
        if width == R.shape[1]:
            X, B = R, np.eye(width, dtype=self.wide)
            for again in (False, True):
                L = self._cholesky(self._inner(X, X) if again else gram)
                if L is None:
                    break
                inverse = np.linalg.inv(L).astype(self.dtype)
                X, B = self.blocks.times(X, adjoint(inverse)), adjoint(L) @ B
            else:
                return X, B
        R = R.astype(self.wide)
        X = extend_basis(self.K.astype(self.wide), R[:, :width], self.draw, self.blocks)
        return X, np.asarray(self.blocks.inner(X, R))

    def _inner(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return np.asarray(self.blocks.inner(A, B), self.wide)

    def _cholesky(self, gram: np.ndarray) -> np.ndarray | None:
        """The factor of a block that is far from depending on itself, or None."""
        try:
            L = np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            return None
        diagonal = np.diagonal(L).real
        return L if diagonal.min() > self.firm * diagonal.max() else None


def _half_step(theta: np.ndarray, F: np.ndarray, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values of ``A^H U`` of w Ritz pairs, and the rotation to them."""
    half = F[:, :w] / np.sqrt(np.maximum(theta[:w], np.finfo(float).tiny))
    return _descending(np.diag(theta[:w]) + adjoint(half) @ half)


def _descending(G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, at least 0, and eigenvectors."""
    values, vectors = np.linalg.eigh(G)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]
