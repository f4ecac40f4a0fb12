"""The sheet of datasets: one row an experiment, checked and typed."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_origin

from pydantic.fields import FieldInfo

from svdflow.errors import ConfigError, FamilyError
from svdflow.escaping import visible
from svdflow.registry import DENOISERS, TASKS
from svdflow.registry.kinds import IMAGES, MATRIX, SYNTHETIC
from svdflow.registry.numerals import real
from svdflow.registry.refusals import faults, nearest, refuse
from svdflow.study.families import parse_parameters
from svdflow.study.sections.row import marker, parameters_model, row_model

NOTHING = ("", "-")


@dataclass(frozen=True)
class Dataset:
    """One row. `overrides` replace config keys; `parameters` go to the generator."""

    name: str
    kind: str
    source: str
    colour: str
    noise_sigma: list[float]
    tasks: list[str]
    shard_size: int | None
    overrides: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def replicates(self) -> int:
        return self.overrides.get("replicates", 1)


def read_datasets(path: Path) -> dict[str, Dataset]:
    """Read a sheet.

    Raises
    ------
    ConfigError
        Names the sheet, the row and the cell, with the nearest valid entry.
    """
    datasets: dict[str, Dataset] = {}
    for line, row in _rows(path):
        where = f"{path}: dataset '{row['name']}'" if row["name"] not in NOTHING else f"{path}: line {line}"
        dataset = _typed(row, where)
        if dataset.name in datasets:
            raise ConfigError(f"{where} stands twice; names are unique, give one of them another")
        twin = next((name for name in datasets if name.lower() == dataset.name.lower()), None)
        if twin:
            raise ConfigError(
                f"{where} and '{twin}' differ in case only, and some disks would keep one folder for both; rename one"
            )
        datasets[dataset.name] = dataset
    refuse([] if datasets else [f"{path}: no dataset; add a row"])
    return datasets


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows as text, with the numbers of their lines."""
    lines, fields = _cells(path), row_model().model_fields
    known, required = list(fields), [name for name, column in fields.items() if column.is_required()]
    if not lines:
        raise ConfigError(f"{path}: empty; begin with a line of columns: {', '.join(required)}, ...")
    (_, columns), rows = lines[0], lines[1:]
    if len(columns) == 1 and " " in columns[0]:
        raise ConfigError(f"{path}: columns are separated by tabs, and the first line has none")
    refuse([f"{path}: unknown column '{c}'{nearest(c, known)}" for c in columns if c not in known])
    refuse([f"{path}: column '{c}' is missing; add it" for c in required if c not in columns])
    twice = dict.fromkeys(c for c in columns if columns.count(c) > 1)
    refuse([f"{path}: column '{c}' stands twice, and one of them would be lost; keep one" for c in twice])
    longer = [cells[columns.index("name")] for _, cells in rows if len(cells) > len(columns)]
    refuse([f"{path}: dataset '{name}' has more cells than columns; a tab too many?" for name in longer])
    return [(line, dict(zip_longest(columns, cells, fillvalue=""))) for line, cells in rows]


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of each line that is neither empty nor a comment."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such sheet of datasets; name it under 'datasets' in the config")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name a file that you may read"
        ) from error
    found = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if hidden := next((c for c in line if c != "\t" and visible(c) != c), ""):
            raise ConfigError(f"{path}: line {number} holds {hidden!r}, which does not show; take it out")
        try:
            # Line by line: a quote that is never closed would swallow the rows below it.
            (cells,) = csv.reader([line], delimiter="\t", strict=True)
        except csv.Error as error:
            raise ConfigError(f"{path}: line {number}: a quote is not closed ({error}); close it") from error
        found.append((number, [cell.strip() for cell in cells]))
    return found


