"""Read, check and complete a study's configuration; every refusal names file, key and remedy."""

import difflib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

# 5.0 is no rank, and NaN is no number that anything can be compared with.
Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and isfinite(value),
        }
    ),
)


class ConfigError(ValueError):
    """A study that cannot run as written; the message names the place and what to do."""


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
    sources = [(str(file), _read_yaml(Path(file))) for file in files]

    def where(error: ValidationError) -> str:
        top = error.absolute_path[0] if error.absolute_path else next(iter(_unknown(error)), None)
        named = [file for file, content in sources if top in content]
        return named[-1] if named else "config"

    refuse([f"{where(error)}: {explain(error)}" for error in faults(config, schema)])
    return with_defaults(config, schema)


def load_schema(root: Path, name: str) -> dict[str, Any]:
    """The schema ``config/schemas/{name}.schema.yaml`` of the workflow at `root`."""
    return deepcopy(_read_yaml(root / "config" / "schemas" / f"{name}.schema.yaml"))


def faults(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[ValidationError]:
    """What a schema finds wrong, in the order of the keys."""
    return sorted(Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.absolute_path)))


def refuse(messages: Sequence[str]) -> None:
    """Raise a ConfigError of these lines, if there are any."""
    if messages:
        raise ConfigError("\n".join(messages))


def explain(error: ValidationError) -> str:
    """One fault in words: the key, what is wrong and the nearest valid one."""
    key = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        prefix = f"{key}." if key else ""
        return "; ".join(f"unknown key '{prefix}{name}'{nearest(name, known)}" for name in _unknown(error))
    if error.validator == "enum":
        return f"'{key}' is {error.instance!r}{nearest(str(error.instance), error.validator_value)}"
    if error.validator == "type":
        kinds = error.validator_value
        wanted = kinds if isinstance(kinds, str) else " or ".join(kinds)
        return f"'{key}' is {error.instance!r}; it must be of type {wanted}"
    if error.validator in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        words = {
            "minimum": "at least",
            "exclusiveMinimum": "above",
            "maximum": "at most",
            "exclusiveMaximum": "below",
        }
        return f"'{key}' is {error.instance!r}; it must be {words[error.validator]} {error.validator_value}"
    if error.validator == "uniqueItems":
        return f"'{key}' names something twice: {error.instance}"
    if error.validator == "minItems":
        return f"'{key}' is empty; name at least one"
    if error.validator == "pattern":
        hint = error.schema.get("description", f"must match {error.validator_value}")
        return f"'{key}' is {error.instance!r}; {hint[0].lower()}{hint[1:]}"
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


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        return _parse_yaml(path, path.stat().st_mtime_ns)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file{neighbour(path)}") from error


@cache
def _parse_yaml(path: Path, _mtime: int) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
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
