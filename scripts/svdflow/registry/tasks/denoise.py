"""denoise: estimate what lies under the noise, by one method a job."""

from typing import Annotated, Any

from pydantic import Field

from svdflow.registry import DENOISERS, RANK_RULES, SHRINKERS
from svdflow.registry.denoisers.patch_svd import MOST_PASSES
from svdflow.registry.options import UNIQUE, ByName, OfRow, OneOf, Options, Ranks


class DenoiseOptions(Options):
    """Denoising of observations, one job a method and shard."""

    ranks: Annotated[Ranks, OfRow()] = Field(
        default=[1, 3, 5, 10, 20, 50, 100], description="Ranks to measure."
    )
    methods: Annotated[list[Annotated[str, OneOf(DENOISERS)]], Field(min_length=1), UNIQUE, OfRow()] = Field(
        default=["shrink", "truncate"],
        description="Denoisers (docs/denoising.md); on a dataset those run that apply to its kind.",
    )
    rank_rules: Annotated[list[Annotated[str, OneOf(RANK_RULES)]], Field(min_length=1), UNIQUE] = Field(
        default=["gavish_donoho", "screenot", "bi_cross_validation"],
        description="Rules that choose the rank of `truncate` without the clean reference; the first one's picture is "
        "written.",
    )
    loss: Annotated[str, OneOf(SHRINKERS)] = Field(
        default="frobenius", description="Loss for which `shrink` is optimal (Gavish and Donoho 2017)."
    )
    passes: int = Field(
        default=5,
        ge=1,
        le=MOST_PASSES,
        description="Passes of `patch_svd`; one takes a fifth of the time and loses 0.1 to 0.3 dB.",
    )
    options: Annotated[
        dict[str, Any], ByName("Denoisers", lambda: {name: one.options for name, one in DENOISERS.items()})
    ] = Field(
        default={},
        description="Options of single denoisers, `{NAME: {KEY: VALUE}}`; a denoiser says which it has.",
    )
