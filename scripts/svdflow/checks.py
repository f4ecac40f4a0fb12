"""What single arguments may be: numbers, counts, flags. Nonsense is refused by the argument's name."""

from math import inf, isfinite
from numbers import Integral, Real
from typing import Any


def check_flags(**flags: Any) -> None:
    """Raise where something other than True and False was given: ``"false"`` is true, and 1.0 says nothing."""
    for name, value in flags.items():
        if type(value).__name__ not in ("bool", "bool_"):  # the second is NumPy's
            raise ValueError(f"{name} must be True or False, not {value!r}")


def is_integer(value: Any) -> bool:
    """Of Python or NumPy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A finite real number of Python or NumPy; True and False, text and NaN are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def check_number(
    name: str, value: Any, wanted: str, *, least: float = -inf, most: float = inf, open_: bool = False
) -> None:
    """Raise unless `value` is a finite number from `least` to `most`, above `least` where that is `open_`."""
    if not (is_number(value) and least <= value <= most and not (open_ and value == least)):
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise unless `value` is an integer of at least `least`."""
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
