#!/usr/bin/env bash
# numpy.where wraps a number that the array's type does not hold, without a word; arithmetic with the same number raises.
#
# NumPy 2.4.6. Since NEP 50 (NumPy 2.0) a Python number takes the type of the array beside it, and where it does not fit,
# `a + 65535` and `np.minimum(a, 300)` raise OverflowError. `np.where(mask, a, 65535)` and `np.select` do not: a nodata
# value put into uint8 pixels becomes 255, 300 becomes 44 and -1 becomes 255, even with all warnings turned into errors.
# Give the number its type (`np.uint8(65535)` raises), or compare after the cast.
#
# Source: observed; NEP 50 promises an error "whenever the Python integer cannot be stored".
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq numpy==2.4.6
"$work/venv/bin/python" -W error - <<'PY'
import numpy as np

pixels, mask = np.array([1, 2], np.uint8), np.array([True, False])
for value, becomes in [(65535, 255), (300, 44), (-1, 255)]:
    filled, chosen = np.where(mask, pixels, value), np.select([mask], [pixels], value)
    print(f"np.where(mask, uint8, {value}): {filled} {filled.dtype}; np.select: {chosen} {chosen.dtype}")
    assert filled.dtype == np.uint8 and filled.tolist() == [1, becomes]
    assert chosen.dtype == np.uint8 and chosen.tolist() == [1, becomes]
    for name, call in [("+", lambda: pixels + value), ("minimum", lambda: np.minimum(pixels, value)),
                       ("np.uint8", lambda: np.uint8(value))]:
        try:
            raise SystemExit(f"{name} gave {call()}")
        except OverflowError as error:
            print(f"  {name} raises: {error}")
PY
