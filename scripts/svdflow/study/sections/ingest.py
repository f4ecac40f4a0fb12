"""Section ``ingest``."""

from pydantic import Field

from svdflow.registry.options import Options


class IngestSection(Options):
    """Reading of images and matrix files."""

    allow_links: bool = Field(
        default=False,
        description="Follow references of HDF5 and Zarr files to files beyond their own folder; only for files "
        "that you trust.",
    )
    pixel_limit: int = Field(
        default=89_478_485,  # that of Pillow: a quarter of a gibibyte at three bytes a pixel
        ge=1,
        le=10**12,
        description="Above so many pixels, an image that unpacks to more than 50 times the size of its file is refused "
        "as a decompression bomb.",
    )
