"""What rank rules are given, and whether a rule can do with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.registry import RankRule


@dataclass(frozen=True)
class Evidence:
    """What is known of a noisy matrix when its rank is chosen.

    Attributes
    ----------
    s : array (r,)
        Singular values, descending, float64: all of them, or the first ones.
    shape : (m, n)
    sigma : float or None
        Standard deviation of the noise, given or estimated.
    norm : float
        Frobenius norm of the whole matrix.
    complete : bool
        Whether `s` holds all min(m, n) singular values.
    matrix : callable or None
        Gives the matrix (m, n), where it is at hand.
    seed : int
        Of rules that draw.
    """

    s: np.ndarray
    shape: tuple[int, int]
    sigma: float | None
    norm: float
    complete: bool
    matrix: Callable[[], Any] | None = None
    seed: int = 0


# For each thing that a rule may need: whether it is there, and what is said where it is not.
_NEEDS: dict[str, tuple[Callable[[Evidence], bool], str]] = {
    "sigma": (lambda e: e.sigma is not None, "the noise level is not known"),
    "all_values": (lambda e: e.complete, "not all singular values are stored; raise factorize.max_rank"),
    "matrix": (
        lambda e: e.matrix is not None and min(e.shape) > 1,
        "the matrix is not at hand, or has a single row or column",
    ),
}


def applicable(rule: RankRule, evidence: Evidence) -> str:
    """Why a rule cannot be applied; empty where it can."""
    return "; ".join(
        words for need, (met, words) in _NEEDS.items() if need in rule.needs and not met(evidence)
    )
