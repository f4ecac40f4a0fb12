"""Rank, noise level and shrinkage of a matrix; or of singular values, where these are at hand."""

from typing import Any

import numpy as np
import scipy.linalg

from svdflow.compute.engine import one_blas_thread
from svdflow.compute.seeds import seed_from
from svdflow.matrix.dense import load_dense
from svdflow.matrix.opening import as_source
from svdflow.ranks.evidence import Evidence, applicable
from svdflow.ranks.marchenko_pastur import sigma_from_singular_values
from svdflow.ranks.shrinkage import shrunk_values
from svdflow.ranks.singular_values import checked_shape, checked_values, number
from svdflow.registry import RANK_RULES


def optimal_rank(
    A: Any = None,
    *,
    s: Any = None,
    shape: tuple[int, int] | None = None,
    sigma: float | None = None,
    rule: str = "gavish_donoho",
    seed: int = 0,
    rng: Any = None,
) -> int:
    """How many components of a noisy matrix to keep.

    Parameters
    ----------
    A : array_like, sparse matrix, path or MatrixSource, shape (m, n)
        The matrix, real or complex, small enough for LAPACK. Or instead of it:
    s : array_like, shape (r,)
        Its singular values, descending: all of them, or the first ones for rules that need no more.
    shape : (m, n)
        The sides of the matrix, with `s`.
    sigma : float, optional
        Standard deviation of the noise of an entry. Rules that need one take
        `sigma_from_singular_values` where it is not given.
    rule : str
        Name of a rank rule (``svdflow.registry.RANK_RULES``; docs/denoising.md has a table).
    seed : int
        For rules that draw.
    rng : int or numpy.random.Generator, optional
        In the place of `seed`.

    Returns
    -------
    int
        From 0 to min(m, n).

    Raises
    ------
    ValueError, TypeError
        No matrix and no values, or both; an unknown rule, or one that needs more than is given; values that are not
        finite.

    Notes
    -----
    Where `s` are not all values, rules about shares of energy speak of the energy of those.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((80, 60))
    >>> optimal_rank(noise), optimal_rank(noise + 2.0)
    (0, 1)
    """
    declared = RANK_RULES.find(rule)
    values, sides, matrix = _spectrum(A, s, shape)
    if "sigma" in declared.needs:
        sigma = sigma_from_singular_values(values, sides) if sigma is None else number("sigma", sigma)
    if len(values) < min(sides) and "all_values" in declared.needs:
        raise ValueError(f"rule {rule!r} needs all {min(sides)} singular values, not {len(values)} of them")
    at_hand = None if matrix is None else lambda: matrix
    norm = float(scipy.linalg.norm(values)) if len(values) else 0.0
    evidence = Evidence(values, sides, sigma, norm, len(values) == min(sides), at_hand, seed_from(seed, rng))
    if reason := applicable(declared, evidence):
        raise ValueError(f"rule {rule!r} cannot be applied: {reason}")
    return int(declared.code()(evidence))


def estimate_sigma(A: Any = None, *, s: Any = None, shape: tuple[int, int] | None = None) -> float:
    """Standard deviation of white noise, from the median singular value (Gavish and Donoho 2014).

    Parameters
    ----------
    A, s, shape
        As of `optimal_rank`; `s` has to hold all singular values.

    Returns
    -------
    float
        In units of an entry. It is right where most components are noise: for pictures `svdflow.denoisers` has an
        estimate that needs less.

    Raises
    ------
    ValueError, TypeError
        As of `optimal_rank`.

    Examples
    --------
    >>> import numpy as np
    >>> round(estimate_sigma(0.5 * np.random.default_rng(0).standard_normal((300, 200))), 2)
    0.5
    """
    values, sides, _ = _spectrum(A, s, shape)
    return float(sigma_from_singular_values(values, sides))


def shrink(
    A: Any = None,
    sigma: float | None = None,
    *,
    s: Any = None,
    shape: tuple[int, int] | None = None,
    loss: str = "frobenius",
) -> np.ndarray:
    """The matrix without white noise, by optimal shrinkage of its singular values (Gavish and Donoho 2017).

    Parameters
    ----------
    A, s, shape
        As of `optimal_rank`.
    sigma : float, optional
        Standard deviation of the noise of an entry; by default `estimate_sigma`.
    loss : str
        What is least: ``frobenius``, ``operator`` or ``nuclear`` norm of the error.

    Returns
    -------
    ndarray
        Shape (m, n), in the floating-point type of A, or float64 for integers. With `s` instead of A the shrunk values,
        shape of `s`, float64; zero up to the edge of the noise, ``sigma (sqrt m + sqrt n)``.

    Raises
    ------
    ValueError, TypeError
        As of `optimal_rank`; an unknown loss.

    Examples
    --------
    >>> import numpy as np
    >>> shrink(s=[5.0, 1.0], shape=(3, 3), sigma=1.0).round(3)
    array([3.606, 0.   ])
    """
    if A is None:
        values, sides, _ = _spectrum(None, s, shape)
        level = estimate_sigma(s=values, shape=sides) if sigma is None else sigma
        return shrunk_values(values, sides, level, loss)
    _refuse_both(s, shape)
    source = as_source(A)
    matrix = load_dense(source)
    with one_blas_thread():
        U, values, Vt = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False)
        level = estimate_sigma(s=values, shape=matrix.shape) if sigma is None else sigma
        denoised = (U * shrunk_values(values, matrix.shape, level, loss)) @ Vt
    return np.asarray(denoised, source.dtype if source.dtype.kind in "fc" else None)


def _spectrum(A: Any, s: Any, shape: Any) -> tuple[np.ndarray, tuple[int, int], np.ndarray | None]:
    """Singular values, sides, and the matrix where that was given."""
    if A is None:
        if s is None or shape is None:
            raise ValueError("give a matrix, or its singular values s= and its shape=")
        values, sides = checked_values(s, descending=True), checked_shape(shape)
        if values.ndim != 1 or len(values) > min(sides):
            raise ValueError(
                f"s must be a vector of at most {min(sides)} values, not of shape {values.shape}"
            )
        return values, sides, None
    _refuse_both(s, shape)
    matrix = load_dense(as_source(A))
    with one_blas_thread():
        values = scipy.linalg.svdvals(matrix, check_finite=False)
    return values, (matrix.shape[0], matrix.shape[1]), matrix


def _refuse_both(s: Any, shape: Any) -> None:
    if s is not None or shape is not None:
        raise ValueError("give a matrix, or its singular values s= and its shape=, not both")
