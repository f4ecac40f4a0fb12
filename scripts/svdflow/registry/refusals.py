"""What pydantic finds wrong with a config or a row, in words: the key, its value, what to write, the nearest name."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from svdflow.errors import ConfigError
from svdflow.registry.options import ByName, Options

SHOWN = 80  # characters of a wrong value that a message repeats
TYPES = {
    "bool_type": ("boolean", "write true or false"),
    "int_type": ("integer", "write a whole number such as 5"),
    "float_type": ("number", "write a finite number such as 0.5 or 1e-3"),
    "finite_number": ("number", "write a finite number such as 0.5 or 1e-3"),
    "string_type": ("string", "put a word in quotes"),
    "list_type": ("array", "write a list such as [1, 2]"),
    "model_type": ("object", "write keys below it, or leave the line out"),
}
BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}  # pydantic's names of a bound that is passed, in words, and where the bound stands
Path = tuple[str | int, ...]


def faults(given: Any, model: type[Options]) -> list[tuple[Path, str]]:
    """Each fault of `given`, as its place and what to say, in the order of the keys."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        found = [(one["loc"], explain(one, model)) for one in error.errors(include_url=False)]
        return sorted(found, key=lambda fault: list(map(str, fault[0])))
    return []


def explain(error: ErrorDetails, model: type[Options]) -> str:
    """One fault in words: the key, what is wrong and the nearest valid one."""
    path, kind, said = error["loc"], error["type"], error.get("ctx", {})
    key, shown = dotted(path), short(error["input"])
    if kind in ("extra_forbidden", "invalid_key"):
        key, known = dotted([*path[:-1], str(path[-1])]), list(_place(path[:-1], model)[0].model_fields)
        return f"unknown key '{key}'{nearest(str(path[-1]), known)}"
    if kind == "missing":
        return f"'{key}' is missing; fill it in"
    if kind in ("one_of", "literal_error"):
        valid = said["valid"] if kind == "one_of" else re.findall("'([^']*)'", said["expected"])
        return f"'{key}' is {shown}{nearest(str(error['input'])[:SHOWN], valid)}"
    if kind in TYPES:
        wanted, remedy = TYPES[kind]
        return f"'{key}' is {shown}; it must be of type {said.get('kinds', wanted)}: {remedy}"
    if kind in BOUNDS:
        words, bound = BOUNDS[kind]
        limit = said[bound]
        return f"'{key}' is {shown}; it must be {words} {int(limit) if limit == int(limit) else limit}"
    if kind == "twice":
        return f"'{key}' names something twice: {short(said['found'])}; keep one of each"
    if kind == "too_short":
        return f"'{key}' is empty; name at least one"
    if kind == "pattern":
        field = _place(path, model)[1]
        hint = (field.description if field else None) or "write it otherwise"
        return f"'{key}' is {shown}; {hint[0].lower()}{hint[1:]}"
    words = error["msg"].removeprefix("Value error, ")
    return f"'{key}': {words}" if key else words


def _place(path: Sequence[str | int], model: type[Options]) -> tuple[type[Options], FieldInfo | None]:
    """The class of options that `path` leads into, and the field that it ends at."""
    field = None
    for part in path:
        if isinstance(part, int):  # an entry of a list is described with the list
            continue
        field = model.model_fields[part]
        named = next((mark for mark in field.metadata if isinstance(mark, ByName)), None)
        if named:
            model = named.model()
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            model = field.annotation
    return model, field


def refuse(messages: Sequence[str]) -> None:
    """Raise a ConfigError of these lines, if there are any."""
    if messages:
        raise ConfigError(*messages)


def nearest(name: str, known: Sequence[Any]) -> str:
    """The end of a message: the nearest valid name, and all of them."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names)
    return f"; did you mean '{close[0]}'? (valid: {listed})" if close else f"; valid: {listed or 'none'}"


def dotted(path: Sequence[str | int]) -> str:
    """``compress.ranks[0]`` of a place."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def short(value: Any) -> str:
    """A wrong value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
