"""The kinds of declarations: what is known of each before its code is imported."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svdflow.errors import RegistryError
from svdflow.registry.declaration import Declaration, imported
from svdflow.registry.options import NoOptions, Options

IMAGES, SYNTHETIC, MATRIX = "images", "synthetic", "matrix"
EVERYTHING = (IMAGES, SYNTHETIC, MATRIX)


@dataclass(frozen=True, kw_only=True)
class Denoiser(Declaration):
    """A denoiser.

    Attributes
    ----------
    applies_to : sequence of str
        Kinds of datasets.
    works_on : str
        ``factors`` of the whole plane; or values: a ``picture`` (H, W[, C]), a ``series`` (..., T), ``columns`` (T, n).
    rule : str
        How it chooses what to keep, for the column `rule`; empty where rank rules choose.
    masks : bool
        Whether it leaves out what is missing; one that does not refuses it by name.
    cost : float
        Seconds of one core that a million values take (benchmarks/images.py --case denoise); 0 for next to nothing.
    options : type of Options
        What it can be asked beside noise level and rank.
    """

    applies_to: Sequence[str]
    works_on: str
    rule: str = ""
    masks: bool = True
    cost: float = 0.0
    options: type[Options] = NoOptions

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", self.name):  # it names folders and wildcards
            raise RegistryError(
                f"denoiser {self.name!r}: a name is a small letter, then small letters, digits and '_', at most 64; "
                "rename it"
            )


@dataclass(frozen=True, kw_only=True)
class RankRule(Declaration):
    """A rule that chooses a rank.

    Attributes
    ----------
    needs : set of str
        What it cannot do without: ``sigma``, ``all_values`` (all singular values), ``matrix``.
    """

    needs: frozenset[str] = frozenset()

    @property
    def by_spectrum(self) -> bool:
        """Whether singular values are enough, so that compression can ask for it."""
        return not self.needs & {"sigma", "matrix"}


@dataclass(frozen=True, kw_only=True)
class Shrinker(Declaration):
    """A shrinker of singular values, named for the loss that it is optimal for."""


@dataclass(frozen=True, kw_only=True)
class SVDMethod(Declaration):
    """A method of `svdflow.truncated_svd`; its code is a subclass of `svdflow.svd.algorithm.Algorithm`.

    Attributes
    ----------
    advice : str
        What to take it for.
    cost : str
        ``"package.module:name"`` of a function from a `svdflow.svd.costs.Problem` to the seconds that the method is
        expected to take, infinite where it is not to be considered. What has one is a candidate of method ``auto``.
    in_memory : bool
        Whether the whole matrix has to be in memory.
    backends : tuple of str
        What it computes on: ``numpy``, ``cupy``.
    """

    advice: str
    cost: str = ""
    in_memory: bool = False
    backends: tuple[str, ...] = ("numpy", "cupy")

    def seconds(self, problem: Any) -> float:
        """Expected time of a candidate of ``auto``."""
        return float(imported(self.cost)(problem))
