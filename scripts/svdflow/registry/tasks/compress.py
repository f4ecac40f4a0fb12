"""compress: reconstruct at every rank and measure it."""

from typing import Annotated

from pydantic import Field

from svdflow.registry import IMAGE_FORMATS, MATRIX_FORMATS, RANK_RULES
from svdflow.registry.options import UNIQUE, OfRow, OneOf, Options, Ranks, Share
from svdflow.registry.tables import BITS_PER_PIXEL, JUDGED, KEY, MS_SSIM, RANK, SHAPE, Column, Table
from svdflow.registry.task import Asked, Task

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


def listed_rank(asked: Asked) -> int:
    """The largest rank in the list, or all that is factorized where powers of two go up to the full rank."""
    return asked.rank_limit if asked.options["powers_of_two"] else max(asked.options["ranks"])


COMPRESS = Table(
    name="compress",
    columns=(
        *KEY,
        *SHAPE,
        Column("rule", "text", "", "rank, energy, power_of_two, full or a rank rule: who asked"),
        Column(
            "target", "float", "", "the rank or the share of energy that was asked for; NaN for a rank rule"
        ),
        RANK,
        Column("reached", "bool", "", "whether the stored factors reach the target"),
        Column("value_ratio", "float", "1", "k (m + n + 1) / (m n): stored values over values, not bytes"),
        Column("bytes", "int", "byte", "k (m + n + 1) values in the type of the stored factors"),
        BITS_PER_PIXEL,
        Column(
            "relative_error",
            "float",
            "1",
            "Frobenius norm of the difference over that of the plane (centred where center is)",
        ),
        Column(
            "max_error",
            "float",
            "value",
            "largest absolute difference; NaN where the plane is judged by its spectrum",
        ),
        Column("psnr", "float", "dB", "peak signal-to-noise ratio with data_range"),
        *JUDGED,
        Column("nrmse", "float", "1", "root of the mean squared error over data_range"),
        Column(
            "ssim", "float", "1", "structural similarity (Wang 2004: Gaussian 1.5, population covariance)"
        ),
        MS_SSIM,
        Column(
            "explained_energy",
            "float",
            "1",
            "sum of kept s_i^2 over the squared norm, which is centred only where center is",
        ),
    ),
    caption="Compression per dataset and rule; `reached` counts the planes whose stored factors reach the target.",
    keys=("dataset", "rule", "target"),
    figures=(
        "rank",
        "value_ratio",
        "bits_per_pixel",
        "relative_error",
        "max_error",
        "data_range",
        "psnr",
        "ssim",
        "explained_energy",
    ),
    flag="reached",
)

DECLARED = [
    Task(
        name="compress",
        summary="Reconstruct a shard at every rank and measure it.",
        source="Eckart and Young (1936)",
        options=CompressOptions,
        tables=(COMPRESS,),
        unused=(IMAGE_FORMATS, MATRIX_FORMATS),  # a shard holds values
        leaves={"pictures": "pictures/{dataset}/compress/{shard}"},
        uses={"rank_rules": RANK_RULES},
        judged=True,
        by_default=True,
        rank=listed_rank,
        load="svdflow.tasks.compress:compress_shard",
        sections="svdflow.tasks.compress_report:sections",
        findings="svdflow.tasks.compress_report:findings",
        marks="svdflow.tasks.compress_report:marks",
        scores="svdflow.tasks.compress_report:scores",
    )
]
