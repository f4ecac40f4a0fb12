"""Sizes in bytes, as people write them."""

from typing import Any

from svdflow.registry.numerals import LARGEST, real


def parse_size(limit: Any) -> int | None:
    """Bytes from an int, or from text such as ``"1GiB"`` or ``"800 MB"``; None and ``"auto"`` mean no limit."""
    if limit is None or limit == "auto":
        return None
    if isinstance(limit, str):
        number = limit.strip().rstrip("iIbBkKmMgGtT ")
        unit = limit.strip()[len(number) :].strip().lower()
        powers = {"": 1, "b": 1}
        for power, letter in enumerate("kmgt", start=1):
            powers |= {letter: 1024**power, f"{letter}ib": 1024**power, f"{letter}b": 1000**power}
        try:
            limit = real(number.strip()) * powers[unit]
        except (KeyError, ValueError):
            raise ValueError(
                f"memory_limit {limit!r}: expected a number of bytes or text such as '1GiB'"
            ) from None
    if not 1 <= limit <= LARGEST:
        raise ValueError(f"memory_limit must be between 1 byte and {LARGEST} bytes, not {limit}")
    return int(limit)
