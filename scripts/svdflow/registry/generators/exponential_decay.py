"""exponential_decay: its parameters and what is known of it."""

from pydantic import Field

from svdflow.registry.family_fields import Columns, Dense, Noise, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class ExponentialDecay(Options):
    """Parameters of exponential_decay."""

    rows: Rows = 1000
    columns: Columns = 800
    scale: float = Field(50.0, gt=0, description="indices over which s falls by e")
    noise: Noise = 0.0
    dtype: Dense = "float64"


DECLARED = [
    Generator(
        name="exponential_decay",
        summary="s_i = exp(-(i - 1) / scale)",
        truth="exact (clean where noise is added)",
        options=ExponentialDecay,
        load="svdflow.matrix.generators.exponential_decay:build",
    )
]
