"""Denoise the observations of a shard by one method, at every listed rank and by every rank rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from svdflow.images.batch import (
    PlaneFactors,
    Rows,
    column_means,
    each_item,
    factors_by_observation,
    known_spectrum,
)
from svdflow.images.denoise.noise import estimate_sigma, estimate_sigma_of_matrix
from svdflow.images.denoise.spectral import DENOISERS, RANK_RULES, Estimate, Observed
from svdflow.images.io import picture_name
from svdflow.images.metrics import Loss, losses, psnr_of_error, ratio, snr_of_error, squared_norm
from svdflow.images.pictures import write_pictures
from svdflow.store import (
    Factors,
    Item,
    ItemError,
    Observation,
    items,
    open_published,
    publish,
    publish_directory,
    read_array,
    write_table,
)

_UNKNOWN = dict.fromkeys(("error_clean", "snr", "psnr", "ssim"), nan)


@dataclass(frozen=True)
class Wanted:
    """What to try; see `denoise_shard`."""

    method: str
    ranks: Sequence[int]
    rank_rules: Sequence[str]
    write: bool


class Noise(NamedTuple):
    """A noise level and where it comes from: given, mad, mp_median or residual."""

    sigma: float
    source: str


class Candidate(NamedTuple):
    """One estimate with what led to it."""

    rule: str
    rank: int
    noise: Noise
    estimate: Estimate


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
    write: bool = True,
    threads: int | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Denoise a shard from its stored factors, and measure the result.

    Parameters
    ----------
    matrices, factors : path
        Published shard files.
    out : path
        The file to publish, kind ``denoise``, with the tables ``denoise`` and ``errors``.
    pictures : path
        The folder to publish: the estimate of the chosen rule of each image, ``{index}_{slug}.png``
        (``.tif``), with ``_sigma{sigma}`` where noise was added, at the bit depth of the source, alpha
        restored.
    method : str
        A name in `DENOISERS`.
    ranks : list of int
        Ranks to try; those above the stored factors are left out. `shrink` shrinks at most that many
        components.
    rank_rules : list of str
        Names in `RANK_RULES`, for methods that do not choose the rank themselves.
    write : bool
        Whether to write pictures.
    threads : int, optional
        Items side by side; never changes a result.

    Raises
    ------
    ValueError
        Unknown method or rank rule.

    Notes
    -----
    Observations are the levels with added noise, judged against level 0; an item without such levels is taken
    as it is, judged against its noise-free reference if it has one, with NaN otherwise. Where the noise level
    is known it is used, and the estimated level is reported beside it in a row of its own,
    ``{rule}_{source}``. The column rank of a listed rank is that rank, of which `shrink` may keep fewer.
    Estimates are judged as floating-point values, neither clipped nor rounded; pictures are both. Planes that
    are linked or sparse are judged by their spectrum: distance to the observed plane only.
    """
    check_names(method, rank_rules)
    wanted = Wanted(method, ranks, rank_rules, write)
    with (
        open_published(matrices, "matrices") as source,
        open_published(factors, "factors") as store,
        publish_directory(pictures) as folder,
        publish(out, "denoise", provenance) as file,
    ):
        stored = factors_by_observation(store)

        def work(item: Item) -> Rows:
            key = {"dataset": dataset, "shard": shard, "item": item.index, "name": item.name}
            rows: Rows = []
            for observation in item.observations[1:] or item.observations[:1]:
                planes = stored.get((item.index, observation.level), {})
                rows += denoise_observation(item, observation, planes, wanted, folder, key)
            return rows

        rows, errors = each_item(
            work, items(source), stage=f"denoise {method}", dataset=dataset, threads=threads
        )
        write_table(file, "denoise", rows)
        write_table(file, "errors", errors)


def check_names(method: str, rules: Sequence[str]) -> None:
    """Refuse an unknown method or rank rule."""
    if method not in DENOISERS:
        raise ValueError(f"denoise: unknown method {method!r}; one of {', '.join(DENOISERS)}")
    if unknown := sorted(set(rules) - RANK_RULES.keys()):
        raise ValueError(f"denoise: unknown rank rule {unknown[0]!r}; one of {', '.join(RANK_RULES)}")
    if not rules and DENOISERS[method].own_rule is None:
        raise ValueError(f"denoise: method {method!r} needs a rank rule; name one of {', '.join(RANK_RULES)}")


def denoise_observation(
    item: Item,
    observation: Observation,
    factors: PlaneFactors,
    wanted: Wanted,
    folder: Path,
    key: dict[str, Any],
) -> Rows:
    """Rows of one observation, and its picture. Planes without factors were reported by the stage before."""
    rows: Rows = []
    chosen: dict[str, Estimate] = {}
    clean = item.clean
    for plane, stored in factors.items():
        observed = observation.planes.get(plane)
        found = list(candidates(observed, stored, observation.sigma_added, item.kind, wanted))
        judged = judge(found, observed, clean.get(plane), stored, float(item.attrs.get("data_range", nan)))
        place = {**key, "plane": plane, "sigma_added": observation.sigma_added, "method": wanted.method}
        chosen_place = next(i for i, c in enumerate(found) if c.rule != "rank")
        best_place = _best(found, judged)
        for i, (candidate, figures) in enumerate(zip(found, judged, strict=True)):
            flags = {"best": i == best_place, "chosen": i == chosen_place}
            rows.append({**place, **_describe(candidate), **figures, **flags})
        chosen[plane] = found[chosen_place].estimate
    if wanted.write and item.kind == "image" and chosen:
        stem = picture_name(
            item.index, item.name, f"_sigma{observation.sigma_added:g}" if observation.level else ""
        )
        planes = {name: estimate.rows(0, len(estimate.U)) for name, estimate in chosen.items()}
        write_pictures(folder, stem, item, planes)
    return rows


