"""Section ``runtime``, which changes no result."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic.json_schema import GetJsonSchemaHandler, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from svdflow.registry.options import OneOf, Options

BACKENDS = ("auto", "numpy", "cupy")


@dataclass(frozen=True)
class Size:
    """Marks a number of bytes, or text that says one."""

    most: int
    pattern: str

    def _check(self, value: Any) -> Any:
        if type(value) is int and value < 1:
            raise PydanticKnownError("greater_than_equal", {"ge": 1})
        if type(value) is int and value > self.most:
            raise PydanticKnownError("less_than_equal", {"le": self.most})
        if type(value) not in (int, str):
            raise PydanticCustomError(
                "string_type", "neither text nor a whole number", {"kinds": "string or integer"}
            )
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise PydanticCustomError("pattern", "does not match")
        return value

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": ["string", "integer"],
            "minimum": 1,
            "maximum": self.most,
            "pattern": f"^{self.pattern}$",
        }


class RuntimeSection(Options):
    """Where and with what it runs; never changes a result."""

    backend: Annotated[str, OneOf(BACKENDS)] = Field(
        default="auto", description="Array library; an explicit `cupy` without a usable device fails."
    )
    memory_limit: Annotated[
        int | str,
        Size(10**15, "(auto|(?=.*[1-9])[0-9]{1,15}([.][0-9]{1,9})?( ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB))?)"),
    ] = Field(
        default="auto",
        description="Memory that one job may use, such as `1GiB`; `auto` is the job's share of the machine, or of its "
        "allocation on a cluster.",
    )
