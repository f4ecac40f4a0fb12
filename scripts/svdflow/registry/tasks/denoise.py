"""denoise: estimate what lies under the noise, by one method a job."""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from svdflow.registry import DENOISERS, IMAGE_FORMATS, MATRIX_FORMATS, RANK_RULES, SHRINKERS
from svdflow.registry.options import UNIQUE, ByName, OfRow, OneOf, Options, Ranks
from svdflow.registry.tables import JUDGED, KEY, MS_SSIM, SHAPE, Column, Table
from svdflow.registry.task import Asked, Task


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
    options: Annotated[
        dict[str, Any], ByName("Denoisers", lambda: {name: one.options for name, one in DENOISERS.items()})
    ] = Field(
        default={},
        description="Options of single denoisers, `{NAME: {KEY: VALUE}}`; a denoiser says which it has.",
    )

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, given: Any) -> Any:
        """Takes ``passes`` of 0.1 to the options of `patch_svd`, where it is no other's; goes with 0.2."""
        if not isinstance(given, Mapping) or "passes" not in given:
            return given
        words = "denoise.passes goes with 0.2; write denoise: {options: {patch_svd: {passes: N}}}"
        warnings.warn(words, FutureWarning, stacklevel=2)  # Python shows users no DeprecationWarning
        options = dict(given.get("options") or {})
        options["patch_svd"] = {"passes": given["passes"], **(options.get("patch_svd") or {})}
        return {key: value for key, value in given.items() if key != "passes"} | {"options": options}


def is_spectral(method: str) -> bool:
    """Whether a denoiser changes the stored singular values, and works on no values."""
    return DENOISERS[method].works_on == "factors"


def settings(asked: Asked) -> dict[str, Any]:
    """Options that the method of the job reads; of the others what leaves them out."""
    options, declared = asked.options, DENOISERS[asked.method]
    spectral = is_spectral(asked.method)
    own = declared.options(**options["options"].get(asked.method, {})).model_dump()
    return {
        "method": asked.method,
        "ranks": options["ranks"] if spectral else [],
        "rank_rules": options["rank_rules"] if spectral and not declared.rule else [],
        "loss": options["loss"] if asked.method == "shrink" else "frobenius",
        "sigma": asked.row.overrides.get("sigma", 0.0),
        "poisson": asked.row.overrides.get("poisson", False),
        **({"options": own} if own else {}),
    }


def item_rank(asked: Asked) -> int:
    """Rank rules need all that may rise above the noise, of the item itself where no noise is added to it."""
    return 0 if asked.row.noise_sigma else asked.rank_limit


def noisy_rank(asked: Asked) -> int:
    """The same of observations with added noise."""
    return asked.rank_limit if asked.row.noise_sigma else 0


def seconds(asked: Asked) -> float:
    """Of all methods, at all noise levels."""
    return max(1, len(asked.row.noise_sigma)) * sum(DENOISERS[method].cost for method in asked.methods)


DENOISE = Table(
    name="denoise",
    columns=(
        *KEY,
        *SHAPE,
        Column("method", "text", "", "the denoiser"),
        Column(
            "rule", "text", "", "rank (a listed rank), the rank rule that chose it, or the method's own rule"
        ),
        Column(
            "rank",
            "int",
            "",
            "components kept: of the plane, or of a group, window or series on average; -1 for none",
        ),
        Column(
            "sigma_used", "float", "value", "noise standard deviation that the method was given or estimated"
        ),
        Column(
            "sigma_source",
            "text",
            "",
            "given, mad (wavelets), few_levels (a picture of few values), mp_median (Marchenko-Pastur), residual "
            "(of partial factors) or own (of each window)",
        ),
        Column("sigma_mad", "float", "value", "estimate by the finest wavelets; NaN for matrices"),
        Column(
            "sigma_mp",
            "float",
            "value",
            "estimate by the median singular value; NaN where not all are stored",
        ),
        Column("error_clean", "float", "1", "relative Frobenius error against the clean reference"),
        Column("error_observed", "float", "1", "relative Frobenius distance to the observed plane"),
        Column("max_error", "float", "value", "largest absolute error against the clean reference"),
        Column("snr", "float", "dB", "power of the clean reference over power of the error"),
        Column("psnr", "float", "dB", "against the clean reference, with data_range"),
        Column("ssim", "float", "1", "against the clean reference"),
        MS_SSIM,
        *JUDGED,
        Column(
            "residual_ratio",
            "float",
            "1",
            "standard deviation of observed minus estimate over sigma_used: near 1 where just the noise was taken; "
            "of chosen estimates",
        ),
        Column(
            "whiteness",
            "float",
            "1",
            "root mean square correlation of the residual with its neighbours times the root of its size: near 1 for "
            "white noise; of chosen estimates",
        ),
        Column("best", "bool", "", "least error against clean among the listed ranks"),
        Column(
            "chosen",
            "bool",
            "",
            "the method's answer without the clean reference; this one is written as a picture",
        ),
    ),
    caption="Denoising per dataset, noise level, method and rule; `best` counts the planes for which this "
    "listed rank is the best one.",
    keys=("dataset", "sigma_added", "method", "rule", "listed_rank"),
    figures=(
        "rank",
        "sigma_used",
        "sigma_mad",
        "sigma_mp",
        "error_clean",
        "error_observed",
        "max_error",
        "snr",
        "data_range",
        "psnr",
        "ssim",
        "ms_ssim",
        "residual_ratio",
        "whiteness",
    ),
    flag="best",
    summary="svdflow.tasks.denoise_report:summary",
)

DECLARED = [
    Task(
        name="denoise",
        summary="Denoise the observations of a shard by one method at every rank, and measure it.",
        options=DenoiseOptions,
        tables=(DENOISE,),
        unused=(IMAGE_FORMATS, MATRIX_FORMATS),  # a shard holds values
        leaves={"pictures": "pictures/{dataset}/denoise_{method}/{shard}"},
        methods=DENOISERS,
        uses={"method": DENOISERS, "rank_rules": RANK_RULES, "loss": SHRINKERS},
        noisy=True,
        judged=True,
        seeded=True,
        settings=settings,
        rank=item_rank,
        noisy_rank=noisy_rank,
        needs_factors=lambda asked: any(map(is_spectral, asked.methods)),
        seconds=seconds,
        load="svdflow.tasks.denoise:denoise_shard",
        sections="svdflow.tasks.denoise_report:sections",
        findings="svdflow.tasks.denoise_summaries:findings",
        marks="svdflow.tasks.denoise_report:marks",
    )
]
