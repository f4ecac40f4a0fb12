"""The pictures of a report: an original beside its low-rank versions, rebuilt from the stored factors.

No full-size reconstruction is ever formed. The mean over blocks of a product is the product of the block
means of its factors, so a reduced picture of U diag(s) Vt comes from reduced U and Vt; a crop comes from
cropped ones.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from svdflow.images.colour import for_display
from svdflow.images.pictures import display_limits, eight_bits
from svdflow.ranks.shrinkage import shrunk_values
from svdflow.report.material import Material, dense
from svdflow.store import Factors, Item, StoredArray, read_array, read_rows

# Pictures inside the report, which stays one file: these decide its size and no figure of it. Chosen
WIDTH = 400  # columns of a reduced picture, at most
CROP = 256  # rows and columns of a picture that must not be reduced, since that would hide its noise
JPEG_QUALITY = 88  # with full chroma: no artefact of its own beside those that are shown. Chosen
# Bytes of a plane that are held while it is reduced: memory does not grow with the picture. Chosen
READ_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Picture:
    """A picture for a page: a data URI, its size in pixels, and the words below it."""

    uri: str
    width: int
    height: int
    caption: str


class Kept(NamedTuple):
    """What a denoiser keeps of a plane: `rank` components, shrunk for noise of level `sigma` if one is given.

    The estimate of a `method` that factors cannot give again is the one that its stage kept.
    """

    rank: int
    sigma: float | None = None
    method: str = ""

    def weights(self, stored: Factors) -> np.ndarray:
        """Singular values of the denoised plane, shape (rank,)."""
        s = read_array(stored.s).astype(float)
        shape = stored.U.shape[0], stored.Vt.shape[1]
        return (s if self.sigma is None else shrunk_values(s, shape, self.sigma))[: self.rank]


def rank_pictures(material: Material, captions: Mapping[int, str]) -> list[Picture]:
    """The original beside its versions at those ranks of `captions` that are stored, reduced in size."""
    planes = material.planes(0)
    if not planes or any(plane.dtype.kind == "c" for plane in planes.values()):
        return []
    first = next(iter(planes.values()))
    block = max(-(-first.shape[1] // WIDTH), -(-first.shape[0] // (2 * WIDTH)))
    original = {name: _reduced_plane(plane, block) for name, plane in planes.items()}
    show, words = _viewer(material.item, original, lambda layer: _reduce(_reduce(layer, block).T, block).T)
    pictures = [show(original, f"original{words}")]
    stored = _of_level(material, 0, planes)
    for rank, caption in sorted(captions.items()):
        if stored and rank <= min(f.s.shape[0] for f in stored.values()):
            low = {name: _product(f, rank, lambda rows: _reduce(rows, block)) for name, f in stored.items()}
            pictures.append(show(low, caption))
    return pictures


def denoise_pictures(
    material: Material, sigma_added: float, choices: Mapping[str, Mapping[str, Kept]]
) -> list[Picture]:
    """As observed, as each of `choices` (caption -> plane -> kept) leaves it, and clean, where that is known.

    The middle is shown, at full size.
    """
    observation = material.observation(sigma_added)
    planes = dense(observation.planes) if observation else {}
    if observation is None or not planes or any(plane.dtype.kind == "c" for plane in planes.values()):
        return []
    first = next(iter(planes.values()))
    rows, columns = (_middle(size) for size in first.shape[:2])
    observed = {name: _cut(plane, rows, columns) for name, plane in planes.items()}
    clean = dense(material.item.clean)
    reference = {name: _cut(plane, rows, columns) for name, plane in clean.items()}
    reference = reference if reference.keys() == planes.keys() else {}
    show, words = _viewer(material.item, reference or observed, lambda layer: layer[rows, columns])
    pictures = [show(observed, f"{'noisy' if sigma_added else 'observed'}{words}")]
    stored = _of_level(material, observation.level, planes)
    for caption, kept in choices.items():
        low = {
            name: estimate
            for name in planes.keys() & kept.keys()
            if (estimate := _estimate(material, observation.level, name, kept[name], stored, (rows, columns)))
            is not None
        }
        if low.keys() == planes.keys():
            pictures.append(show(low, caption))
    return [*pictures, show(reference, "clean")] if reference else pictures


def residual_pictures(material: Material, sigma_added: float, method: str, sigma: float) -> list[Picture]:
    """What a method took away, grey where that is nothing, and where it kept many components; grey images only."""
    observation = material.observation(sigma_added)
    planes = dense(observation.planes) if observation else {}
    if observation is None or len(planes) != 1:
        return []
    name, plane = next(iter(planes.items()))
    kept = material.kept.get((observation.level, name, method))
    if kept is None:
        return []
    rows, columns = (_middle(size) for size in plane.shape)
    taken = _cut(plane, rows, columns) - kept["estimate"]
    shown = [_grey(taken, -4 * sigma, 4 * sigma, f"what {method} took away: from -4 to 4 sigma")]
    clean = dense(material.item.clean).get(name)
    if clean is not None:
        wrong = kept["estimate"] - _cut(clean, rows, columns)
        shown.append(_grey(wrong, -sigma, sigma, f"error of {method}: from -1 to 1 sigma"))
    return [*shown, *_maps(kept)]


def series_pictures(
    material: Material, sigma_added: float, choices: Mapping[str, Mapping[str, Kept]]
) -> list[Picture]:
    """The middle frame of a series as observed, as each of `choices` leaves it, and clean; then its maps."""
    observation = material.observation(sigma_added)
    planes = dense(observation.planes) if observation else {}
    grid = material.item.attrs.get("grid")
    if observation is None or not planes or not grid:
        return []
    name, plane = next(iter(planes.items()))
    stored = (
        {name: material.factors[observation.level, name]}
        if (observation.level, name) in material.factors
        else {}
    )
    middle = plane.shape[1] // 2

    def frame(column: np.ndarray) -> np.ndarray:
        space = np.asarray(column, float).reshape(grid)
        return space if space.ndim == 2 else space[..., space.shape[-1] // 2]

    clean = dense(material.item.clean).get(name)
    observed = read_array(plane)[:, middle]
    reference = frame(observed if clean is None else read_array(clean)[:, middle])
    low, high = float(reference.min()), float(reference.max())
    pictures = [_grey(frame(observed), low, high, "as observed")]
    maps: list[Picture] = []
    for words, kept in choices.items():
        chosen = kept.get(name)
        if chosen is None:
            continue
        own = material.kept.get((observation.level, name, chosen.method))
        if own is not None:
            pictures.append(_grey(own["estimate"], low, high, words))
            maps += _maps(own)
        elif stored and not chosen.method:
            f = stored[name]
            column = _cropped_product(f, chosen.weights(f), slice(None), slice(middle, middle + 1))
            pictures.append(_grey(frame(column[:, 0]), low, high, words))
    if clean is not None:
        pictures.append(_grey(reference, low, high, "clean"))
    return [*pictures, *maps]


def _estimate(
    material: Material,
    level: int,
    name: str,
    kept: Kept,
    stored: Mapping[str, Factors],
    window: tuple[slice, slice],
) -> np.ndarray | None:
    """The middle of one plane's estimate, from what was kept of it or from its factors."""
    if kept.method:
        own = material.kept.get((level, name, kept.method))
        return None if own is None else own["estimate"]
    return _cropped_product(stored[name], kept.weights(stored[name]), *window) if name in stored else None


