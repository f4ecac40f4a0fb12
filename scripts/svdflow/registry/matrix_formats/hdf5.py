"""HDF5."""

from svdflow.registry.kinds import MatrixFormat

DECLARED = [
    MatrixFormat(
        name="hdf5",
        title="HDF5",
        summary="dense or sparse (CSR, CSC); AnnData, netCDF 4 and MATLAB 7.3 too",
        source="HDF5 File Format Specification 3.0",
        suffixes=(".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".nc", ".mat"),
        takes=frozenset(("dataset", "fill", "allow_links")),
        signature=rb"\x89HDF\r\n\x1a\n",
        user_block=512,
        load="svdflow.matrix.formats.hdf5:open_hdf5",
    )
]
