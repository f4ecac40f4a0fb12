"""What is known of the noise of a plane: the level that was given, and what pixels and singular values say."""

from dataclasses import dataclass
from math import nan
from typing import NamedTuple

import numpy as np

from svdflow.denoisers.noise import estimate_sigma_of_matrix, estimate_sigma_of_plane
from svdflow.errors import ItemError
from svdflow.images.batch import known_spectrum
from svdflow.ranks.marchenko_pastur import sigma_from_singular_values
from svdflow.store import Factors


class Noise(NamedTuple):
    """A noise level and where it comes from."""

    sigma: float
    source: str


@dataclass(frozen=True)
class Levels:
    """The noise levels of one plane: `used` first, then the estimate where another one was given.

    `mad` and `mp` are the estimates by wavelets and by the median singular value, NaN where there is none.
    """

    candidates: tuple[Noise, ...]
    mad: float
    mp: float

    @property
    def used(self) -> Noise:
        return self.candidates[0]


def noise_levels(
    pixels: np.ndarray | None,
    stored: Factors | None,
    given: float,
    kind: str,
    mask: np.ndarray | None = None,
) -> Levels:
    """All that can be said of the noise of a plane.

    Parameters
    ----------
    pixels : array (m, n), optional
        The plane, where it is at hand.
    stored : Factors, optional
        Its factors, where there are any.
    given : float
        The known level; 0 where none is known.
    kind : {"image", "matrix"}
        Images are judged by their finest wavelets, matrices by their singular values.
    mask : bool array (m, n), optional
        True where a pixel is valid.

    Raises
    ------
    ItemError
        Neither a level nor what it could be estimated from.
    """
    mad = mp = Noise(nan, "")
    if pixels is not None and kind == "image":
        mad = Noise(*estimate_sigma_of_plane(pixels, mask))
    spectral = None
    if stored is not None:
        m, n = int(stored.attrs["m"]), int(stored.attrs["n"])
        s = known_spectrum(stored)
        if len(s) == min(m, n):
            mp = Noise(sigma_from_singular_values(s, (m, n)), "mp_median")
        if kind != "image":
            spectral = Noise(*estimate_sigma_of_matrix(s, (m, n), stored.attrs["frobenius_norm"]))
    estimate = mad if kind == "image" else spectral
    known = [Noise(given, "given")] if given > 0 else []
    found = [*known, *([estimate] if estimate is not None and estimate.source else [])]
    if not found:
        raise ItemError(
            "missing_plane", "the noise level is estimated from pixels or factors, and there are none"
        )
    return Levels(tuple(found), mad.sigma, mp.sigma)
