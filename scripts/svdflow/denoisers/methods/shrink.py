"""shrink: every singular value of the whole plane, optimally for a loss."""

from typing import Any, overload

import numpy as np

from svdflow.denoisers.arguments import whole
from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.spectra import ObservedSpectrum, SpectralEstimate, of_matrix
from svdflow.ranks.shrinkage import shrunk_values


@overload
def shrink(
    x: ObservedSpectrum, sigma: float, *, rank: int | None = None, loss: str = "frobenius"
) -> SpectralEstimate: ...
@overload
def shrink(
    x: np.ndarray, sigma: float | None = None, *, rank: int | None = None, loss: str = "frobenius"
) -> Denoised: ...
def shrink(x: Any, sigma: float | None = None, *, rank: int | None = None, loss: str = "frobenius") -> Any:
    """Shrink every singular value towards the clean one, optimal for `loss`; the first `rank` at most.

    Parameters
    ----------
    x : array (m, n), real or complex, or ObservedSpectrum
        A matrix, of which no order of rows and columns is used; or its factors.
    sigma : float, optional
        Standard deviation of white noise. By default `estimate_sigma` of the matrix; factors need one.
    rank : int, optional
        Keep this many components at most.
    loss : {"frobenius", "operator", "nuclear"}
        Of the estimate, that is to be least.

    Returns
    -------
    Denoised
        ``values`` (m, n), float32 for types that it holds without loss, else double precision; ``rank`` of it. Of
        factors a `SpectralEstimate`, whose rows can be had band by band, so that the plane is never needed whole.

    Raises
    ------
    ValueError, TypeError
        No matrix, masked or non-finite values, a sigma that is no finite number from 0 up, a rank that is no whole
        number from 0 up, or an unknown loss.

    Notes
    -----
    Noise lengthens singular values and turns singular vectors. For Frobenius loss the best weight for a component of
    observed length y (in units of sigma times the root of the larger side) is sqrt((y^2 - beta - 1)^2 - 4 beta) / y,
    and zero below the edge 1 + sqrt(beta): Gavish and Donoho (2017), Optimal shrinkage of singular values,
    section III; for operator and nuclear loss see there too.
    """
    rank = None if rank is None else whole("shrink: rank", rank, 0)

    def change(observed: ObservedSpectrum, level: Any) -> SpectralEstimate:
        weights = shrunk_values(observed.s, observed.shape, level, loss)[:rank]
        return SpectralEstimate(observed.U, weights, observed.Vt, observed.mean)

    return (
        change(x, sigma) if isinstance(x, ObservedSpectrum) else of_matrix("shrink", x, sigma, rank, change)
    )
