"""Parameters that families of synthetic matrices share, and the checks between them."""

from typing import Annotated, Any, Literal

from pydantic import Field

Rows = Annotated[int, Field(ge=1, description="number of rows m")]
Columns = Annotated[int, Field(ge=1, description="number of columns n")]
Rank = Annotated[int, Field(ge=1, description="number of leading singular values")]
First = Annotated[float, Field(gt=0, description="largest singular value")]
Last = Annotated[float, Field(gt=0, description="smallest of the `rank` singular values")]
Noise = Annotated[
    float, Field(ge=0, description="standard deviation of the white Gaussian noise of an entry")
]
Real = Annotated[Literal["float64", "float32"], Field(description="stored number type")]
Dense = Annotated[Literal["float64", "float32", "complex128"], Field(description="stored number type")]


def rank_fits(params: Any) -> Any:
    """Refuse a rank above the shorter side."""
    side = min(params.rows, params.columns)
    if params.rank > side:
        raise ValueError(f"rank: {params.rank} is more than the shorter side, {side}")
    return params


def ends_fit(params: Any) -> Any:
    """Refuse singular values that rise, and a rank above the shorter side."""
    if params.s_last > params.s_first:
        raise ValueError(f"s_last: {params.s_last} is more than s_first, {params.s_first}")
    return rank_fits(params)
