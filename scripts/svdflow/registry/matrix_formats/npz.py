"""npz."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="npz",
        title="npz",
        summary="one array, or a sparse matrix as SciPy writes it",
        source="NumPy, numpy.lib.format; scipy.sparse.save_npz",
        suffixes=(".npz",),
        takes=frozenset(("dataset",)),
        panels=False,
        load="svdflow.matrix.formats.npz:open_npz",
    )
]
