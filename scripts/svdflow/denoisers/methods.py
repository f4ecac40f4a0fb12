"""The denoisers by name, and what each works on: stored factors, pictures, series or columns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from svdflow.denoisers.anscombe import denoise_poisson
from svdflow.denoisers.baselines import nl_means, tv, wavelet
from svdflow.denoisers.estimate import Denoised
from svdflow.denoisers.mppca import mppca
from svdflow.denoisers.patch_svd import patch_svd
from svdflow.denoisers.ssa import ssa
from svdflow.denoisers.wnnm import wnnm


@dataclass(frozen=True)
class PlaneContext:
    """What a method may know beside the values: noise, range, colours, missing values, and how many threads it has."""

    sigma: Any  # a number, or one per channel
    known: bool  # whether that level was given, and is not an estimate
    data_range: float
    colour: str
    threads: int
    passes: int
    poisson: bool
    mask: np.ndarray | None = None  # True where a value is valid


@dataclass(frozen=True)
class ValueDenoiser:
    """A denoiser of values. `works_on` is ``picture`` (H, W[, C]), ``series`` (..., T) or ``columns`` (T, n).

    `masks` says whether it leaves out what is missing.
    """

    works_on: str
    rule: str
    apply: Callable[[np.ndarray, PlaneContext], Denoised]
    masks: bool = True


def _groups(
    method: Callable[..., Denoised], values: np.ndarray, scene: PlaneContext, **options: Any
) -> Denoised:
    options |= {"colour": "opponent" if scene.colour == "rgb" else "channels", "data_range": scene.data_range}
    return _counted(partial(method, threads=scene.threads, **options), values, scene)


def _baseline(method: Callable[..., Denoised], values: np.ndarray, scene: PlaneContext) -> Denoised:
    def one_level(image: np.ndarray, *, sigma: Any, mask: np.ndarray | None) -> Denoised:
        # They take one level; channels of estimated levels differ a little.
        level = float(np.sqrt(np.mean(np.square(sigma))))
        return method(image, level, data_range=scene.data_range, mask=mask)

    return _counted(one_level, values, scene)


def _counted(method: Callable[..., Denoised], values: np.ndarray, scene: PlaneContext) -> Denoised:
    """Counts go through the Anscombe transform, after which their noise is 1."""
    if scene.poisson:
        return denoise_poisson(values, method, mask=scene.mask)
    return method(values, sigma=scene.sigma, mask=scene.mask)


def _patch_svd(values: np.ndarray, scene: PlaneContext) -> Denoised:
    return _groups(patch_svd, values, scene, passes=scene.passes)


def _mppca(values: np.ndarray, scene: PlaneContext) -> Denoised:
    sigma = scene.sigma if scene.known else None
    return mppca(values, sigma=sigma, shrink="frobenius", mask=scene.mask, threads=scene.threads)


def _ssa(values: np.ndarray, scene: PlaneContext) -> Denoised:
    sigma = scene.sigma if scene.known else None
    return ssa(values, sigma=sigma, mask=scene.mask, threads=scene.threads)


METHODS: dict[str, ValueDenoiser] = {
    "patch_svd": ValueDenoiser("picture", "bulk_edge", _patch_svd),
    "wnnm": ValueDenoiser("picture", "weighted_nuclear_norm", partial(_groups, wnnm)),
    "tv": ValueDenoiser("picture", "total_variation", partial(_baseline, tv)),
    "wavelet": ValueDenoiser("picture", "bayes_shrink", partial(_baseline, wavelet), masks=False),
    "nl_means": ValueDenoiser("picture", "non_local_means", partial(_baseline, nl_means)),
    "mppca": ValueDenoiser("series", "optimal_shrinkage", _mppca),
    "ssa": ValueDenoiser("columns", "bulk_edge", _ssa),
}
