"""The estimates of one observation by one method, each with what led to it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

import numpy as np

from svdflow.denoisers.calling import as_denoised, as_estimate, with_arguments
from svdflow.denoisers.noise_levels import Levels, Noise, noise_levels
from svdflow.denoisers.poisson import denoise_poisson
from svdflow.denoisers.spectra import ObservedSpectrum, SpectralEstimate
from svdflow.errors import ItemError, MemoryLimitError
from svdflow.images.batch import PlaneFactors, column_means, known_spectrum
from svdflow.images.colour import in_order, page_of
from svdflow.ranks.evidence import Evidence, applicable
from svdflow.registry import DENOISERS, RANK_RULES, Denoiser
from svdflow.store import Factors, Item, Observation, StoredArray, StoredGroup, read_array

log = logging.getLogger(__name__)

BASE = 2**28  # bytes of a job beside its item: Python, the libraries, and what judges an estimate. Measured


WORKS_ON = {
    "picture": "pictures",
    "series": "pages of one size, or a matrix with a grid",
    "columns": "columns of 4 values or more",
}


@dataclass(frozen=True)
class Candidate:
    """One estimate: the rule and rank behind it, its noise level, and its rows from start to stop."""

    rule: str
    rank: int
    noise: Noise
    rows: Callable[[int, int], np.ndarray]
    factors: SpectralEstimate | None = None


@dataclass(frozen=True)
class Tried:
    """All candidates for one plane, the listed ranks first; the first of the others is the chosen one."""

    levels: Levels
    candidates: list[Candidate]
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def chosen(self) -> int:
        return next(i for i, candidate in enumerate(self.candidates) if candidate.rule != "rank")


def by_spectrum(
    observed: StoredArray | StoredGroup | None,
    stored: Factors,
    given: float,
    kind: str,
    wanted: Any,
    mask: np.ndarray | None = None,
) -> tuple[Tried, list[str]]:
    """Estimates that change the stored singular values: at the listed ranks, then by the rules.

    `mask` (m, n) is True where a pixel is valid; the noise level is that of those.

    Returns
    -------
    tried : Tried
    skipped : list of str
        Rank rules that cannot be applied to this plane, with the reason.
    """
    pixels = read_array(observed) if isinstance(observed, StoredArray) else None
    levels = noise_levels(pixels, stored, given, kind, mask)
    s = read_array(stored.s).astype(np.float64)
    spectrum = ObservedSpectrum(read_array(stored.U), s, read_array(stored.Vt), column_means(stored))
    declared = DENOISERS.find(wanted.method)
    function = with_arguments(declared, {"loss": wanted.loss, "seed": wanted.seed}, wanted.options)

    def attempt(rule: str, noise: Noise, rank: int | None) -> Candidate:
        estimate = as_estimate(declared.name, function(spectrum, noise.sigma, rank=rank))
        return Candidate(rule, estimate.rank if rank is None else rank, noise, estimate.rows, estimate)

    found = [attempt("rank", levels.used, rank) for rank in wanted.ranks if rank <= len(s)]
    skipped = []
    for number, noise in enumerate(levels.candidates):
        beside = f"_{noise.source}" if number else ""
        if declared.rule:
            found.append(attempt(declared.rule + beside, noise, None))
            continue
        evidence = _evidence(stored, spectrum, noise.sigma, pixels, wanted.seed)
        for name in wanted.rank_rules:
            rule = RANK_RULES[name]
            if number and "sigma" not in rule.needs:
                continue  # it says the same, whatever the level
            if reason := applicable(rule, evidence):
                skipped.append(f"{name}: {reason}")
            else:
                found.append(attempt(name + beside, noise, min(rule.code()(evidence), len(s))))
    if all(candidate.rule == "rank" for candidate in found):  # a plane is never left without an answer
        found.append(attempt("gavish_donoho", levels.used, None))
    return Tried(levels, found), skipped


def by_values(
    item: Item,
    observation: Observation,
    factors: PlaneFactors,
    given: float,
    wanted: Any,
    threads: int,
    memory_limit: int | None = None,
) -> dict[str, Tried]:
    """Estimates of a method that works on the values: pages of pictures, a series, or columns.

    Missing pixels are neither used nor changed; a method without masks takes what fills them.

    Parameters
    ----------
    memory_limit : int, optional
        Bytes for this item.

    Returns
    -------
    tried : dict of plane to Tried

    Raises
    ------
    ItemError
        ``not_applicable``: the item has nothing that the method works on. ``too_large``: it does not fit the memory
        limit. ``masked``: pixels are missing that nothing fills, and the method takes no mask.
    """
    declared = DENOISERS.find(wanted.method)
    stored = {name: node for name, node in observation.planes.items() if isinstance(node, StoredArray)}
    _refuse_what_does_not_apply(declared, stored, item)
    held = sum(
        2 * node.size * node.dtype.itemsize for node in stored.values()
    )  # the planes, and a stack of them
    limit = None if memory_limit is None else max(memory_limit - held - BASE, memory_limit // 4)
    _refuse_what_is_too_large(declared, stored, limit)
    planes = {name: read_array(node) for name, node in stored.items()}
    masks = {name: item.mask_of(name) for name in planes}
    levels = {
        name: noise_levels(p, factors.get(name), given, item.kind, masks[name]) for name, p in planes.items()
    }
    found: dict[str, Tried] = {}
    views = zip(_views(declared.works_on, planes, item), _valid(declared, planes, masks, item), strict=True)
    for (names, values, cut), valid in views:
        # Windows of a series find their own level, and map it, unless the sheet says what it is.
        known = wanted.sigma > 0 if declared.works_on == "series" else levels[names[0]].used.source == "given"
        picture = declared.works_on == "picture"
        context = {
            "mask": valid,
            "data_range": _range(item),
            "colour": "opponent" if item.attrs["colour"] == "rgb" else "channels",
            "seed": wanted.seed,
            "threads": threads,
            "memory_limit": limit,
        }
        function = with_arguments(declared, context, wanted.options)
        sigmas = [levels[name].used.sigma for name in names]
        try:
            if picture and wanted.poisson:  # after the Anscombe transform the noise of counts is 1
                estimate = denoise_poisson(values, function, mask=valid)
            else:
                estimate = function(values, _one(sigmas) if picture else sigmas[0] if known else None)
        except MemoryLimitError as error:
            raise ItemError("too_large", str(error)) from error
        result = as_denoised(declared.name, estimate, values.shape)
        if valid is None and result.left:
            log.warning(
                "item %d, %s: %d values outweigh all others, and were left as they are",
                item.index,
                "+".join(names),
                result.left,
            )
        rank = round(result.rank) if isfinite(result.rank) else -1
        for i, name in enumerate(names):
            noise = levels[name].used
            if not picture and not known:
                noise = Noise(result.sigma, "own")
            elif wanted.poisson:
                noise = Noise(nan, "poisson")
            plane = cut(result.values, i)
            candidate = Candidate(declared.rule or declared.name, rank, noise, _slicer(plane))
            found[name] = Tried(levels[name], [candidate], result.maps)
    return found


def _refuse_what_does_not_apply(declared: Denoiser, stored: Mapping[str, StoredArray], item: Item) -> None:
    """Say of an item, and of planes among others, that a method has nothing to do there."""
    where = f"denoise: {declared.name} does not apply: it works on {WORKS_ON[declared.works_on]}, and"
    if not stored:
        raise ItemError(
            "not_applicable", f"{where} this matrix is larger than memory, or sparse; take shrink"
        )
    empty = {name: np.empty(node.shape, np.int8) for name, node in stored.items()}
    seen = {name for names, _, _ in _views(declared.works_on, empty, item) for name in names}
    if not seen:
        sides = " and ".join(sorted({" x ".join(map(str, node.shape)) for node in stored.values()}))
        raise ItemError(
            "not_applicable", f"{where} this is {len(stored)} of {sides}; leave it out here (methods=)"
        )
    if left := sorted(stored.keys() - seen):
        raise ItemError(
            "not_applicable", f"{where} {', '.join(left)} are none; pages of one size are a series"
        )


def _refuse_what_is_too_large(
    declared: Denoiser, stored: Mapping[str, StoredArray], limit: int | None
) -> None:
    needed = declared.memory * sum(node.size for node in stored.values())
    if limit is not None and needed > limit:
        raise ItemError(
            "too_large",
            f"denoise: {declared.name} needs {needed / 2**20:,.0f} MiB for this item, and the memory limit leaves "
            f"{limit / 2**20:,.0f} MiB; raise runtime.memory_limit, or take shrink or patch_svd",
        )


def _one(sigmas: list[float]) -> float | list[float]:
    return sigmas[0] if len(set(sigmas)) == 1 else sigmas


def _valid(
    declared: Denoiser,
    planes: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray | None],
    item: Item,
) -> list[np.ndarray | None]:
    """For each view of the planes where its values are valid; None where all are, or are to be taken as they stand."""
    if not declared.masks and item.mask is not None and not item.attrs.get("filled"):
        raise ItemError(
            "masked",
            f"{item.attrs['masked']} pixels are missing, and the method does not take masks: name a value for them "
            "(fill=median, fill=mean or fill=0 in the sheet, --fill for one file), or take patch_svd, wnnm or tv",
        )
    known = {
        name: np.ones(planes[name].shape, bool) if mask is None else mask for name, mask in masks.items()
    }
    views = _views(declared.works_on, known, item)
    none = not declared.masks or all(mask is None for mask in masks.values())
    return [None if none or valid.all() else valid for _, valid, _ in views]


def _views(
    works_on: str, planes: Mapping[str, np.ndarray], item: Item
) -> list[tuple[list[str], np.ndarray, Any]]:
    """Names of planes, the array that a method sees of them, and how a plane is cut out of its result."""
    if works_on == "picture":
        views: list[tuple[list[str], np.ndarray, Any]] = []
        if item.kind != "image":
            return views
        pages: dict[str, list[str]] = {}
        for name in planes:
            pages.setdefault(page_of(name), []).append(name)
        for _, names in sorted(pages.items()):
            names = in_order(names)
            if len(names) == 1:
                views.append((names, planes[names[0]], lambda values, i: values))
            else:
                stacked = np.stack([planes[name] for name in names], axis=-1)
                views.append((names, stacked, lambda values, i: values[..., i]))
        return views
    if item.kind != "image":
        return [view for name, plane in planes.items() for view in _of_matrix(works_on, name, plane, item)]
    series: dict[str, list[str]] = {}
    for name in planes:
        series.setdefault(name.partition("_p")[0], []).append(name)
    return [
        (names, np.stack([planes[name] for name in names], axis=-1), lambda values, i: values[..., i])
        for names in map(sorted, series.values())
        if works_on == "series" and len(names) > 1 and len({planes[name].shape for name in names}) == 1
    ]


def _of_matrix(
    works_on: str, name: str, plane: np.ndarray, item: Item
) -> list[tuple[list[str], np.ndarray, Any]]:
    grid = item.attrs.get("grid")
    if works_on == "columns" and grid and plane.shape[1] >= 4:  # each voxel has a series of its own
        return [([name], plane.T, lambda values, i: values.T)]
    if works_on == "columns" and len(plane) >= 4:
        return [([name], plane, lambda values, i: values)]
    if works_on == "series" and grid:
        return [([name], plane.reshape(*grid, -1), lambda values, i: values.reshape(plane.shape))]
    return []


def _range(item: Item) -> float:
    data_range = float(item.attrs.get("data_range", nan))
    return data_range if data_range > 0 else 1.0


def _slicer(plane: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: plane[start:stop]


def _evidence(
    stored: Factors, spectrum: ObservedSpectrum, sigma: float, pixels: np.ndarray | None, seed: int
) -> Evidence:
    s = known_spectrum(stored)
    return Evidence(
        s=s,
        shape=spectrum.shape,
        sigma=sigma,
        norm=float(stored.attrs["frobenius_norm"]),
        complete=len(s) == min(spectrum.shape),
        matrix=None if pixels is None else lambda: pixels - spectrum.mean,
        seed=seed,
    )
