"""compress: reconstruct at every rank and measure it."""

from typing import Annotated

from pydantic import Field

from svdflow.registry import RANK_RULES
from svdflow.registry.options import UNIQUE, OfRow, OneOf, Options, Ranks, Share

PICTURES = ("none", "panels", "ranks", "all")


class CompressOptions(Options):
    """Compression, measured at every rank from the stored factors."""

    ranks: Annotated[Ranks, OfRow()] = Field(
        default=[1, 2, 5, 10, 20, 50, 100], description="Ranks to measure."
    )
    powers_of_two: Annotated[bool, OfRow()] = Field(
        default=False, description="Also 1, 2, 4, ... up to the full rank, at most `factorize.max_rank`."
    )
    energies: Annotated[list[Share], UNIQUE, OfRow()] = Field(
        default=[0.9, 0.95, 0.99],
        description="Shares of the energy, sum of s_i^2, to reach with the fewest components.",
    )
    rank_rules: Annotated[list[Annotated[str, OneOf(RANK_RULES, lambda rule: rule.by_spectrum)]], UNIQUE] = (
        Field(
            default=["elbow"],
            description="Rules that need nothing but singular values; those that need all of them are left out where "
            "fewer are stored.",
        )
    )
    metrics: Annotated[list[Annotated[str, OneOf(("psnr", "ssim", "ms_ssim"))]], UNIQUE] = Field(
        default=["psnr", "ssim"], description="Metrics of image planes beside the errors."
    )
    images: Annotated[str, OneOf(PICTURES), OfRow()] = Field(
        default="panels",
        description="Pictures to write, the original beside its ranks (`panels`), one file a rank (`ranks`), or both.",
    )
