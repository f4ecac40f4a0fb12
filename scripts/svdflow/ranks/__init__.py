"""Rank rules, from singular values (and a noise level) to a rank, and the shrinkers that go with them.

`optimal_rank` takes a matrix, the functions behind it take singular values; `svdflow.denoisers` takes noise off a
matrix, and finds its level. Names are imported where they are asked for, so that an edited rule concerns the jobs that
use it only.
"""

import warnings
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
    from svdflow.ranks.of_matrices import optimal_rank
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
    "gavish_donoho",
    "hard_threshold",
    "marchenko_pastur_median",
    "mp_pca",
    "optimal_rank",
    "rank_for_energy",
    "rank_for_error",
    "screenot",
    "screenot_threshold",
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
    "svdflow.ranks.of_matrices": ("optimal_rank",),
    "svdflow.ranks.shrinkage": ("shrunk_values", "soft_threshold", "sure", "sure_soft_threshold"),
    "svdflow.ranks.singular_values": ("checked_values",),
    "svdflow.ranks.spectrum_rules": ("elbow", "rank_for_energy", "rank_for_error"),
    "svdflow.registry": ("RANK_RULES",),
}


# Names of 0.1 that other rooms bear too, with what to take in their place; they go with 0.2.
_MOVED = {
    "estimate_sigma": "svdflow.denoisers.estimate_sigma, or svdflow.ranks.sigma_from_singular_values of values",
    "shrink": "svdflow.denoisers.shrink, or svdflow.ranks.shrunk_values of singular values",
}


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        words = f"svdflow.ranks.{name} goes with 0.2; take {_MOVED[name]}"
        warnings.warn(words, DeprecationWarning, stacklevel=2)
        return getattr(import_module("svdflow.ranks.of_matrices"), name)
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'svdflow.ranks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
