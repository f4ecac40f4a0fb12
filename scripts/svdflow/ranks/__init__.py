"""Rank rules, from singular values (and a noise level) to a rank, and the shrinkers that go with them.

`optimal_rank`, `estimate_sigma` and `shrink` take a matrix; the functions behind them take singular values. Names are
imported where they are asked for, so that an edited rule concerns the jobs that use it only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svdflow.ranks.cross_validation import bi_cross_validation
    from svdflow.ranks.evidence import Evidence, applicable
    from svdflow.ranks.hard_thresholds import (
        gavish_donoho,
        hard_threshold,
        mp_pca,
        screenot,
        screenot_threshold,
    )
    from svdflow.ranks.marchenko_pastur import marchenko_pastur_median, sigma_from_singular_values
    from svdflow.ranks.of_matrices import estimate_sigma, optimal_rank, shrink
    from svdflow.ranks.shrinkage import shrunk_values, soft_threshold, sure, sure_soft_threshold
    from svdflow.ranks.singular_values import checked_values
    from svdflow.ranks.spectrum_rules import elbow, rank_for_energy, rank_for_error
    from svdflow.registry import RANK_RULES

__all__ = [
    "RANK_RULES",
    "Evidence",
    "applicable",
    "bi_cross_validation",
    "checked_values",
    "elbow",
    "estimate_sigma",
    "gavish_donoho",
    "hard_threshold",
    "marchenko_pastur_median",
    "mp_pca",
    "optimal_rank",
    "rank_for_energy",
    "rank_for_error",
    "screenot",
    "screenot_threshold",
    "shrink",
    "shrunk_values",
    "sigma_from_singular_values",
    "soft_threshold",
    "sure",
    "sure_soft_threshold",
]

_PLACES = {
    "svdflow.ranks.cross_validation": ("bi_cross_validation",),
    "svdflow.ranks.evidence": ("Evidence", "applicable"),
    "svdflow.ranks.hard_thresholds": (
        "gavish_donoho",
        "hard_threshold",
        "mp_pca",
        "screenot",
        "screenot_threshold",
    ),
    "svdflow.ranks.marchenko_pastur": ("marchenko_pastur_median", "sigma_from_singular_values"),
    "svdflow.ranks.of_matrices": ("estimate_sigma", "optimal_rank", "shrink"),
    "svdflow.ranks.shrinkage": ("shrunk_values", "soft_threshold", "sure", "sure_soft_threshold"),
    "svdflow.ranks.singular_values": ("checked_values",),
    "svdflow.ranks.spectrum_rules": ("elbow", "rank_for_energy", "rank_for_error"),
    "svdflow.registry": ("RANK_RULES",),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'svdflow.ranks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
