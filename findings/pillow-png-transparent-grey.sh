#!/usr/bin/env bash
# Pillow loses the transparency of a grey PNG of two or four bits.
#
# A grey PNG may name one level as transparent (chunk tRNS), in the units of its own depth: of a four-bit image, 0
# to 15. Pillow 13.0.0 unpacks four-bit samples to 0, 17, ..., 255 and then compares them with the number as it
# stands in the file, so level 1 (stored as 17) never matches and every pixel comes out opaque; level 0 and, by chance,
# none other work. One-bit and eight-bit images are right, and libpng (here imagecodecs 2026.3.6) is right at every
# depth.
#
# Source: PNG specification, 11.3.2.1 (tRNS); own observation.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq numpy==2.4.6 pillow==13.0.0 imagecodecs==2026.3.6
"$work/venv/bin/python" - <<'PY'
import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth, transparent):
    """Sixteen columns and a row, all levels of `depth` bits in turn, one of them transparent."""
    levels = np.arange(16) % 2**depth
    bits = np.unpackbits(levels.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    head = struct.pack(">IIBBBBB", 16, 1, depth, 0, 0, 0, 0)
    row = b"\0" + np.packbits(bits.ravel()).tobytes()
    parts = [(b"IHDR", head), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts), levels == transparent


found = {}
for depth in (1, 2, 4, 8):
    data, right = png(depth, 1)
    pillow = np.asarray(Image.open(io.BytesIO(data)).convert("LA"))[0, :, 1] == 0
    libpng = imagecodecs.png_decode(data)[0, :, 1] == 0
    found[depth] = int(pillow.sum())
    print(f"{depth} bits: {right.sum()} pixels are transparent; libpng {libpng.sum()}, Pillow {pillow.sum()}")
    assert np.array_equal(libpng, right)
assert found == {1: 8, 2: 0, 4: 0, 8: 1}
PY
