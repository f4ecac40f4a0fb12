#!/usr/bin/env bash
# BayesShrink of scikit-image does nothing to images in small units, and says nothing.
#
# scikit-image 0.26.0. `restoration.denoise_wavelet(image, sigma=s, method="BayesShrink")`, the default, takes for the
# threshold of a band s^2 / sqrt(max(var - s^2, eps)), eps being 2.2e-16 in float64, without regard to the unit. In
# images whose noise is below about 1e-8, as seconds, metres or amperes often have it, that bound takes the place of the
# variance of the signal, and the threshold goes to nothing: multiply the image by a number first. VisuShrink gives the
# same picture in any unit.
#
# Source: observed; skimage/restoration/_denoise.py, `_bayes_thresh`.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 PyWavelets==1.9.0
"$work/venv/bin/python" - <<'PY'
import numpy as np
from skimage import data, restoration

clean = data.camera()[::2, ::2] / 255
noisy = clean + 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
left = {}
for method in ("BayesShrink", "VisuShrink"):
    for unit in (1.0, 1e-6, 1e-8, 1e-9, 1e-12):
        found = restoration.denoise_wavelet(noisy * unit, sigma=0.1 * unit, method=method, rescale_sigma=True)
        left[method, unit] = round(float(np.std(found / unit - clean)), 3)
        print(f"{method}, unit {unit:g}: error {left[method, unit]:.3f} (0.100 before)")
assert left["BayesShrink", 1.0] == left["BayesShrink", 1e-6] == 0.053
assert left["BayesShrink", 1e-8] > 0.09 and min(left["BayesShrink", 1e-9], left["BayesShrink", 1e-12]) >= 0.099
assert len({left["VisuShrink", unit] for unit in (1.0, 1e-6, 1e-8, 1e-9, 1e-12)}) == 1
PY
