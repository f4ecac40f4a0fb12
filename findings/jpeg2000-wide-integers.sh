#!/usr/bin/env bash
# Reversible JPEG 2000 of integers of more than 24 bits loses values without a word.
#
# imagecodecs 2026.3.6 (OpenJPEG 2.5.4). `jpeg2k_encode(a, level=0, reversible=True)` takes int32, the standard allows
# samples of up to 38 bits, and nothing is raised; but only what fits 24 bits comes back equal. From 25 bits on, every
# array tried came back changed: count the bits of the data (label maps, counts, CT sums), not those of the dtype.
#
# Source: observed; ISO/IEC 15444-1, A.5.1 gives the 38 bits.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq numpy==2.4.6 imagecodecs==2026.3.6
"$work/venv/bin/python" - <<'PY'
import imagecodecs
import numpy as np

equal = {}
for bits in (16, 20, 24, 25, 28, 31):
    array = np.random.default_rng(bits).integers(0, 2**bits, (64, 64), dtype=np.int64).astype(np.int32)
    back = imagecodecs.jpeg2k_decode(imagecodecs.jpeg2k_encode(array, level=0, reversible=True))
    equal[bits] = bool(np.array_equal(back, array))
    changed = np.count_nonzero(back != array)
    print(f"{bits} bits, int32: {'equal' if equal[bits] else f'{changed} of {array.size} values changed'}")
assert equal == {16: True, 20: True, 24: True, 25: False, 28: False, 31: False}
PY
