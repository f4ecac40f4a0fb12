"""truncate: the first components of the whole plane, as they are."""

from typing import Any, overload

import numpy as np

from svdflow.denoisers.arguments import number, whole
from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.spectra import ObservedSpectrum, SpectralEstimate, of_matrix
from svdflow.ranks.hard_thresholds import gavish_donoho


@overload
def truncate(x: ObservedSpectrum, sigma: float, *, rank: int | None = None) -> SpectralEstimate: ...
@overload
def truncate(x: np.ndarray, sigma: float | None = None, *, rank: int | None = None) -> Denoised: ...
def truncate(x: Any, sigma: float | None = None, *, rank: int | None = None) -> Any:
    """Keep the first `rank` components as they are; without one, those above Gavish-Donoho's threshold.

    Parameters
    ----------
    x : array (m, n), real or complex, or ObservedSpectrum
        A matrix, of which no order of rows and columns is used; or its factors.
    sigma : float, optional
        Standard deviation of white noise. By default `estimate_sigma` of the matrix; factors need one.
    rank : int, optional
        Components to keep. The threshold is that of Frobenius loss (Gavish and Donoho 2014).

    Returns
    -------
    Denoised
        ``values`` (m, n), float32 for types that it holds without loss, else double precision; ``rank`` of it. Of
        factors a `SpectralEstimate`, whose rows can be had band by band.

    Raises
    ------
    ValueError, TypeError
        No matrix, masked or non-finite values, a sigma that is no finite number from 0 up, or a rank that is no whole
        number from 0 up.
    """
    rank = None if rank is None else whole("truncate: rank", rank, 0)

    def change(observed: ObservedSpectrum, level: Any) -> SpectralEstimate:
        level = number("truncate: sigma", level)
        kept = gavish_donoho(observed.s, observed.shape, level) if rank is None else rank
        return SpectralEstimate(observed.U, observed.s[:kept], observed.Vt, observed.mean)

    return (
        change(x, sigma) if isinstance(x, ObservedSpectrum) else of_matrix("truncate", x, sigma, rank, change)
    )
