"""Arguments as the peers take them: what is refused and in which words, and seeds from every form of random state."""

from numbers import Integral
from typing import Any

import numpy as np

from svdflow.errors import InvalidParameterError

# Names of scikit-learn for how its power iteration keeps columns independent.
NORMALIZERS = ("auto", "QR", "LU", "none")
LARGEST_SEED = 2**32 - 1  # the largest seed of numpy.random.RandomState, and so the largest random_state


def require(condition: Any, name: str, function: str, wanted: str, value: Any) -> None:
    """Raise `InvalidParameterError` in scikit-learn's words unless `condition` holds."""
    if not condition:
        raise InvalidParameterError(
            f"The {name!r} parameter of {function} must be {wanted}. Got {value!r} instead."
        )


def is_integer(value: Any, least: int, most: float = float("inf")) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def is_text(value: Any, among: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in among


def require_normalizer(value: Any, function: str) -> None:
    """Raise unless it is a normalizer of scikit-learn."""
    wanted = f"a str among {set(NORMALIZERS)}"
    require(is_text(value, NORMALIZERS), "power_iteration_normalizer", function, wanted, value)


def is_boolean(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def seed_of_random_state(random_state: Any, function: str) -> int:
    """A seed from scikit-learn's forms of a random state.

    Parameters
    ----------
    random_state : None, int or numpy.random.RandomState
        None draws from NumPy's global stream, so ``numpy.random.seed`` governs it as it governs scikit-learn. A
        RandomState is advanced by one draw.
    """
    if is_integer(random_state, 0, LARGEST_SEED):
        return int(random_state)
    known = (
        random_state is None or random_state is np.random or isinstance(random_state, np.random.RandomState)
    )
    wanted = (
        f"an int in the range [0, {LARGEST_SEED}], an instance of 'numpy.random.mtrand.RandomState' or None"
    )
    require(known, "random_state", function, wanted, random_state)
    stream = np.random if random_state is None else random_state
    return int(stream.randint(LARGEST_SEED, dtype=np.int64))


def seed_of_dask(seed: Any) -> int:
    """A seed from dask's forms: None, int, ints, SeedSequence, BitGenerator, and generators of NumPy and dask.

    A generator is advanced by one draw.
    """
    if is_integer(seed, 0, 2**64 - 1):
        return int(seed)
    if hasattr(seed, "randint"):
        drawn = seed.randint(LARGEST_SEED, size=1)
    else:
        stream = seed if hasattr(seed, "integers") else np.random.default_rng(seed)
        drawn = stream.integers(2**63 - 1, size=1)
    return int(np.asarray(drawn)[0])
