"""What an archive must reach: the arguments that say it, the search for the step, and the words where none does."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from svdflow.codec import archive
from svdflow.codec.forms import Encoder, Trial
from svdflow.codec.quality import closest, coarsest

TARGETS = ("rel_error", "psnr", "max_abs", "bytes")


def target_of(**given: Any) -> tuple[str, float]:
    """The one target that is given, by name, and its value; ValueError for none, several, or one without sense."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ValueError(f"give exactly one of {', '.join(TARGETS)}; given: {', '.join(named) or 'none'}")
    [(name, value)] = named.items()
    kinds = (int, np.integer) if name == "bytes" else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(
            f"{name} must be {'a whole number' if name == 'bytes' else 'a number'}, not {value!r}"
        )
    if not np.isfinite(value) or (value <= 0 and name != "psnr"):
        raise ValueError(f"{name} must be {'finite' if name == 'psnr' else 'positive'}, not {value!r}")
    return name, float(value)


def check_arguments(rank: Any, data_range: Any) -> None:
    """Refuse a rank or data range that is none."""
    if rank is not None and whole("rank", rank) < 1:
        raise ValueError(f"rank must be at least 1, not {rank}")
    if data_range is not None:
        number = isinstance(data_range, Real) and not isinstance(data_range, bool)
        if not number or not 0 < data_range < np.inf:
            raise ValueError(f"data_range must be positive, not {data_range!r}")


def whole(name: str, value: Any) -> int:
    """A whole number; True and False are none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def search(
    encoder: Encoder, target: str, goal: float, value: float, provenance: Mapping[str, Any] | None
) -> Trial:
    """The trial at the coarsest step that meets an error, or at the finest that fits a size."""
    scale = encoder.scale or 1.0
    if target == "bytes":

        def size(inverse: float) -> float:
            trial = encoder.at(1 / inverse)
            attributes = encoder.described(trial, target, value, provenance)
            found = archive.size_of(archive.sealed(trial.coded, attributes))
            # Where nothing is lost, a finer step has nothing to gain, and the search may end.
            return max(float(found), goal) if attributes["rel_error"] == 0 else found

        return encoder.at(1 / coarsest(size, goal, 1 / scale))
    field = "rmse" if target == "psnr" else target
    guess = {"rel_error": goal * encoder.root_mean_square}.get(target, goal)
    start = min(3 * guess, 3 * scale) or 1.0  # an array of zeros takes any step
    search = closest if encoder.A.dtype.kind == "f" else coarsest
    return encoder.at(search(lambda step: getattr(encoder.at(step).quality, field), goal, start))


def refusal(target: str, value: float, least: float, peak: float) -> str:
    """The message for a target that no step reaches; `least` is the least cost that was found."""
    if not np.isfinite(least):
        return f"{target} {value:g} cannot be reached: codes would exceed what doubles hold; ask for less accuracy"
    if target == "psnr":
        most = 20 * np.log10(peak / least)
        return f"psnr {value:g} dB cannot be reached; the most is {most:.4g} dB: ask for less, or raise rank"
    advice = "allow more" if target == "bytes" else "allow more, or raise rank"
    return f"{target} {value:g} cannot be reached; the least possible is {least:.6g}: {advice}"
