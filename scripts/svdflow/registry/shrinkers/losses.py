"""The shrinkers of svdflow, named for their losses."""

from svdflow.registry.kinds import Shrinker

SOURCE = "Gavish and Donoho (2017), section III"
DECLARED = [
    Shrinker(
        name="frobenius",
        summary="least squared error",
        source=SOURCE,
        load="svdflow.ranks.shrinkage:frobenius",
    ),
    Shrinker(
        name="operator",
        summary="least spectral norm of the error",
        source=SOURCE,
        load="svdflow.ranks.shrinkage:operator",
    ),
    Shrinker(
        name="nuclear",
        summary="least nuclear norm of the error",
        source=SOURCE,
        load="svdflow.ranks.shrinkage:nuclear",
    ),
]
