"""Errors of difference formulas against their step."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class StepErrors:
    """Relative errors of difference formulas by step; NaN where a formula could not be evaluated.

    Attributes
    ----------
    h : array, shape (k,)
        Steps, the largest first.
    forward, central, richardson, complex_step : array, shape (k,)
        Relative errors of the derivative: (f(x+h) - f(x)) / h; (f(x+h) - f(x-h)) / 2h; central differences from h,
        h/2, ..., h/32 extrapolated to step 0; Im f(x + ih) / h.
    """

    h: Array
    forward: Array
    central: Array
    richardson: Array
    complex_step: Array


def error_against_step(
    f: Callable[[Array], Any],
    grad: Callable[[Array], Any],
    x: Any,
    *,
    steps: Any = None,
    direction: Any = None,
    exact: float | None = None,
) -> StepErrors:
    """How the error of a derivative along a direction depends on the step: the V of truncation and rounding.

    Parameters
    ----------
    f : callable
        Function of an array of the shape of `x`; the complex step needs it to be analytic.
    grad : callable
        Its gradient, taken for the truth unless `exact` is given.
    x : array_like of real numbers, any shape
    steps : array_like, optional
        Steps; 10^-1 to 10^-16, four a decade, where left out.
    direction : array_like of the shape of `x`, optional
        All ones where left out.
    exact : float, optional
        The derivative along the direction, if it is known better than `grad` computes it.

    Raises
    ------
    ValueError
        The derivative is 0 or not finite, so there is no relative error.

    Examples
    --------
    >>> import numpy as np
    >>> errors = error_against_step(np.exp, np.exp, 1.0, steps=[1e-3, 1e-20])
    >>> bool(errors.central[0] < 1e-6), bool(errors.complex_step[1] < 1e-15)
    (True, True)
    """
    x = np.asarray(x, np.float64)
    v = np.ones(x.shape) if direction is None else np.asarray(direction, np.float64)
    truth = float(np.sum(grad(x) * v)) if exact is None else exact
    if truth == 0 or not np.isfinite(truth):
        raise ValueError(f"the derivative along the direction is {truth}; relative errors need another one")
    h = 10.0 ** -np.arange(1, 16.25, 0.25) if steps is None else np.sort(np.asarray(steps, np.float64))[::-1]

    def at(t: complex) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(f(x + t * v)).reshape(())

    def central(t: float) -> float:
        return float((at(t) - at(-t)) / (2 * t))

    def richardson(t: float) -> float:
        table = np.array([central(t / 2**k) for k in range(6)])
        for column in range(1, 6):
            table = table[1:] + (table[1:] - table[:-1]) / (4**column - 1)
        return float(table[0])

    def imaginary(t: float) -> float:
        try:
            return float(np.imag(at(1j * t)) / t) if np.iscomplexobj(at(1j * t)) else nan
        except (TypeError, ValueError, np.linalg.LinAlgError):
            return nan

    formulas = (lambda t: float((at(t) - at(0.0)) / t), central, richardson, imaginary)
    errors = (np.array([abs(formula(t) - truth) for t in h]) / abs(truth) for formula in formulas)
    return StepErrors(h, *errors)
