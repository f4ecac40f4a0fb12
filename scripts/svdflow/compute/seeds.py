"""Seeds from what the ecosystem passes for randomness: numbers, generators of NumPy, random states of scikit-learn."""

from typing import Any

import numpy as np

from svdflow.checks import is_integer

LARGEST = 2**64 - 1  # of a seed: the key of the counter-based generator has 64 bits


def seed_from(seed: Any = 0, *, rng: Any = None, random_state: Any = None) -> int:
    """The seed that was asked for.

    Parameters
    ----------
    seed : int
        Counts where neither of the others is given.
    rng : int, numpy.random.Generator, BitGenerator or SeedSequence, optional
        As of SciPy and scikit-image (SPEC 7). A number means what it means as `seed`; a generator is advanced by one
        draw, a SeedSequence is not.
    random_state : int or numpy.random.RandomState, optional
        As of scikit-learn; a RandomState is advanced by one draw.

    Raises
    ------
    ValueError
        No seed can be had of it, or more than one of the three is given.
    """
    given = {"rng": rng, "random_state": random_state}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1 or (named and seed != 0):
        raise ValueError(
            f"give one of seed, rng and random_state, not {' and '.join(['seed'] * (seed != 0) + named)}"
        )
    name, value = (named[0], given[named[0]]) if named else ("seed", seed)
    if isinstance(value, np.random.Generator):
        return int(value.integers(LARGEST, dtype=np.uint64))
    if isinstance(value, np.random.BitGenerator):
        return int(value.random_raw())
    if isinstance(value, np.random.SeedSequence):
        return int(value.generate_state(1, np.uint64)[0])
    if isinstance(value, np.random.RandomState):
        return int(value.randint(2**32 - 1, dtype=np.int64))
    if not is_integer(value) or not 0 <= value <= LARGEST:
        forms = "" if name == "seed" else ", or a generator of NumPy"
        raise ValueError(f"{name} must be an integer from 0 to 2**64 - 1{forms}, not {value!r}")
    return int(value)
