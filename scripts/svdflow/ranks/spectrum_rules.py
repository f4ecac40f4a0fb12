"""Ranks by shares and shapes: how much of the energy, how small an error, where the scree plot bends."""

import numpy as np

from svdflow.ranks.evidence import Evidence
from svdflow.ranks.singular_values import checked_values, number

# What the difference of two sums of squares cannot resolve, over eps ||A||_F^2: a few roundings of either sum, as both
# are added in pairs or runs (Higham 2002, section 4.2). Errors below it are published as a floor, not as exact.
FLOOR = 16


def rank_for_energy(s: np.ndarray, energy: float, total_energy: float | None = None) -> int | None:
    """Least rank whose squared singular values make up the share `energy` of all.

    Parameters
    ----------
    s : ndarray, shape (k,)
        Singular values, descending; all of them, or the first k with `total_energy` given.
    energy : float
        In (0, 1].
    total_energy : float, optional
        ``||A||_F^2``; by default the sum of the squares of `s`.

    Returns
    -------
    int or None
        None where the given values do not reach the share. A share of 1 is met to ``16 eps``.

    Raises
    ------
    ValueError, TypeError
        An energy outside (0, 1], values or a total that are no finite numbers from 0 up.
    """
    energy = number("energy", energy, open_=True)
    if energy > 1:
        raise ValueError(f"energy must be in (0, 1], not {energy}")
    if total_energy is not None:
        total_energy = number("total_energy", total_energy)
    captured = np.cumsum(np.square(checked_values(s)))
    total = float(captured[-1] if len(captured) else 0.0) if total_energy is None else float(total_energy)
    if total == 0:
        return 0
    reached = np.flatnonzero(captured >= (energy - FLOOR * np.finfo(float).eps) * total)
    return int(reached[0]) + 1 if len(reached) else None


def rank_for_error(s: np.ndarray, error: float, total_energy: float | None = None) -> int | None:
    """Least rank with relative Frobenius error at most `error` (in [0, 1)), by Eckart-Young; None if not reached.

    With all singular values (no `total_energy`) sums over the tail are compared, which lose nothing down to errors of
    ``16 eps``. With leading values only, what is left is a difference, blind below an error of ``sqrt(16 eps)``, 6e-8.
    """
    error, s = number("error", error), checked_values(s)
    if error >= 1:
        raise ValueError(f"error must be in [0, 1), not {error}")
    eps = np.finfo(float).eps
    if total_energy is not None:
        total_energy = number("total_energy", total_energy)
        left = total_energy - np.append(0.0, np.cumsum(np.square(s)))
        reached = np.flatnonzero(left <= (max(error**2, FLOOR * eps) + eps) * total_energy)
        return int(reached[0]) if len(reached) else None
    left = np.append(np.cumsum(np.square(s[::-1]))[::-1], 0.0)
    return int(np.argmax(left <= max(error, FLOOR * eps) ** 2 * (1 + FLOOR * eps) * left[0]))


def elbow(s: np.ndarray) -> int:
    """Rank at the corner of the scree plot: the point of log s farthest below its chord (Satopaa et al. 2011).

    Zero values count as none. Returns 0 for a zero matrix and the number of values where there are under 3.
    """
    s = checked_values(s)
    s = s[s > s[0] * np.finfo(float).eps] if len(s) and s[0] > 0 else s[:0]
    if len(s) < 3:
        return len(s)
    x, y = np.linspace(0, 1, len(s)), np.log(s)
    spread = y[0] - y[-1]
    if spread <= 0:
        return len(s)
    below = 1 - x - (y - y[-1]) / spread
    # The corner itself belongs to the tail, so the rank is the number of values before it.
    return max(1, int(np.argmax(below)))


def elbow_rule(evidence: Evidence) -> int:
    """`elbow` of the values that are known."""
    return elbow(evidence.s)


def energy_90_rule(evidence: Evidence) -> int:
    """Least rank with 90 % of the energy, or all values that are known. On noisy photographs it keeps 3 components,
    where the best number is 35 (benchmarks/images.py --case ranks); it is for compression.
    """
    return _energy(evidence, 0.90)


def energy_99_rule(evidence: Evidence) -> int:
    """The same with 99 %, which on noisy photographs are 130 components."""
    return _energy(evidence, 0.99)


def _energy(evidence: Evidence, share: float) -> int:
    found = rank_for_energy(evidence.s, share, evidence.norm**2)
    return len(evidence.s) if found is None else found
