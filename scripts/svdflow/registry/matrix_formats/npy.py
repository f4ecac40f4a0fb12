"""npy."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="npy",
        title="npy",
        summary="one array, in rows or in columns",
        source="NumPy, numpy.lib.format",
        suffixes=(".npy",),
        load="svdflow.matrix.formats.raw:NpySource",
    )
]
