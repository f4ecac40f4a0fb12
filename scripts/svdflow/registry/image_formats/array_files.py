"""Files that hold arrays."""

from svdflow.registry.kinds import ImageFormat

DECLARED = [
    ImageFormat(
        name="npy",
        title="npy",
        summary="one array, (H, W) or (H, W, 3)",
        source="NumPy, numpy.lib.format",
        suffixes=(".npy",),
        signature=rb"\x93NUMPY",
        load="svdflow.images.formats.array_files:read_npy",
    ),
    ImageFormat(
        name="hdf5",
        title="HDF5",
        summary="one array, netCDF 4 and MATLAB 7.3 too; FILE:DATASET where there are several",
        source="HDF5 File Format Specification 3.0, by h5py",
        suffixes=(".h5", ".hdf5"),
        signature=rb"\x89HDF\r\n\x1a\n",
        user_block=512,
        datasets=True,
        load="svdflow.images.formats.array_files:read_hdf5",
    ),
]
