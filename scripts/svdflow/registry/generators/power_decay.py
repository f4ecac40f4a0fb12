"""power_decay: its parameters and what is known of it."""

from pydantic import Field

from svdflow.registry.family_fields import Columns, Dense, Noise, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class PowerDecay(Options):
    """Parameters of power_decay."""

    rows: Rows = 1000
    columns: Columns = 800
    p: float = Field(1.0, ge=0, description="exponent of the decay")
    noise: Noise = 0.0
    dtype: Dense = "float64"


DECLARED = [
    Generator(
        name="power_decay",
        summary="s_i = i^-p, i = 1, 2, ...",
        truth="exact (clean where noise is added)",
        options=PowerDecay,
        load="svdflow.matrix.generators.power_decay:build",
    )
]