def _typed(row: Mapping[str, str], where: str) -> Dataset:
    cells: dict[str, Any] = {key: text for key, text in row.items() if text not in NOTHING}
    for key in ("noise_sigma", "tasks"):
        if key in cells:
            cells[key] = _parts(cells[key], ";", f"{where}: '{key}'")
    if "tasks" in cells:
        words = {alias: task.name for task in TASKS.values() for alias in task.aliases}
        cells["tasks"] = [words.get(word, word) for word in cells["tasks"]]
    pairs = _pairs(cells.pop("parameters", ""), where)
    known = parameters_model().model_fields
    rest = {k: pairs.pop(k) for k in list(pairs) if k not in known}
    given = {k: _listed(pairs[k], known[k], f"{where}: parameter '{k}'") for k in known if k in pairs}
    refuse([f"{where}: {words}" for words in _faults({**cells, "parameters": given})])
    checked = row_model().model_validate({**cells, "parameters": given}).model_dump(exclude_none=True)
    ours = {key: checked["parameters"][key] for key in given}
    if checked["kind"] == SYNTHETIC:
        parameters = _generator(checked["source"], rest, where)
    else:
        refuse([f"{where}: unknown parameter '{k}'{nearest(k, list(known))}" for k in rest])
        parameters = {}
    refuse([f"{where}: {words}" for words in _misplaced(checked["kind"], checked["noise_sigma"], ours)])
    columns = {k: checked[k] for k in ("name", "kind", "source", "colour", "noise_sigma", "tasks")}
    return Dataset(**columns, shard_size=checked.get("shard_size"), overrides=ours, parameters=parameters)


def _faults(row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the cells; a parameter that says what it cannot mean is named as it is written."""
    for path, words in faults(row, row_model()):
        dotted = f"'parameters.{path[-1]}': "
        yield f"parameter '{path[-1]}': {words.removeprefix(dotted)}" if words.startswith(dotted) else words


def _generator(family: str, parameters: Mapping[str, str], where: str) -> dict[str, Any]:
    try:
        return parse_parameters(family, parameters)
    except FamilyError as error:
        raise ConfigError(f"{where}: {error}") from error


def _misplaced(kind: str, noise: Sequence[float], given: Mapping[str, Any]) -> Iterator[str]:
    """What a dataset of this kind has no use for."""
    for name, option in parameters_model().model_fields.items():
        mark = marker(option)
        if name in given and mark and mark.kinds and kind not in mark.kinds:
            yield mark.otherwise
    for method in given.get("methods", ()):
        kinds = DENOISERS[method].applies_to
        if kind not in kinds:
            yield f"method '{method}' is for kind {' or '.join(kinds)}, not {kind}"
    fill = given.get("fill", "mean")
    if fill not in ("mean", "median"):
        try:
            real(fill)
        except ValueError:
            yield f"fill={fill} is beyond what doubles hold; name a smaller number"
    elif kind == MATRIX and "fill" in given:
        yield f"fill={fill} is for images; name a number for a matrix file: fill=0"
    if kind != IMAGES and noise:
        yield "noise_sigma is for images; a generator takes noise=... among its parameters"


def _pairs(text: str, where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in _parts(text, ";", f"{where}: 'parameters'"):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise ConfigError(f"{where}: parameter '{part}' has no value; write key=value")
        if not value:
            raise ConfigError(f"{where}: parameter '{key}' is empty; write {key}=VALUE, or leave it out")
        if key in pairs:
            raise ConfigError(
                f"{where}: parameter '{key}' stands twice, as '{pairs[key]}' and '{value}'; keep one of them"
            )
        pairs[key] = value
    return pairs


def _parts(text: str, mark: str, where: str) -> list[str]:
    """The parts of a cell between marks; one mark at the end does no harm, an empty part does."""
    parts = [part.strip() for part in text.removesuffix(mark).split(mark)] if text else []
    if "" in parts:
        raise ConfigError(
            f"{where} is {text!r}, with nothing between two '{mark}'; fill it in, or take one out"
        )
    return parts


def _listed(text: str, option: FieldInfo, where: str) -> str | list[str]:
    """Text of a parameter, or its parts where it is a list."""
    return _parts(text, ",", where) if get_origin(option.annotation) is list else text
