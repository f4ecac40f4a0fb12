"""Errors of one array against another: PSNR, NRMSE, relative and maximal error, explained energy, SNR.

Each takes ``mask``, an array of bool of the same shape, True where a value is valid (`numpy.ma` means the opposite):
the figure is that of the valid values, whatever stands in the others, NaN included; NaN where none is valid.
"""

from math import inf, isfinite, log10, nan
from numbers import Real
from typing import Any, Literal

import numpy as np

from svdflow.matrix.masks import materialized

Normalization = Literal["euclidean", "min-max", "mean"]


Mask = np.ndarray | None


def psnr(reference: np.ndarray, image: np.ndarray, *, data_range: float, mask: Mask = None) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / mse).

    Parameters
    ----------
    reference, image : array, same shape
        Any real or complex dtype; the difference is taken in double precision.
    data_range : float
        Peak value, positive and finite: 255 for 8 bits; `svdflow.images.item_range` says how others are found.
    mask : bool array, same shape, optional
        True where a value is valid.

    Returns
    -------
    psnr : float
        In dB; infinity for equal images, NaN where no value is valid.

    Raises
    ------
    ValueError
        The shapes differ, a valid value is NaN or infinite, or data_range is not positive.
    TypeError
        A data_range that is no number.
    """
    check_range(data_range)
    reference, image = finite_pair(reference, image, mask)
    return psnr_of_error(squared_norm(difference(reference, image)), np.size(reference), data_range)


def psnr_of_error(squared_error: float, size: int, data_range: float) -> float:
    """PSNR in dB of a sum of squared errors over `size` values; NaN of none."""
    check_range(data_range)
    if size == 0:
        return nan
    return inf if squared_error == 0 else 10 * log10(data_range**2 * size / squared_error)


def nrmse(
    reference: np.ndarray, image: np.ndarray, *, normalization: Normalization, mask: Mask = None
) -> float:
    """Root of the mean squared error over a size of the reference; the three of scikit-image.

    Parameters
    ----------
    reference, image : array, same shape
        Real or complex.
    normalization : {"euclidean", "min-max", "mean"}
        Divide by the root mean square of the reference (which gives the relative Frobenius error), by its
        max - min, or by its mean. The last two need real values.

    Returns
    -------
    nrmse : float
        0/0 counts as 0.

    Raises
    ------
    ValueError
        The shapes differ, the name is unknown, or the values are complex where real ones are needed.
    """
    if normalization == "euclidean":
        return relative_error(reference, image, mask=mask)
    reference, image = valid_pair(reference, image, mask)
    if np.iscomplexobj(reference):
        raise ValueError(f"nrmse: {normalization!r} needs a real reference; 'euclidean' takes complex ones")
    values = double(reference)
    if not values.size:
        return nan
    if normalization == "min-max":
        scale = float(values.max() - values.min())
    elif normalization == "mean":
        scale = float(values.mean())
    else:
        raise ValueError(f"normalization is {normalization!r}; one of euclidean, min-max, mean")
    error = (squared_norm(difference(reference, image)) / values.size) ** 0.5
    return ratio(error, scale) if scale >= 0 else error / scale


def relative_error(reference: np.ndarray, image: np.ndarray, *, mask: Mask = None) -> float:
    """Frobenius norm of the difference over that of the reference; 0/0 counts as 0."""
    reference, image = valid_pair(reference, image, mask)
    if mask is not None and not reference.size:
        return nan
    return ratio(squared_norm(difference(reference, image)), squared_norm(double(reference))) ** 0.5


def max_error(reference: np.ndarray, image: np.ndarray, *, mask: Mask = None) -> float:
    """Largest absolute difference of two arrays of one shape, in the unit of their values; 0 for empty ones."""
    reference, image = valid_pair(reference, image, mask)
    return nan if mask is not None and not reference.size else largest(difference(reference, image))


def explained_energy(reference: np.ndarray, image: np.ndarray, *, centered: bool, mask: Mask = None) -> float:
    """Share of the squared norm that an approximation keeps, 1 - |reference - image|^2 / |reference|^2.

    Parameters
    ----------
    reference, image : array (m, n)
    centered : bool
        Take the column means out of the reference in the denominator, as a principal component analysis does.
        Without it the share says little of a photograph: its mean alone holds most of the energy.
    mask : bool array (m, n), optional
        True where a value is valid; the means are those of the valid values of a column.

    Returns
    -------
    energy : float
        At most 1; negative where the error exceeds the energy. 1 for a zero reference met exactly.

    Raises
    ------
    ValueError
        The shapes differ.

    Notes
    -----
    For a truncated SVD of the reference this is sum_{i<=k} s_i^2 / sum_i s_i^2 (Eckart and Young, 1936).
    """
    check_pair(reference, image)
    if mask is not None:
        check_mask(mask, np.shape(reference))
        if not mask.any():
            return nan
    values, error = (valid(a, mask) for a in (double(reference), difference(reference, image)))
    if centered:
        counts = len(values) if mask is None else np.maximum(1, mask.sum(axis=0))
        values = valid(values - values.sum(axis=0) / counts, mask)
    return 1 - ratio(squared_norm(error), squared_norm(values))


def snr(clean: np.ndarray, image: np.ndarray, *, mask: Mask = None) -> float:
    """Signal-to-noise ratio in dB: clean power over error power; infinity without error.

    Raises
    ------
    ValueError
        The shapes differ, or a valid value is NaN or infinite.
    """
    clean, image = finite_pair(clean, image, mask)
    if mask is not None and not clean.size:
        return nan
    return snr_of_error(squared_norm(double(clean)), squared_norm(difference(clean, image)))


def snr_of_error(squared_signal: float, squared_error: float) -> float:
    """SNR in dB of two sums of squares."""
    if squared_error == 0:
        return inf
    return 10 * log10(squared_signal / squared_error) if squared_signal > 0 else -inf


def ratio(part: float, whole: float) -> float:
    """part / whole of two figures that are not negative, with 0/0 = 0 (nothing is lost of nothing)."""
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else inf


def squared_norm(array: np.ndarray) -> float:
    """Sum of |a|^2 of a floating-point array."""
    flat = np.ravel(array)
    return float(np.vdot(flat, flat).real)


def largest(array: np.ndarray) -> float:
    """Largest |a| of a floating-point array; NaN where one is NaN, 0 where there is none."""
    if array.size == 0:
        return 0.0
    if np.iscomplexobj(array):
        return float(np.abs(array).max())
    high, low = float(array.max()), float(array.min())
    return nan if high != high else max(high, -low)


def double(array: np.ndarray) -> np.ndarray:
    """The array in double precision, real or complex."""
    return np.asarray(array, np.complex128 if np.iscomplexobj(array) else np.float64)


def difference(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """reference - image in double precision: unsigned integers do not wrap."""
    return double(reference) - double(image)


def valid(array: np.ndarray, mask: Mask) -> np.ndarray:
    """The array with 0 where `mask` is False."""
    return array if mask is None else np.where(mask, array, array.dtype.type(0))


def valid_pair(reference: np.ndarray, image: np.ndarray, mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays, or their valid values in one dimension.

    Raises
    ------
    ValueError
        The shapes differ, or the mask is not one of bool.
    """
    check_pair(reference, image)
    if mask is None:
        return reference, image
    check_mask(mask, np.shape(reference))
    return np.asarray(reference)[mask], np.asarray(image)[mask]


