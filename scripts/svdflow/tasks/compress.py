"""Compression at many ranks from one factorization: what each rank costs and what it keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.images.batch import (
    PlaneFactors,
    Rows,
    column_means,
    each_item,
    factors_by_observation,
    known_spectrum,
)
from svdflow.images.item_range import Ranges, judged_by, with_range
from svdflow.images.pictures import write_panel, write_ranks
from svdflow.metrics import Loss, bits_per_pixel, losses, ms_ssim, psnr_of_error, ratio
from svdflow.metrics.errors import squared_norm, valid
from svdflow.ranks.evidence import Evidence, applicable
from svdflow.ranks.spectrum_rules import rank_for_energy
from svdflow.registry import RANK_RULES
from svdflow.store import (
    Factors,
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

# Matrices above this many values are judged by their spectrum and never made dense; images go by strips.
DENSE_LIMIT = 2**22
# Memory that an item takes for each value of its planes; decides how many are worked on side by side under a limit, and
# no result. tracemalloc: 21 of a plane of 768 x 768 at four ranks with MS-SSIM and panels.
BYTES_A_VALUE = 32
IMAGES = ("none", "panels", "ranks", "all")


@dataclass(frozen=True)
class CompressRequest:
    """What to measure and at which ranks; see `compress_shard`."""

    ranks: Sequence[int]
    energies: Sequence[float]
    powers_of_two: bool
    metrics: Sequence[str]
    images: str
    rank_rules: Sequence[str] = ()


class Asked(NamedTuple):
    """One request, and the rank that answers it."""

    rule: str
    target: float
    rank: int
    reached: bool


def compress_shard(
    matrices: str | Path,
    factors: str | Path,
    out: str | Path,
    pictures: str | Path,
    *,
    dataset: str,
    shard: int,
    ranks: Sequence[int],
    energies: Sequence[float],
    powers_of_two: bool,
    metrics: Sequence[str],
    images: str,
    rank_rules: Sequence[str] = (),
    data_range: Ranges = (),
    runtime: Runtime = ALONE,
) -> None:
    """Measure the items of a shard at every rank, and write the pictures that were asked for.

    Parameters
    ----------
    matrices, factors : path
        Published shard files.
    out : path
        The file to publish, kind ``compress``, with the tables ``compress`` and ``errors``.
    pictures : path
        The folder to publish; empty where `images` is ``none``.
    ranks : list of int
        A rank above min(m, n) is measured there; one above the stored factors is measured at the last stored
        component and marked as not reached.
    energies : list of float
        Shares of the squared Frobenius norm, not centred, for which the least rank is taken.
    powers_of_two : bool
        Also 1, 2, 4, ... and full rank.
    metrics : list
        Which of ``psnr``, ``ssim`` and ``ms_ssim`` to compute; the others are NaN.
    images : {"none", "panels", "ranks", "all"}
        ``panels``: one picture an item, the original beside the listed ranks. ``ranks``: one picture an item
        and listed rank, ``{index}_{slug}/rank{k}.png``, at the bit depth of the source, alpha restored.
    rank_rules : list of str
        Names in `RANK_RULES` of rules that need singular values alone. One that needs all of them leaves no row where
        fewer are known.
    data_range : list of (kind of samples, range, source)
        The range of the dataset's values; empty takes that of each item. See `svdflow.images.item_range`.
    runtime : Runtime
        Threads and memory decide how many items are worked on side by side; never changes a result.

    Notes
    -----
    Errors, PSNR and SSIM judge the floating-point reconstruction, neither clipped nor rounded, so that PSNR
    is the relative error on another scale and never falls with the rank (Eckart and Young, 1936). Pictures
    are clipped and rounded. Pixels that were missing and filled count in no figure but `explained_energy`, which is
    that of the filled plane. Matrices that are linked, sparse or larger than DENSE_LIMIT values are never made
    dense: ||A - A_k||^2 is the squared error of the stored factors plus the squares of the stored singular
    values beyond k, and SSIM is NaN. The error figures of images come from the residual itself. Where columns
    were centred, errors and energies are relative to the centred matrix, and its means are not counted as
    stored.
    """
    if images not in IMAGES:
        raise ValueError(f"images is {images!r}; one of {', '.join(IMAGES)}")
    wanted = CompressRequest(ranks, energies, powers_of_two, metrics, images, rank_rules)
    with (
        open_published(matrices, "matrices") as source,
        open_published(factors, "factors") as store,
        publish_directory(pictures) as folder,
        publish(out, "compress", runtime.provenance) as file,
    ):
        stored = factors_by_observation(store)
        listed = with_range(items(source), data_range)

        def work(item: Item) -> Rows:
            planes = stored.get((item.index, 0), {})
            key = {"dataset": dataset, "shard": shard, "item": item.index, "name": item.name}
            return compress_item(item, planes, wanted, folder, key)

        rows, errors = each_item(
            work, listed, stage="compress", dataset=dataset, runtime=runtime, bytes_a_value=BYTES_A_VALUE
        )
        write_table(file, "compress", rows)
        write_table(file, "errors", errors)


def compress_item(
    item: Item, factors: PlaneFactors, wanted: CompressRequest, folder: Path, key: dict[str, Any]
) -> Rows:
    """Rows of one item, and its pictures. Planes without factors were reported by the stage before."""
    observation = item.observations[0]
    data_range = float(item.attrs.get("data_range", nan))
    rows: Rows = []
    for plane, stored in factors.items():
        mask = item.mask_of(plane)
        place = {**key, "plane": plane, "sigma_added": observation.sigma_added, **judged_by(item, mask)}
        measured = plane_rows(observation.planes.get(plane), stored, wanted, data_range, item.kind, mask)
        rows += [{**place, **row} for row in measured]
    if item.kind == "image" and factors and wanted.images != "none":
        listed = sorted({row["rank"] for row in rows if row["rule"] == "rank"})
        if wanted.images in ("panels", "all"):
            write_panel(folder, item, factors, listed)
        if wanted.images in ("ranks", "all"):
            write_ranks(folder, item, factors, listed)
    return rows


def plane_rows(
    observed: StoredArray | StoredGroup | None,
    stored: Factors,
    wanted: CompressRequest,
    data_range: float,
    kind: str,
    mask: np.ndarray | None = None,
) -> Rows:
    """Rows of the table ``compress`` for one plane, without the columns of the key; `mask` is True for valid pixels."""
    attrs = stored.attrs
    s, m, n = read_array(stored.s).astype(np.float64), int(attrs["m"]), int(attrs["n"])
    total = attrs["frobenius_norm"] ** 2
    asked = asked_ranks(s, total, min(m, n), wanted) + ruled_ranks(
        known_spectrum(stored), s, (m, n), total, wanted
    )
    distinct = sorted({a.rank for a in asked})
    multiscale: dict[int, float] = {}
    count, power = m * n, total
    dense = isinstance(observed, StoredArray) and (kind == "image" or m * n <= DENSE_LIMIT)
    if dense:
        plane, U, Vt = read_array(observed), read_array(stored.U), read_array(stored.Vt)
        with_ssim, mean = "ssim" in wanted.metrics, column_means(stored)
        qualities = measure(
            plane, U, s, Vt, distinct, data_range=data_range, mean=mean, with_ssim=with_ssim, mask=mask
        )
        if mask is not None:
            count, power = int(np.count_nonzero(mask)), squared_norm(valid(plane - mean, mask))
        if "ms_ssim" in wanted.metrics and kind == "image" and data_range > 0:
            multiscale = {
                k: ms_ssim(plane, (U[:, :k] * s[:k]) @ Vt[:k] + mean, data_range=data_range, mask=mask)
                for k in distinct
            }
    else:
        qualities = judge_by_spectrum(s, attrs["frobenius_norm"], attrs["frobenius_error"], distinct)
    with_psnr = "psnr" in wanted.metrics and data_range > 0
    energy = np.concatenate([[0.0], np.cumsum(s**2)])
    itemsize = stored.U.dtype.itemsize
    rows: Rows = []
    for request in asked:
        k, quality = request.rank, qualities[request.rank]
        n_bytes = k * (m + n + 1) * itemsize
        rows.append(
            {
                "m": m,
                "n": n,
                **request._asdict(),
                "value_ratio": k * (m + n + 1) / (m * n),
                "bytes": n_bytes,
                "bits_per_pixel": bits_per_pixel(n_bytes, (m, n)),
                "relative_error": ratio(quality.squared_error, power) ** 0.5,
                "max_error": quality.max_error,
                "nrmse": (quality.squared_error / count) ** 0.5 / data_range if data_range > 0 else nan,
                "psnr": psnr_of_error(quality.squared_error, count, data_range) if with_psnr else nan,
                "ssim": quality.ssim,
                "ms_ssim": multiscale.get(k, nan),
                "explained_energy": min(1.0, energy[k] / total) if total else 1.0,
            }
        )
    return rows


def asked_ranks(s: np.ndarray, total_energy: float, full: int, wanted: CompressRequest) -> list[Asked]:
    """Every request with the rank that answers it, as far as the stored singular values `s` go.

    Parameters
    ----------
    s : array (r,)
        Stored singular values, descending.
    total_energy : float
        Squared Frobenius norm of the matrix.
    full : int
        min(m, n).
    """
    stored = len(s)

    def at(rule: str, target: int) -> Asked:
        rank = min(target, full)
        return Asked(rule, float(target), min(rank, stored), rank <= stored)

    asked = [at("rank", rank) for rank in wanted.ranks]
    for energy in wanted.energies:
        rank = rank_for_energy(s, energy, total_energy)
        asked.append(Asked("energy", float(energy), stored if rank is None else rank, rank is not None))
    if wanted.powers_of_two:
        asked += [at("power_of_two", 2**p) for p in range(full.bit_length()) if 2**p < full]
        asked.append(at("full", full))
    return asked


def ruled_ranks(
    known: np.ndarray, s: np.ndarray, shape: tuple[int, int], total_energy: float, wanted: CompressRequest
) -> list[Asked]:
    """What rank rules say of the singular values `known`; those that the stored ones `s` do not reach end there."""
    evidence = Evidence(known, shape, None, total_energy**0.5, len(known) == min(shape))
    asked = []
    for name in wanted.rank_rules:
        if not applicable(RANK_RULES[name], evidence):
            rank = RANK_RULES[name].code()(evidence)
            asked.append(Asked(name, nan, min(rank, len(s)), rank <= len(s)))
    return asked


def measure(
    plane: np.ndarray,
    U: np.ndarray,
    s: np.ndarray,
    Vt: np.ndarray,
    ranks: Sequence[int],
    *,
    data_range: float,
    mean: np.ndarray | float = 0.0,
    with_ssim: bool = True,
    mask: np.ndarray | None = None,
) -> dict[int, Loss]:
    """Loss of mean + U_k s_k Vt_k against a plane, for ascending ranks k.

    Each rank adds its new components to the reconstruction of the one before.

    Parameters
    ----------
    plane : array (m, n)
        Integer, float or complex.
    U, s, Vt : arrays (m, r), (r,), (r, n)
    ranks : ascending ints, at most r
    data_range : float
        For SSIM; see `svdflow.metrics.losses`.
    mean : array (n,) or 0
        Column means of a centred factorization.
    mask : bool array (m, n), optional
        True where a pixel is valid; no other counts.

    Returns
    -------
    losses : dict of rank to Loss
    """

    def reconstructions(start: int, stop: int) -> Iterator[np.ndarray]:
        # Products in the precision of the factors, sums of components in double.
        left = (U[start:stop] * s).astype(U.dtype, copy=False)
        image = np.full((stop - start, Vt.shape[1]), mean, np.result_type(U.dtype, np.float64))
        for low, high in pairwise([0, *ranks]):
            image += left[:, low:high] @ Vt[low:high]
            yield image

    found = losses(plane, reconstructions, len(ranks), data_range=data_range, with_ssim=with_ssim, mask=mask)
    return dict(zip(ranks, found, strict=True))


def judge_by_spectrum(
    s: np.ndarray, norm: float, stored_error: float, ranks: Sequence[int]
) -> dict[int, Loss]:
    """Loss at each rank by Pythagoras: the error of all stored factors plus the stored components left out.

    Parameters
    ----------
    s : array (r,)
        Stored singular values.
    norm, stored_error : float
        Frobenius norms of A and of A - U s Vt.
    """
    beyond = np.concatenate([np.cumsum(s[::-1] ** 2)[::-1], [0.0]])  # sum over i > k of s_i^2
    return {k: Loss(float(stored_error**2 + beyond[k]), norm**2, nan) for k in ranks}
