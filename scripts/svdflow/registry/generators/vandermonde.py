"""vandermonde: its parameters and what is known of it."""

from pydantic import Field, model_validator

from svdflow.registry.family_fields import Columns, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class Vandermonde(Options):
    """Parameters of vandermonde."""

    rows: Rows = 100
    columns: Columns = 12
    low: float = Field(-1.0, description="first node")
    high: float = Field(1.0, description="last node")
    dtype: Real = "float64"

    @model_validator(mode="after")
    def check(self) -> "Vandermonde":
        """Refuse nodes that do not rise."""
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} is not below high, {self.high}")
        return self


DECLARED = [
    Generator(
        name="vandermonde",
        summary="a_ij = x_i^(j - 1) at equispaced nodes x_1 = low, ..., x_m = high",
        truth="computed, up to min side 2000",
        options=Vandermonde,
        load="svdflow.matrix.generators.vandermonde:build",
    )
]
