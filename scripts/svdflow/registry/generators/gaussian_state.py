"""gaussian_state: its parameters and what is known of it."""

from typing import Literal

from pydantic import Field

from svdflow.registry.family_fields import Columns, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class GaussianState(Options):
    """Parameters of gaussian_state."""

    rows: Rows = 1024
    columns: Columns = 1024
    dtype: Literal["complex128"] = Field("complex128", description="stored number type")


DECLARED = [
    Generator(
        name="gaussian_state",
        summary="independent complex Gaussian entries scaled to Frobenius norm 1: a random bipartite pure state",
        source="Page (1993); Marchenko and Pastur (1967)",
        truth="computed, up to min side 2000; beyond, theory (Marchenko-Pastur quantiles)",
        options=GaussianState,
        load="svdflow.matrix.generators.gaussian_state:build",
    )
]