def _maps(kept: Mapping[str, np.ndarray]) -> list[Picture]:
    """Maps of rank and noise, black for the least and white for the most."""
    words = {"rank": "components kept", "sigma": "noise level found"}
    pictures = []
    for name, text in words.items():
        if name not in kept or not np.isfinite(kept[name]).any():
            continue
        low, high = float(np.nanmin(kept[name])), float(np.nanmax(kept[name]))
        if high > low:  # black where nothing was done
            known = np.nan_to_num(kept[name], nan=low)
            pictures.append(_grey(known, low, high, f"{text}: {low:.3g} (black) to {high:.3g}"))
    return pictures


def _grey(values: np.ndarray, low: float, high: float, caption: str) -> Picture:
    """A grey picture; small ones are enlarged by whole factors, so that a frame of a series can be seen."""
    pixels = np.rint(255 * np.clip(np.nan_to_num((values - low) / ((high - low) or 1.0)), 0, 1)).astype(
        np.uint8
    )
    factor = max(1, CROP // max(pixels.shape))
    pixels = np.repeat(np.repeat(pixels, factor, 0), factor, 1)
    return Picture(data_uri(pixels), pixels.shape[1], pixels.shape[0], caption)


def data_uri(pixels: np.ndarray) -> str:
    """A JPEG of 8-bit grey or RGB `pixels` as a data URI."""
    buffer = BytesIO()
    # Subsampled colour would add artefacts of its own to pictures that are there to show artefacts.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _viewer(
    item: Item, original: dict[str, np.ndarray], fit: Callable[[np.ndarray], np.ndarray]
) -> tuple[Callable[[dict[str, Any], str], Picture], str]:
    """A function that turns planes (floats in units of the item) and a caption into a picture, and how it shows them.

    `original` holds the planes that decide what is black and white; `fit` cuts or reduces a layer of the item's size.
    """
    alpha = mask = None
    if item.alpha is not None:
        opaque = np.iinfo(item.alpha.dtype).max if item.alpha.dtype.kind in "ui" else 1.0
        layer = read_array(item.alpha).astype(float)
        alpha = fit(layer[0] if layer.ndim == 3 else layer) / opaque
    if (valid := item.mask_of(next(iter(original)))) is not None:
        mask = fit(valid.astype(float)) >= 0.5
    dtype = np.dtype(item.attrs["dtype"])
    limits = display_limits(_recombine(original, item.attrs), mask, dtype)

    def show(planes: dict[str, np.ndarray], caption: str) -> Picture:
        pixels = eight_bits(np.nan_to_num(_recombine(planes, item.attrs)), limits, mask)
        if alpha is not None:  # on white, as on paper
            weight = np.tile(alpha, (1, pixels.shape[1] // alpha.shape[1]))
            weight = weight[..., None] if pixels.ndim == 3 else weight
            pixels = np.rint(pixels * weight + 255 * (1 - weight)).astype(np.uint8)
        return Picture(data_uri(pixels), pixels.shape[1], pixels.shape[0], caption)

    words = "" if dtype == np.uint8 else f", black {limits[0]:.4g} to white {limits[1]:.4g} by quantiles"
    return show, words + ("" if mask is None else ", grey where pixels are missing")


def _recombine(planes: dict[str, np.ndarray], attrs: Mapping[str, Any]) -> np.ndarray:
    if len(planes) == 1:
        return next(iter(planes.values()))
    planes = {name.partition("_p")[0]: plane for name, plane in planes.items()}
    return np.asarray(for_display(planes, attrs["colour"], np.dtype(attrs["dtype"])), dtype=float)


def _reduced_plane(plane: StoredArray, block: int) -> np.ndarray:
    """Block means of a stored plane, read in bands so that a large one never stands in memory whole."""
    height = max(1, READ_BYTES // (plane.shape[1] * plane.dtype.itemsize) // block) * block
    bands = [
        _reduce(read_rows(plane, i, min(i + height, len(plane))), block) for i in range(0, len(plane), height)
    ]
    return np.concatenate([_reduce(band.T, block).T for band in bands])


def _reduce(rows: np.ndarray, block: int) -> np.ndarray:
    """Means of `block` consecutive rows; the last, part-full block counts as its own mean."""
    starts = np.arange(0, len(rows), block)
    sizes = np.minimum(starts + block, len(rows)) - starts
    return np.add.reduceat(rows.astype(float), starts, axis=0) / sizes.reshape(-1, *[1] * (rows.ndim - 1))


def _product(f: Factors, rank: int, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    U, s, Vt = read_array(f.U), read_array(f.s), read_array(f.Vt)
    return (reduce(U[:, :rank]) * s[:rank]) @ reduce(Vt[:rank].T).T + reduce(_mean(f))


def _cropped_product(f: Factors, weights: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    rank = len(weights)
    left, right = read_array(f.U)[rows, :rank], read_array(f.Vt)[:rank, columns]
    return (left.astype(float) * weights) @ right + _mean(f)[columns]


def _mean(f: Factors) -> np.ndarray:
    """Column means of a centred factorization, else zeros; shape (n,)."""
    return read_array(f.group["mean"]) if "mean" in f.group else np.zeros(f.Vt.shape[1])


def _cut(plane: StoredArray, rows: slice, columns: slice) -> np.ndarray:
    return read_rows(plane, rows.start, rows.stop)[:, columns].astype(float)


def _middle(size: int) -> slice:
    start = max(0, (size - CROP) // 2)
    return slice(start, min(size, start + CROP))


def _of_level(material: Material, level: int, planes: Mapping[str, Any]) -> dict[str, Factors]:
    stored = {name: material.factors[level, name] for name in planes if (level, name) in material.factors}
    return stored if stored.keys() == planes.keys() else {}
