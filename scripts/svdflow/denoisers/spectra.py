"""A noisy plane as its singular value decomposition, and estimates that change its singular values and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.denoisers.arguments import floating, given, number
from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.noise import estimate_sigma_of_matrix, estimate_sigma_of_plane, is_picture

DENSE_SIDE = 1024  # up to this shorter side all singular values are computed at once, in a second or two
FIRST_RANK = 256  # components that are looked for first of larger matrices


@dataclass(frozen=True)
class ObservedSpectrum:
    """Factors of a noisy plane, U s Vt + mean: (m, r), (r,) descending, (r, n), (n,)."""

    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray
    mean: np.ndarray | float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.U.shape[0], self.Vt.shape[1]


@dataclass(frozen=True)
class SpectralEstimate:
    """A denoised plane as factors; `weights` (k,) are its singular values."""

    U: np.ndarray
    weights: np.ndarray
    Vt: np.ndarray
    mean: np.ndarray | float = 0.0

    @property
    def rank(self) -> int:
        return int(np.count_nonzero(self.weights))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop of the estimate, float64 or complex128."""
        k = self.rank
        return (self.U[start:stop, :k] * self.weights[:k]) @ self.Vt[:k] + self.mean


def of_matrix(
    name: str,
    x: Any,
    sigma: Any,
    rank: int | None,
    change: Callable[[ObservedSpectrum, float], SpectralEstimate],
) -> Denoised:
    """What method `name` makes of a matrix (m, n) by `change` of its factors.

    Parameters
    ----------
    x : array (m, n), real or complex, finite
    sigma : float or None
        By default `estimate_sigma` of it.
    rank : int or None
        Components that are needed at least.
    change : callable
        From factors and noise level to an estimate.

    Raises
    ------
    ValueError
        No matrix, missing or non-finite values, or a sigma that is no finite number from 0 up.
    TypeError
        A sigma that is no number.
    """
    seen = given(name, "x", x, None, kinds="iufc", form="a matrix (m, n)")
    A = seen.values
    if A.ndim != 2:
        raise ValueError(
            f"{name}: x must be a matrix (m, n), not {A.shape}; take planes one by one, or patch_svd or mppca"
        )
    if seen.valid is not None:
        raise ValueError(f"{name}: needs all values; fill the masked ones, or use patch_svd, mppca or ssa")
    A = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)
    observed, level = _factored(A, None if sigma is None else number(f"{name}: sigma", sigma), rank or 0)
    estimate = change(observed, level)
    values = estimate.rows(0, len(A))
    real = floating(seen.values.dtype) if A.dtype.kind == "f" else np.dtype(np.complex128)
    return Denoised(seen.hidden(values.astype(real)), float(estimate.rank), sigma=level, method=name)


def _factored(A: np.ndarray, sigma: float | None, rank: int) -> tuple[ObservedSpectrum, float]:
    """The components of a matrix that can rise above its noise, and the level of that."""
    short, norm = min(A.shape), float(np.linalg.norm(A))
    if sigma is None and is_picture(A):
        sigma = estimate_sigma_of_plane(A)[0]
    rank = max(rank, FIRST_RANK)
    while True:
        if short <= DENSE_SIDE or 4 * rank > short:
            U, s, Vt = np.linalg.svd(A, full_matrices=False)
        else:
            from svdflow.svd import truncated_svd  # on use: jobs of the workflow have their factors already

            U, s, Vt = truncated_svd(A, rank)
        level = estimate_sigma_of_matrix(s, A.shape, norm)[0] if sigma is None else sigma
        # The largest singular value of noise alone; Davidson and Szarek (2001), theorem 2.13.
        if len(s) == short or s[-1] <= level * (A.shape[0] ** 0.5 + A.shape[1] ** 0.5):
            return ObservedSpectrum(U, s, Vt), level
        rank *= 2
