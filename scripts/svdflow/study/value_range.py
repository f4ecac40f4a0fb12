"""The range of values that PSNR and SSIM refer to, with its source in words.

It is one number a dataset (and kind of samples), from what the files say and hold, never from a noisy observation:

- 8-bit samples: 255.
- deeper integers without a negative value: 2**b - 1 for the bits b that a file states, where they are fewer than those
  of its container (12 of a 12-bit TIFF), else for the fewest of 8, 10, 12, 14 and 16 that hold the largest valid value.
- floats, integers with negative values or past 16 bits: largest less smallest valid value; where all are equal, the
  magnitude of that one value, or 1 for 0.

Fixed peaks keep figures comparable between pictures of one origin: a darker picture does not get a better PSNR.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# Depths of cameras' and scanners' samples: integers without a stated depth are taken to have the fewest bits of these
# that hold the largest value. Another list moves the peak of PSNR and SSIM, the column data_range.
BITS = (8, 10, 12, 14, 16)
EIGHT, STATED, FEWEST = "8 bits", "{} bits, as files state", "{} bits, the fewest that hold all values"
SPAN, EQUAL, GIVEN = "largest less smallest value", "magnitude of the only value", "given (data_range)"
EVERY = "every"  # the kind under which a range that was given stands


class Extent(NamedTuple):
    """What is known of the values of one file: dtype, the bits that it states, smallest and largest valid one."""

    dtype: str
    bits: int
    low: float
    high: float


class ValueRange(NamedTuple):
    """Smallest and largest valid value, the range that PSNR and SSIM refer to, and where that comes from."""

    data_min: float
    data_max: float
    data_range: float
    source: str


def kind_of(dtype: str) -> str:
    """Which samples share a range within a dataset: 8-bit, integers or floats, by the name of their dtype."""
    if dtype in ("uint8", "bool"):
        return "8-bit"
    return "integers" if dtype.startswith(("int", "uint")) else "floats"


def joined(extents: Sequence[Extent]) -> ValueRange:
    """The one range of files whose samples are of one kind."""
    low, high = min(e.low for e in extents), max(e.high for e in extents)
    kind = kind_of(extents[0].dtype)
    if kind == "8-bit":
        return ValueRange(low, high, 255.0, EIGHT)
    if kind == "integers" and low >= 0 and (bits := _bits(extents)):
        return ValueRange(low, high, 2.0 ** bits[0] - 1, bits[1].format(bits[0]))
    return ValueRange(low, high, *span(low, high))


def span(low: float, high: float) -> tuple[float, str]:
    """Largest less smallest value with its source; a range that scales with the values where all are equal."""
    return (high - low, SPAN) if high > low else (abs(high) or 1.0, EQUAL)


def dataset_ranges(extents: Iterable[Extent]) -> list[list[Any]]:
    """Kind of samples, range and source for each kind among the files of a dataset, in a fixed order."""
    kinds: dict[str, list[Extent]] = {}
    for extent in extents:
        kinds.setdefault(kind_of(extent.dtype), []).append(extent)
    found = {kind: joined(members) for kind, members in kinds.items()}
    return [[kind, found[kind].data_range, found[kind].source] for kind in sorted(found)]


def given_range(data_range: float) -> list[list[Any]]:
    """What a user said, for all items."""
    return [[EVERY, float(data_range), GIVEN]]


def _bits(extents: Sequence[Extent]) -> tuple[int, str] | None:
    """Bits of deeper integers, and where they come from; None past 16 bits that no file states."""
    found = []
    for extent in extents:
        container = int(extent.dtype.lstrip("uint"))
        if 8 < extent.bits < container and extent.high < 2.0**extent.bits:
            found.append((extent.bits, STATED))
        elif fitting := [bits for bits in BITS if extent.high < 2.0**bits]:
            found.append((fitting[0], FEWEST))
        else:
            return None
    return max(found)
