"""Zarr."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="zarr",
        title="Zarr",
        summary="a folder: an array of version 2 or 3, or a sparse group of AnnData",
        source="Zarr specifications 2 and 3, by zarr",
        suffixes=(".zarr",),
        takes=frozenset(("dataset", "fill", "allow_links")),
        folder=True,
        load="svdflow.matrix.formats.zarr:open_zarr",
    )
]
