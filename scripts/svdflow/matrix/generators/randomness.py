"""Random numbers that depend on (seed, role, tile) only, never on panels, order or workers."""

import hashlib

import numpy as np

# The role stands in the counter's highest word: 2^192 numbers lie between two roles of one tile.
ROLES = ("noise", "entries", "spectrum", "left", "right")
VECTOR_TILE = (
    4096  # rows of vectors drawn from one stream; another number makes other matrices from the same seed
)
TILE_ENTRIES = 2**17  # 1 MB of float64: stays in cache, and Python's share of a tile is below 5 %
_WORD = 2**64 - 1


def stream(seed: int, role: str, tile: int) -> np.random.Generator:
    """Generator of one tile: Philox4x64 keyed by (seed, tile), its counter begun at `role`.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    key = np.array([seed & _WORD, tile], np.uint64)
    counter = np.array([0, 0, 0, ROLES.index(role) + 1], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def derive_seed(seed: int, *words: str | int) -> int:
    """An independent 63-bit seed for, say, replicate 3 of a dataset: SHA-256 of seed and words."""
    text = "/".join(map(str, (seed, *words))).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def tile_height(columns: int) -> int:
    """Rows of one tile: the power of two that fills 2^17 entries, at least 1. A function of n only."""
    return 1 << max(0, (TILE_ENTRIES // columns).bit_length() - 1)


def normal(generator: np.random.Generator, shape: tuple[int, ...], complex_: bool) -> np.ndarray:
    """Standard normal entries, float64; complex128 ones have E|z|^2 = 1."""
    if not complex_:
        return generator.standard_normal(shape)
    parts = generator.standard_normal((*shape, 2)) * np.sqrt(0.5)
    return parts.view(np.complex128)[..., 0]


def normal_vectors(seed: int, role: str, length: int, count: int, complex_: bool) -> np.ndarray:
    """Standard normal array (length, count), drawn in tiles of 4096 rows."""
    starts = range(0, length, VECTOR_TILE)
    tiles = (
        normal(stream(seed, role, tile), (min(VECTOR_TILE, length - start), count), complex_)
        for tile, start in enumerate(starts)
    )
    return np.concatenate(list(tiles))
