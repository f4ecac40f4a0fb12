"""Arguments of the command line: numbers read alike by all, with a sentence for those that are none."""

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

from svdflow.registry.numerals import real, whole
from svdflow.registry.tasks.encode import parse_target


def count(text: str) -> int:
    return _number(text, "a whole number of at least 1", whole, 1, 2**31 - 1)


def seed(text: str) -> int:
    return _number(text, "a whole number from 0 to 4294967295", whole, 0, 2**32 - 1)


def level(text: str) -> float:
    return _number(text, "a finite number of at least 0, such as 25", real, 0, math.inf)


def figure(text: str) -> float:
    return _number(text, "a finite number such as -9999", real, -math.inf, math.inf)


def positive(text: str) -> float:
    return _number(text, "a finite number above 0, such as 255", real, math.ulp(0.0), sys.float_info.max)


def fill(text: str) -> str:
    """What stands for missing pixels."""
    if text not in ("mean", "median"):
        _number(text, "mean, median or a number", real, -math.inf, math.inf)
    return text


def target(kind: str) -> Callable[[str], Any]:
    """What reads the number of an archive's target of that kind (`svdflow.registry.tasks.encode`)."""

    def read(text: str) -> Any:
        try:
            return parse_target(f"{kind}={text}")[1]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _number(text: str, wanted: str, read: Callable[[str], Any], low: float, high: float) -> Any:
    try:
        value = read(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
