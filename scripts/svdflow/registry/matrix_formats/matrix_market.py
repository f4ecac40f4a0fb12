"""Matrix Market."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="matrix_market",
        title="Matrix Market",
        summary="dense or sparse text, compressed by gzip or bzip2 too",
        source="Boisvert, Pozo and Remington (1996), by SciPy",
        suffixes=(".mtx", ".mtx.gz", ".mtx.bz2", ".mm", ".mm.gz", ".mm.bz2"),
        panels=False,
        load="svdflow.matrix.formats.matrix_market:open_market",
    )
]
