#!/usr/bin/env bash
# JPEG XR at quality 1.0 is lossless for 8-bit, 16-bit and half-float pictures, and not for 32-bit floats.
#
# imagecodecs 2026.3.6 (jxrlib 1.1). `jpegxr_encode(a, level=1.0)` is the lossless setting, and float16 comes back to the
# bit. float32, which the format lists as well, comes back changed without a warning: by up to 1e-4 for values about
# one, and small values lose more of themselves. The setting reaches the transform; the samples were shortened before.
#
# Source: observed. Microscopes' CZI files hold JPEG XR pictures.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq numpy==2.4.6 imagecodecs==2026.3.6
"$work/venv/bin/python" - <<'PY'
import imagecodecs
import numpy as np

random = np.random.default_rng(0)
values = random.normal(size=(64, 64))
pictures = {
    "uint8": random.integers(0, 2**8, (64, 64), dtype=np.uint8),
    "uint16": random.integers(0, 2**16, (64, 64), dtype=np.uint16),
    "float16": values.astype(np.float16),
    "float32": values.astype(np.float32),
}
equal = {}
for name, picture in pictures.items():
    back = imagecodecs.jpegxr_decode(imagecodecs.jpegxr_encode(picture, level=1.0))
    error = np.abs(back.astype(float) - picture)
    equal[name] = bool(np.array_equal(back, picture))
    print(f"{name} at level 1.0: {'equal' if equal[name] else f'largest error {error.max():.1e}'}")
assert equal == {"uint8": True, "uint16": True, "float16": True, "float32": False}
PY
