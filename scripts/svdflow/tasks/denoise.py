"""Denoise the observations of a shard by one method, at every listed rank and by every rank rule."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.denoisers.arguments import number
from svdflow.images.batch import PlaneFactors, Rows, each_item, factors_by_observation, values_of
from svdflow.images.io import picture_name
from svdflow.images.item_range import Ranges, judged_by, with_range
from svdflow.images.pictures import write_pictures
from svdflow.registry import DENOISERS, RANK_RULES, Denoiser
from svdflow.registry.refusals import faults
from svdflow.store import (
    Item,
    Observation,
    items,
    open_published,
    publish,
    publish_directory,
    write_array,
    write_table,
)
from svdflow.tasks.denoising_candidates import Tried, by_spectrum, by_values
from svdflow.tasks.denoising_scores import best, judge

log = logging.getLogger(__name__)

KEPT = (
    4  # items of a shard whose estimates by values are kept for the report, as factors cannot give them again
)
CROP = 256  # pixels a side of what is kept
# Memory that an item takes for each value of its planes; decides how many are worked on side by side under a limit, and
# no result: methods keep to their part of it by bands. Chosen, above what each declares
BYTES_A_VALUE = 128

Kept = dict[tuple[int, int, str], dict[str, np.ndarray]]


@dataclass(frozen=True)
class DenoiseRequest:
    """What to try; see `denoise_shard`."""

    method: str
    ranks: Sequence[int]
    rank_rules: Sequence[str]
    write: bool
    loss: str = "frobenius"
    sigma: float = 0.0
    poisson: bool = False
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def denoise_shard(
    matrices: str | Path,
    factors: str | Path,
    out: str | Path,
    pictures: str | Path,
    *,
    dataset: str,
    shard: int,
    method: str,
    ranks: Sequence[int],
    rank_rules: Sequence[str],
    loss: str = "frobenius",
    sigma: float = 0.0,
    poisson: bool = False,
    seed: int = 0,
    write: bool = True,
    data_range: Ranges = (),
    options: Mapping[str, Any] | None = None,
    runtime: Runtime = ALONE,
) -> None:
    """Denoise a shard, and measure the result.

    Parameters
    ----------
    matrices, factors : path
        Published shard files.
    out : path
        The file to publish, kind ``denoise``, with the tables ``denoise`` and ``errors``, and under ``/kept`` the
        middle of the first few estimates that factors cannot give again, with their maps of rank and noise.
    pictures : path
        The folder to publish: the chosen estimate of each image, ``{index}_{slug}.png`` (``.tif``), with
        ``_sigma{sigma}`` where noise was added, at the bit depth of the source, alpha restored.
    method : str
        A name in `svdflow.registry.DENOISERS`.
    ranks : list of int
        Ranks to try with methods that work on factors; those above the stored ones are left out. `shrink` shrinks at
        most that many components.
    rank_rules : list of str
        Names in `RANK_RULES`, for methods that do not choose the rank themselves. A rule that needs what a plane
        lacks, all of its singular values say, leaves no row; the log says why.
    loss : {"frobenius", "operator", "nuclear"}
        For which `shrink` is optimal.
    sigma : float
        Noise level of the items themselves in values of the plane, where it is known; 0 where it is not.
    poisson : bool
        The values are counts: methods for pictures go through the Anscombe transform.
    seed : int
        Of rank rules and methods that draw.
    write : bool
        Whether to write pictures.
    data_range : list of (kind of samples, range, source)
        The range of the dataset's values; empty takes that of each item. See `svdflow.images.item_range`.
    options : mapping, optional
        Of the method, as it declares them.
    runtime : Runtime
        Threads and memory decide how many items are worked on side by side, and what is left of the threads works
        within an item; never changes a result.

    Raises
    ------
    ValueError, TypeError
        Unknown method, option or rank rule; a sigma, option or poisson that make no sense.

    Notes
    -----
    Observations are the levels with added noise, judged against level 0; an item without such levels is taken
    as it is, judged against its noise-free reference if it has one, with NaN otherwise. Where the noise level
    is known it is used, and with methods of factors the estimated level is reported beside it in a row of its own,
    ``{rule}_{source}``. The column rank of a listed rank is that rank, of which `shrink` may keep fewer.
    Estimates are judged as floating-point values, neither clipped nor rounded; pictures are both. Planes that
    are linked or sparse are judged by their spectrum: distance to the observed plane only. An item to which a method of
    values does not apply is a row of ``errors`` with the code ``not_applicable``; one that does not fit the memory
    limit, in bands either, has ``too_large``.
    """
    check_names(method, rank_rules)
    options = checked_options(DENOISERS[method], options or {})
    number("denoise: sigma", sigma)
    if not isinstance(poisson, bool):
        raise TypeError(f"denoise: poisson must be True or False, not {poisson!r}")
    wanted = DenoiseRequest(method, ranks, rank_rules, write, loss, sigma, poisson, seed, options)
    with (
        open_published(matrices, "matrices") as source,
        open_published(factors, "factors") as store,
        publish_directory(pictures) as folder,
        publish(out, "denoise", runtime.provenance) as file,
    ):
        stored = factors_by_observation(store)
        everything = list(with_range(items(source), data_range))
        inner = max(1, runtime.cores // max(1, len(everything)))
        largest = max(map(values_of, everything), default=0)
        together = min(runtime.side_by_side(BYTES_A_VALUE * largest), max(1, len(everything)))
        limit = None if runtime.memory_limit is None else runtime.memory_limit // together
        shown = {item.index for item in everything[:KEPT]}
        kept: Kept = {}
        lock = Lock()

        def work(item: Item) -> Rows:
            key = {"dataset": dataset, "shard": shard, "item": item.index, "name": item.name}
            rows: Rows = []
            for observation in item.observations[1:] or item.observations[:1]:
                planes = stored.get((item.index, observation.level), {})
                tried = attempts(item, observation, planes, wanted, inner, limit)
                rows += describe(item, observation, planes, tried, wanted, key)
                write_chosen(folder, item, observation, tried, wanted)
                if DENOISERS[method].works_on != "factors" and item.index in shown:
                    with lock:
                        kept.update(_to_keep(item, observation, tried))
            return rows

        rows, errors = each_item(
            work,
            everything,
            stage=f"denoise {method}",
            dataset=dataset,
            runtime=runtime,
            bytes_a_value=BYTES_A_VALUE,
        )
        _write_kept(file, kept)
        write_table(file, "denoise", rows)
        write_table(file, "errors", errors)


def check_names(method: str, rules: Sequence[str]) -> None:
    """Refuse an unknown method or rank rule."""
    declared = DENOISERS.find(method)
    if unknown := sorted(set(rules) - RANK_RULES.keys()):
        raise ValueError(f"denoise: unknown rank rule {unknown[0]!r}; one of {', '.join(RANK_RULES)}")
    if not rules and not declared.rule and declared.works_on == "factors":
        raise ValueError(f"denoise: method {method!r} needs a rank rule; name one of {', '.join(RANK_RULES)}")


def checked_options(declared: Denoiser, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a denoiser with its defaults, refused where they are none of it or out of bounds."""
    if found := faults(options, declared.options):
        raise ValueError(f"denoise: {declared.name}: {found[0][1]}")
    return declared.options(**options).model_dump()


