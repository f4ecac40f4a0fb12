"""What other codecs spend on the same values, and how well they keep them.

Each is run over a ladder of settings, coarse to fine, and every setting is judged by its decoded values: bytes are
those of the encoded stream with its headers, errors those of the array that comes back. `svdflow.registry.CODECS` says
which codecs there are.
"""

from math import nan
from typing import NamedTuple

import imagecodecs
import numpy as np

from svdflow.codec.quality import quality
from svdflow.metrics import bits_per_pixel, ssim
from svdflow.metrics.errors import check_pair, valid_pair
from svdflow.registry import Codec


class CodecPoint(NamedTuple):
    """What one setting of one codec costs and keeps. PSNR in dB; NaN for figures that do not exist."""

    codec: str
    setting: str
    bytes: int
    bits_per_value: float
    psnr: float
    relative_error: float
    max_error: float
    ssim: float
    lossless: bool


def refusal(codec: Codec, array: np.ndarray) -> str:
    """Why a codec, or this build of it, does not take an array; empty where it does."""
    low, high = codec.dimensions
    if not low <= array.ndim <= high or array.dtype not in map(np.dtype, codec.dtypes):
        exact, span = (f"{low}-D ", "") if low == high else ("", f" of {low} to {high} dimensions")
        return f"needs {exact}{' or '.join(codec.dtypes)}{span}, got {array.ndim}-D {array.dtype}"
    if max(array.shape, default=0) > codec.side:
        return f"a side is above {codec.side}"
    if codec.library and not getattr(imagecodecs, codec.library).available:
        return f"imagecodecs {imagecodecs.__version__} was built without {codec.library.lower()}"
    if array.size == 0:
        return "it is empty"
    return "it holds values that are not finite" if codec.finite and not np.isfinite(array).all() else ""


def curve(codec: Codec, array: np.ndarray, *, data_range: float, with_ssim: bool) -> list[CodecPoint]:
    """One point for each setting of a codec's ladder.

    Parameters
    ----------
    codec : Codec
        Of `svdflow.registry.CODECS`.
    array : array
        As the codec takes it (`refusal`).
    data_range : float
        Peak value for PSNR and SSIM, or NaN where it is unknown: both are NaN then.
    with_ssim : bool
        Also SSIM, for 2-D arrays.

    Returns
    -------
    points : list of CodecPoint, in the order of the ladder

    Raises
    ------
    ValueError
        The codec does not take the array; the message gives the reason.
    """
    if reason := refusal(codec, array):
        raise ValueError(f"{codec.title} does not take this array: {reason}; ask `refusal` first")
    encode = codec.code()
    array = np.ascontiguousarray(array)
    points = []
    for setting in codec.ladder:
        n_bytes, decoded = encode(array, setting)
        found = point(
            codec.name, f"{setting:g}", n_bytes, array, decoded, data_range=data_range, with_ssim=with_ssim
        )
        points.append(found)
    return points


def point(
    codec: str,
    setting: str,
    n_bytes: int,
    array: np.ndarray,
    decoded: np.ndarray,
    *,
    data_range: float,
    with_ssim: bool,
    mask: np.ndarray | None = None,
) -> CodecPoint:
    """Judge decoded values against the array they stand for; of a factor archive as of a codec.

    `mask`, bool and of the same shape, is True where a value is valid; no other counts.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    check_pair(array, decoded)
    known = data_range > 0
    found = quality(array, decoded, data_range if known else 1.0, mask)
    similar = with_ssim and known and array.ndim == 2 and not np.iscomplexobj(array)
    return CodecPoint(
        codec=codec,
        setting=setting,
        bytes=int(n_bytes),
        bits_per_value=bits_per_pixel(n_bytes, array.shape),
        psnr=found.psnr if known else nan,
        relative_error=found.rel_error,
        max_error=found.max_abs,
        ssim=ssim(array, decoded, data_range=data_range, mask=mask) if similar else nan,
        lossless=bool(np.array_equal(*valid_pair(array, decoded, mask))),
    )
