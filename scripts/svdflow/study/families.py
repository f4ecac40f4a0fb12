"""The families of synthetic matrices: names, parameters, defaults, and what an item weighs.

Pure data and checks, read while the workflow is parsed: standard library and `numerals` only. The functions that
make the matrices stand in `svdflow.matrix.generators`; a test holds the two tables in step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from svdflow.errors import FamilyError
from svdflow.registry.numerals import LARGEST, real, whole

ITEM_SIZES = {"float32": 4, "float64": 8, "complex128": 16}  # bytes of a value (IEEE 754)
REAL = ("float64", "float32")
DENSE = ("float64", "float32", "complex128")
# SciPy's sparse matrices index with 32 bits up to here and take 64 bits above, twice the bytes
INDEX_32_MAX = 2**31 - 1

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family; its type is the type of its default."""

    default: int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    above: float | None = None  # open lower bound

    @property
    def type(self) -> str:
        """``int``, ``float`` or ``str``."""
        return type(self.default).__name__


def _rows_and_columns(params: Params) -> tuple[int, int]:
    return params["rows"], params["columns"]


@dataclass(frozen=True)
class Family:
    """A family of matrices: what it is, what it takes, and how its singular values are known."""

    name: str
    description: str
    truth: str
    parameters: dict[str, Parameter]
    check: Callable[[Params], str] = lambda _: ""
    sparse: bool = False
    shape: Callable[[Params], tuple[int, int]] = _rows_and_columns

    @property
    def defaults(self) -> dict[str, Any]:
        return {key: parameter.default for key, parameter in self.parameters.items()}


def _shape(rows: int, columns: int) -> dict[str, Parameter]:
    return {
        "rows": Parameter(rows, "number of rows m", low=1),
        "columns": Parameter(columns, "number of columns n", low=1),
    }


def _dtype(choices: tuple[str, ...], default: str = "") -> dict[str, Parameter]:
    return {"dtype": Parameter(default or choices[0], "stored number type", choices=choices)}


def _noise(default: float) -> dict[str, Parameter]:
    return {
        "noise": Parameter(default, "standard deviation of the white Gaussian noise of an entry", low=0.0)
    }


def _rank(default: int) -> dict[str, Parameter]:
    return {"rank": Parameter(default, "number of leading singular values", low=1)}


def _ends(first: float, last: float) -> dict[str, Parameter]:
    return {
        "s_first": Parameter(first, "largest singular value", above=0.0),
        "s_last": Parameter(last, "smallest of the `rank` singular values", above=0.0),
    }


def _check_rank(params: Params) -> str:
    side = min(params["rows"], params["columns"])
    return f"rank: {params['rank']} is more than the shorter side, {side}" if params["rank"] > side else ""


def _check_ends(params: Params) -> str:
    if params["s_last"] > params["s_first"]:
        return f"s_last: {params['s_last']} is more than s_first, {params['s_first']}"
    return _check_rank(params)


def _movie_shape(params: Params) -> tuple[int, int]:
    return params["height"] * params["width"], params["frames"]


def _check_movie(params: Params) -> str:
    side = min(_movie_shape(params))
    if params["rank"] > side:
        return f"rank: {params['rank']} is more than the shorter of pixels and frames, {side}"
    return ""


def _check_interval(params: Params) -> str:
    return (
        "" if params["low"] < params["high"] else f"low: {params['low']} is not below high, {params['high']}"
    )


