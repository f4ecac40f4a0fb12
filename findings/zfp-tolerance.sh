#!/usr/bin/env bash
# ZFP's fixed-accuracy mode: the tolerance is not kept beside a fill value, and means nothing for integers.
#
# imagecodecs 2026.3.6 (zfp 1.0.1). `zfp_encode(a, mode="a", level=tolerance)` promises an absolute error of at most the
# tolerance. Values come in blocks of 4 x 4 that share one exponent: next to a fill value such as 1e30 (GRIB, netCDF)
# the other fifteen values of its block come back as zeros, an error a thousand times the tolerance, with no error and no
# warning. A NaN comes back as a finite number. Integers are taken too, and then the tolerance is off by an order
# of magnitude, although the values are well within what doubles hold.
#
# Source: zfp's documentation calls the mode one for floating-point data and names the precision of a block as its limit
# (zfp.readthedocs.io, "Compression modes" and FAQ); what the binding does with both was observed here.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq numpy==2.4.6 imagecodecs==2026.3.6
"$work/venv/bin/python" - <<'PY'
import imagecodecs
import numpy as np

TOLERANCE = 1e-3
random = np.random.default_rng(0)
field = random.normal(size=(16, 16)).astype(np.float32)


def coded(array, tolerance):
    return imagecodecs.zfp_decode(imagecodecs.zfp_encode(array, mode="a", level=tolerance))


plain = float(np.abs(coded(field, TOLERANCE) - field).max())
filled = field.copy()
filled[5, 5] = 1e30
others = filled < 1e29
beside = float(np.abs(coded(filled, TOLERANCE) - filled)[others].max())
missing = field.copy()
missing[5, 5] = np.nan
of_nan = float(coded(missing, TOLERANCE)[5, 5])
counts = random.integers(-100, 100, (16, 16), dtype=np.int32)
of_integers = int(np.abs(coded(counts, 0.5) - counts).max())

print(f"tolerance {TOLERANCE:g}: largest error {plain:.2g}; beside one fill value of 1e30 {beside:.2g}")
print(f"a NaN comes back as {of_nan:.6g}")
print(f"integers of -100 to 99 at tolerance 0.5: largest error {of_integers}")
assert plain <= TOLERANCE < 1 < beside and np.isfinite(of_nan) and of_integers > 5
PY
