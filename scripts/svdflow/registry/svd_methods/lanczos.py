"""The method `lanczos` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="lanczos",
        summary="thick-restart block Lanczos, narrow blocks, many cheap reads",
        source="Wu and Simon (2000)",
        advice="sparse matrices in memory, tight tolerances (1e-6 and below)",
        cost="svdflow.svd.costs:lanczos_seconds",
        load="svdflow.svd.methods.lanczos:ThickRestartLanczos",
    )
]
