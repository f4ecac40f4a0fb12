"""The sheet of datasets: one row an experiment, checked and typed."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from svdflow.errors import ConfigError
from svdflow.escaping import visible
from svdflow.study.config import as_spelled, explain, faults, load_schema, nearest, refuse, with_defaults
from svdflow.study.denoiser_names import APPLIES
from svdflow.study.families import FAMILIES, parse_parameters
from svdflow.study.numerals import real, whole

SHARD_SIZE = {"images": 64, "synthetic": 1, "matrix": 1}
# Overrides that only some kinds of datasets know, and what to say of the others.
ONLY = {
    "replicates": (("synthetic",), "only a generator has replicates"),
    "crop": (("images",), "only images are cropped"),
    "fill": (("images", "matrix"), "only images and matrix files have missing values"),
    "poisson": (("images",), "only images hold counts"),
    "grid": (("matrix",), "only a matrix file needs a grid; a generator of stacks brings its own"),
}
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
    shard_size: int
    overrides: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def replicates(self) -> int:
        return self.overrides.get("replicates", 1)


def read_datasets(path: Path, root: Path) -> dict[str, Dataset]:
    """Read a sheet.

    Raises
    ------
    ConfigError
        Names the sheet, the row and the cell, with the nearest valid entry.
    """
    schema = load_schema(root, "datasets")
    datasets: dict[str, Dataset] = {}
    for line, row in _rows(path, schema):
        where = f"{path}: dataset '{row['name']}'" if row["name"] not in NOTHING else f"{path}: line {line}"
        dataset = _typed(row, schema, where)
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


def _rows(path: Path, schema: Mapping[str, Any]) -> list[tuple[int, dict[str, str]]]:
    """The rows as text, with the numbers of their lines."""
    lines = _cells(path)
    if not lines:
        raise ConfigError(
            f"{path}: empty; begin with a line of columns: {', '.join(schema['required'])}, ..."
        )
    (_, columns), rows = lines[0], lines[1:]
    known = list(schema["properties"])
    if len(columns) == 1 and " " in columns[0]:
        raise ConfigError(f"{path}: columns are separated by tabs, and the first line has none")
    refuse([f"{path}: unknown column '{c}'{nearest(c, known)}" for c in columns if c not in known])
    refuse([f"{path}: column '{c}' is missing; add it" for c in schema["required"] if c not in columns])
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


def _typed(row: Mapping[str, str], schema: Mapping[str, Any], where: str) -> Dataset:
    cells: dict[str, Any] = {key: text for key, text in row.items() if text not in NOTHING}
    for key, convert in (("noise_sigma", real), ("tasks", str)):
        if key in cells:
            cells[key] = [_convert(part, convert) for part in _parts(cells[key], ";", f"{where}: '{key}'")]
    if "shard_size" in cells:
        cells["shard_size"] = _convert(cells["shard_size"], whole)
    pairs = _pairs(cells.pop("parameters", ""), where)
    known = schema["properties"]["parameters"]["properties"]
    overrides = {k: _value(pairs[k], known[k], f"{where}: parameter '{k}'") for k in known if k in pairs}
    rest = {k: v for k, v in pairs.items() if k not in known}
    refuse([f"{where}: {explain(e)}" for e in faults({**cells, "parameters": overrides}, schema)])
    cells = with_defaults(
        cells, {"properties": {k: v for k, v in schema["properties"].items() if k != "parameters"}}
    )
    if cells["kind"] == "synthetic":
        if cells["source"] not in FAMILIES:
            raise ConfigError(
                f"{where}: unknown family '{cells['source']}'{nearest(cells['source'], list(FAMILIES))}"
            )
        try:
            parameters = parse_parameters(cells["source"], rest)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
    else:
        refuse([f"{where}: unknown parameter '{k}'{nearest(k, list(known))}" for k in rest])
        parameters = {}
    refuse(
        [
            f"{where}: {words}"
            for key, (kinds, words) in ONLY.items()
            if key in overrides and cells["kind"] not in kinds
        ]
    )
    refuse(
        [
            f"{where}: method '{method}' is for kind {' or '.join(APPLIES[method])}, not {cells['kind']}"
            for method in overrides.get("methods", [])
            if cells["kind"] not in APPLIES[method]
        ]
    )
    if (
        overrides.get("fill", "mean") not in ("mean", "median")
        and type(_convert(overrides["fill"], real)) is str
    ):
        raise ConfigError(
            f"{where}: fill={overrides['fill']} is beyond what doubles hold; name a smaller number"
        )
    if cells["kind"] == "matrix" and overrides.get("fill") in ("mean", "median"):
        raise ConfigError(
            f"{where}: fill={overrides['fill']} is for images; name a number for a matrix file: fill=0"
        )
    if cells["kind"] != "images" and cells["noise_sigma"]:
        raise ConfigError(
            f"{where}: noise_sigma is for images; a generator takes noise=... among its parameters"
        )
    return Dataset(
        **{k: cells[k] for k in ("name", "kind", "source", "colour", "noise_sigma", "tasks")},
        shard_size=cells.get("shard_size") or SHARD_SIZE[cells["kind"]],
        overrides=overrides,
        parameters=parameters,
    )


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


def _value(text: str, schema: Mapping[str, Any], where: str) -> Any:
    """Text of a cell in the type that the schema asks for; left as text where it does not convert."""
    if schema.get("type") == "array":
        return [as_spelled(part, schema["items"]) for part in _parts(text, ",", where)]
    return as_spelled(text, schema)


def _convert(text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text
