"""Read, check and complete a study's configuration; every refusal names file, key and remedy."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from math import isfinite
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from svdflow.errors import ConfigError, YamlError
from svdflow.escaping import visible
from svdflow.study.numerals import real, whole
from svdflow.study.yaml_file import read_yaml

SHOWN = 80  # characters of a wrong value that a message repeats
REMEDIES = {
    "boolean": "write true or false",
    "integer": "write a whole number such as 5",
    "number": "write a finite number such as 0.5 or 1e-3",
    "string": "put a word in quotes",
    "array": "write a list such as [1, 2]",
    "object": "write keys below it, or leave the line out",
}


BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _matches(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    # `$` of Python's search lets a line break at the end pass; ours must match all of the text.
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


# 5.0 is no rank, and NaN is no number that anything can be compared with.
Validator = validators.extend(
    Draft202012Validator,
    validators={"pattern": _matches},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and isfinite(value),
        }
    ),
)


def load_config(files: Sequence[str | Path]) -> dict[str, Any]:
    """Merge configuration files, later ones over earlier ones, as Snakemake does."""
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, _read_yaml(Path(file)))
    return merged


def complete_config(
    config: Mapping[str, Any], root: Path, files: Sequence[str | Path] = ()
) -> dict[str, Any]:
    """Check `config` against its schema and fill in the defaults.

    Raises
    ------
    ConfigError
        One line a fault: file, key, what is wrong, the nearest valid key or value.
    """
    schema = load_schema(root, "config")
    for file in files:  # whoever merged them may have dropped what stands twice
        _read_yaml(Path(file))
    config = as_spelled(config, schema)

    def place(path: Sequence[Any]) -> str:
        return origin(path, config, schema, files)

    messages = [
        f"{place([*e.absolute_path, *_unknown(e)[:1]])}: {explain(e)}" for e in faults(config, schema)
    ]
    messages += [f"{place(path)}: '{_dotted(path)}' {fault}" for path, fault in _unprintable(config)]
    refuse(messages)
    return with_defaults(config, schema)


def origin(
    path: Sequence[Any], config: Mapping[str, Any], schema: Mapping[str, Any], files: Sequence[str | Path]
) -> str:
    """Where the value at `path` was written: the last of the files that says so, else the command line."""
    for file in reversed(files):
        content = as_spelled(_read_yaml(Path(file)), schema)
        if repr(_at(path, content)) == repr(_at(path, config)):
            return str(file)
    return "--config on the command line" if files else "config"


def load_schema(root: Path, name: str) -> dict[str, Any]:
    """The schema ``config/schemas/{name}.schema.yaml`` of the workflow at `root`."""
    return deepcopy(_read_yaml(root / "config" / "schemas" / f"{name}.schema.yaml"))


def as_spelled(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with text in place of a number or a truth value read as what it spells.

    YAML 1.1 takes ``1e-3`` for a word, and Snakemake's ``--config`` everything below a key.
    """
    kind = schema.get("type")
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        return {key: as_spelled(sub, known.get(key, {})) for key, sub in value.items()}
    if isinstance(value, list):
        return [as_spelled(part, schema.get("items", {})) for part in value]
    if isinstance(value, str) and kind == "boolean":
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, str) and kind in ("integer", "number"):
        try:
            return whole(value) if kind == "integer" else real(value)
        except ValueError:
            return value
    return value


def faults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[ValidationError]:
    """What a schema finds wrong, in the order of the keys."""
    return sorted(Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.absolute_path)))


def refuse(messages: Sequence[str]) -> None:
    """Raise a ConfigError of these lines, if there are any."""
    if messages:
        raise ConfigError(*messages)


def explain(error: ValidationError) -> str:
    """One fault in words: the key, what is wrong and the nearest valid one."""
    key, rule, wanted = _dotted(error.absolute_path), error.validator, error.validator_value
    shown = _short(error.instance)
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        prefix = f"{key}." if key else ""
        return "; ".join(f"unknown key '{prefix}{name}'{nearest(name, known)}" for name in _unknown(error))
    if rule == "required":
        return f"{error.message.split(' is a ')[0]} is missing; fill it in"
    if rule == "enum":
        return f"'{key}' is {shown}{nearest(str(error.instance)[:SHOWN], wanted)}"
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"'{key}' is {shown}; it must be of type {' or '.join(kinds)}: {REMEDIES[kinds[0]]}"
    if rule in BOUNDS:
        return f"'{key}' is {shown}; it must be {BOUNDS[rule]} {wanted}"
    if rule == "uniqueItems":
        return f"'{key}' names something twice: {shown}; keep one of each"
    if rule == "minItems":
        return f"'{key}' is empty; name at least one"
    if rule == "pattern":
        hint = error.schema.get("description", f"must match {wanted}")
        return f"'{key}' is {shown}; {hint[0].lower()}{hint[1:]}"
    return f"'{key}': {error.message}"


def nearest(name: str, known: Sequence[Any]) -> str:
    """The end of a message: the nearest valid name, and all of them."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names)
    return f"; did you mean '{close[0]}'? (valid: {listed})" if close else f"; valid: {listed}"


def with_defaults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with the schema's defaults where it is silent, in the schema's order.

    Snakemake compares parameters as text, so the order of lines in a file must not show.
    """
    result: dict[str, Any] = {}
    for key, sub in schema.get("properties", {}).items():
        if key in value:
            result[key] = deepcopy(value[key])
        elif "default" in sub:
            result[key] = deepcopy(sub["default"])
        if isinstance(result.get(key), Mapping):
            result[key] = with_defaults(result[key], sub)
    return result


def _unknown(error: ValidationError) -> list[str]:
    if error.validator != "additionalProperties":
        return []
    return [str(name) for name in error.instance if name not in error.schema.get("properties", {})]


def _dotted(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _short(value: Any) -> str:
    """A wrong value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _at(path: Sequence[Any], content: Any) -> Any:
    """What stands at `path`; None where it leads nowhere."""
    for part in path:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def _unprintable(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Texts with control characters or line breaks in them, as (path, what is wrong)."""
    if isinstance(value, Mapping):
        for key, sub in value.items():
            yield from _unprintable(sub, (*path, key))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _unprintable(part, (*path, place))
    elif isinstance(value, str) and visible(value) != value:
        yield path, f"is {_short(value)}, with a character that does not show; take it out"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file{neighbour(path)}") from error
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name a file that you may read"
        ) from error
    if not isinstance(content, dict | None):
        raise ConfigError(
            f"{path}: expected keys and values, found {type(content).__name__}; write 'key: value'"
        )
    return content or {}


def neighbour(path: Path) -> str:
    """The end of a message: the file of the nearest name in the same folder."""
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" (nearest: {path.parent / close[0]})" if close else ""


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = deepcopy(value)
