"""The parameters of synthetic matrices as they are written: cast, checked, and what an item then weighs.

Read while the workflow is parsed: no array library. What families there are says `svdflow.registry.GENERATORS`.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from svdflow.errors import FamilyError
from svdflow.registry import GENERATORS, Generator
from svdflow.registry.numerals import LARGEST, real, whole
from svdflow.registry.refusals import BOUNDS

ITEM_SIZES = {"float32": 4, "float64": 8, "complex128": 16}  # bytes of a value (IEEE 754)
# SciPy's sparse matrices index with 32 bits up to here and take 64 bits above, twice the bytes
INDEX_32_MAX = 2**31 - 1

Params = Mapping[str, Any]


def find_family(name: str) -> Generator:
    """The family of that name.

    Raises
    ------
    FamilyError
        There is none; the message gives the nearest name.
    """
    if name not in GENERATORS:
        raise FamilyError(f"no synthetic family {name!r}{_nearest(name, GENERATORS)}")
    return GENERATORS[name]


def parse_parameters(name: str, given: Params | None = None) -> dict[str, Any]:
    """All parameters of a family: `given`, cast and checked, over the defaults.

    Parameters
    ----------
    name : str
        A key of `svdflow.registry.GENERATORS`.
    given : mapping, optional
        Values as ``int``, ``float`` or text (``{"rows": "5000"}``).

    Returns
    -------
    params : dict
        Plain ``int``, ``float`` and ``str`` values, in the order of the family's declaration.

    Raises
    ------
    FamilyError
        Unknown family or key, or a value of the wrong type or range; the message names the family,
        the key and the nearest valid one.
    """
    options = find_family(name).options
    params = {}
    for key, value in (given or {}).items():
        if key not in options.model_fields:
            raise FamilyError(f"{name}: no parameter {key!r}{_nearest(key, options.model_fields)}")
        params[key] = CASTS.get(options.model_fields[key].annotation, _to_str)(f"{name}: {key}", value)
    try:
        return options(**params).model_dump()
    except ValidationError as error:
        raise FamilyError(f"{name}: {_fault(options, error.errors()[0])}") from None


def _fault(options: Any, found: Mapping[str, Any]) -> str:
    """What pydantic found wrong, in the words of other messages."""
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    key, value = found["loc"][0], found["input"]
    if found["type"] == "literal_error":
        return f"{key}: {value!r} is none of {', '.join(map(str, get_args(options.model_fields[key].annotation)))}"
    words, bound = BOUNDS[found["type"]]
    return f"{key}: {value} must be {words} {found['ctx'][bound]:g}"


def shape_of(name: str, given: Params | None = None) -> tuple[int, int]:
    """Rows and columns of an item of the family."""
    return find_family(name).shape(parse_parameters(name, given))


def grid_of(name: str, given: Params | None = None) -> tuple[int, int] | None:
    """Height and width of the image that a column of an item of the family is, row by row; None where it is none."""
    grid = find_family(name).grid
    return None if grid is None else grid(parse_parameters(name, given))


def index_size(rows: int, columns: int, entries: int) -> int:
    """Bytes of one CSR index: 4 where rows, columns and entries allow it, else 8."""
    return 4 if max(rows, columns, entries) <= INDEX_32_MAX else 8


def bytes_of(name: str, given: Params | None = None, with_clean: bool = False) -> int:
    """Bytes that one item takes in the matrices file, metadata apart.

    Parameters
    ----------
    with_clean : bool
        Count the noise-free reference, which is stored where noise is added.
    """
    family, params = find_family(name), parse_parameters(name, given)
    rows, columns = family.shape(params)
    size = ITEM_SIZES[params["dtype"]]
    truth = 8 * min(rows, columns)
    if family.entries is not None:
        entries = family.entries(params)
        index = index_size(rows, columns, entries)
        return entries * (size + index) + (rows + 1) * index + truth
    copies = 2 if with_clean and params.get("noise", 0.0) > 0 else 1
    return copies * rows * columns * size + truth


def _to_float(where: str, value: Any) -> float:
    try:
        if isinstance(value, str):
            return real(value.strip())
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if number - number != 0:  # NaN or infinity
        raise FamilyError(f"{where}: {value!r} is not a finite number")
    return number


def _to_int(where: str, value: Any) -> int:
    try:
        return whole(value.strip()) if isinstance(value, str) else _whole(value)
    except (TypeError, ValueError):
        number = _to_float(where, value)
        if number != int(number) or abs(number) > LARGEST:
            raise FamilyError(f"{where}: {value!r} is not a whole number") from None
        return int(number)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise ValueError
    return value


def _to_str(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FamilyError(f"{where}: {value!r} is not a word")
    return value.strip()


CASTS: dict[Any, Callable[[str, Any], int | float | str]] = {int: _to_int, float: _to_float}


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f" (nearest: {close[0]})" if close else f" (known: {', '.join(known)})"
