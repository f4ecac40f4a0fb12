"""Denoising at many ranks, by rules that choose the rank, and by groups, windows and series: one interface."""

from svdflow.images.denoise.anscombe import anscombe, denoise_poisson, inverse_anscombe
from svdflow.images.denoise.estimate import Denoised
from svdflow.images.denoise.mppca import mppca
from svdflow.images.denoise.noise import estimate_sigma
from svdflow.images.denoise.patch_svd import patch_svd
from svdflow.images.denoise.shard import denoise_shard
from svdflow.images.denoise.spectral import DENOISERS, Estimate, Observed, shrink, truncate
from svdflow.images.denoise.ssa import ssa
from svdflow.images.denoise.wnnm import wnnm
from svdflow.linalg.ranks import gavish_donoho as optimal_rank

__all__ = [
    "DENOISERS",
    "Denoised",
    "Estimate",
    "Observed",
    "anscombe",
    "denoise_poisson",
    "denoise_shard",
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
