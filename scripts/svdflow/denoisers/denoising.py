"""The face of all denoisers: one function, by the name of a method or the one that suits an array."""

from inspect import signature
from typing import Any

import numpy as np

from svdflow.denoisers.calling import as_denoised, with_arguments
from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.noise import is_picture
from svdflow.images.item_range import value_range
from svdflow.matrix.masks import materialized
from svdflow.registry import DENOISERS


def denoise(
    x: Any,
    method: str = "auto",
    sigma: Any = None,
    *,
    rank: int | None = None,
    mask: np.ndarray | None = None,
    data_range: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    memory_limit: int | None = None,
    **options: Any,
) -> Denoised:
    """Denoise a picture, stack, series or matrix.

    Parameters
    ----------
    x : array
        A picture (H, W) or (H, W, C), C up to 4; a stack or series of volumes (..., T); a matrix (m, n); or one series
        (T,). Integer or real, complex for ``shrink``, ``truncate``, ``mppca`` and ``ssa``. ``numpy.ma`` is taken with
        its mask.
    method : str
        A name in `svdflow.registry.DENOISERS`, or ``auto``, which takes

        - ``patch_svd`` for a picture: 29.95 dB on Set12 at noise 25, where the best rank of the whole picture gives
          23.86 and the best weights of its singular values 25.08. A plane is a picture where neighbours resemble each
          other along both axes (`svdflow.denoisers.noise.is_picture`);
        - ``shrink`` for any other plane: it leaves 0.5 to 0.75 dB less noise than truncation, at no cost;
        - ``mppca`` for three axes and more, the last one longer than 4: signal there is local;
        - ``ssa`` for a single series.
    sigma : float, optional
        Standard deviation of the noise in values of `x`; by default estimated. Pictures take one per channel or a map.
    rank : int, optional
        Keep this many components at most, of the whole, a group or a window; for methods that have components.
    mask : bool array, optional
        True where a value is valid; the others are neither used nor changed.
    data_range : float, optional
        Span of the values of a picture, which decides what counts as much noise; by default 255 for 8 bits, the fewest
        bits that hold deeper integers, and largest less smallest value of floats.
    seed : int
        Of methods that draw.
    threads : int, optional
        By default the cores of this process; never changes a result.
    memory_limit : int, optional
        Bytes to work in, beside `x`; for methods that can work in bands.
    **options
        Further arguments of the method, such as ``passes=1`` of ``patch_svd``.

    Returns
    -------
    Denoised
        Behaves as the denoised array, and knows ``sigma``, ``method``, ``rank`` and ``maps``.

    Raises
    ------
    RegistryError
        An unknown method; the message gives the nearest name.
    ValueError, TypeError
        What the method refuses: another shape, values that are not finite, an argument that it does not take. Or the
        method of another package gave something else than a `Denoised` or a plain array of the shape of `x`.
    ItemError
        `x` is too large for the method within `memory_limit`.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = np.outer(np.arange(40.0), np.ones(30)) + np.random.default_rng(1).normal(0, 1, (40, 30))
    >>> denoise(noisy, "shrink", sigma=1.0)
    <Denoised 40 x 30 float64: shrink, sigma 1, rank 1>
    """
    x = materialized(x)
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    name = _suited(x, mask) if method == "auto" else method
    declared = DENOISERS.find(name)
    taken = signature(declared.code()).parameters
    asked = {"rank": rank, "mask": mask}
    for key, value in asked.items():
        if value is not None and key not in taken:
            raise ValueError(f"denoise: {name} takes no {key}")
    if data_range is None and "data_range" in taken and x.size and x.dtype.kind in "iuf":
        found = value_range([_known(x, mask)])[2]
        data_range = found if np.isfinite(found) else None
    context = {
        "data_range": data_range,
        "seed": seed,
        "threads": threads,
        "memory_limit": memory_limit,
        **asked,
    }
    return as_denoised(name, with_arguments(declared, context, options)(x, sigma), x.shape)


def _known(x: np.ndarray, mask: Any) -> np.ndarray:
    """The valid values of an array, finite ones."""
    values = np.ma.compressed(x) if isinstance(x, np.ma.MaskedArray) else x
    if mask is not None and np.shape(mask) == x.shape[: np.ndim(mask)] and np.asarray(mask).dtype == bool:
        values = np.ma.getdata(x)[np.asarray(mask)]
    return values[np.isfinite(values)]


def _suited(x: np.ndarray, mask: Any) -> str:
    """The method for an array of which nothing else is known."""
    if x.ndim == 1:
        return "ssa"
    if x.ndim == 2:
        return "patch_svd" if mask is not None or np.ma.is_masked(x) or is_picture(x) else "shrink"
    return "patch_svd" if x.ndim == 3 and x.shape[2] <= 4 and x.dtype.kind != "c" else "mppca"
