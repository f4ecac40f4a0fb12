"""sparse_random: its parameters and what is known of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from svdflow.registry.family_fields import Columns, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


def stored_entries(params: Mapping[str, Any]) -> int:
    """Number of stored entries: round(density m n), at least one."""
    return max(1, round(params["density"] * params["rows"] * params["columns"]))


class SparseRandom(Options):
    """Parameters of sparse_random."""

    rows: Rows = 10_000
    columns: Columns = 10_000
    density: float = Field(0.001, gt=0, le=1, description="stored entries over all entries")
    values: Literal["normal", "uniform"] = Field("normal", description="law of the stored entries")
    dtype: Real = "float64"


DECLARED = [
    Generator(
        name="sparse_random",
        summary="CSR; round(density m n) entries at random places, values standard normal or uniform in [0, 1)",
        truth="computed, up to min side 2000; none beyond",
        options=SparseRandom,
        entries=stored_entries,
        load="svdflow.matrix.generators.sparse_random:build",
    )
]
