"""What a parser must give, and the word for a value that it cannot have read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy], Any]
Target = Callable[[Path, Draw], Iterator[str]]


class Unsound(Exception):
    """A parser gave a value that cannot be right."""


def sound(fact: bool, words: str) -> None:
    if not fact:
        raise Unsound(words)
