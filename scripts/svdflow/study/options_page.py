"""The page docs/options.md, generated from the schemas so that it cannot fall behind them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from svdflow.study.config import load_schema
from svdflow.study.families import FAMILIES


def markdown(root: Path) -> str:
    """All keys of the configuration, columns of the sheet, and parameters of the generators."""
    lines = [
        "# Options",
        "",
        "Generated from `config/schemas` and the table of generators by `make docs`.",
        "",
    ]
    lines += ["## config.yaml", "", *_table(_rows(load_schema(root, "config")))]
    sheet = load_schema(root, "datasets")
    parameters = sheet["properties"].pop("parameters")
    lines += [
        "",
        "## datasets.tsv",
        "",
        "One row an experiment, columns separated by tabs, `-` for none.",
        "",
    ]
    lines += _table(
        _rows({"properties": {**sheet["properties"], "parameters": {**parameters, "properties": {}}}})
    )
    lines += ["", "### Overrides among the parameters", "", *_table(_rows(parameters))]
    lines += ["", "### Generators and their parameters", "", "| family | parameter | default | meaning |"]
    lines.append("|---|---|---|---|")
    for name, family in FAMILIES.items():
        lines.append(f"| {name} | | | {_cell(family.description)}; singular values: {_cell(family.truth)} |")
        for key, p in family.parameters.items():
            lines.append(f"| | {key} | `{p.default}` | {_cell(p.description)} |")
    return "\n".join(lines) + "\n"


def _rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for key, sub in schema["properties"].items():
        if sub.get("properties") and "x-listed-elsewhere" not in sub:
            yield f"**{prefix}{key}**", "", "", sub["description"]
            yield from _rows(sub, f"{prefix}{key}.")
        else:
            default = sub.get("default")
            shown = (
                ""
                if default in (None, {}, [])
                else f"`{yaml.safe_dump(default, default_flow_style=True).split(chr(10))[0]}`"
            )
            yield f"{prefix}{key}", _values(sub), shown, sub["description"]


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_values(schema['items'])}"
    kind = schema.get("type", "")
    words = kind if isinstance(kind, str) else " or ".join(kind)
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="))
        if key in schema
    ]
    return " ".join([words, *bounds])


def _table(rows: Iterator[tuple[str, str, str, str]]) -> list[str]:
    head = ["| key | values | default | meaning |", "|---|---|---|---|"]
    return head + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
