"""Section ``runtime``, which changes no result."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, model_validator
from pydantic.json_schema import GetJsonSchemaHandler, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from svdflow.registry.options import OneOf, Options
from svdflow.study.dask_cluster import LOCAL, refuse_cluster

BACKENDS = ("auto", "numpy", "cupy")
ENGINES = ("threads", "dask")


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
    engine: Annotated[str, OneOf(ENGINES)] = Field(
        default="threads",
        description="What computes the panels of a large matrix: `threads` of the job, or the workers of `cluster`.",
    )
    cluster: str = Field(
        default=LOCAL,
        min_length=1,
        description="With `engine: dask`: `local` processes, `cuda` (a process for each GPU), `srun` (in the job's own "
        "allocation), the address of a scheduler that stands (`tls://host:8786`), or its scheduler file.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Processes that `local`, `cuda` and `srun` start; 0 for one a thread of the job, GPU or task.",
    )
    tls_ca: str = Field(
        default="", description="Certificate of the authority, for connections to a cluster (PEM)."
    )
    tls_cert: str = Field(default="", description="Own certificate for these (PEM).")
    tls_key: str = Field(default="", description="Key of that certificate (PEM).")
    allow_plain: bool = Field(
        default=False,
        description="Connect beyond this machine without TLS too, where whoever reaches the scheduler can run code as "
        "you.",
    )
    memory_limit: Annotated[
        int | str,
        Size(10**15, "(auto|(?=.*[1-9])[0-9]{1,15}([.][0-9]{1,9})?( ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB))?)"),
    ] = Field(
        default="auto",
        description="Memory that one job may use, such as `1GiB`; `auto` is the job's share of the machine, or of its "
        "allocation on a cluster.",
    )

    @model_validator(mode="after")
    def _reachable(self) -> "RuntimeSection":
        if self.engine == "dask":
            tls = {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}
            refuse_cluster(self.cluster, tls, allow_plain=self.allow_plain)
        elif self.cluster != LOCAL:
            raise ValueError(
                f"cluster is {self.cluster!r}, and engine is threads; write engine: dask beside it"
            )
        return self
