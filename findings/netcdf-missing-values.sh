#!/usr/bin/env bash
# netCDF4-python takes the white pixels of a plain byte picture for missing; a missing_value in double is lost on float32.
#
# netCDF4-python 1.7.5.1.post1, xarray 2026.9.0.
# - A uint8 variable without any attribute loses every 255 to netCDF4-python's mask, an int8 one every -127, although the
#   NetCDF Users' Guide says that bytes have no default fill value, since all their values may be data. xarray keeps them.
# - A missing_value in double, -999.9 on a float32 variable (what most programs write), is ignored by both: the float32
#   -999.9 is not the double -999.9. netCDF4-python says so in a warning, xarray says nothing.
# Source: own observation; NetCDF Users' Guide, "Attribute Conventions", _FillValue; Variable._toma of netCDF4-python.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check netCDF4==1.7.5.1.post1 xarray==2026.9.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import netCDF4
import numpy as np
import xarray

VALUES = {"i1": -127, "u1": 255}
with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("x", 3)
    for dtype, value in VALUES.items():
        variable = file.createVariable(dtype, dtype, ("x",))
        variable.set_auto_mask(False)
        variable[:] = np.array([value, 1, 2], dtype)
    variable = file.createVariable("f4", "f4", ("x",))
    variable.set_auto_mask(False)
    variable[:] = np.array([-999.9, 1, 2], "f4")
    variable.missing_value = np.float64(-999.9)

found = {}
with netCDF4.Dataset("a.nc") as file, xarray.open_dataset("a.nc") as data:
    for name in (*VALUES, "f4"):
        masked = int(np.ma.count_masked(file[name][:]))
        missing = int(np.isnan(data[name].values.astype(float)).sum())
        found[name] = masked, missing
        print(f"{name}: netCDF4 masks {masked}, xarray {missing}; no variable has _FillValue")
assert found == {"i1": (1, 0), "u1": (1, 0), "f4": (0, 0)}, found
PYTHON
