"""Archives of the planes of a shard at a target, and the bytes that other codecs take for the same error."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from svdflow.codec import ArchiveInfo, decode, encode, forms_for
from svdflow.codec.forms import WHOLE, square_of
from svdflow.codec.other_codecs import CodecPoint, curve, point, refusal
from svdflow.codec.quality import shortfall
from svdflow.codec.rate_curves import each_step
from svdflow.compute.runtime import ALONE, Runtime
from svdflow.errors import ItemError, TargetsMissedError
from svdflow.images.batch import Rows, each_item
from svdflow.images.io import picture_name
from svdflow.images.item_range import Ranges, judged_by, with_range
from svdflow.registry import CODECS
from svdflow.store import (
    Item,
    StoredArray,
    StoredGroup,
    items,
    open_published,
    publish,
    publish_directory,
    read_array,
    write_table,
)
from svdflow.store.error_rows import error_row

log = logging.getLogger(__name__)

# Values of any other array that is encoded. Squares would tear apart what makes a matrix worth its factors, so larger
# ones are left to `encode` itself, outside a study.
LIMIT = 2**23
OURS = "svdflow"
# Memory that a plane takes for each of its values: whole, and in squares. It decides how many items are worked on side
# by side under a limit, and no result. tracemalloc: 74 of 768 x 768, two forms, four codecs, without what C libraries
# take; benchmarks/results/large_pictures.md: 28 of 8 megapixels in squares, the most of all forms and codecs.
BYTES_A_VALUE, BYTES_IN_SQUARES = 96, 32
# Of each value where no decomposition is held: a plane that needs more is too large for the limit. Chosen from sizes
# of arrays; codecs took 14 to 23 of 8 megapixels.
LEAST_BYTES = 16
BASE = 2**28  # bytes of a job beside its planes: Python and the libraries. Measured


@dataclass(frozen=True)
class EncodeRequest:
    """What to encode to; see `encode_shard`."""

    target: str
    forms: Sequence[str]
    codecs: Sequence[str]
    seed: int
    memory_limit: int | None = None  # bytes for the codes of a plane


def encode_shard(
    matrices: str | Path,
    out: str | Path,
    archives: str | Path,
    *,
    dataset: str,
    shard: int,
    target: str,
    forms: Sequence[str],
    codecs: Sequence[str],
    seed: int,
    data_range: Ranges = (),
    runtime: Runtime = ALONE,
) -> None:
    """Encode the planes of a shard, and measure every codec on them.

    Parameters
    ----------
    matrices : path
        Published shard file; observation 0 is encoded.
    out : path
        The file to publish, kind ``encode``, with the tables ``rates`` and ``errors``.
    archives : path
        The folder to publish: ``{index}_{slug}_{plane}.h5``, the smallest of the forms that reach the target.
    target : str
        ``rel_error=``, ``psnr=``, ``max_abs=`` or ``bytes=`` and a number; see `svdflow.codec.encode`.
    forms : list of str
        Forms of an archive to compare, where they apply.
    codecs : list of str
        Names in `svdflow.registry.CODECS`; one that does not take a plane leaves no row, and the log says why.
    seed : int
        Of the factorizations.
    data_range : list of (kind of samples, range, source)
        The range of the dataset's values; empty takes that of each item. See `svdflow.images.item_range`.
    runtime : Runtime
        Threads and memory decide how many items are worked on side by side, and whether decompositions of large
        pictures are held or computed anew; never changes a result.

    Notes
    -----
    Planes are encoded one by one, by all codecs alike: a codec that sees the colours of a picture together does
    better than its rows here say. A plane with missing pixels has an archive that keeps them as missing, and no rows
    of other codecs, which cannot. A matrix with a grid is encoded as the array (..., T). Pictures above two million
    values are encoded in squares (`svdflow.codec.forms`). Matrices that are linked, sparse or complex, and codecs
    that a picture is too wide for, are rows of ``errors`` of the code ``not_applicable``; matrices above LIMIT values
    are rows of the code ``too_large``, and so are planes that the memory limit cannot hold.
    """
    wanted = EncodeRequest(target, forms, codecs, seed)
    with (
        open_published(matrices, "matrices") as source,
        publish_directory(archives) as folder,
        publish(out, "encode", runtime.provenance) as file,
    ):
        unmet: Rows = []
        listed = list(with_range(items(source), data_range))
        together = runtime.side_by_side(bytes_of(max(map(largest_plane, listed), default=0)))
        if runtime.memory_limit is not None:
            share = runtime.memory_limit // min(together, max(1, len(listed)))
            wanted = replace(wanted, memory_limit=max(share - BASE, share // 4))

        def work(item: Item) -> Rows:
            key = {"dataset": dataset, "shard": shard, "item": item.index, "name": item.name}
            rows, faults = encode_item(item, wanted, folder, key)
            unmet.extend([error_row(dataset, item.index, item.name, "encode", fault) for fault in faults])
            return rows

        workers = replace(runtime, threads=together)
        rows, errors = each_item(work, listed, stage="encode", dataset=dataset, runtime=workers)
        write_table(file, "rates", rows)
        write_table(file, "errors", sorted(errors + unmet, key=itemgetter("item")))


def encode_item(
    item: Item, wanted: EncodeRequest, folder: Path, key: dict[str, Any]
) -> tuple[Rows, list[ItemError]]:
    """Rows of the table ``rates`` of one item, with its archives, and what was left out of it or misses the target."""
    observation = item.observations[0]
    rows: Rows = []
    missed: list[str] = []
    faults: list[ItemError] = []
    for plane, node in observation.planes.items():
        if fault := unfit(plane, node, item.kind == "image", wanted.memory_limit):
            faults.append(fault)
            continue
        place = {**key, "plane": plane, "sigma_added": observation.sigma_added}
        mask = item.mask_of(plane)
        place |= {"m": node.shape[0], "n": node.shape[1], **judged_by(item, mask)}
        path = folder / picture_name(item.index, item.name, f"_{plane}.h5")
        array = array_of(read_array(node), item)
        if mask is None:
            faults += too_wide(plane, array, wanted.codecs)
            found = list(plane_rows(array, item.kind == "image", place["data_range"], path, wanted))
        else:
            log.info("item %d, plane %s: %d pixels are missing, so no other codec is measured",
                     item.index, plane, mask.size - mask.sum())  # fmt: skip
            found = masked_rows(array, mask, item.kind == "image", place["data_range"], path, wanted)
        rows += [{**place, **row} for row in found]
        if applicable(wanted, array) and not any(row["kept"] for row in found):
            missed.append(plane)
    if missed:
        faults.append(TargetsMissedError(wanted.target, missed))
    return rows, faults


def bytes_of(values: int) -> int:
    """Memory that a plane of so many values takes; no less than a smaller one."""
    return max(BYTES_A_VALUE * min(values, WHOLE), BYTES_IN_SQUARES * values)


def largest_plane(item: Item) -> int:
    """Values of the largest of the planes that are stored whole."""
    planes = item.observations[0].planes.values()
    return max((plane.size for plane in planes if isinstance(plane, StoredArray)), default=0)


def unfit(
    plane: str, node: StoredArray | StoredGroup, picture: bool, memory_limit: int | None = None
) -> ItemError | None:
    """Why a plane is not encoded; None where it is."""
    if not isinstance(node, StoredArray):
        words = "is linked or sparse, and archives hold arrays: give svdflow.encode an array of it"
        return ItemError("not_applicable", f"plane {plane} {words}")
    if node.dtype.kind == "c":
        words = "is complex, and archives hold real numbers: encode its real and imaginary part"
        return ItemError("not_applicable", f"plane {plane} {words}")
    if node.size > LIMIT and not picture:
        words = f"has {node.size:,} values, above the {LIMIT:,} of a study: svdflow.encode takes any number"
        return ItemError("too_large", f"plane {plane} {words}")
    if memory_limit is not None and LEAST_BYTES * node.size > memory_limit:
        words = (
            f"has {node.size:,} values, whose archives need {LEAST_BYTES * node.size / 2**20:,.0f} MiB, and the memory "
            f"limit leaves {memory_limit / 2**20:,.0f} MiB: raise runtime.memory_limit, or crop"
        )
        return ItemError("too_large", f"plane {plane} {words}")
    return None


def too_wide(plane: str, array: np.ndarray, codecs: Sequence[str]) -> list[ItemError]:
    """A fault for each codec that would take a plane of its type were it not for its sides."""
    corner = array[(slice(0, 1),) * array.ndim]
    return [
        ItemError("not_applicable", f"plane {plane}: {name} is left out: {reason}")
        for name in codecs
        if (reason := refusal(CODECS[name], array)) and not refusal(CODECS[name], corner)
    ]


def array_of(plane: np.ndarray, item: Item) -> np.ndarray:
    """What a codec sees of a plane: itself, or the series (..., T) that its rows are the voxels of."""
    grid = item.attrs.get("grid")
    return plane.reshape(*grid, -1) if grid else plane


def applicable(wanted: EncodeRequest, array: np.ndarray) -> list[str]:
    """The forms asked for that an array can take."""
    return [form for form in wanted.forms if form in forms_for(array.shape, array.dtype)]


def plane_rows(
    array: np.ndarray, picture: bool, data_range: float, path: Path, wanted: EncodeRequest
) -> Iterator[dict[str, Any]]:
    """Rows of one plane: the archive that is kept, curves of all forms, curves of the other codecs."""
    peak = data_range if data_range > 0 else None
    measured: dict[str, Any] = {"data_range": data_range, "with_ssim": picture}
    forms = applicable(wanted, array)
    block = square_of(array) if picture else None
    kept = smallest(array, forms, path, peak, wanted, block=block)
    if kept is not None:
        found = point(OURS, f"step={kept.step:.4g}", kept.bytes, array, decode(path), **measured)
        note = shortfall(array, kept.rank, kept.rel_error)
        yield {**_row(found), "form": kept.form, "target": wanted.target, "kept": True, "note": note}
    for form in forms:
        asked: dict[str, Any] = {"block": block, "data_range": peak, "seed": wanted.seed}
        for sample in each_step(array, form, memory_limit=wanted.memory_limit, **asked):
            found = point(OURS, f"step={sample.step:.4g}", sample.bytes, array, sample.decoded, **measured)
            yield {**_row(found), "form": form, "target": "", "kept": False, "note": ""}
    for name in wanted.codecs:
        if reason := refusal(CODECS[name], array):
            log.info("%s: %s left out: %s", path.stem, name, reason)
            continue
        for found in curve(CODECS[name], array, **measured):
            yield {**_row(found), "form": "", "target": "", "kept": False, "note": ""}


def masked_rows(
    array: np.ndarray, mask: np.ndarray, picture: bool, data_range: float, path: Path, wanted: EncodeRequest
) -> list[dict[str, Any]]:
    """The row of the archive of a plane with missing pixels, judged on the others. Other codecs have none."""
    peak = data_range if data_range > 0 else None
    block = square_of(array) if picture else None
    kept = smallest(array, applicable(wanted, array), path, peak, wanted, mask, block=block)
    if kept is None:
        return []
    decoded = np.ma.getdata(decode(path))
    measured: dict[str, Any] = {"data_range": data_range, "with_ssim": picture, "mask": mask}
    found = point(OURS, f"step={kept.step:.4g}", kept.bytes, array, decoded, **measured)
    note = shortfall(array, kept.rank, kept.rel_error, mask)
    return [{**_row(found), "form": kept.form, "target": wanted.target, "kept": True, "note": note}]


def smallest(
    array: np.ndarray,
    forms: Sequence[str],
    path: Path,
    data_range: float | None,
    wanted: EncodeRequest,
    mask: np.ndarray | None = None,
    *,
    block: int | None = None,
) -> ArchiveInfo | None:
    """Write the archive that reaches the target in the fewest bytes; None where no form reaches it."""
    what, _, text = wanted.target.partition("=")
    aim: dict[str, Any] = {what: int(text) if what == "bytes" else float(text)}
    best: ArchiveInfo | None = None
    for form in forms:
        attempt = path.with_name(f".{path.name}.{form}")
        try:
            found = encode(
                array,
                attempt,
                form=form,
                block=block,
                mask=mask,
                data_range=data_range,
                seed=wanted.seed,
                memory_limit=wanted.memory_limit,
                **aim,
            )
        except ValueError as error:
            log.warning("%s: form %s does not reach %s: %s", path.stem, form, wanted.target, error)
            continue
        if best is None or _better(found, best, what):
            best = found
            attempt.replace(path)
        else:
            attempt.unlink()
    return best


def _better(one: ArchiveInfo, other: ArchiveInfo, what: str) -> bool:
    """Fewer bytes for the same error, or less error within the same bytes."""
    return one.rel_error < other.rel_error if what == "bytes" else one.bytes < other.bytes


def _row(found: CodecPoint) -> dict[str, Any]:
    return {
        "codec": found.codec,
        "setting": found.setting,
        "lossless": found.lossless,
        "bytes": found.bytes,
        "bits_per_pixel": found.bits_per_value,
        "relative_error": found.relative_error,
        "max_error": found.max_error,
        "psnr": found.psnr,
        "ssim": found.ssim,
    }
