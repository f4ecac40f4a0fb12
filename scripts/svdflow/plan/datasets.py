"""The sheet of datasets: one row an experiment, checked and typed."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svdflow.plan.config import ConfigError, explain, faults, load_schema, nearest, refuse, with_defaults
from svdflow.plan.families import FAMILIES, parse_parameters
from svdflow.plan.methods import APPLIES

SHARD_SIZE = {"images": 64, "synthetic": 1, "matrix": 1}
# Overrides that only some kinds of datasets know, and what to say of the others.
ONLY = {
    "replicates": (("synthetic",), "only a generator has replicates"),
    "crop": (("images",), "only images are cropped"),
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
    if not path.is_file():
        raise ConfigError(f"{path}: no such sheet of datasets; name it under 'datasets' in the config")
    schema = load_schema(root, "datasets")
    known = list(schema["properties"])
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    reader = csv.DictReader(
        (line for line in lines if line.strip() and not line.startswith("#")), delimiter="\t", restkey="more"
    )
    columns = [c.strip() for c in reader.fieldnames or []]
    if len(columns) == 1 and " " in columns[0]:
        raise ConfigError(f"{path}: columns are separated by tabs, and the first line has none")
    refuse([f"{path}: unknown column '{c}'{nearest(c, known)}" for c in columns if c not in known])
    refuse([f"{path}: column '{c}' is missing" for c in schema["required"] if c not in columns])
    found = list(reader)
    refuse([f"{path}: dataset '{r[columns[0]]}' has more cells than columns" for r in found if "more" in r])
    rows = [{k.strip(): (v or "").strip() for k, v in row.items()} for row in found]
    datasets: dict[str, Dataset] = {}
    for row in rows:
        dataset = _typed(row, schema, f"{path}: dataset '{row['name']}'")
        if dataset.name in datasets:
            raise ConfigError(f"{path}: dataset '{dataset.name}' stands twice; names are unique")
        datasets[dataset.name] = dataset
    refuse([] if datasets else [f"{path}: no dataset; add a row"])
    return datasets


def _typed(row: Mapping[str, str], schema: Mapping[str, Any], where: str) -> Dataset:
    cells: dict[str, Any] = {key: text for key, text in row.items() if text not in NOTHING}
    for key, convert in (("noise_sigma", float), ("tasks", str)):
        if key in cells:
            cells[key] = [_convert(part, convert) for part in cells[key].split(";") if part.strip()]
    if "shard_size" in cells:
        cells["shard_size"] = _convert(cells["shard_size"], int)
    pairs = _pairs(cells.pop("parameters", ""), where)
    known = schema["properties"]["parameters"]["properties"]
    overrides = {k: _value(pairs[k], known[k]) for k in known if k in pairs}
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
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"{where}: parameter '{part}' has no value; write key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Text of a cell in the type that the schema asks for; left as text where it does not convert."""
    kind = schema.get("type")
    if kind == "array":
        return [_value(part.strip(), schema["items"]) for part in text.split(",") if part.strip()]
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return _convert(text, {"integer": int, "number": float}.get(str(kind), str))


def _convert(text: str, kind: Any) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        return text.strip()