_TABLE = (
    Family(
        "low_rank_plus_noise",
        "`rank` singular values on a log scale from s_first to s_last, plus white noise",
        "clean, of the noise-free part (exact where noise is 0)",
        _shape(5000, 3000) | _rank(20) | _ends(10.0, 0.1) | _noise(0.01) | _dtype(DENSE, "float32"),
        _check_ends,
    ),
    Family(
        "power_decay",
        "s_i = i^-p, i = 1, 2, ...",
        "exact (clean where noise is added)",
        _shape(1000, 800)
        | {"p": Parameter(1.0, "exponent of the decay", low=0.0)}
        | _noise(0.0)
        | _dtype(DENSE),
    ),
    Family(
        "exponential_decay",
        "s_i = exp(-(i - 1) / scale)",
        "exact (clean where noise is added)",
        _shape(1000, 800)
        | {"scale": Parameter(50.0, "indices over which s falls by e", above=0.0)}
        | _noise(0.0)
        | _dtype(DENSE),
    ),
    Family(
        "spectral_gap",
        "`rank` singular values equal to 1, all others equal to 1 / gap",
        "exact (clean where noise is added)",
        _shape(1000, 800)
        | _rank(20)
        | {"gap": Parameter(100.0, "s_rank over s_{rank+1}", low=1.0)}
        | _noise(0.0)
        | _dtype(DENSE),
        _check_rank,
    ),
    Family(
        "lapack_mode",
        "the spectra of LAPACK's test generator DLATMS, modes 1 to 6",
        "exact",
        _shape(500, 500)
        | {
            "mode": Parameter(
                3, "1 one large, 2 one small, 3 geometric, 4 arithmetic, 5 log-uniform, 6 normal", 1, 6
            ),
            "cond": Parameter(1e6, "condition number (bounds it in mode 5, unused in mode 6)", low=1.0),
        }
        | _dtype(DENSE),
    ),
    Family(
        "rank_deficient",
        "`rank` singular values on a log scale from s_first to s_last, all others zero",
        "exact",
        _shape(600, 400) | _rank(50) | _ends(1.0, 0.01) | _dtype(DENSE),
        _check_ends,
    ),
    Family(
        "structured_image",
        "sin X cos Y + 0.3 sin(3X + 2Y) + 0.5 sign sin(X/2); X in [0, 6 pi] by column, Y in [0, 8 pi] by row",
        "clean, from its four separable terms (computed where noise is 0)",
        _shape(256, 192) | _noise(0.05) | _dtype(REAL),
    ),
    Family(
        "waves",
        "sin X cos Y + 0.5 sin(2X + Y); X by column and Y by row, both in [0, 4 pi]",
        "clean, from its three separable terms (computed where noise is 0)",
        _shape(128, 128) | _noise(0.5) | _dtype(REAL),
    ),
    Family(
        "movie",
        "`rank` spots of unit height that flare up and fade, of root mean square 1 in time, plus white noise; a row "
        "for each pixel, a column for each frame",
        "clean, from its separable terms (computed where noise is 0)",
        {
            "height": Parameter(48, "pixels down", low=1),
            "width": Parameter(48, "pixels across", low=1),
            "frames": Parameter(60, "number of columns n", low=1),
            "rank": Parameter(6, "number of spots", low=1),
        }
        | _noise(1.0)
        | _dtype(REAL, "float32"),
        _check_movie,
        shape=_movie_shape,
    ),
    Family(
        "hilbert", "a_ij = 1 / (i + j - 1)", "computed, up to min side 2000", _shape(10, 10) | _dtype(REAL)
    ),
    Family(
        "vandermonde",
        "a_ij = x_i^(j - 1) at equispaced nodes x_1 = low, ..., x_m = high",
        "computed, up to min side 2000",
        _shape(100, 12)
        | {
            "low": Parameter(-1.0, "first node"),
            "high": Parameter(1.0, "last node"),
        }
        | _dtype(REAL),
        _check_interval,
    ),
    Family(
        "toeplitz",
        "a_ij = decay^|i - j| (Kac, Murdock and Szego)",
        "computed, up to min side 2000",
        _shape(300, 300)
        | {"decay": Parameter(0.5, "ratio of neighbouring diagonals", -1.0, 1.0)}
        | _dtype(REAL),
    ),
    Family(
        "sparse_random",
        "CSR; round(density m n) entries at random places, values standard normal or uniform in [0, 1)",
        "computed, up to min side 2000; none beyond",
        _shape(10_000, 10_000)
        | {
            "density": Parameter(0.001, "stored entries over all entries", above=0.0, high=1.0),
            "values": Parameter("normal", "law of the stored entries", choices=("normal", "uniform")),
        }
        | _dtype(REAL),
        sparse=True,
    ),
    Family(
        "gaussian_state",
        "independent complex Gaussian entries scaled to Frobenius norm 1: a random bipartite pure state",
        "computed, up to min side 2000; beyond, theory (Marchenko-Pastur quantiles)",
        _shape(1024, 1024) | _dtype(("complex128",)),
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _TABLE}


def find_family(name: str) -> Family:
    """The family of that name.

    Raises
    ------
    FamilyError
        There is none; the message gives the nearest name.
    """
    if name not in FAMILIES:
        raise FamilyError(f"no synthetic family {name!r}{_nearest(name, FAMILIES)}")
    return FAMILIES[name]


def parse_parameters(name: str, given: Params | None = None) -> dict[str, Any]:
    """All parameters of a family: `given`, cast and checked, over the defaults.

    Parameters
    ----------
    name : str
        A key of `FAMILIES`.
    given : mapping, optional
        Values as ``int``, ``float`` or text (``{"rows": "5000"}``).

    Returns
    -------
    params : dict
        Plain ``int``, ``float`` and ``str`` values, in the order of the family's table.

    Raises
    ------
    FamilyError
        Unknown family or key, or a value of the wrong type or range; the message names the family,
        the key and the nearest valid one.
    """
    family = find_family(name)
    params = family.defaults
    for key, value in (given or {}).items():
        if key not in family.parameters:
            raise FamilyError(f"{name}: no parameter {key!r}{_nearest(key, family.parameters)}")
        params[key] = _cast(f"{name}: {key}", value, family.parameters[key])
    fault = family.check(params)
    if fault:
        raise FamilyError(f"{name}: {fault}")
    return params


def shape_of(name: str, given: Params | None = None) -> tuple[int, int]:
    """Rows and columns of an item of the family."""
    return find_family(name).shape(parse_parameters(name, given))


def grid_of(name: str, given: Params | None = None) -> tuple[int, int] | None:
    """Height and width of the image that a column of an item of the family is, row by row; None where it is none."""
    params = parse_parameters(name, given)
    return (params["height"], params["width"]) if "height" in params else None


def stored_entries(params: Params) -> int:
    """Number of stored entries of a ``sparse_random`` item: round(density m n), at least one."""
    return max(1, round(params["density"] * params["rows"] * params["columns"]))


def index_size(params: Params) -> int:
    """Bytes of one CSR index: 4 where rows, columns and entries allow it, else 8."""
    largest = max(params["rows"], params["columns"], stored_entries(params))
    return 4 if largest <= INDEX_32_MAX else 8


def bytes_of(name: str, given: Params | None = None, with_clean: bool = False) -> int:
    """Bytes that one item takes in the matrices file, metadata apart.

    Parameters
    ----------
    with_clean : bool
        Count the noise-free reference, which is stored where noise is added.
    """
    params = parse_parameters(name, given)
    rows, columns = FAMILIES[name].shape(params)
    size = ITEM_SIZES[params["dtype"]]
    truth = 8 * min(rows, columns)
    if FAMILIES[name].sparse:
        entries = stored_entries(params)
        return entries * (size + index_size(params)) + (rows + 1) * index_size(params) + truth
    copies = 2 if with_clean and params.get("noise", 0.0) > 0 else 1
    return copies * rows * columns * size + truth


def _cast(where: str, value: Any, parameter: Parameter) -> int | float | str:
    kinds: dict[str, Callable[[str, Any], int | float | str]] = {
        "int": _to_int,
        "float": _to_float,
        "str": _to_str,
    }
    cast = kinds[parameter.type](where, value)
    if parameter.choices and cast not in parameter.choices:
        expected = ", ".join(map(str, parameter.choices))
        raise FamilyError(f"{where}: {cast!r} is none of {expected}")
    if not isinstance(cast, str):
        _check_bounds(where, cast, parameter)
    return cast


def _check_bounds(where: str, value: float, parameter: Parameter) -> None:
    if parameter.above is not None and not value > parameter.above:
        raise FamilyError(f"{where}: {value} must be above {parameter.above:g}")
    if parameter.low is not None and not value >= parameter.low:
        raise FamilyError(f"{where}: {value} must be at least {parameter.low:g}")
    if parameter.high is not None and not value <= parameter.high:
        raise FamilyError(f"{where}: {value} must be at most {parameter.high:g}")


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


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f" (nearest: {close[0]})" if close else f" (known: {', '.join(known)})"
