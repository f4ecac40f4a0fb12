"""Many images against one reference in one sweep."""

from collections.abc import Callable, Iterable
from math import nan
from typing import NamedTuple

import numpy as np

from svdflow.metrics.errors import check_mask, double, largest, ratio, squared_norm, valid
from svdflow.metrics.similarity import (
    RADIUS,
    SharedReference,
    has_window,
    strip_height,
    valid_windows,
    window_count,
)


class Loss(NamedTuple):
    """An image against a reference: squared norms of the difference and of the reference, SSIM, largest difference."""

    squared_error: float
    squared_reference: float
    ssim: float
    max_error: float = nan

    @property
    def relative_error(self) -> float:
        """Relative Frobenius error."""
        return ratio(self.squared_error, self.squared_reference) ** 0.5


def losses(
    reference: np.ndarray,
    images: Callable[[int, int], Iterable[np.ndarray]],
    count: int,
    *,
    data_range: float,
    with_ssim: bool = True,
    mask: np.ndarray | None = None,
) -> list[Loss]:
    """Compare many images with one reference in one sweep over strips of rows.

    The moments of a strip of the reference are shared by all images, and nothing of the size of the reference
    is made beside it.

    Parameters
    ----------
    reference : array (m, n)
        Integer, float or complex.
    images : function of (start, stop)
        Gives those rows of each of the `count` images, in a fixed order; floating point. Rows are asked for
        in ascending order; neighbouring strips overlap.
    data_range : float
        Peak value, for SSIM; not positive or NaN where it is unknown.
    mask : bool array (m, n), optional
        True where a value is valid: no other counts, and SSIM is the mean over windows of valid pixels alone.

    Returns
    -------
    losses : list of Loss
        SSIM within 1e-5 of its float64 value; NaN without `with_ssim`, without a data range, for complex
        references and where no window of 11 x 11 fits. All else in double precision.
    """
    shape = reference.shape
    similar = with_ssim and data_range > 0 and has_window(shape) and not np.iscomplexobj(reference)
    if mask is not None:
        check_mask(mask, shape)
    windows = window_count(shape) if similar and mask is None else 0
    margin = 2 * RADIUS if similar else 0
    error, similarity, farthest, power = np.zeros(count), np.zeros(count), np.zeros(count), 0.0
    step = strip_height(shape[0] - margin) if shape[0] > margin else 1
    for start in range(0, shape[0] - margin, step):
        stop = min(start + step + margin, shape[0])
        # Rows of the margin belong to the next strip, except at the end.
        own = slice(0, stop - start if stop == shape[0] else step)
        known = None if mask is None else mask[start:stop]
        strip = valid(double(reference[start:stop]), known)
        shared = SharedReference(strip, data_range, np.float32, mask=known) if similar else None
        if similar and known is not None:
            windows += int(valid_windows(known).sum())
        power += squared_norm(strip[own])
        for j, image in enumerate(images(start, stop)):
            difference = valid(strip[own] - image[own], None if known is None else known[own])
            error[j] += squared_norm(difference)
            farthest[j] = np.maximum(farthest[j], largest(difference))  # unlike max, it keeps NaN
            if shared:
                similarity[j] += shared.ssim_sum(image)
    mean = similarity / windows if windows else np.full(count, nan)
    figures = zip(error.tolist(), mean.tolist(), farthest.tolist(), strict=True)
    return [Loss(e, power, q, far) for e, q, far in figures]
