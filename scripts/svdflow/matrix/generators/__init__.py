"""Synthetic matrices with known truth, computed panel by panel, so that the disk alone bounds their size.

>>> matrix = generate("power_decay", {"rows": 6, "columns": 4, "p": 2}, seed=1)
>>> matrix.truth().values
array([1.        , 0.25      , 0.11111111, 0.0625    ])
"""

from svdflow.errors import FamilyError
from svdflow.matrix.generators.generated import GeneratedMatrix, GeneratedSparseMatrix, Truth
from svdflow.matrix.generators.randomness import derive_seed
from svdflow.registry import GENERATORS
from svdflow.study.families import Params, parse_parameters

Generated = GeneratedMatrix | GeneratedSparseMatrix


def generate(family: str, parameters: Params | None = None, seed: int = 0) -> Generated:
    """A matrix of a synthetic family; nothing large is computed until rows are read.

    Parameters
    ----------
    family : str
        A key of `svdflow.registry.GENERATORS`, which lists the parameters and their defaults.
    parameters : mapping, optional
        Values over the defaults, as numbers or text.
    seed : int
        The same seed gives the same bits on one machine type, whatever rows are read in whatever order.

    Returns
    -------
    matrix : GeneratedMatrix or GeneratedSparseMatrix
        With ``shape``, ``dtype``, ``read(start, stop)``, ``panels()`` and ``truth()``.

    Raises
    ------
    FamilyError
        Unknown family or parameter, or a value that it cannot take.
    """
    params = parse_parameters(family, parameters)
    built: Generated = GENERATORS[family].code()(params, seed)
    return built


__all__ = [
    "FamilyError",
    "Generated",
    "GeneratedMatrix",
    "GeneratedSparseMatrix",
    "Truth",
    "derive_seed",
    "generate",
]