def attempts(
    item: Item,
    observation: Observation,
    factors: PlaneFactors,
    wanted: DenoiseRequest,
    threads: int,
    memory_limit: int | None = None,
) -> dict[str, Tried]:
    """What the method makes of each plane. Planes without factors were reported by the stage before."""
    given = observation.sigma_added or wanted.sigma
    if DENOISERS[wanted.method].works_on != "factors":
        return by_values(item, observation, factors, given, wanted, threads, memory_limit)
    found = {}
    for plane, stored in factors.items():
        tried, skipped = by_spectrum(
            observation.planes.get(plane), stored, given, item.kind, wanted, item.mask_of(plane)
        )
        for reason in skipped:
            log.info("item %d, plane %s: no row for rank rule %s", item.index, plane, reason)
        found[plane] = tried
    return found


def describe(
    item: Item,
    observation: Observation,
    factors: PlaneFactors,
    tried: Mapping[str, Tried],
    wanted: DenoiseRequest,
    key: dict[str, Any],
) -> Rows:
    """Rows of the table ``denoise`` for one observation."""
    rows: Rows = []
    data_range = float(item.attrs.get("data_range", nan))
    for plane, found in tried.items():
        judged = judge(
            found,
            observation.planes.get(plane),
            item.clean.get(plane),
            factors.get(plane),
            data_range,
            item.mask_of(plane),
        )
        place = {**key, "plane": plane, "sigma_added": observation.sigma_added, "method": wanted.method}
        place |= judged_by(item, item.mask_of(plane))
        levels = {"sigma_mad": found.levels.mad, "sigma_mp": found.levels.mp}
        best_place = best(found.candidates, judged)
        for i, (candidate, figures) in enumerate(zip(found.candidates, judged, strict=True)):
            rule = {
                "rule": candidate.rule,
                "rank": candidate.rank,
                "sigma_used": candidate.noise.sigma,
                "sigma_source": candidate.noise.source,
            }
            flags = {"best": i == best_place, "chosen": i == found.chosen}
            rows.append({**place, **rule, **levels, **figures, **flags})
    return rows


def write_chosen(
    folder: Path, item: Item, observation: Observation, tried: Mapping[str, Tried], wanted: DenoiseRequest
) -> None:
    """Write the chosen estimate of an image as a picture."""
    if not (wanted.write and item.kind == "image" and tried):
        return
    ending = f"_sigma{observation.sigma_added:g}" if observation.level else ""
    stem = picture_name(item.index, item.name, ending)
    planes = {name: _whole(observation, name, found) for name, found in tried.items()}
    write_pictures(folder, stem, item, planes)


def _whole(observation: Observation, plane: str, found: Tried) -> np.ndarray:
    return found.candidates[found.chosen].rows(0, observation.planes[plane].shape[0])


def _to_keep(item: Item, observation: Observation, tried: Mapping[str, Tried]) -> Kept:
    """What the report shows of an item: the middle of its estimates, or the middle frame of a series, and the maps."""
    kept: Kept = {}
    for plane, found in tried.items():
        values = _whole(observation, plane, found)
        shown = {"estimate": picture_of(values, item.attrs.get("grid"))}
        shown |= {name: picture_of(m, None) for name, m in found.maps.items() if m.ndim >= 2}
        kept[item.index, observation.level, plane] = {
            name: np.ascontiguousarray(part, np.float32)
            for name, part in shown.items()
            if not np.iscomplexobj(part)
        }
    return kept


def picture_of(values: np.ndarray, grid: Sequence[int] | None) -> np.ndarray:
    """What a person sees of a plane: its middle, or the middle frame (and slice) of a series on a grid; 2-D."""
    if grid:
        values = values.reshape(*grid, -1)[..., values.shape[-1] // 2]
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    rows, columns = (
        slice(start := max(0, (side - CROP) // 2), start + min(CROP, side)) for side in values.shape
    )
    return values[rows, columns]


def _write_kept(file: h5py.File, kept: Kept) -> None:
    for (index, level, plane), shown in sorted(kept.items()):
        group = file.create_group(f"kept/{index:06d}/{level}/{plane}")
        for name, part in shown.items():
            write_array(group, name, part)
