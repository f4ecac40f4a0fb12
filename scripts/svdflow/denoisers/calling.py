"""Calling a denoiser by its declaration: with what it takes, and with what it gives held to its promise."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.spectra import SpectralEstimate
from svdflow.registry import Denoiser


def with_arguments(
    declared: Denoiser, context: Mapping[str, Any], options: Mapping[str, Any]
) -> Callable[..., Any]:
    """The function of a denoiser with its options, and with what it takes of the `context`; None is not known."""
    function = declared.code()
    taken = signature(function).parameters
    given = {key: value for key, value in context.items() if key in taken and value is not None}
    return partial(function, **{**declared.arguments, **given, **options})


def as_denoised(name: str, result: Any, shape: tuple[int, ...]) -> Denoised:
    """What denoiser `name` gave for an array of that shape; a plain array of numbers has no rank, level or maps.

    Raises
    ------
    TypeError
        It is no array of numbers of that shape.
    """
    values = result.values if isinstance(result, Denoised) else result
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind not in "iufc":
        raise TypeError(
            f"denoiser {name!r} gave {_words(values)} for an array of shape {shape}; return a "
            "svdflow.denoisers.Denoised, or a NumPy array of numbers, of that shape"
        )
    return result if isinstance(result, Denoised) else Denoised(values, method=name)


def as_estimate(name: str, result: Any) -> SpectralEstimate:
    """What denoiser `name`, which works on factors, gave for an `ObservedSpectrum`.

    Raises
    ------
    TypeError
        It is no `SpectralEstimate`.
    """
    if not isinstance(result, SpectralEstimate):
        raise TypeError(
            f"denoiser {name!r} gave {_words(result)} for an ObservedSpectrum; return a "
            "svdflow.denoisers.SpectralEstimate, or declare works_on='picture', 'series' or 'columns' for values"
        )
    return result


def _words(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"an array of {result.dtype} of shape {result.shape}"
    return f"{type(result).__module__}.{type(result).__qualname__}"
