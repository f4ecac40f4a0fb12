"""The kinds of declarations: what is known of each before its code is imported."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from svdflow.registry.declaration import Declaration

IMAGES, SYNTHETIC, MATRIX = "images", "synthetic", "matrix"
EVERYTHING = (IMAGES, SYNTHETIC, MATRIX)


class Options(BaseModel):
    """Options of a declaration: each field has a type, bounds, a default and a description; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoOptions(Options):
    """Nothing to choose."""


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
