"""Denoising at many ranks, by rules that choose the rank, and by groups, windows and series: one interface."""

from svdflow.denoisers.anscombe import anscombe, denoise_poisson, inverse_anscombe
from svdflow.denoisers.estimate import Denoised
from svdflow.denoisers.mppca import mppca
from svdflow.denoisers.noise import estimate_sigma
from svdflow.denoisers.patch_svd import patch_svd
from svdflow.denoisers.spectral import DENOISERS, ObservedSpectrum, SpectralEstimate, shrink, truncate
from svdflow.denoisers.ssa import ssa
from svdflow.denoisers.wnnm import wnnm
from svdflow.ranks.hard_thresholds import gavish_donoho as optimal_rank

__all__ = [
    "DENOISERS",
    "Denoised",
    "ObservedSpectrum",
    "SpectralEstimate",
    "anscombe",
    "denoise_poisson",
    "estimate_sigma",
    "inverse_anscombe",
    "mppca",
    "optimal_rank",
    "patch_svd",
    "shrink",
    "ssa",
    "truncate",
    "wnnm",
]
