"""The method `full` of truncated SVD."""

from svdflow.registry.kinds import SVDMethod

DECLARED = [
    SVDMethod(
        name="full",
        summary="LAPACK's SVD of the whole matrix",
        source="Golub and Van Loan (2013), section 8.6",
        advice="small matrices, ranks near min(m, n), all singular values",
        cost="svdflow.svd.costs:full_seconds",
        in_memory=True,
        needs_entries=True,
        load="svdflow.svd.methods.full:Lapack",
    )
]
