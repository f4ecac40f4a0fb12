"""The matrices: prescribed spectra in memory and in HDF5, sparse rows, photographs. Kept in a folder and used again."""

import json
import os
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds
from skimage import data

from svdbench.accuracy import panels
from svdflow.compute.engine import Engine
from svdflow.images.colour import luma
from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.prescribed import prescribed

VERSION = 1  # of what is kept; a change of a generator raises it
GAP_AT = 50
SPECTRA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1/i": lambda i: 1 / i,
    "1/sqrt i": lambda i: i**-0.5,
    "i^-1/4": lambda i: i**-0.25,
    "i^-0.6": lambda i: i**-0.6,
    "gap": lambda i: np.where(i <= GAP_AT, 2 - i / GAP_AT, 1 / 50),  # a step of 50 : 1 below s_50
    "exp(-i/50) + 1e-3": lambda i: np.exp(-i / 50) + 1e-3,
}


def spectrum(name: str, n: int) -> np.ndarray:
    """The n singular values of a named spectrum, descending."""
    return SPECTRA[name](np.arange(1, n + 1, dtype=np.float64))


def matrix_of(name: str, shape: tuple[int, int], seed: int = 0) -> GeneratedMatrix:
    """A float32 matrix of that spectrum, computed where it is read."""
    params = {"rows": shape[0], "columns": shape[1], "dtype": "float32"}
    return prescribed(spectrum(name, min(shape)), params, seed)


def in_memory(folder: Path, name: str, shape: tuple[int, int]) -> np.ndarray:
    """The matrix as an array, from its file in the folder where there is one."""

    def make() -> np.ndarray:
        A = np.empty(shape, np.float32)
        write_panels(matrix_of(name, shape), A)
        return A

    return kept(folder, f"{list(SPECTRA).index(name)}-{shape[0]}x{shape[1]}", make)


def in_file(folder: Path, name: str, shape: tuple[int, int]) -> Path:
    """The matrix as dataset A of an HDF5 file, contiguous as h5py writes by default; written once."""
    path = folder / f"svd-{list(SPECTRA).index(name)}.h5"
    recorded = json.dumps({"spectrum": name, "shape": shape, "version": VERSION})
    if path.exists():
        with h5py.File(path) as file:
            if file.attrs.get("parameters") == recorded:
                return path
        path.unlink()
    need, free = shape[0] * shape[1] * 4, shutil.disk_usage(folder).free
    if free < 1.1 * need:
        raise SystemExit(
            f"{folder}: {need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; name another --folder, "
            "or fewer --gigabytes"
        )
    part = path.with_suffix(".part")
    with h5py.File(part, "w") as file:
        write_panels(matrix_of(name, shape), file.create_dataset("A", shape, "float32"))
        file.attrs["parameters"] = recorded
    os.replace(part, path)
    return path


def write_panels(matrix: GeneratedMatrix, out: Any) -> None:
    """Compute a matrix panel by panel, on all cores, into an array or a dataset."""
    m, height = matrix.shape[0], matrix.panel_height
    bounds = [(start, min(start + height, m)) for start in range(0, m, height)]
    for (start, stop), rows in zip(bounds, Engine().stream(lambda b: matrix.read(*b), bounds), strict=True):
        out[start:stop] = rows


