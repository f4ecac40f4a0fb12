"""Options: what can be written in a config, a sheet or a command, each with its type, bounds, default and meaning.

A class of options is a pydantic model with a field for each. Reading is strict, as people write numbers: ``5.0`` is no
rank, ``true`` no number, NaN nothing at all, and the text ``1e-3`` is the number that it spells.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    create_model,
    model_validator,
)
from pydantic.json_schema import GetJsonSchemaHandler, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from svdflow.registry.numerals import real, whole

UNSET: Any = None  # default of an option that is left out where nobody gives it
MOST = 2**31 - 1  # the largest rank, side or count: what indices of 32 bits reach
_SPELLED: dict[Any, Callable[[str], Any]] = {
    int: whole,
    float: real,
    bool: lambda text: {"true": True, "false": False}.get(text.lower(), text),
}
T = TypeVar("T")


class Options(BaseModel):
    """Options of a declaration or section: unknown keys are refused, and text is read as the number that it spells.

    A field is written as ``strength: float = Field(default=1.0, gt=0, description="...")``. Where a row of the sheet
    may say otherwise, its type is marked: ``Annotated[float, OfRow()]``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_spelled(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {key: as_spelled(value, kinds.get(key)) for key, value in given.items()}


class NoOptions(Options):
    """Nothing to choose."""


def as_spelled(value: Any, kind: Any) -> Any:
    """`value` with text in place of a number or a truth value of that type read as what it spells.

    YAML 1.1 takes ``1e-3`` for a word, Snakemake's ``--config`` everything below a key, and a sheet holds nothing else.
    """
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(value, list) and get_origin(kind) is list:
        return [as_spelled(part, get_args(kind)[0]) for part in value]
    try:
        return _SPELLED[kind](value) if isinstance(value, str) and kind in _SPELLED else value
    except ValueError:
        return value


@dataclass(frozen=True, eq=False)
class OfRow:
    """Marks an option that a row of the sheet may give for its dataset.

    Attributes
    ----------
    kinds : collection of str
        Kinds of datasets that know it; empty for all.
    otherwise : str
        What to say of the others.
    such_as : str
        How it may look, where its type does not tell.
    """

    kinds: Collection[str] = ()
    otherwise: str = ""
    such_as: str = ""


@dataclass(frozen=True, eq=False)
class OneOf:
    """Marks text that is one of these names: a collection, or a registry as it stands when it is asked.

    Attributes
    ----------
    names : collection of str
    where : function, optional
        Of a registry's declarations, those that count.
    """

    names: Collection[str]
    where: Callable[[Any], bool] | None = None

    @property
    def valid(self) -> list[str]:
        """The names, in their order."""
        if isinstance(self.names, Mapping) and self.where:
            return [name for name, one in self.names.items() if self.where(one)]
        return list(self.names)

    def _check(self, value: Any) -> Any:
        valid = self.valid
        if not isinstance(value, str) or value not in valid:
            raise PydanticCustomError("one_of", "none of the names", {"valid": valid})
        return value

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": self.valid}


@dataclass(frozen=True, eq=False)
class Matches:
    """Marks text that a regular expression describes from its first to its last character; lines do not count."""

    pattern: str

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise PydanticCustomError("pattern", "does not match")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, eq=False)
class ByName:
    """Marks a mapping of names to the options of each, such as ``{wnnm: {...}}``; what is not given is left out.

    Attributes
    ----------
    title : str
        Name of the whole, for the schema.
    options : function
        Gives the names and the class of options of each, when it is asked.
    elsewhere : bool
        Whether another page than docs/options.md lists them.
    """

    title: str
    options: Callable[[], Mapping[str, type[Options]]]
    elsewhere: bool = False

    def model(self) -> type[Options]:
        """A class with a field for each name."""
        return _named(self.title, tuple(self.options().items()))

    def _check(self, value: Any) -> dict[str, Any]:
        return self.model().model_validate(value).model_dump(exclude_unset=True)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.model().__pydantic_core_schema__)


@cache
def _named(title: str, options: tuple[tuple[str, type[Options]], ...]) -> type[Options]:
    fields: dict[str, Any] = {name: (kind, Field(default_factory=kind)) for name, kind in options}
    return create_model(title, __base__=Options, **fields)


def _unique(values: list[T]) -> list[T]:
    if len(set(map(repr, values))) < len(values):
        raise PydanticCustomError("twice", "names something twice", {"found": values})
    return values


UNIQUE = AfterValidator(_unique)  # of a list that names nothing twice
Count = Annotated[int, Field(ge=1, le=MOST)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Ranks = Annotated[list[Count], Field(min_length=1), UNIQUE]