def finite_pair(reference: Any, image: Any, mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """As `valid_pair`, of finite numbers alone; what `numpy.ma` masks in one of them is not valid in either."""
    reference, image = materialized(reference), materialized(image)
    hidden = [~np.ma.getmaskarray(a) for a in (reference, image) if isinstance(a, np.ma.MaskedArray)]
    if any(not known.all() for known in hidden):
        check_pair(reference, image)
        mask = np.logical_and.reduce([*hidden, *([] if mask is None else [mask])])
    pair = valid_pair(np.asarray(reference), np.asarray(image), mask)
    for name, array in zip(("reference", "image"), pair, strict=True):
        if array.dtype.kind not in "biufc":
            raise ValueError(f"the {name} must hold numbers, not {array.dtype}")
        if bad := np.count_nonzero(~np.isfinite(array)):
            raise ValueError(
                f"{bad} of {array.size} values of the {name} are NaN or infinite; leave them out with mask="
            )
    return pair


def check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse a mask of another shape or type: of integers it would pick places."""
    if np.shape(mask) != shape or np.asarray(mask).dtype != bool:
        raise ValueError(
            f"a mask is an array of bool of shape {shape}, True where a value is valid, not "
            f"{np.asarray(mask).dtype} {np.shape(mask)}"
        )


def check_pair(reference: np.ndarray, image: np.ndarray) -> None:
    """Refuse arrays of two shapes."""
    if np.shape(reference) != np.shape(image):
        raise ValueError(
            f"shapes {np.shape(reference)} and {np.shape(image)} differ; compare planes of one shape"
        )


def check_range(data_range: float) -> None:
    """Refuse a data range that is no number, not positive or not finite."""
    if isinstance(data_range, bool | np.bool_) or not isinstance(data_range, Real):
        raise TypeError(f"data_range is {data_range!r}, must be a number: 255 for 8 bits")
    if not (isfinite(data_range) and data_range > 0):
        raise ValueError(
            f"data_range is {data_range}, must be positive: 255 for 8 bits, max - min for floats"
        )
