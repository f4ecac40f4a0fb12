"""hilbert: its parameters and what is known of it."""

from svdflow.registry.family_fields import Columns, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class Hilbert(Options):
    """Parameters of hilbert."""

    rows: Rows = 10
    columns: Columns = 10
    dtype: Real = "float64"


DECLARED = [
    Generator(
        name="hilbert",
        summary="a_ij = 1 / (i + j - 1)",
        source="Hilbert (1894)",
        truth="computed, up to min side 2000",
        options=Hilbert,
        load="svdflow.matrix.generators.hilbert:build",
    )
]
