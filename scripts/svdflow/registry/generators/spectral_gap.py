"""spectral_gap: its parameters and what is known of it."""

from pydantic import Field, model_validator

from svdflow.registry.family_fields import Columns, Dense, Noise, Rank, Rows, rank_fits
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class SpectralGap(Options):
    """Parameters of spectral_gap."""

    rows: Rows = 1000
    columns: Columns = 800
    rank: Rank = 20
    gap: float = Field(100.0, ge=1, description="s_rank over s_{rank+1}")
    noise: Noise = 0.0
    dtype: Dense = "float64"

    check = model_validator(mode="after")(rank_fits)


DECLARED = [
    Generator(
        name="spectral_gap",
        summary="`rank` singular values equal to 1, all others equal to 1 / gap",
        truth="exact (clean where noise is added)",
        options=SpectralGap,
        load="svdflow.matrix.generators.spectral_gap:build",
    )
]
