"""How good a picture is: PSNR, SSIM, relative error, SNR, bits per pixel.

The data range is never guessed. Guessing it from the dtype, or from the compressed image, is the usual cause
of published figures that cannot be compared (scikit-image issue 6595).
"""

from collections.abc import Callable, Iterable
from math import inf, isfinite, log10, nan, prod
from typing import NamedTuple

import numpy as np

SIGMA = 1.5  # Wang et al. (2004), section III.B: circular Gaussian window of 11 x 11, sigma 1.5
RADIUS = 5  # int(3.5 sigma + 0.5), where scikit-image truncates
WINDOW = 2 * RADIUS + 1
C1, C2 = 0.01**2, 0.03**2  # stabilizers of Wang et al., in units of the squared data range
STRIP = 48  # rows of the SSIM map at a time: of 32, 48, 64 and 128 the fastest, as a strip fits the cache


def psnr(reference: np.ndarray, image: np.ndarray, *, data_range: float) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / mse).

    Parameters
    ----------
    reference, image : array, same shape
        Any real or complex dtype; the difference is taken in double precision.
    data_range : float
        Peak value: 255 for 8 bits, 65535 for 16 bits, max - min of the reference for floats.

    Returns
    -------
    psnr : float
        In dB; infinity for equal images.

    Raises
    ------
    ValueError
        The shapes differ, or data_range is not positive.
    """
    _check_pair(reference, image)
    return psnr_of_error(squared_norm(_difference(reference, image)), reference.size, data_range)


def psnr_of_error(squared_error: float, size: int, data_range: float) -> float:
    """PSNR in dB of a sum of squared errors over `size` values."""
    _check_range(data_range)
    return inf if squared_error == 0 else 10 * log10(data_range**2 * size / squared_error)


def ssim(reference: np.ndarray, image: np.ndarray, *, data_range: float) -> float:
    """Structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004), equations 13 and 17.

    Gaussian window of 11 x 11 with sigma 1.5, population covariance, mean over the windows that lie wholly
    inside: what scikit-image gives with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    Parameters
    ----------
    reference, image : array (m, n), real
        Computed in float64.
    data_range : float
        As for `psnr`.

    Returns
    -------
    ssim : float
        At most 1, which is reached by equal images. NaN where a side is below 11: no window fits, so the
        measure does not exist there; a batch with one small image goes on.

    Raises
    ------
    ValueError
        The shapes differ, the images are not 2-D and real, or data_range is not positive.
    """
    _check_pair(reference, image)
    _check_range(data_range)
    if reference.ndim != 2 or np.iscomplexobj(reference) or np.iscomplexobj(image):
        got = f"{reference.dtype} {reference.shape}"
        raise ValueError(f"ssim: needs real 2-D planes, got {got}; pass one plane at a time")
    if not has_window(reference.shape):
        return nan
    total = 0.0
    for start, stop in strips(reference.shape[0]):
        shared = SharedReference(reference[start:stop], data_range)
        total += shared.ssim_sum(image[start:stop])
    return total / window_count(reference.shape)


def relative_error(reference: np.ndarray, image: np.ndarray) -> float:
    """Frobenius norm of the difference over that of the reference; 0/0 counts as 0."""
    _check_pair(reference, image)
    return ratio(squared_norm(_difference(reference, image)), squared_norm(_double(reference))) ** 0.5


def snr(clean: np.ndarray, image: np.ndarray) -> float:
    """Signal-to-noise ratio in dB: clean power over error power; infinity without error."""
    _check_pair(clean, image)
    return snr_of_error(squared_norm(_double(clean)), squared_norm(_difference(clean, image)))


def snr_of_error(squared_signal: float, squared_error: float) -> float:
    """SNR in dB of two sums of squares."""
    if squared_error == 0:
        return inf
    return 10 * log10(squared_signal / squared_error) if squared_signal > 0 else -inf


def bits_per_pixel(n_bytes: int, shape: tuple[int, ...]) -> float:
    """Bits spent on each value of an array of this shape."""
    return 8 * n_bytes / prod(shape)


def ratio(part: float, whole: float) -> float:
    """part / whole of two sums of squares, with 0/0 = 0 (nothing is lost of nothing)."""
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else inf


def squared_norm(array: np.ndarray) -> float:
    """Sum of |a|^2 of a floating-point array."""
    flat = np.ravel(array)
    return float(np.vdot(flat, flat).real)


def has_window(shape: tuple[int, ...]) -> bool:
    """Whether one SSIM window of 11 x 11 fits."""
    return min(shape) >= WINDOW


def window_count(shape: tuple[int, ...]) -> int:
    """Windows wholly inside a plane: the size of its SSIM map."""
    m, n = shape
    return (m - 2 * RADIUS) * (n - 2 * RADIUS)


def strips(rows: int) -> list[tuple[int, int]]:
    """Row ranges that together hold each SSIM window once; neighbours overlap by 2 * RADIUS rows."""
    inner = rows - 2 * RADIUS
    return [(start, min(start + STRIP, inner) + 2 * RADIUS) for start in range(0, inner, STRIP)]


class Loss(NamedTuple):
    """An image against a reference: squared norms of the difference and of the reference, and SSIM."""

    squared_error: float
    squared_reference: float
    ssim: float

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

    Returns
    -------
    losses : list of Loss
        SSIM within 1e-5 of its float64 value; NaN without `with_ssim`, without a data range, for complex
        references and where no window of 11 x 11 fits. All else in double precision.
    """
    shape = reference.shape
    similar = with_ssim and data_range > 0 and has_window(shape) and not np.iscomplexobj(reference)
    margin = 2 * RADIUS if similar else 0
    error, similarity, power = np.zeros(count), np.zeros(count), 0.0
    for start in range(0, shape[0] - margin, STRIP):
        stop = min(start + STRIP + margin, shape[0])
        # Rows of the margin belong to the next strip, except at the end.
        own = slice(0, stop - start if stop == shape[0] else STRIP)
        strip = _double(reference[start:stop])
        shared = SharedReference(strip, data_range, np.float32) if similar else None
        power += squared_norm(strip[own])
        for j, image in enumerate(images(start, stop)):
            error[j] += squared_norm(strip[own] - image[own])
            if shared:
                similarity[j] += shared.ssim_sum(image)
    mean = similarity / window_count(shape) if similar else np.full(count, nan)
    return [Loss(e, power, q) for e, q in zip(error.tolist(), mean.tolist(), strict=True)]


