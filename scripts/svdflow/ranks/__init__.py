"""Rank rules: from singular values (and a noise level) to a rank, and the shrinkers that go with them."""

from svdflow.ranks.cross_validation import bi_cross_validation
from svdflow.ranks.hard_thresholds import (
    gavish_donoho,
    hard_threshold,
    mp_pca,
    screenot,
    screenot_threshold,
)
from svdflow.ranks.marchenko_pastur import marchenko_pastur_median, sigma_from_singular_values
from svdflow.ranks.rules import RANK_RULES, Evidence, RankRule, applicable
from svdflow.ranks.shrinkage import shrink, soft_threshold, sure, sure_soft_threshold
from svdflow.ranks.singular_values import checked_values
from svdflow.ranks.spectrum_rules import elbow, rank_for_energy, rank_for_error

__all__ = [
    "RANK_RULES",
    "Evidence",
    "RankRule",
    "applicable",
    "bi_cross_validation",
    "checked_values",
    "elbow",
    "gavish_donoho",
    "hard_threshold",
    "marchenko_pastur_median",
    "mp_pca",
    "rank_for_energy",
    "rank_for_error",
    "screenot",
    "screenot_threshold",
    "shrink",
    "sigma_from_singular_values",
    "soft_threshold",
    "sure",
    "sure_soft_threshold",
]
