"""waves: its parameters and what is known of it."""

from svdflow.registry.family_fields import Columns, Noise, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class Waves(Options):
    """Parameters of waves."""

    rows: Rows = 128
    columns: Columns = 128
    noise: Noise = 0.5
    dtype: Real = "float64"


DECLARED = [
    Generator(
        name="waves",
        summary="sin X cos Y + 0.5 sin(2X + Y); X by column and Y by row, both in [0, 4 pi]",
        truth="clean, from its three separable terms (computed where noise is 0)",
        options=Waves,
        load="svdflow.matrix.generators.waves:build",
    )
]