class SharedReference:
    """A strip of a reference with its local moments, against which many images are compared.

    Measuring one picture at many ranks repeats half of the work of SSIM, the moments of the reference; here
    it is done once. The Gaussian filter is a banded matrix applied from both sides, block by block, through
    BLAS.

    Parameters
    ----------
    reference : array (h, n), real
        At least 11 rows and columns; h at most STRIP + 2 * RADIUS rows make the best of the cache.
    data_range : float
        Peak value.
    dtype : dtype
        float64 agrees with scikit-image to 1e-10. float32 is twice as fast and agrees to 1e-5: values are
        centred and scaled before they are squared, so that cancellation in the variances stays below C2.
    """

    def __init__(self, reference: np.ndarray, data_range: float, dtype: type = np.float64) -> None:
        h, n = reference.shape
        self._range = data_range
        self._center = float(np.mean(reference, dtype=np.float64))
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

    def ssim_sum(self, image: np.ndarray) -> float:
        """Sum of the SSIM map of `image`, shape (h, n), over the windows of this strip."""
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
        mean += self._offset
        square *= np.square(mean) + self._luminance
        mean *= self._mean
        mean += mean
        mean += C1
        cross *= mean
        cross /= square
        return float(np.sum(cross, dtype=np.float64))

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        """(image - center) / data_range, put into the first field."""
        field = self._fields[:, 0]
        np.multiply(image - self._center, 1 / self._range, out=field, casting="same_kind")
        return field


def _smooth(fields: np.ndarray) -> np.ndarray:
    """Gaussian filter of c fields, (h, c, n) -> (h - 10, c, n - 10), where the window is wholly inside."""
    h, c, n = fields.shape
    margin = 2 * RADIUS
    band = _BANDS[fields.dtype.type]
    tall = np.empty((h - margin, c * n), fields.dtype)
    flat = fields.reshape(h, c * n)
    for start in range(0, h - margin, STRIP):
        part, window = slice(start, start + STRIP), slice(start, start + STRIP + margin)
        size = len(tall[part])
        np.matmul(band[:size, : size + margin], flat[window], out=tall[part])
    rows = tall.reshape(-1, n)
    wide = np.empty((len(rows), n - margin), fields.dtype)
    for start in range(0, n - margin, STRIP):
        part, window = slice(start, start + STRIP), slice(start, start + STRIP + margin)
        size = wide[:, part].shape[1]
        np.matmul(rows[:, window], band[:size, : size + margin].T, out=wide[:, part])
    return wide.reshape(h - margin, c, n - margin)


def _band() -> np.ndarray:
    """Rows of shifted Gaussian weights: STRIP filtered values from STRIP + 10."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    band = np.zeros((STRIP, STRIP + 2 * RADIUS))
    for row in range(STRIP):
        band[row, row : row + WINDOW] = weights
    return band


_BANDS = {np.float64: _band(), np.float32: _band().astype(np.float32)}


def _double(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.complex128 if np.iscomplexobj(array) else np.float64)


def _difference(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    return _double(reference) - _double(image)


def _check_pair(reference: np.ndarray, image: np.ndarray) -> None:
    if np.shape(reference) != np.shape(image):
        raise ValueError(
            f"shapes {np.shape(reference)} and {np.shape(image)} differ; compare planes of one shape"
        )


def _check_range(data_range: float) -> None:
    if not (isfinite(data_range) and data_range > 0):
        raise ValueError(
            f"data_range is {data_range}, must be positive: 255 for 8 bits, max - min for floats"
        )
