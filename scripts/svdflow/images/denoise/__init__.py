"""Denoising at many ranks, and by rules that choose the rank: one interface, one job a method and shard."""

from svdflow.images.denoise.noise import estimate_sigma
from svdflow.images.denoise.shard import denoise_shard
from svdflow.images.denoise.spectral import DENOISERS, RANK_RULES, Estimate, Observed, shrink, truncate

__all__ = [
    "DENOISERS",
    "RANK_RULES",
    "Estimate",
    "Observed",
    "denoise_shard",
    "estimate_sigma",
    "shrink",
    "truncate",
]
