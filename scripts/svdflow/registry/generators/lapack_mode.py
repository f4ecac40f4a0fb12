"""lapack_mode: its parameters and what is known of it."""

from pydantic import Field

from svdflow.registry.family_fields import Columns, Dense, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class LapackMode(Options):
    """Parameters of lapack_mode."""

    rows: Rows = 500
    columns: Columns = 500
    mode: int = Field(
        3,
        ge=1,
        le=6,
        description="1 one large, 2 one small, 3 geometric, 4 arithmetic, 5 log-uniform, 6 normal",
    )
    cond: float = Field(1e6, ge=1, description="condition number (bounds it in mode 5, unused in mode 6)")
    dtype: Dense = "float64"


DECLARED = [
    Generator(
        name="lapack_mode",
        summary="the spectra of LAPACK's test generator DLATMS, modes 1 to 6",
        source="LAPACK, TESTING/MATGEN/dlatms.f and dlatm1.f",
        truth="exact",
        options=LapackMode,
        load="svdflow.matrix.generators.lapack_mode:build",
    )
]
