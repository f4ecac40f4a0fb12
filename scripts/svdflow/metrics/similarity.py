"""Structural similarity at one scale and at five."""

from functools import reduce
from math import nan

import numpy as np

from svdflow.metrics.errors import check_mask, check_pair, check_range

SIGMA = 1.5  # Wang et al. (2004), section III.B: circular Gaussian window of 11 x 11, sigma 1.5
RADIUS = 5  # int(3.5 sigma + 0.5), where scikit-image truncates
WINDOW = 2 * RADIUS + 1  # rows and columns of the window, 11 as in the paper
C1, C2 = 0.01**2, 0.03**2  # stabilizers of Wang et al., in units of the squared data range
STRIP = 48  # rows of the SSIM map at a time: of 32, 48, 64 and 128 the fastest, as a strip fits the cache
BAND = 24  # filtered values a block of the filter's matrix: of 16, 24, 32, 48 and 64 the fastest both ways
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik (2003), section 3.2


def ssim(
    reference: np.ndarray, image: np.ndarray, *, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004), equations 13 and 17.

    Gaussian window of 11 x 11 with sigma 1.5, population covariance, mean over the windows that lie wholly
    inside: what scikit-image gives with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    Parameters
    ----------
    reference, image : array (m, n), real
        Computed in float64.
    data_range : float
        As for `psnr`.
    mask : bool array (m, n), optional
        True where a pixel is valid. Only windows of 11 x 11 valid pixels count, so no value of a missing one does.

    Returns
    -------
    ssim : float
        At most 1, which is reached by equal images. NaN where a side is below 11 or no window is wholly valid: the
        measure does not exist there; a batch with one small image goes on.

    Raises
    ------
    ValueError
        The shapes differ, the images are not 2-D and real, or data_range is not positive.
    """
    _check_planes(reference, image, data_range, mask)
    return _mean_ssim(reference, image, mask, data_range)


def ms_ssim(
    reference: np.ndarray, image: np.ndarray, *, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Multi-scale structural similarity of Wang, Simoncelli and Bovik (2003), equation 7, five scales.

    Each scale is the 2 x 2 mean of the one before, every second value; an odd last row or column is left out. The
    product over scales of the mean contrast and structure, each to the power of its weight, times the mean of all of
    SSIM at the coarsest scale to its own.

    Parameters
    ----------
    reference, image : array (m, n), real
        Computed in float64.
    data_range : float
        As for `psnr`.
    mask : bool array (m, n), optional
        True where a pixel is valid. A mean of 2 x 2 is valid where all four are, and windows count as in `ssim`.

    Returns
    -------
    ms_ssim : float
        At most 1. NaN where a side is below 176, or the mask leaves the coarsest scale no window of 11 x 11. Means that
        are negative count as 0.

    Raises
    ------
    ValueError
        As `ssim`.
    """
    _check_planes(reference, image, data_range, mask)
    first, second = (np.asarray(a) for a in (reference, image))
    if mask is not None:
        first, second = (np.where(mask, a, a.dtype.type(0)) for a in (first, second))
    if not has_window(tuple(side // 2 ** (len(WEIGHTS) - 1) for side in first.shape)):
        return nan
    product = 1.0
    for scale, weight in enumerate(WEIGHTS):
        last = scale == len(WEIGHTS) - 1
        mean = _mean_ssim(first, second, mask, data_range, luminance=last)
        product *= nan if mean != mean else max(0.0, mean) ** weight
        first, second = _halved(first), _halved(second)
        mask = None if mask is None else _halved(mask.astype(np.float64)) == 1
    return product


def _mean_ssim(
    reference: np.ndarray,
    image: np.ndarray,
    mask: np.ndarray | None,
    data_range: float,
    *,
    luminance: bool = True,
) -> float:
    """Mean of the SSIM map over the windows that are wholly inside and wholly valid; NaN without one."""
    if not has_window(reference.shape):
        return nan
    total, count = 0.0, 0
    for start, stop in strips(reference.shape[0]):
        windows = None if mask is None else valid_windows(mask[start:stop])
        number = window_count((stop - start, reference.shape[1])) if windows is None else int(windows.sum())
        if number:
            first, second = (np.asarray(a[start:stop], np.float64) for a in (reference, image))
            shared = SharedReference(first, data_range, mask=_rows(mask, start, stop))
            total += shared.ssim_sum(second, luminance=luminance)
        count += number
    return total / count if count else nan


def _rows(mask: np.ndarray | None, start: int, stop: int) -> np.ndarray | None:
    return None if mask is None else mask[start:stop]


def valid_windows(mask: np.ndarray) -> np.ndarray:
    """Which windows of 11 x 11 hold valid pixels alone: bool (h, n) -> bool (h - 10, n - 10)."""
    missing = np.pad(np.cumsum(np.cumsum(~mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    return (
        missing[WINDOW:, WINDOW:] - missing[:-WINDOW, WINDOW:] - missing[WINDOW:, :-WINDOW]
        + missing[:-WINDOW, :-WINDOW]
    ) == 0  # fmt: skip


def _check_planes(
    reference: np.ndarray, image: np.ndarray, data_range: float, mask: np.ndarray | None
) -> None:
    check_pair(reference, image)
    check_range(data_range)
    if reference.ndim != 2 or np.iscomplexobj(reference) or np.iscomplexobj(image):
        got = f"{reference.dtype} {reference.shape}"
        raise ValueError(f"ssim: needs real 2-D planes, got {got}; pass one plane at a time")
    if mask is not None:
        check_mask(mask, reference.shape)


def _halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 values; an odd last row or column is left out."""
    rows, columns = (side // 2 * 2 for side in plane.shape)
    quarters = (plane[i:rows:2, j:columns:2].astype(np.float64) for i in (0, 1) for j in (0, 1))
    return reduce(np.add, quarters) / 4


def has_window(shape: tuple[int, ...]) -> bool:
    """Whether one SSIM window of 11 x 11 fits."""
    return min(shape) >= WINDOW


def window_count(shape: tuple[int, ...]) -> int:
    """Windows wholly inside a plane: the size of its SSIM map."""
    m, n = shape
    return (m - 2 * RADIUS) * (n - 2 * RADIUS)


def strip_height(rows: int) -> int:
    """Rows of a strip: about STRIP, so that all are of a size but for the last, which may be a little lower."""
    return -(-rows // max(1, round(rows / STRIP)))


def strips(rows: int) -> list[tuple[int, int]]:
    """Row ranges that together hold each SSIM window once; neighbours overlap by 2 * RADIUS rows."""
    inner = rows - 2 * RADIUS
    step = strip_height(inner)
    return [(start, min(start + step, inner) + 2 * RADIUS) for start in range(0, inner, step)]


class SharedReference:
    """A strip of a reference with its local moments, against which many images are compared.

    Measuring one picture at many ranks repeats half of the work of SSIM, the moments of the reference; here
    it is done once. The Gaussian filter is a banded matrix applied from both sides, block by block, through BLAS. A
    rank takes at most 0.19 of scikit-image's time for it (``python benchmarks/images.py --case cost``).

    Parameters
    ----------
    reference : array (h, n), real
        At least 11 rows and columns; h at most STRIP + 2 * RADIUS rows make the best of the cache.
    data_range : float
        Peak value.
    dtype : dtype
        float64 agrees with scikit-image to 1e-10. float32 is twice as fast and agrees to 1e-5: values are
        centred and scaled before they are squared, so that cancellation in the variances stays below C2.
    mask : bool array (h, n), optional
        True where a pixel is valid, somewhere at least; only windows of valid pixels are summed.
    """

    def __init__(
        self,
        reference: np.ndarray,
        data_range: float,
        dtype: type = np.float64,
        *,
        mask: np.ndarray | None = None,
    ) -> None:
        h, n = reference.shape
        self._range = data_range
        self._mask = None if mask is None or mask.all() else mask
        self._windows = None if self._mask is None else valid_windows(self._mask)
        known = reference if self._mask is None else reference[self._mask]
        self._center = float(np.mean(known, dtype=np.float64)) if known.size else 0.0
        self._offset = dtype(self._center / data_range)
        self._fields: np.ndarray = np.empty((h, 3, n), dtype)
        values = self._scaled(reference)
        self._values = values.copy()
        self._fields[:, 1] = self._fields[:, 2] = np.square(values)
        moments = _smooth(self._fields)
        mean = moments[:, 0]
        self._variance = moments[:, 1] - np.square(mean) + dtype(C2)
        self._mean_centered = mean.copy()
        self._mean = mean + self._offset
        self._luminance = np.square(self._mean) + dtype(C1)

    def ssim_sum(self, image: np.ndarray, *, luminance: bool = True) -> float:
        """Sum of the SSIM map of `image`, shape (h, n), over the windows of this strip; without its luminance term
        that of contrast and structure alone."""
        values = self._scaled(image)
        np.square(values, out=self._fields[:, 1])
        np.multiply(values, self._values, out=self._fields[:, 2])
        moments = _smooth(self._fields)
        mean, square, cross = moments[:, 0], moments[:, 1], moments[:, 2]
        cross -= self._mean_centered * mean
        cross += cross
        cross += C2
        square -= np.square(mean)
        square += self._variance
        if luminance:
            mean += self._offset
            square *= np.square(mean) + self._luminance
            mean *= self._mean
            mean += mean
            mean += C1
            cross *= mean
        cross /= square
        return float(np.sum(cross if self._windows is None else cross[self._windows], dtype=np.float64))

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        """(image - center) / data_range, 0 where a pixel is missing, put into the first field."""
        field = self._fields[:, 0]
        if self._mask is not None:
            image = np.where(self._mask, image, self._center)
        np.multiply(image - self._center, 1 / self._range, out=field, casting="same_kind")
        return field


def _smooth(fields: np.ndarray) -> np.ndarray:
    """Gaussian filter of c fields, (h, c, n) -> (h - 10, c, n - 10), where the window is wholly inside."""
    h, c, n = fields.shape
    margin = 2 * RADIUS
    band = _BANDS[fields.dtype.type]
    tall = np.empty((h - margin, c * n), fields.dtype)
    flat = fields.reshape(h, c * n)
    for start in range(0, h - margin, BAND):
        part, window = slice(start, start + BAND), slice(start, start + BAND + margin)
        size = len(tall[part])
        np.matmul(band[:size, : size + margin], flat[window], out=tall[part])
    rows = tall.reshape(-1, n)
    wide = np.empty((len(rows), n - margin), fields.dtype)
    for start in range(0, n - margin, BAND):
        part, window = slice(start, start + BAND), slice(start, start + BAND + margin)
        size = wide[:, part].shape[1]
        np.matmul(rows[:, window], band[:size, : size + margin].T, out=wide[:, part])
    return wide.reshape(h - margin, c, n - margin)


def _band() -> np.ndarray:
    """Rows of shifted Gaussian weights: BAND filtered values from BAND + 10."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    band = np.zeros((BAND, BAND + 2 * RADIUS))
    for row in range(BAND):
        band[row, row : row + WINDOW] = weights
    return band


_BANDS = {np.float64: _band(), np.float32: _band().astype(np.float32)}
