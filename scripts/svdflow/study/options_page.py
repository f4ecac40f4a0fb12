"""What is generated from the classes of options: the page docs/options.md, and the schema that editors read."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from svdflow.registry import GENERATORS
from svdflow.registry.options import ByName, Options
from svdflow.study.sections import config_model
from svdflow.study.sections.row import Row, parameters_model, row_model

Cells = tuple[str, str, str, str]


class _Schema(GenerateJsonSchema):
    """Names are their own titles, and options that nobody need give have no default."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        absent = "default" in schema and schema["default"] is None
        return self.generate_inner(schema["schema"]) if absent else super().default_schema(schema)


def schema_of(model: type[Options]) -> dict[str, Any]:
    """The JSON Schema of a class of options."""
    return model.model_json_schema(schema_generator=_Schema)


def config_schema() -> dict[str, Any]:
    """The schema of a config, for editors; nothing of svdflow reads it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(config_model())}


def markdown() -> str:
    """All keys of the configuration, columns of the sheet, and parameters of the generators."""
    lines = [
        "# Options",
        "",
        "Generated from the options that sections, tasks and generators declare, by `make docs`.",
    ]
    lines += ["", "## config.yaml", "", *_table(_rows(config_model()))]
    lines += [
        "",
        "## datasets.tsv",
        "",
        "One row an experiment, columns separated by tabs, `-` for none.",
        "",
    ]
    columns = row_model().model_fields
    lines += _table(
        [
            *_rows(Row),
            ("parameters", "object", "", columns["parameters"].description or ""),
        ]
    )
    lines += ["", "### Overrides among the parameters", "", *_table(_rows(parameters_model()))]
    lines += ["", "### Generators and their parameters", "", "| family | parameter | default | meaning |"]
    lines.append("|---|---|---|---|")
    for name, family in GENERATORS.items():
        lines.append(f"| {name} | | | {_cell(family.summary)}; singular values: {_cell(family.truth)} |")
        for key, p in family.options.model_fields.items():
            lines.append(f"| | {key} | `{p.default}` | {_cell(p.description or '')} |")
    return "\n".join(lines) + "\n"


def _rows(model: type[Options], prefix: str = "") -> Iterator[Cells]:
    schemas = schema_of(model)["properties"]
    for key, field in model.model_fields.items():
        meaning = field.description or ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield f"**{prefix}{key}**", "", "", meaning
            yield from _rows(field.annotation, f"{prefix}{key}.")
        else:
            named = next((mark for mark in field.metadata if isinstance(mark, ByName)), None)
            values = "object" if named else _values(schemas[key])
            yield f"{prefix}{key}", values, _default(field.default), meaning
            if named and not named.elsewhere:
                yield from (row for row in _rows(named.model(), f"{prefix}{key}.") if "**" not in row[0])


def _default(value: Any) -> str:
    if value is None or value in ({}, []) or repr(value) == "PydanticUndefined":
        return ""
    return f"`{yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}`"


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema["type"] == "array":
        return f"list of {_values(schema['items'])}"
    kind = schema["type"]
    words = kind if isinstance(kind, str) else " or ".join(kind)
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="))
        if key in schema
    ]
    return " ".join([words, *bounds])


def _table(rows: Iterable[Cells]) -> list[str]:
    head = ["| key | values | default | meaning |", "|---|---|---|---|"]
    return head + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
