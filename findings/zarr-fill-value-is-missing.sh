#!/usr/bin/env bash
# The zeros of a Zarr array are missing values in version 2 and numbers in version 3, for xarray.
#
# xarray 2026.9.0 on zarr 3.1.6. zarr's fill value, 0 by default, is what chunks that are not stored read as; a number like
# any other. xarray takes the fill_value of a version 2 array with dimension names for a CF _FillValue, so that every 0 of
# a plain array that another program wrote comes back as NaN. The same array in version 3 has no NaN.
# A float _FillValue that xarray writes to version 3 is no number in zarr.json, but base64 of a little-endian double.
# Source: own observation; xarray's documentation, "Zarr encoding specification", and the parameter
# use_zarr_fill_value_as_mask of open_zarr (True for version 2, False for version 3).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json

import numpy as np
import xarray
import zarr

counts = {}
for version in (2, 3):
    named = {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}} if version == 2 else {"dimension_names": ["y", "x"]}
    group = zarr.open_group(f"v{version}.zarr", mode="w", zarr_format=version)
    array = group.create_array("a", shape=(2, 3), dtype="f8", **named)
    array[...] = [[0, 1, 2], [3, 0, 5]]
    values = xarray.open_zarr(f"v{version}.zarr", consolidated=False)["a"].values
    counts[version] = int(np.isnan(values).sum())
    print(f"version {version}: fill_value {array.fill_value}, 2 zeros stored, xarray reads {counts[version]} NaN")
xarray.Dataset({"a": ("x", np.array([1.0, np.nan]))}).to_zarr("w.zarr", zarr_format=3, consolidated=False)
with open("w.zarr/a/zarr.json") as file:
    written = json.load(file)["attributes"]["_FillValue"]
print(f"version 3: xarray writes _FillValue NaN as {written!r}")
assert counts == {2: 2, 3: 0} and written == "AAAAAAAA+H8=", (counts, written)
PYTHON
