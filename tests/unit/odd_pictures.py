"""A smooth picture with noise, and a mask with a hole: what tests of denoisers share."""

import numpy as np

NOISE = 6.0


def noisy(shape, seed=0, noise=NOISE):
    """A smooth picture from 40 to 210, and the same with noise."""
    steps = np.meshgrid(*[np.linspace(0, 2, n) for n in shape], indexing="ij")
    clean = 125 + 85 * np.sin(sum((i + 1) * step for i, step in enumerate(steps)))
    return clean, clean + noise * np.random.default_rng(seed).standard_normal(shape)


def hole(shape):
    """True outside of a block, and of scattered values."""
    valid = np.random.default_rng(9).random(shape) > 0.05
    valid[tuple(slice(n // 4, n // 2) for n in shape[:1])] = False
    return valid
