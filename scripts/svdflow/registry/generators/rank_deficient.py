"""rank_deficient: its parameters and what is known of it."""

from pydantic import model_validator

from svdflow.registry.family_fields import Columns, Dense, First, Last, Rank, Rows, ends_fit
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class RankDeficient(Options):
    """Parameters of rank_deficient."""

    rows: Rows = 600
    columns: Columns = 400
    rank: Rank = 50
    s_first: First = 1.0
    s_last: Last = 0.01
    dtype: Dense = "float64"

    check = model_validator(mode="after")(ends_fit)


DECLARED = [
    Generator(
        name="rank_deficient",
        summary="`rank` singular values on a log scale from s_first to s_last, all others zero",
        truth="exact",
        options=RankDeficient,
        load="svdflow.matrix.generators.rank_deficient:build",
    )
]
