"""Denoisers of pictures, stacks, series and matrices: one face, and each method by its own name, imported when used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from svdflow.registry import DENOISERS

if TYPE_CHECKING:
    from svdflow.denoisers.denoised import Denoised
    from svdflow.denoisers.denoising import denoise
    from svdflow.denoisers.methods.mppca import mppca
    from svdflow.denoisers.methods.nl_means import nl_means
    from svdflow.denoisers.methods.patch_svd import patch_svd
    from svdflow.denoisers.methods.shrink import shrink
    from svdflow.denoisers.methods.ssa import ssa
    from svdflow.denoisers.methods.truncate import truncate
    from svdflow.denoisers.methods.tv import tv
    from svdflow.denoisers.methods.wavelet import wavelet
    from svdflow.denoisers.methods.wnnm import wnnm
    from svdflow.denoisers.noise import estimate_sigma
    from svdflow.denoisers.poisson import anscombe, denoise_poisson, inverse_anscombe
    from svdflow.denoisers.spectra import ObservedSpectrum, SpectralEstimate
    from svdflow.ranks.of_matrices import optimal_rank

_PLACES = {
    "Denoised": "svdflow.denoisers.denoised",
    "denoise": "svdflow.denoisers.denoising",
    "estimate_sigma": "svdflow.denoisers.noise",
    "ObservedSpectrum": "svdflow.denoisers.spectra",
    "SpectralEstimate": "svdflow.denoisers.spectra",
    "anscombe": "svdflow.denoisers.poisson",
    "denoise_poisson": "svdflow.denoisers.poisson",
    "inverse_anscombe": "svdflow.denoisers.poisson",
    "optimal_rank": "svdflow.ranks.of_matrices",
}

__all__ = [
    "Denoised",
    "ObservedSpectrum",
    "SpectralEstimate",
    "anscombe",
    "denoise",
    "denoise_poisson",
    "estimate_sigma",
    "inverse_anscombe",
    "mppca",
    "nl_means",
    "optimal_rank",
    "patch_svd",
    "shrink",
    "ssa",
    "truncate",
    "tv",
    "wavelet",
    "wnnm",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name in DENOISERS:
        return DENOISERS[name].code()
    raise AttributeError(f"module 'svdflow.denoisers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
