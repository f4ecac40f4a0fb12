"""toeplitz: its parameters and what is known of it."""

from pydantic import Field

from svdflow.registry.family_fields import Columns, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class Toeplitz(Options):
    """Parameters of toeplitz."""

    rows: Rows = 300
    columns: Columns = 300
    decay: float = Field(0.5, ge=-1, le=1, description="ratio of neighbouring diagonals")
    dtype: Real = "float64"


DECLARED = [
    Generator(
        name="toeplitz",
        summary="a_ij = decay^|i - j| (Kac, Murdock and Szego)",
        source="Kac, Murdock and Szego (1953)",
        truth="computed, up to min side 2000",
        options=Toeplitz,
        load="svdflow.matrix.generators.toeplitz:build",
    )
]
