"""low_rank_plus_noise: `rank` singular values on a log scale, plus white noise."""

from typing import Any

from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import log_scale, prescribed


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """The matrix of this spectrum."""
    return prescribed(log_scale(params), params, seed)
