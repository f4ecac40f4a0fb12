"""What image files hold, told in a process of its own: one line of JSON a file, so that planning never decodes.

Standard input is a JSON object, ``{"pixel_limit": ..., "channels": ..., "paths": [...]}``. Each line of the answer is
an `Extent`, or null where a file cannot be read or has no valid pixel; ingest will say why. A decoder that dies takes
this process along and no other: whoever asked begins another one behind the file that it died of.
"""

import json
import sys

from svdflow.images.io import read_image
from svdflow.images.item_range import extent_of
from svdflow.study.value_range import Extent


def extent_of_file(path: str, pixel_limit: int, channels: bool) -> Extent | None:
    """The extent of an image file; None where it cannot be read or has no valid pixel."""
    try:
        record = read_image(path, pixel_limit=pixel_limit, channels=channels)
    except Exception:
        return None
    pixels = (p.array if p.mask is None else p.array[p.mask] for p in record.pages)
    return extent_of(pixels, record.attrs["significant_bits"])


def main() -> None:
    asked = json.load(sys.stdin)
    for path in asked["paths"]:
        print(json.dumps(extent_of_file(path, asked["pixel_limit"], asked["channels"])), flush=True)


if __name__ == "__main__":
    main()
