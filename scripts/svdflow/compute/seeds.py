"""Seeds from what the ecosystem passes for randomness: numbers, and generators of NumPy."""

from typing import Any

import numpy as np

from svdflow.checks import is_integer

LARGEST = 2**64 - 1  # the key of the counter-based generator (`svdflow.svd.random_blocks`) has 64 bits


def seed_from(seed: Any = 0, rng: Any = None) -> int:
    """The seed that was asked for.

    Parameters
    ----------
    seed : int
        Counts where `rng` is not given.
    rng : int, numpy.random.Generator, BitGenerator or SeedSequence, optional
        As of SciPy and scikit-image (SPEC 7). A number means what it means as `seed`; a generator is advanced by one
        draw, a SeedSequence is not.

    Raises
    ------
    ValueError
        No seed can be had of it, or both are given.
    """
    if rng is not None and seed != 0:
        raise ValueError(f"give seed or rng, not both: {seed!r} and {rng!r}")
    name, value = ("seed", seed) if rng is None else ("rng", rng)
    if isinstance(value, np.random.Generator):
        return int(value.integers(LARGEST, dtype=np.uint64))
    if isinstance(value, np.random.BitGenerator):
        return int(value.random_raw())
    if isinstance(value, np.random.SeedSequence):
        return int(value.generate_state(1, np.uint64)[0])
    if not is_integer(value) or not 0 <= value <= LARGEST:
        forms = "" if name == "seed" else ", or a Generator of NumPy"
        raise ValueError(f"{name} must be an integer from 0 to 2**64 - 1{forms}, not {value!r}")
    return int(value)
