"""Spectra of the families that are built from one: functions of (params, seed), descending, float64."""

from collections.abc import Callable
from typing import Any

import numpy as np

from svdflow.matrix.generators.randomness import stream

Params = dict[str, Any]


def log_scale(params: Params, seed: int) -> np.ndarray:
    """`rank` values from s_first to s_last, equally spaced in their logarithm; then zeros."""
    spectrum = np.zeros(_side(params))
    spectrum[: params["rank"]] = np.geomspace(params["s_first"], params["s_last"], params["rank"])
    return spectrum


def power_decay(params: Params, seed: int) -> np.ndarray:
    """s_i = i^-p."""
    return np.arange(1.0, _side(params) + 1) ** -params["p"]


def exponential_decay(params: Params, seed: int) -> np.ndarray:
    """s_i = exp(-(i - 1) / scale)."""
    return np.exp(-np.arange(_side(params)) / params["scale"])


def spectral_gap(params: Params, seed: int) -> np.ndarray:
    """1 up to `rank`, 1 / gap after it."""
    return np.where(np.arange(_side(params)) < params["rank"], 1.0, 1.0 / params["gap"])


def lapack_mode(params: Params, seed: int) -> np.ndarray:
    """The diagonal that LAPACK's DLATM1 makes for ``MODE`` and ``COND``, largest first.

    Mode 5 is log-uniform in (1 / cond, 1); mode 6 takes the magnitudes of standard normal numbers.
    """
    side, cond = _side(params), params["cond"]
    step = np.arange(side) / max(1, side - 1)
    draws = stream(seed, "spectrum", 0)
    modes: dict[int, Callable[[], np.ndarray]] = {
        1: lambda: np.where(np.arange(side) == 0, 1.0, 1.0 / cond),
        2: lambda: np.where((np.arange(side) == side - 1) & (side > 1), 1.0 / cond, 1.0),
        3: lambda: cond**-step,
        4: lambda: 1.0 - step * (1.0 - 1.0 / cond),
        5: lambda: cond ** -draws.random(side),
        6: lambda: np.abs(draws.standard_normal(side)),
    }
    return np.sort(modes[params["mode"]]())[::-1].copy()


SPECTRA: dict[str, Callable[[Params, int], np.ndarray]] = {
    "low_rank_plus_noise": log_scale,
    "rank_deficient": log_scale,
    "power_decay": power_decay,
    "exponential_decay": exponential_decay,
    "spectral_gap": spectral_gap,
    "lapack_mode": lapack_mode,
}


def _side(params: Params) -> int:
    return min(params["rows"], params["columns"])