def kept(folder: Path, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array from ``svd-v1-<key>.npy``, or from `make` and then kept there."""
    path = folder / f"svd-v{VERSION}-{key}.npy"
    if not path.exists():
        array, part = make(), path.with_suffix(".part.npy")
        np.save(part, array)
        os.replace(part, path)
        return array
    return np.load(path)


def gram_truth(A: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """All singular values of A minus its column means, from its Gram matrix in float64.

    Squares lose ``eps s_1^2``, which stays far below s_{k+1}^2 for the slow spectra that this is used for.
    """
    G = np.zeros((A.shape[1], A.shape[1]))
    for _, panel in panels(A, mean):
        G += panel.T @ panel
    return np.sqrt(np.linalg.eigvalsh(G)[::-1].clip(0))


# Sparse rows

PER_ROW, TOPICS, TOPIC_SHARE = 20, 80, 0.6
CATEGORIES = 8


def sparse_rows(kind: str, shape: tuple[int, int], seed: int = 0) -> sparse.csr_array:
    """CSR float32; a column drawn twice in a row is one entry.

    ``power``: 20 entries a row in columns by a power law (p_j ~ 1 / (j + 10), as words in texts), values 1 +
    exponential. ``planted``: so, and 60 % of them from one of 80 topics of falling size, each a power law in a column
    order of its own; about 80 values stand above the noise. ``uniform``: 20 a row, columns at random, standard normal
    values: a nearly flat spectrum. Flat, too: ``one-hot``, eight categories a row, each one of its own columns;
    ``even``, 2 % of the entries at random, standard normal; ``thin``, about 13 a row, the same.
    """
    m, n = shape
    rng = np.random.default_rng(seed)
    per_row = {"one-hot": CATEGORIES, "even": max(1, round(0.02 * n)), "thin": 13}.get(kind, PER_ROW)
    if kind in ("power", "planted"):
        law = np.cumsum(1 / (np.arange(n) + 10.0))
        columns = np.searchsorted(law, rng.random((m, per_row)) * law[-1])
        if kind == "planted":
            topics = rng.choice(TOPICS, m, p=_falling(TOPICS))
            orders = np.stack([rng.permutation(n) for _ in range(TOPICS)])
            own = rng.random((m, per_row)) < TOPIC_SHARE
            columns = np.where(own, orders[topics[:, None], columns], columns)
        values = 1 + rng.standard_exponential((m, per_row))
    elif kind == "one-hot":
        width = n // per_row
        columns = rng.integers(0, width, (m, per_row)) + width * np.arange(per_row)
        values = np.ones((m, per_row))
    else:
        columns = rng.integers(0, n, (m, per_row))
        values = rng.standard_normal((m, per_row))
    indptr = np.arange(0, m * per_row + 1, per_row, dtype=np.int32)
    A = sparse.csr_array(
        (values.astype(np.float32).ravel(), columns.astype(np.int32).ravel(), indptr), shape=shape
    )
    A.sum_duplicates()
    return A


def sparse_truth(A: sparse.csr_array, count: int) -> np.ndarray:
    """The `count` largest singular values by ARPACK at full accuracy, in float64."""
    s = svds(A.astype(np.float64), k=count, tol=0, return_singular_vectors=False, rng=0)
    return np.sort(s)[::-1]


def _falling(count: int) -> np.ndarray:
    weights = 1 / np.sqrt(np.arange(1, count + 1))
    return weights / weights.sum()


# Photographs


def photographs(side: int, distinct: int, count: int) -> list[np.ndarray]:
    """`count` grey 8-bit crops, `distinct` of them different: scikit-image's photographs, two crops each."""
    colour = [data.astronaut, data.immunohistochemistry, data.hubble_deep_field, data.retina]
    sources = [data.camera, data.moon, data.brick, data.grass, data.gravel, data.cell]
    planes = [load() for load in sources] + [luma(load()) for load in colour]
    crops: dict[bytes, np.ndarray] = {}
    for turn, last, plane in product((0, 1), (False, True), planes):
        rows, columns = (slice(-side, None), slice(-side, None)) if last else (slice(side), slice(side))
        crop = np.ascontiguousarray(np.rot90(plane[rows, columns], turn))
        if crop.shape == (side, side):
            crops.setdefault(crop.tobytes(), crop)
    chosen = list(crops.values())[:distinct]
    if len(chosen) < distinct:
        raise SystemExit(f"only {len(chosen)} different photographs of {side} x {side}")
    return [chosen[i % distinct] for i in range(count)]
