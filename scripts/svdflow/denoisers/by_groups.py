"""What methods of groups of similar patches have in common: their arguments, and the way to planes and back."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Signature, signature
from typing import Concatenate, NamedTuple, ParamSpec, TypeAlias

import numpy as np

from svdflow.denoisers.arguments import threads_of, whole
from svdflow.denoisers.denoised import Denoised
from svdflow.denoisers.observed_pixels import ObservedPixels, observe
from svdflow.denoisers.passes import GroupFilter
from svdflow.registry.denoisers.patch_svd import MOST_PASSES

SEARCH = 20  # reach of the search for similar patches, in pixels; benchmarks/imagebench/denoise.py


class GroupOptions(NamedTuple):
    """What was asked of a method of groups; None where it is to decide. See `patch_svd`."""

    passes: int | None
    rank: int | None
    patch: int | None
    group: int | None
    stride: int | None
    search: int


Choice: TypeAlias = Callable[[ObservedPixels, GroupOptions], GroupFilter]
P = ParamSpec("P")


def _first_filled_in(
    function: Callable[Concatenate[Choice, P], Denoised],
) -> Callable[[Choice], Callable[P, Denoised]]:
    """A decorator that makes a function of all other arguments of a choice, with its name and docstring."""
    others = list(signature(function).parameters.values())[1:]

    def decorator(choose: Choice) -> Callable[P, Denoised]:
        @wraps(choose, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def method(*args: P.args, **kwargs: P.kwargs) -> Denoised:
            return function(choose, *args, **kwargs)

        method.__dict__["__signature__"] = Signature(others, return_annotation=Denoised)
        return method

    return decorator


@_first_filled_in
def by_groups(
    choose: Choice,
    x: np.ndarray,
    sigma: float | Sequence[float] | np.ndarray | None = None,
    *,
    rank: int | None = None,
    mask: np.ndarray | None = None,
    data_range: float = 255.0,
    threads: int | None = None,
    memory_limit: int | None = None,
    passes: int | None = None,
    patch: int | None = None,
    group: int | None = None,
    stride: int | None = None,
    search: int = SEARCH,
    colour: str = "opponent",
    backend: str = "numpy",
) -> Denoised:
    """Make a denoiser of a function that chooses how groups are made and filtered, from the image and what was asked.

    The denoiser has the arguments that stand here; `patch_svd` says what they are and what is refused.
    """
    observed = observe(choose.__name__, x, sigma, colour, data_range, mask)
    threads_of(choose.__name__, threads)
    asked = _checked(observed, GroupOptions(passes, rank, patch, group, stride, search))
    if not observed.noisy:
        return observed.unchanged()
    return observed.denoised(choose(observed, asked), backend, threads, memory_limit)


def _checked(observed: ObservedPixels, asked: GroupOptions) -> GroupOptions:
    """The options, refused where they make no sense for an image of that shape."""
    height, width = observed.shape[:2]
    fits = f"a side of the image {height} x {width}"

    def option(what: str, least: int, most: int | None = None, why: str = "") -> int | None:
        value = getattr(asked, what)
        return None if value is None else whole(f"{observed.name}: {what}", value, least, most, why)

    search = whole(f"{observed.name}: search", asked.search, 1, max(height, width, SEARCH), fits)
    return GroupOptions(
        passes=option("passes", 1, MOST_PASSES),
        rank=option("rank", 0),
        patch=option("patch", 2, max(min(height, width), 2), fits),
        group=option("group", 2, (2 * search + 1) ** 2, f"the patches of a search of {search}"),
        stride=option("stride", 1, max(height, width), fits),
        search=search,
    )


def by_noise(table: Sequence[tuple[float, int, int]], sigma: float) -> tuple[int, int]:
    """Side of a patch and size of a group for a noise level."""
    return next((side, size) for limit, side, size in table if sigma <= limit)


def most_side(side: int, observed: ObservedPixels) -> int:
    """The side of a patch, but half of a small image at most, so that there is something to compare."""
    return min(side, (min(observed.shape[:2]) + 1) // 2)
