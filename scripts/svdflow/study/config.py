"""Read, check and complete a study's configuration; every refusal names file, key and remedy."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from svdflow.errors import ConfigError, YamlError
from svdflow.escaping import visible
from svdflow.registry.refusals import dotted, faults, refuse, short
from svdflow.study.sections import config_model
from svdflow.study.yaml_file import read_yaml


def load_config(files: Sequence[str | Path]) -> dict[str, Any]:
    """Merge configuration files, later ones over earlier ones, as Snakemake does."""
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, _read_yaml(Path(file)))
    return merged


def complete_config(config: Mapping[str, Any], files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Check `config` and fill in the defaults; keys come in the order of the sections.

    Snakemake compares parameters as text, so the order of lines in a file must not show.

    Raises
    ------
    ConfigError
        One line a fault: file, key, what is wrong, the nearest valid key or value.
    """
    for file in files:  # whoever merged them may have dropped what stands twice
        _read_yaml(Path(file))
    found = [*faults(config, config_model()), *_unprintable(config)]
    refuse([f"{origin(path, config, files)}: {words}" for path, words in found])
    return config_model().model_validate(config).model_dump(exclude_none=True)


def origin(path: Sequence[Any], config: Mapping[str, Any], files: Sequence[str | Path]) -> str:
    """Where the value at `path` was written: the last of the files that says so, else the command line."""
    wanted = _text(_at(path, config))
    for file in reversed(files):
        if _text(_at(path, _read_yaml(Path(file)))) == wanted:
            return str(file)
    return "--config on the command line" if files else "config"


def _text(value: Any) -> str:
    """What tells 5 from 5.0 and true, in whatever mapping it stands."""
    return json.dumps(value, default=str, skipkeys=True)


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
        yield path, f"'{dotted(path)}' is {short(value)}, with a character that does not show; take it out"


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
