"""The parameters of synthetic matrices as they are written: cast, checked, and what an item then weighs.

Read while the workflow is parsed: no array library. What families there are says `svdflow.registry.GENERATORS`.
"""

from collections.abc import Mapping
from typing import Any

from svdflow.errors import FamilyError
from svdflow.registry import GENERATORS, Generator
from svdflow.registry.numerals import LARGEST
from svdflow.registry.options import as_spelled
from svdflow.registry.refusals import faults, nearest

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
        raise FamilyError(f"unknown family '{name}'{nearest(name, list(GENERATORS))}")
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
    kinds = {key: field.annotation for key, field in options.model_fields.items()}
    params = {key: _read(value, kinds.get(key)) for key, value in (given or {}).items()}
    if found := faults(params, options):
        raise FamilyError(f"{name}: {found[0][1]}")
    return options(**params).model_dump()


def _read(value: Any, kind: Any) -> Any:
    """A parameter as people write it: 5e3 is a whole number too, and what 64 bits do not hold is none."""
    value = as_spelled(value.strip() if isinstance(value, str) else value, kind)
    if kind is not int or isinstance(value, bool):
        return value
    number = as_spelled(value, float)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return str(number) if isinstance(number, int) and abs(number) > LARGEST else number


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
