"""The method `lanczos` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="lanczos",
        summary="thick-restart block Lanczos, narrow blocks, many cheap reads",
        source="Wu and Simon (2000)",
        advice="tight tolerances (1e-6 and below), matrices in memory, sparse ones",
        load="svdflow.svd.methods.lanczos:ThickRestartLanczos",
    )
]
