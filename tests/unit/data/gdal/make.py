"""Small GeoTIFFs written and read back by GDAL: `python make.py` with rasterio 1.4.4 (GDAL 3.10), in this folder.

expected.npz holds, for each file, what rasterio reads: NAME is (bands, H, W), and NAME.mask the mask of the dataset,
(H, W), True where GDAL says that a pixel is valid in every band.
"""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.shutil import copy

RNG = np.random.default_rng(1)
ROWS, COLUMNS = 60, 44
y, x = np.mgrid[0:ROWS, 0:COLUMNS]
HILLS = (1000 + 300 * np.sin(x / 9) * np.cos(y / 7)).astype(np.int16)
INSIDE = (x - 20) ** 2 + (y - 32) ** 2 < 25**2
PLAIN = {"driver": "GTiff", "height": ROWS, "width": COLUMNS, "count": 1, "dtype": "int16"}
BAND = np.where(INSIDE, HILLS, -9999).astype(np.int16)
FLOAT = np.where(INSIDE, HILLS / 7, np.nan).astype(np.float32)
BYTES = (HILLS // 6).astype(np.uint8)
RGB = np.stack([BYTES, 255 - BYTES, BYTES // 2])


def write(name, array, profile=None, mask=None, colours=None, **options):
    array = np.atleast_3d(array.T).T if array.ndim == 2 else array
    settings = {**PLAIN, "count": len(array), "dtype": array.dtype.name, **(profile or {}), **options}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(f"{name}.tif", "w", **settings) as file:
        if colours:
            file.colorinterp = colours
        file.write(array)
        if mask is not None:
            file.write_mask(mask)


def main():
    write("nodata", BAND, nodata=-9999, compress="deflate", predictor=2)
    write(
        "nodata-float",
        np.where(INSIDE, FLOAT, np.float32(-3.4e38)),
        nodata=-3.4e38,
        compress="lzw",
        predictor=3,
    )
    write("nodata-nan", FLOAT, nodata=np.nan, compress="zstd")
    write(
        "nodata-bands",
        np.stack([BAND, BAND + 1, np.where(y > 50, -9999, 5), BAND]).astype(np.int16),
        nodata=-9999,
        interleave="band",
        photometric="MINISBLACK",
        compress="deflate",
    )
    write("mask", HILLS, mask=INSIDE, compress="deflate")
    write(
        "mask-rgb",
        RGB,
        mask=INSIDE,
        photometric="RGB",
        interleave="pixel",
        compress="deflate",
        tiled=True,
        blockxsize=32,
        blockysize=32,
    )
    write(
        "sparse",
        np.where((y < 32) & (x < 16), HILLS, -1).astype(np.int16),
        nodata=-1,
        tiled=True,
        blockxsize=32,
        blockysize=32,
        SPARSE_OK=True,
        compress="deflate",
    )
    write("lerc", FLOAT, nodata=np.nan, compress="LERC", MAX_Z_ERROR=0)
    write(
        "lerc-zstd",
        FLOAT,
        nodata=np.nan,
        compress="LERC_ZSTD",
        MAX_Z_ERROR=0,
        tiled=True,
        blockxsize=32,
        blockysize=32,
    )
    write("lerc-mask", HILLS, mask=INSIDE, compress="LERC_DEFLATE", MAX_Z_ERROR=0)
    write("bits12", (HILLS + 9).astype(np.uint16), nbits=12, compress="deflate")
    write("bits1", (BYTES > 150).astype(np.uint8), nbits=1, compress="CCITTFAX4")
    write(
        "bands5",
        np.stack([HILLS + i for i in range(5)]),
        photometric="MINISBLACK",
        interleave="pixel",
        compress="lzw",
    )
    write(
        "alpha",
        np.concatenate([RGB, (INSIDE * 255).astype(np.uint8)[None]]),
        photometric="RGB",
        alpha="UNSPECIFIED",
        interleave="pixel",
        compress="deflate",
        colours=[ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha],
    )
    write(
        "infrared",
        np.concatenate([RGB, BYTES[None]]),
        photometric="RGB",
        alpha="NO",
        interleave="pixel",
        compress="deflate",
        colours=[ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined],
    )
    write("big", HILLS, BIGTIFF="YES", ENDIANNESS="BIG")
    write("int8", (HILLS // 20).astype(np.int8))
    write("webp", RGB, photometric="RGB", interleave="pixel", compress="WEBP", WEBP_LOSSLESS=True)
    with rasterio.open("mask-overviews.tif", "w", **{**PLAIN, "compress": "deflate"}) as file:
        file.write(BAND, 1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open("mask-overviews.tif", "r+") as file:
        file.write_mask(INSIDE)
        file.build_overviews([2, 4])
    with MemoryFile() as memory, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with memory.open(**{**PLAIN, "nodata": -9999}) as file:
            file.write(BAND, 1)
        with memory.open() as file:
            copy(
                file,
                "cog.tif",
                driver="COG",
                blocksize=128,
                compress="ZSTD",
                overview_count=2,
                overviews="IGNORE_EXISTING",
            )
    found = {}
    for path in sorted(Path().glob("*.tif")):
        with rasterio.open(path) as file:
            found[path.stem] = file.read()
            found[f"{path.stem}.mask"] = np.all(file.read_masks() > 0, axis=0)
    np.savez_compressed("expected.npz", **found)


if __name__ == "__main__":
    main()
