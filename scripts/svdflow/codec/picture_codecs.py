"""Codecs of pictures, by imagecodecs: (array, setting) -> (bytes of the stream, decoded array)."""

from math import log10

import imagecodecs
import numpy as np

Encoded = tuple[int, np.ndarray]


def png(array: np.ndarray, level: float) -> Encoded:
    # The library's own estimate of the size is too small for a narrow picture of noise.
    room = 2 * array.nbytes + len(array) + 4096
    stream = imagecodecs.png_encode(array, level=int(level), out=room)
    return len(stream), imagecodecs.png_decode(stream)


def jpeg(array: np.ndarray, quality: float) -> Encoded:
    stream = imagecodecs.jpeg8_encode(array, level=int(quality), optimize=True)
    return len(stream), imagecodecs.jpeg8_decode(stream)


def jpeg2000(array: np.ndarray, db: float) -> Encoded:
    """Bare codestream of the 9/7 wavelet, at a PSNR over the range of the values."""
    # The library takes it over the range of the dtype, which a scan of 12 bits does not fill.
    level = db + 20 * log10(np.iinfo(array.dtype).max / max(1, int(np.ptp(array))))
    stream = imagecodecs.jpeg2k_encode(
        array,
        level=level,  # type: ignore[arg-type]
        reversible=False,
        codecformat="j2k",
        numthreads=1,
    )
    return len(stream), imagecodecs.jpeg2k_decode(stream, numthreads=1)


def webp(array: np.ndarray, quality: float) -> Encoded:
    stream = imagecodecs.webp_encode(np.repeat(array[..., None], 3, axis=2), level=quality, lossless=False)
    return len(stream), imagecodecs.webp_decode(stream)[..., 0]


def avif(array: np.ndarray, quality: float) -> Encoded:
    # A grey array goes lossless whatever the level (imagecodecs 2026.3.6), so its RGB goes in, as luma alone.
    grey = np.repeat(array[..., None], 3, axis=2)
    stream = imagecodecs.avif_encode(grey, level=int(quality), speed=6, pixelformat="400", numthreads=1)
    decoded = imagecodecs.avif_decode(stream, numthreads=1)
    return len(stream), decoded if decoded.ndim == 2 else decoded[..., 0]
