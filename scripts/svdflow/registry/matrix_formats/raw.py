"""raw binary."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="raw",
        title="raw binary",
        summary="nothing but entries, behind an offset; shape and dtype are given",
        suffixes=(".raw", ".bin", ".dat"),
        takes=frozenset(("shape", "dtype", "offset", "order")),
        load="svdflow.matrix.formats.raw:open_raw",
    )
]
