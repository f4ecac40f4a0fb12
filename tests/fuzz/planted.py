"""Faults that the fuzzer must find, and one parser without any: the fuzzer's own controls."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st
from soundness import Draw, Unsound


def sound(folder: Path, draw: Draw) -> Iterator[str]:
    yield str(draw(st.integers(0, 9)))


def refused(folder: Path, draw: Draw) -> Iterator[str]:
    yield str(draw(st.integers(0, 9)))
    raise ValueError("a named refusal")


def silent(folder: Path, draw: Draw) -> Iterator[str]:
    yield "a refusal without words"
    raise ValueError


def bare(folder: Path, draw: Draw) -> Iterator[str]:
    number = draw(st.integers(0, 9))
    yield str(number)
    if number > 4:
        raise KeyError("indptr")


def wrong(folder: Path, draw: Draw) -> Iterator[str]:
    yield "a wrong value"
    raise Unsound("another value")


def hungry(folder: Path, draw: Draw) -> Iterator[str]:
    yield "all the memory"
    bytearray(2**36)


def endless(folder: Path, draw: Draw) -> Iterator[str]:
    yield "a loop of Python"
    while True:
        pass


def stuck(folder: Path, draw: Draw) -> Iterator[str]:
    yield "a loop that no signal ends"
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


def dying(folder: Path, draw: Draw) -> Iterator[str]:
    yield "the end of the process"
    os.abort()


PLANTED = {
    f"planted-{f.__name__}": (f, (ValueError,))
    for f in (sound, refused, silent, bare, wrong, hungry, endless, stuck, dying)
}
