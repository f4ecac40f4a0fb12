#!/usr/bin/env bash
# Values of a netCDF variable that were never written are missing for netCDF4, and -32767 for xarray and h5py.
#
# netCDF4 1.7.5.1.post1 creates a variable without `fill_value=` and writes half of it. The library fills the
# rest with its default fill value (NC_FILL_SHORT = -32767; 9.97e36 for floats) but stores no attribute `_FillValue`. On
# reading, netCDF4 masks that value all the same; xarray 2026.9.0, for which only the attribute counts, hands it
# out as data, with either engine, and so does h5py 3.16.0. One file, two truths; the float variant passes for a
# number too, and is finite.
#
# Source: netCDF-C, "Fill values" (default fill values, `nc_def_var_fill`); netCDF4-python, `Dataset.set_auto_mask`;
# xarray, "Reading and writing files", `mask_and_scale`. That they differ on the same file was observed here.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq numpy==2.4.6 netCDF4==1.7.5.1.post1 xarray==2026.9.0 h5netcdf==1.8.2 h5py==3.16.0
cd "$work" && "$work/venv/bin/python" -W ignore - <<'PY'
import h5py
import netCDF4
import numpy as np
import xarray

with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("y", 4)
    file.createDimension("x", 5)
    for name, kind in (("counts", "i2"), ("heights", "f4")):
        file.createVariable(name, kind, ("y", "x"))[:2] = 1

with netCDF4.Dataset("a.nc") as file:
    masked = {name: int(np.ma.getmaskarray(file[name][:]).sum()) for name in ("counts", "heights")}
    stored = file["counts"].ncattrs()
read = {}
for engine in ("netcdf4", "h5netcdf"):
    with xarray.open_dataset("a.nc", engine=engine) as data:
        read[engine] = {name: float(data[name].values[3, 4]) for name in ("counts", "heights")}
with h5py.File("a.nc") as file:
    read["h5py"] = {name: float(file[name][3, 4]) for name in ("counts", "heights")}

print(f"attributes of the variable: {stored}")
print(f"netCDF4 masks {masked['counts']} of 20 counts and {masked['heights']} of 20 heights, those never written")
for reader, values in read.items():
    print(f"{reader} gives {values['counts']:g} and {values['heights']:g} for one of them")
assert masked == {"counts": 10, "heights": 10} and stored == []
assert all(v["counts"] == -32767 and v["heights"] > 9e36 for v in read.values())
PY
