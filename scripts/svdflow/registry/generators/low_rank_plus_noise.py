"""low_rank_plus_noise: its parameters and what is known of it."""

from pydantic import model_validator

from svdflow.registry.family_fields import Columns, Dense, First, Last, Noise, Rank, Rows, ends_fit
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class LowRankPlusNoise(Options):
    """Parameters of low_rank_plus_noise."""

    rows: Rows = 5000
    columns: Columns = 3000
    rank: Rank = 20
    s_first: First = 10.0
    s_last: Last = 0.1
    noise: Noise = 0.01
    dtype: Dense = "float32"

    check = model_validator(mode="after")(ends_fit)


DECLARED = [
    Generator(
        name="low_rank_plus_noise",
        summary="`rank` singular values on a log scale from s_first to s_last, plus white noise",
        truth="clean, of the noise-free part (exact where noise is 0)",
        options=LowRankPlusNoise,
        load="svdflow.matrix.generators.low_rank_plus_noise:build",
    )
]
