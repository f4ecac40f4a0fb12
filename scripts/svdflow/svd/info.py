"""What is known of a factorization: how it was computed, and how good it is."""

from dataclasses import dataclass, field
from math import nan

import numpy as np


@dataclass(frozen=True)
class SVDInfo:
    """How factors were computed and how good they are.

    Attributes
    ----------
    method : str
        ``full``, ``gram``, ``tsqr``, ``krylov``, ``shift``, ``lanczos``, ``rsvd`` or ``single_pass``.
    why : str
        What the choice of the method rests on.
    rank : int
        Number of triplets, k.
    numerical_rank : int
        How many of the k singular values stand above rounding, ``s_i > max(m, n) eps s_1``.
    reads : int
        Complete passes over the matrix.
    reason : str
        Why it ended: ``converged`` (within the tolerance, or as near as rounding ``eps s_1`` of the stored factors
        allows, but that only where it is less than a hundredth of ``s_i^2``), ``max_reads`` (the tolerance or the error
        target was not met), ``unresolved`` (the error asked for lies below what rounding lets the certificate show:
        factors may meet it, but `frobenius_error` does not say so; or random probes found more left than leading
        triplets can leave; or the last read moved values that lie below what rounding leaves of squares, about
        ``sqrt(eps) s_1``: they are not to be believed),
        ``rank_deficient`` (the matrix has lower rank than asked) or ``saturated`` (the subspace is the whole
        space, so the result is exact).
    frobenius_norm, frobenius_error : float
        Of the matrix (centred, where asked) and of what the factors leave of it.
    frobenius_kind : str
        For the factors as stored: ``exact``; ``floor``: the error is below this figure, which rounding cannot
        resolve; or ``estimated`` from random probes, without bias, where only products with the matrix are known and
        not its norm. Norm and relative error are estimates then, too.
    frobenius_resolution : float
        Where `frobenius_kind` is ``exact``, the true error is within this of `frobenius_error`. Where it is
        ``estimated``, the standard error of the estimate.
    relative_error : float
        Frobenius error over norm, also where these overflow; 0 for the zero matrix.
    spectral_error, spectral_kind, spectral_failure : float, str, float
        Bound of ``||A - U s Vt||_2`` for the factors as stored: ``exact`` from all singular values, ``probabilistic``
        (from random probes; too small with a probability of `spectral_failure` at most), or ``none``.
    columns_multiplied : int
        Of an operator (`svdflow.OperatorSource`): columns that it and its adjoint were multiplied by, both counted. A
        read is a product with each. 0 for other matrices.
    sampled_rows : int
        Rows that the first block was learnt from; 0 where it was random.
    notes : tuple of str
        What happened on a device that a user should know.
    residuals : ndarray or None, shape (k,)
        ``||A^H u_i - s_i v_i||``, to rounding, which is ``eps s_1^2 / s_i``. Where `polished`, of the triplets before
        the last half step, which made it zero to rounding.
    polished : bool
    estimate : float
        Estimated ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` at the end of the iteration, beyond rounding; 0 for
        exact methods.
    spectrum : ndarray or None, shape (min(m, n),)
        All singular values, where the method computed them (`full`, `gram`, `tsqr`).
    spectrum_resolution : float
        Each of `spectrum` is within this of the truth: rounding of s_1, and of its square for ``gram``, whose values
        below it mean nothing.
    mean : ndarray or None, shape (n,)
        Column means, where ``center=True``.
    scale : ndarray or None, shape (n,)
        What columns were divided by, where ``scale=True``: A is about ``mean + (U s Vt) * scale``. All figures but
        `mean` and `scale` are of the matrix that was divided.
    shape, dtype : of the matrix.
    backend : str
    block_size, panel_height : int
    seed : int
    """

    method: str
    rank: int
    numerical_rank: int
    reads: int
    reason: str
    frobenius_norm: float
    frobenius_error: float
    frobenius_kind: str
    shape: tuple[int, int]
    dtype: str
    frobenius_resolution: float = 0.0
    relative_error: float = 0.0
    spectral_error: float = nan
    spectral_kind: str = "none"
    spectral_failure: float = 0.0
    why: str = ""
    backend: str = "numpy"
    notes: tuple[str, ...] = ()
    block_size: int = 0
    panel_height: int = 0
    seed: int = 0
    sampled_rows: int = 0
    columns_multiplied: int = 0
    polished: bool = False
    estimate: float = 0.0
    residuals: np.ndarray | None = field(default=None, repr=False)
    spectrum: np.ndarray | None = field(default=None, repr=False)
    spectrum_resolution: float = 0.0
    mean: np.ndarray | None = field(default=None, repr=False)
    scale: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SinglePassInfo(SVDInfo):
    """What is known of factors that one read made; `SVDInfo` tells the other fields.

    Attributes
    ----------
    leave_one_out : float
        Estimate of ``||A - U s Vt||_F`` from the sketch alone (Epperly and Tropp 2022, arXiv 2207.06342). Its square
        is unbiased for a sketch of one column less, plus the part of the sketch beyond rank k. Where
        `frobenius_kind` is ``exact`` that figure is better; this one goes on below its floor.
    jackknife : float
        Estimate of how far ``U s Vt`` scatters about its mean over seeds, ``E ||X - E X||_F^2`` rooted; on average not
        too low (the same, section 4). Near `frobenius_error` the factors tell of the seed as much as of the matrix.
    """

    leave_one_out: float = 0.0
    jackknife: float = 0.0


def in_units(s: np.ndarray, unit: float, name: str) -> np.ndarray:
    """Singular values of the matrix itself, from those of `unit` times it.

    Raises
    ------
    OverflowError
        The largest is no float64.
    """
    with np.errstate(over="ignore"):
        values = s / unit
    if not np.isfinite(values).all():
        raise OverflowError(
            f"{name}: the largest singular value lies above the largest float64, 1.8e308; divide the matrix by a power "
            "of two first, such as 2**20"
        )
    return values
