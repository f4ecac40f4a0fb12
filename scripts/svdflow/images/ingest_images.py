"""Ingest: image files become the items of one shard, in their own dtype, noisy observations beside them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import ItemError
from svdflow.images.colour import COLOURS, to_dtype, to_planes
from svdflow.images.formats.containers import PIXEL_LIMIT
from svdflow.images.io import ImageRecord, read_image, split_dataset
from svdflow.images.item_range import value_range
from svdflow.store import publish, write_array, write_table
from svdflow.store.error_rows import error_row
from svdflow.store.shards import described, discard_item
from svdflow.store.stacks import ITEMS, StackWriter, stacks_well
from svdflow.study.located import files_of_shard

# Pictures whose largest magnitude lies outside are refused: between these, squares (1e-240, 1e240) and sums of 10^60 of
# them are doubles (which end at 2e-308 and 2e308).
TINY, HUGE = 1e-120, 1e120


def ingest_image_shard(
    out: str | Path,
    *,
    folder: str,
    first: int,
    names: Sequence[str | None],
    files: Sequence[str],
    **options: Any,
) -> None:
    """Stage: read the slice of a manifest that a job names; see `ingest_images` for the options."""
    ingest_images(files_of_shard(folder, first, names, files), out, **options)


def ingest_images(
    files: Sequence[Mapping[str, Any]],
    out: str | Path,
    *,
    dataset: str,
    shard: int,
    colour: str,
    noise_sigma: Sequence[float],
    seed: int,
    runtime: Runtime = ALONE,
    pixel_limit: int = PIXEL_LIMIT,
    crop: int = 0,
    fill: str = "",
) -> None:
    """Read a slice of a manifest into a matrices file.

    Parameters
    ----------
    files : sequence of dict
        ``index`` (in the manifest), ``path``, ``name``; optional ``page`` (keep that page only) and
        ``sha256`` (refuse a file that has changed).
    out : path
        The file to publish, kind ``matrices``.
    dataset, shard : str, int
        What the items belong to.
    colour : {"gray", "rgb", "ycbcr", "channels"}
        Planes of a colour image, or each band as it is stored; a grey image keeps its one plane ``grey``.
    noise_sigma : sequence of float
        Standard deviations, in pixel values, of the white Gaussian noise of observations 1, 2, ...
    seed : int
        Of the noise. Bits depend on (seed, dataset, name, level, plane) and on nothing else, so neighbours
        and the place in the manifest change none.
    pixel_limit : int
        Largest number of pixels of one file.
    crop : int
        Keep the middle square of so many pixels a side, or of the shorter side; 0 keeps all.
    fill : str
        What stands in place of missing pixels, so that the item can be factorized: ``mean`` or ``median`` of the valid
        pixels of the plane (of a page), or a number; empty for nothing.

    Notes
    -----
    A file is one item. The planes of a multi-page file are ``{plane}_p000``, ``{plane}_p001``, ...; its alpha
    is (pages, H, W), opaque where a page has none. Observation 0 is the item in its own dtype and the clean
    reference of the noisy ones, which are floating point and not clipped. A bad file becomes a row of the table
    ``errors`` and leaves no other trace.

    Missing pixels are kept as ``mask`` beside the observations, in which they are 0, or what `fill` says (attribute
    ``filled``); they get no noise, and count in no range and no metric. The attribute ``masked`` says how many there
    are, over all pages. An item without a valid pixel is a row of ``errors``.

    ``data_min``, ``data_max``, ``data_range`` and ``data_range_source`` are those of the valid pixels of this item,
    before they are taken apart by `colour`; figures refer to the range of the dataset
    (`svdflow.images.item_range.with_range`).
    """
    if colour not in COLOURS:
        raise ValueError(f"dataset {dataset!r}: unknown colour {colour!r}; one of {', '.join(COLOURS)}")
    errors = []
    root = {"dataset": dataset, "shard": shard, "seed": seed, **runtime.provenance}
    with publish(out, "matrices", root) as file, StackWriter(file) as stacks:
        for entry in files:
            try:
                scene = _read_item(entry, colour, pixel_limit, crop)
                attrs = _attributes(scene, colour, entry, fill)
                _check_range(attrs)
                group = f"{ITEMS}/{entry['index']:06d}"
                for name, array in _extras(scene):
                    write_array(file.require_group(group), name, array)
                small = []
                for level, sigma in enumerate([0.0, *noise_sigma]):
                    for plane, pixels in scene.planes.items():
                        key = (seed, dataset, entry["name"], level, plane)
                        values = with_noise(pixels, sigma, key) if level else pixels
                        mask = scene.mask_of(plane)
                        missing = filling(pixels, mask, fill) if fill and mask is not None else 0
                        values = without(values, mask, missing)
                        if stacks_well(values):
                            small.append((level, sigma, plane, values))
                        else:
                            observation = file.require_group(f"{group}/observations/{level}")
                            observation.attrs["sigma_added"] = sigma
                            write_array(observation, plane, values)
            except Exception as error:
                discard_item(file, entry["index"])
                errors.append(error_row(dataset, entry["index"], entry["name"], "ingest", _named(error)))
            else:
                stacks.add_item(described(entry["index"], entry["name"], "image", attrs))
                for level, sigma, plane, values in small:
                    place = (entry["index"], level, plane, {"sigma_added": sigma})
                    stacks.add([place], {"pixels": values[None]})
        write_table(file, "errors", errors)


def with_noise(plane: np.ndarray, sigma: float, key: Sequence[Any]) -> np.ndarray:
    """A plane plus white Gaussian noise of standard deviation `sigma`, in floating point, not clipped.

    float32 for up to 16 bits and for float32, else float64, whose rounding would otherwise pass for noise.

    `key` names the draw: its text is hashed into the 128-bit key of a Philox generator (Salmon et al., 2011).
    """
    digest = hashlib.sha256(repr(tuple(key)).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return (plane + sigma * generator.standard_normal(plane.shape)).astype(
        np.result_type(plane.dtype, np.float32)
    )


def without(plane: np.ndarray, mask: np.ndarray | None, value: float = 0) -> np.ndarray:
    """The plane with `value` where `mask` is False, so that no bit depends on what stood there."""
    return plane if mask is None else np.where(mask, plane, plane.dtype.type(value))


def filling(plane: np.ndarray, mask: np.ndarray, fill: str) -> Any:
    """What `fill` puts in place of the missing pixels of a plane, a value of its dtype.

    Raises
    ------
    ItemError
        ``fill``: the number is none of the dtype, or there is no pixel to take a mean or a median of.
    """
    if fill in ("mean", "median"):
        if not mask.any():
            raise ItemError("fill", f"a page has no valid pixel to take the {fill} of; name a number: fill=0")
        value = getattr(np, fill)(plane[mask].astype(np.float64))
        return to_dtype(np.asarray(value), plane.dtype)[()]
    with np.errstate(over="ignore"):
        value = to_dtype(np.asarray(float(fill)), plane.dtype)[()]
    if value != float(fill) if plane.dtype.kind in "iu" else not np.isfinite(value):
        raise ItemError(
            "fill", f"fill={fill} is no value of {plane.dtype}; take another number, mean or median"
        )
    return value


@dataclass(frozen=True)
class Scene:
    """What is stored of a file: planes by name, alpha and mask cropped as they are; mask (pages, m, n) or (m, n).

    `valid` holds the valid values that are kept, one array a page, before they are taken apart into planes.
    """

    record: ImageRecord
    planes: dict[str, np.ndarray]
    valid: list[np.ndarray]
    alpha: np.ndarray | None
    mask: np.ndarray | None

    def mask_of(self, plane: str) -> np.ndarray | None:
        if self.mask is None or self.mask.ndim == 2:
            return self.mask
        return self.mask[int(plane.partition("_p")[2])]


def _read_item(entry: Mapping[str, Any], colour: str, pixel_limit: int, crop: int) -> Scene:
    if entry.get("sha256"):
        _check_digest(entry)
    record = read_image(
        entry["path"], page=entry.get("page"), pixel_limit=pixel_limit, channels=colour == "channels"
    )
    many = len(record.pages) > 1
    planes, valid = {}, []
    for number, page in enumerate(record.pages):
        known = None if page.mask is None else _middle(page.mask, crop)
        channels = _middle(np.moveaxis(page.array, -1, 0) if page.array.ndim == 3 else page.array, crop)
        valid.append(channels if known is None else channels[..., known])
        over = page.mask if page.mask is None or page.array.ndim == 2 else page.mask[..., None]
        for name, plane in to_planes(without(page.array, over), colour).items():
            planes[f"{name}_p{number:03d}" if many else name] = without(_middle(plane, crop), known)
    alpha, mask = _alpha(record), _mask(record, crop)
    return Scene(record, planes, valid, alpha if alpha is None else _middle(alpha, crop), mask)


def _named(error: Exception) -> Exception:
    """Running out of memory is the fault of the item that did: a row of its own, and the shard goes on."""
    if isinstance(error, MemoryError):
        return ItemError("too_large", "the image does not fit in memory; cut it into tiles")
    return error


def _middle(array: np.ndarray, size: int) -> np.ndarray:
    """The middle square of the last two axes, `size` pixels a side at most; all of it for 0."""
    rows, columns = (
        slice(start := max(0, (side - size) // 2), start + min(size, side)) if size else slice(None)
        for side in array.shape[-2:]
    )
    return array[..., rows, columns]


def _check_range(attrs: Mapping[str, Any]) -> None:
    peak = max(abs(attrs["data_min"]), abs(attrs["data_max"]))
    if peak and not TINY < peak < HUGE:
        raise ItemError(
            "extreme_range",
            f"values up to {peak:.3g}: their squares leave the range of float64; rescale the image",
        )


def _check_digest(entry: Mapping[str, Any]) -> None:
    file, _ = split_dataset(entry["path"])
    if file.exists() and not file.is_file():  # opening a pipe would wait for ever
        raise ItemError("unreadable", f"{file.name}: not a regular file")
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ItemError("unreadable", f"{file.name}: {error.strerror}") from error
    if found != entry["sha256"].lower():
        raise ItemError(
            "checksum",
            f"{file.name}: its sha256 is {found[:12]}..., the manifest says {entry['sha256'][:12]}...; "
            "restore the file or update the manifest",
        )


def _alpha(record: ImageRecord) -> np.ndarray | None:
    if not record.attrs["has_alpha"]:
        return None
    layers = [page.alpha if page.alpha is not None else _opaque(page.array) for page in record.pages]
    if len({layer.shape for layer in layers}) > 1:
        raise ItemError("unsupported", "pages of different sizes with alpha; save them as single images")
    return layers[0] if len(layers) == 1 else np.stack(layers)


def _mask(record: ImageRecord, crop: int) -> np.ndarray | None:
    """The masks of the pages as one array, None where every pixel that is kept is valid."""
    if all(page.mask is None for page in record.pages):
        return None
    layers = [
        _middle(np.ones(page.array.shape[:2], bool) if page.mask is None else page.mask, crop)
        for page in record.pages
    ]
    if all(layer.all() for layer in layers):
        return None
    if not any(layer.any() for layer in layers):
        raise ItemError("all_masked", "every pixel is missing, so there is nothing to process")
    if len({layer.shape for layer in layers}) > 1:
        raise ItemError(
            "unsupported", "pages of different sizes with missing pixels; save them as single images"
        )
    return layers[0] if len(layers) == 1 else np.stack(layers)


def _opaque(array: np.ndarray) -> np.ndarray:
    peak = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    return np.full(array.shape[:2], peak, array.dtype)


def _attributes(scene: Scene, colour: str, entry: Mapping[str, Any], fill: str) -> dict[str, Any]:
    """Attributes of the item. The range is that of the valid pixels that are kept; grey images are of colour gray."""
    record, mask = scene.record, scene.mask
    low, high, peak, source = value_range(scene.valid, record.attrs["significant_bits"])
    kept = ("format", "mode", "dtype", "bits", "significant_bits", "exif_orientation", "has_alpha", "pages")
    return {
        **{key: record.attrs[key] for key in kept},
        "masked": 0 if mask is None else int(mask.size - np.count_nonzero(mask)),
        "filled": fill if mask is not None else "",
        "data_min": low,
        "data_max": high,
        "data_range": peak,
        "data_range_source": source,
        "page": int(entry.get("page") or 0),
        "colour": colour if record.pages[0].array.ndim == 3 else "gray",
    }


def _extras(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """What an item has beside its planes; few do."""
    if scene.alpha is not None:
        yield "alpha", scene.alpha
    if scene.mask is not None:
        yield "mask", scene.mask.astype(np.uint8)
    if profile := scene.record.attrs["icc_profile"]:
        yield "icc_profile", np.frombuffer(profile, np.uint8)