def candidates(
    observed: h5py.Dataset | h5py.Group | None, stored: Factors, sigma_added: float, kind: str, wanted: Wanted
) -> list[Candidate]:
    """The estimates at the listed ranks, then those of the rules; of these the first is the chosen one."""
    s = read_array(stored.s).astype(np.float64)
    spectrum = Observed(read_array(stored.U), s, read_array(stored.Vt), column_means(stored))
    noises = noise_levels(observed, stored, sigma_added, kind)
    denoiser = DENOISERS[wanted.method]

    def attempt(rule: str, noise: Noise, rank: int | None) -> Candidate:
        estimate = denoiser.apply(spectrum, sigma=noise.sigma, rank=rank)
        return Candidate(rule, estimate.rank if rank is None else rank, noise, estimate)

    found = [attempt("rank", noises[0], rank) for rank in wanted.ranks if rank <= len(spectrum.s)]
    for number, noise in enumerate(noises):
        beside = f"_{noise.source}" if number else ""
        if denoiser.own_rule:
            found.append(attempt(denoiser.own_rule + beside, noise, None))
            continue
        for rule in wanted.rank_rules:
            found.append(
                attempt(rule + beside, noise, RANK_RULES[rule](spectrum.s, spectrum.shape, noise.sigma))
            )
    return found


def noise_levels(
    observed: h5py.Dataset | h5py.Group | None, stored: Factors, sigma_added: float, kind: str
) -> list[Noise]:
    """The known level, if any, then the estimate: by wavelets for images, by the spectrum for matrices."""
    known = [Noise(sigma_added, "given")] if sigma_added > 0 else []
    if kind == "image":
        if not isinstance(observed, h5py.Dataset):
            raise ItemError(
                "missing_plane", "the noise of an image is estimated from its pixels, which are not there"
            )
        return [*known, Noise(estimate_sigma(read_array(observed)), "mad")]
    attrs = stored.attrs
    shape = int(attrs["m"]), int(attrs["n"])
    return [*known, Noise(*estimate_sigma_of_matrix(known_spectrum(stored), shape, attrs["frobenius_norm"]))]


def judge(
    found: Sequence[Candidate],
    observed: h5py.Dataset | h5py.Group | None,
    clean: h5py.Dataset | h5py.Group | None,
    stored: Factors,
    data_range: float,
) -> Rows:
    """The columns of quality of each candidate; those against the clean reference are NaN without one."""
    if not isinstance(observed, h5py.Dataset):
        distances = [_distance_by_spectrum(candidate.estimate, stored) for candidate in found]
    else:
        distances = [loss.relative_error for loss in _losses(found, observed, nan)]
    shape = {"m": int(stored.attrs["m"]), "n": int(stored.attrs["n"]), "data_range": data_range}
    rows = [{**shape, "error_observed": distance, **_UNKNOWN} for distance in distances]
    if isinstance(clean, h5py.Dataset):
        for row, loss in zip(rows, _losses(found, clean, data_range), strict=True):
            row |= {
                "error_clean": loss.relative_error,
                "snr": snr_of_error(loss.squared_reference, loss.squared_error),
                "psnr": psnr_of_error(loss.squared_error, clean.size, data_range) if data_range > 0 else nan,
                "ssim": loss.ssim,
            }
    return rows


def _losses(found: Sequence[Candidate], reference: h5py.Dataset, data_range: float) -> list[Loss]:
    def estimates(start: int, stop: int) -> Iterator[np.ndarray]:
        return (candidate.estimate.rows(start, stop) for candidate in found)

    return losses(read_array(reference), estimates, len(found), data_range=data_range)


def _distance_by_spectrum(estimate: Estimate, stored: Factors) -> float:
    """Relative distance to a plane that is not at hand: by Pythagoras, as the factors are orthonormal."""
    attrs = stored.attrs
    s = read_array(stored.s).astype(np.float64)
    weights = np.zeros_like(s)
    weights[: len(estimate.weights)] = estimate.weights
    return (
        ratio(attrs["frobenius_error"] ** 2 + squared_norm(s - weights), attrs["frobenius_norm"] ** 2) ** 0.5
    )


def _describe(candidate: Candidate) -> dict[str, Any]:
    rule, rank, noise, _ = candidate
    return {"rule": rule, "rank": rank, "sigma_used": noise.sigma, "sigma_source": noise.source}


def _best(found: Sequence[Candidate], judged: Rows) -> int | None:
    """Place of the listed rank with the least error against the clean reference; None without one."""
    errors = [(figures["error_clean"], i) for i, figures in enumerate(judged) if found[i].rule == "rank"]
    known = [pair for pair in errors if pair[0] == pair[0]]
    return min(known)[1] if known else None
