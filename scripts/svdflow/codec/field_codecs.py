"""Codecs of fields and of any array, by imagecodecs: (array, setting) -> (bytes of the stream, decoded array)."""

from math import sqrt

import imagecodecs
import numpy as np

Encoded = tuple[int, np.ndarray]


def _tolerance(array: np.ndarray, share: float) -> float:
    """Absolute tolerance as a share of the root mean square."""
    size = sqrt(float(np.mean(np.square(array, dtype=np.float64))))
    return share * (size if size > 0 else 1.0)


def zfp(array: np.ndarray, share: float) -> Encoded:
    stream = imagecodecs.zfp_encode(array, level=_tolerance(array, share), mode="a")  # type: ignore[arg-type]
    return len(stream), imagecodecs.zfp_decode(stream)


def sz3(array: np.ndarray, share: float) -> Encoded:
    stream = imagecodecs.sz3_encode(array, mode="abs", abs=_tolerance(array, share))
    return len(stream), imagecodecs.sz3_decode(stream, array.shape, array.dtype)


def zstd(array: np.ndarray, level: float) -> Encoded:
    """Bytes of equal significance side by side, as the shuffle filter of HDF5 has them."""
    planes = np.ascontiguousarray(array.reshape(-1, 1).view(np.uint8).T)
    stream = imagecodecs.zstd_encode(planes.tobytes(), level=int(level))
    back = np.frombuffer(imagecodecs.zstd_decode(stream), np.uint8).reshape(planes.shape)
    return len(stream), np.ascontiguousarray(back.T).view(array.dtype).reshape(array.shape)
