#!/usr/bin/env bash
# tifffile reads the missing pixels of a LERC-compressed GeoTIFF as plain zeros.
#
# rasterio 1.4.4 (GDAL 3.10.3) writes a float raster whose missing pixels are NaN with COMPRESS=LERC. GDAL puts those
# pixels into the validity mask of the LERC blob, not into its values, and reads NaN back. tifffile 2026.3.3 decodes
# with imagecodecs 2026.3.6, whose `lerc_decode` returns the mask only where `masks=True` asks for it: the same
# file comes out with 0.0 for every NaN, of the right type and shape, and without a warning.
# A mean elevation is then off by the share of missing pixels.
#
# Source: own observation; the mask of LERC is in its specification (esri/lerc), `masks=` in the docstring of imagecodecs.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq numpy==2.4.6 rasterio==1.4.4 tifffile==2026.3.3 imagecodecs==2026.3.6
cd "$work" && "$work/venv/bin/python" -W ignore - <<'PY'
import imagecodecs
import numpy as np
import rasterio
import tifffile

heights = np.full((40, 50), 812.5, np.float32)
heights[10:30, 10:40] = np.nan
profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 1, "dtype": "float32", "nodata": np.nan}
with rasterio.open("a.tif", "w", **profile, compress="LERC", MAX_Z_ERROR=0) as file:
    file.write(heights, 1)
with rasterio.open("a.tif") as file:
    by_gdal = file.read(1)
by_tifffile = tifffile.imread("a.tif")
with tifffile.TiffFile("a.tif") as file:
    page = file.pages[0]
    places = list(zip(page.dataoffsets, page.databytecounts))
with open("a.tif", "rb") as file:
    data = file.read()
masks = [imagecodecs.lerc_decode(data[at : at + size], masks=True)[1] for at, size in places]
missing = int(np.isnan(heights).sum())

print(f"written: {missing} NaN of {heights.size}, all other values 812.5")
print(f"GDAL reads {int(np.isnan(by_gdal).sum())} NaN, mean of the others {np.nanmean(by_gdal):.1f}")
print(f"tifffile reads {int(np.isnan(by_tifffile).sum())} NaN, {int((by_tifffile == 0).sum())} zeros, mean {by_tifffile.mean():.1f}")
print(f"imagecodecs, asked for masks: {sum(int((~mask).sum()) for mask in masks)} pixels are missing")
assert np.isnan(by_gdal).sum() == missing == (by_tifffile == 0).sum() == sum((~mask).sum() for mask in masks)
assert not np.isnan(by_tifffile).any()
PY
