"""Section ``factorize``."""

from typing import Annotated

from pydantic import Field

from svdflow.registry import AUTO, SVD_METHODS
from svdflow.registry.options import Count, OfRow, OneOf, Options, Share


class FactorizeSection(Options):
    """The one singular value decomposition per plane."""

    method: Annotated[str, OneOf((AUTO, *SVD_METHODS)), OfRow()] = Field(
        default="auto",
        description="How it is computed (docs/choosing.md); `auto` plans by shape, type and rank.",
    )
    tol: Annotated[Share, OfRow()] = Field(
        default=0.01,
        description="Accuracy of the computed triplets, max |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2.",
    )
    precision: Annotated[str, OneOf(("full", "mixed"))] = Field(
        default="full",
        description="`mixed` searches by a GPU's fast products; factors and figures stay in full precision.",
    )
    max_rank: Annotated[Count, OfRow()] = Field(
        default=256, description="The largest rank that stages may ask for."
    )
    center: Annotated[bool, OfRow()] = Field(
        default=False,
        description="Subtract column means first; errors and energies are then those of the centred matrix.",
    )
