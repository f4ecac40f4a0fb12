"""Rank rules by the names that a configuration knows, each with what it needs to be applied."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from svdflow.ranks.cross_validation import bi_cross_validation
from svdflow.ranks.hard_thresholds import gavish_donoho, mp_pca, screenot
from svdflow.ranks.shrinkage import sure
from svdflow.ranks.spectrum_rules import elbow, rank_for_energy


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


@dataclass(frozen=True)
class RankRule:
    """A rule: from evidence to a rank, what of the evidence it `needs`, and its source."""

    function: Callable[[Evidence], int]
    needs: frozenset[str]
    source: str


_WORDS = {
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
        words for need, (met, words) in _WORDS.items() if need in rule.needs and not met(evidence)
    )


def _energy(share: float) -> Callable[[Evidence], int]:
    def rank(evidence: Evidence) -> int:
        found = rank_for_energy(evidence.s, share, evidence.norm**2)
        return len(evidence.s) if found is None else found

    return rank


def _rule(function: Callable[[Evidence], int], *needs: str, source: str) -> RankRule:
    return RankRule(function, frozenset(needs), source)


RANK_RULES: dict[str, RankRule] = {
    "gavish_donoho": _rule(
        lambda e: gavish_donoho(e.s, e.shape, e.sigma),
        "sigma",
        source="Gavish and Donoho (2014), equation 11",
    ),
    "gavish_donoho_median": _rule(
        lambda e: gavish_donoho(e.s, e.shape), "all_values", source="Gavish and Donoho (2014), equation 9"
    ),
    "mp_pca": _rule(
        lambda e: mp_pca(e.s, e.shape), "all_values", source="Veraart et al. (2016), equation 12"
    ),
    "sure": _rule(
        lambda e: sure(e.s, e.shape, e.sigma or 0.0),
        "sigma",
        "all_values",
        source="Candes, Sing-Long and Trzasko (2013), theorem IV.2",
    ),
    "bi_cross_validation": _rule(
        lambda e: bi_cross_validation(e.matrix(), seed=e.seed) if e.matrix else 0,
        "matrix",
        source="Owen and Perry (2009), section 2.1",
    ),
    "screenot": _rule(
        lambda e: screenot(e.s, e.shape), "all_values", source="Donoho, Gavish and Romanov (2023), section 3"
    ),
    "elbow": _rule(lambda e: elbow(e.s), source="Satopaa et al. (2011), section III"),
    # For compression. On noisy photographs 90 % keep 3 components and 99 % 130, where the best number is 35.
    "energy_90": _rule(_energy(0.90), source="Jolliffe (2002), section 6.1.1"),
    "energy_99": _rule(_energy(0.99), source="Jolliffe (2002), section 6.1.1"),
}
