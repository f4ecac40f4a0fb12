"""Denoisers that change the singular values of the whole plane and nothing else.

A denoiser takes what was observed, a noise level and, if it is given one, a rank; it returns an `SpectralEstimate`,
whose rows can be had band by band, so that the plane is never needed whole.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from svdflow.denoisers.arguments import number, whole
from svdflow.ranks.hard_thresholds import gavish_donoho
from svdflow.ranks.shrinkage import shrunk_values


@dataclass(frozen=True)
class ObservedSpectrum:
    """Stored factors of a noisy plane, U s Vt + mean: (m, r), (r,) descending, (r, n), (n,)."""

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


class SpectralMethod(Protocol):
    """One denoiser: `rank` keeps at most that many components; None leaves the number to the method."""

    def __call__(
        self, observed: ObservedSpectrum, *, sigma: float, rank: int | None = None, loss: str = "frobenius"
    ) -> SpectralEstimate: ...


class Denoiser(NamedTuple):
    """A method and the name of the rule by which it chooses its own rank; None where it needs a rank rule."""

    apply: SpectralMethod
    own_rule: str | None


def truncate(
    observed: ObservedSpectrum, *, sigma: float, rank: int | None = None, loss: str = "frobenius"
) -> SpectralEstimate:
    """Keep the first `rank` components as they are; without one, those above Gavish-Donoho's threshold.

    The threshold is that of Frobenius loss, whatever `loss` says.

    Raises
    ------
    ValueError, TypeError
        A sigma that is no finite number from 0 up, or a rank that is no whole number from 0 up.
    """
    sigma, rank = number("truncate: sigma", sigma), _rank("truncate", rank)
    if rank is None:
        rank = gavish_donoho(observed.s, observed.shape, sigma)
    return SpectralEstimate(observed.U, observed.s[:rank], observed.Vt, observed.mean)


def shrink(
    observed: ObservedSpectrum, *, sigma: float, rank: int | None = None, loss: str = "frobenius"
) -> SpectralEstimate:
    """Shrink every singular value towards the clean one, optimal for `loss`; the first `rank` at most.

    Noise lengthens singular values and turns singular vectors. For Frobenius loss the best weight for a component of
    observed length y (in units of sigma times the root of the larger side) is sqrt((y^2 - beta - 1)^2 - 4 beta) / y,
    and zero below the edge 1 + sqrt(beta): Gavish and Donoho (2017), Optimal shrinkage of singular values,
    section III; for operator and nuclear loss see there too.

    Raises
    ------
    ValueError, TypeError
        As `truncate`; an unknown loss.
    """
    rank = _rank("shrink", rank)
    weights = shrunk_values(observed.s, observed.shape, sigma, loss)[:rank]
    return SpectralEstimate(observed.U, weights, observed.Vt, observed.mean)


def _rank(name: str, rank: int | None) -> int | None:
    return None if rank is None else whole(f"{name}: rank", rank, 0)


DENOISERS: dict[str, Denoiser] = {
    "truncate": Denoiser(truncate, None),
    "shrink": Denoiser(shrink, "optimal_shrinkage"),
}
