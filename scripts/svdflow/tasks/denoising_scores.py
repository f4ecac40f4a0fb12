"""How good the estimates of a plane are: against the clean reference where there is one, and by their residuals."""

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np

from svdflow.denoisers.spectra import SpectralEstimate
from svdflow.images.batch import Rows
from svdflow.metrics import (
    Loss,
    losses,
    ms_ssim,
    psnr_of_error,
    ratio,
    residual_ratio,
    snr_of_error,
    squared_norm,
    whiteness,
)
from svdflow.store import Factors, StoredArray, StoredGroup, read_array
from svdflow.tasks.denoising_candidates import Candidate, Tried

_UNKNOWN = dict.fromkeys(("error_clean", "max_error", "snr", "psnr", "ssim", "ms_ssim"), nan)
_NO_RESIDUAL = {"residual_ratio": nan, "whiteness": nan}


def judge(
    tried: Tried,
    observed: StoredArray | StoredGroup | None,
    clean: StoredArray | StoredGroup | None,
    stored: Factors | None,
    data_range: float,
    mask: np.ndarray | None = None,
) -> Rows:
    """The columns of quality of each candidate; those against the clean reference are NaN without one.

    Where `mask` (m, n) is False a pixel is missing, and counts in no figure.
    """
    found = tried.candidates
    if isinstance(observed, StoredArray):
        plane = read_array(observed)
        shape = plane.shape
        distances = [loss.relative_error for loss in _losses(found, plane, nan, mask)]
    elif stored is not None:
        plane, shape = None, (int(stored.attrs["m"]), int(stored.attrs["n"]))
        distances = [_distance_by_spectrum(candidate.factors, stored) for candidate in found]
    else:
        raise ValueError("a plane that is neither stored nor factorized cannot be judged")
    rows: Rows = [
        {
            "m": shape[0],
            "n": shape[1],
            "data_range": data_range,
            "error_observed": distance,
            **_UNKNOWN,
            **_NO_RESIDUAL,
        }
        for distance in distances
    ]
    if isinstance(clean, StoredArray):
        reference = read_array(clean)
        count = reference.size if mask is None else int(np.count_nonzero(mask))
        for row, loss in zip(rows, _losses(found, reference, data_range, mask), strict=True):
            row |= {
                "error_clean": loss.relative_error,
                "snr": snr_of_error(loss.squared_reference, loss.squared_error),
                "psnr": psnr_of_error(loss.squared_error, count, data_range) if data_range > 0 else nan,
                "ssim": loss.ssim,
                "max_error": loss.max_error,
            }
        rows[tried.chosen] |= _closer(found[tried.chosen], reference, data_range, mask)
    if plane is not None:
        rows[tried.chosen] |= _residual(found[tried.chosen], plane, mask)
    return rows


def best(found: Sequence[Candidate], judged: Rows) -> int | None:
    """Place of the listed rank with the least error against the clean reference; None without one."""
    errors = [(figures["error_clean"], i) for i, figures in enumerate(judged) if found[i].rule == "rank"]
    known = [pair for pair in errors if pair[0] == pair[0]]
    return min(known)[1] if known else None


def _losses(
    found: Sequence[Candidate], reference: np.ndarray, data_range: float, mask: np.ndarray | None
) -> list[Loss]:
    def estimates(start: int, stop: int) -> Iterator[np.ndarray]:
        return (candidate.rows(start, stop) for candidate in found)

    return losses(reference, estimates, len(found), data_range=data_range, mask=mask)


def _closer(
    candidate: Candidate, reference: np.ndarray, data_range: float, mask: np.ndarray | None
) -> dict[str, float]:
    """Figures that need the whole estimate at once; of the chosen one only."""
    estimate = candidate.rows(0, len(reference))
    visible = data_range > 0 and not np.iscomplexobj(reference)
    return {"ms_ssim": ms_ssim(reference, estimate, data_range=data_range, mask=mask) if visible else nan}


def _residual(candidate: Candidate, plane: np.ndarray, mask: np.ndarray | None) -> dict[str, float]:
    estimate, sigma = candidate.rows(0, len(plane)), candidate.noise.sigma
    return {
        "residual_ratio": residual_ratio(plane, estimate, sigma, mask=mask) if sigma > 0 else nan,
        "whiteness": whiteness(plane - estimate, mask=mask),
    }


def _distance_by_spectrum(estimate: SpectralEstimate | None, stored: Factors) -> float:
    """Relative distance to a plane that is not at hand: by Pythagoras, as the factors are orthonormal."""
    if estimate is None:
        return nan
    attrs = stored.attrs
    s = read_array(stored.s).astype(np.float64)
    weights = np.zeros_like(s)
    weights[: len(estimate.weights)] = estimate.weights
    return (
        ratio(attrs["frobenius_error"] ** 2 + squared_norm(s - weights), attrs["frobenius_norm"] ** 2) ** 0.5
    )
