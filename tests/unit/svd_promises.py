"""Matrices of known spectrum, and checkers of what a truncated SVD promises, in float64 with NumPy and SciPy only."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.linalg import norm
from scipy.fft import dct
from scipy.linalg import eigvalsh

from svdflow import truncated_svd
from svdflow.matrix import MatrixSource

SAMPLED = 3 / 32  # of a read: a sixteenth of the rows at most is looked at beforehand, half of these twice


def bulk(n):
    """Ten signals over a Marchenko-Pastur bulk of aspect 1/5, by its edges 1 +- sqrt(1/5) and a cosine between."""
    edge = 1 + np.sqrt(0.2) * np.cos(np.pi * np.arange(n) / n)
    return np.sort(np.sqrt(np.where(np.arange(n) < 10, 4, 0) + edge**2))[::-1]


SPECTRA = {
    "1/i": lambda n: 1 / np.arange(1.0, n + 1),
    "1/sqrt i": lambda n: np.arange(1.0, n + 1) ** -0.5,
    "i^-1/4": lambda n: np.arange(1.0, n + 1) ** -0.25,
    "gap": lambda n: np.where(np.arange(n) < 20, 1.0, 0.02),
    "exponential": lambda n: np.exp(-np.arange(n) / 20) + 1e-3,
    "flat": lambda n: 1 - 0.5 * np.arange(n) / n,
    "step": lambda n: np.where(np.arange(n) < 23, 1.0, 0.1),
    "repeated": lambda n: np.repeat(1 / np.arange(1.0, n // 10 + 2), 10)[:n],
    "photograph": lambda n: (1 + np.arange(n) / 3) ** -1.2 + 1e-3,
    "signal and noise": bulk,
    "shelf": lambda n: np.sort(
        np.where(np.arange(n) < 80, 1 - np.arange(n) / 800, 0.1 * (1 + np.arange(n)) ** -0.3)
    )[::-1],
}
FIVE = tuple(SPECTRA)[:5]


def with_spectrum(s, m, n, seed=0, dtype=np.float64):
    """A matrix of known singular values, by QR of Gaussian matrices."""
    rng = np.random.default_rng(seed)
    parts = []
    for side in (m, n):
        X = rng.standard_normal((side, len(s)))
        X = X + 1j * rng.standard_normal(X.shape) if np.dtype(dtype).kind == "c" else X
        parts.append(np.linalg.qr(X)[0])
    return ((parts[0] * s) @ parts[1].conj().T).astype(dtype)


def mixed(s, shape, seed=0, dtype=np.float64, rounds=2):
    """A dense matrix of singular values `s` in m n log(m n) steps.

    A diagonal between permutations, discrete cosine transforms and signs, some rounds on either side.
    """
    m, n = shape
    rng = np.random.default_rng(seed)
    A = np.zeros(shape, dtype)
    A[rng.choice(m, len(s), replace=False), rng.choice(n, len(s), replace=False)] = s
    for axis in (0, 1) * rounds:
        A = dct(A, axis=axis, norm="ortho", overwrite_x=True)
        sign = rng.choice(np.array([-1, 1], dtype), shape[axis])
        A *= sign[:, None] if axis == 0 else sign
    return A


def rotated(values, m, n, seed=0):
    """A sparse matrix of the given singular values: a diagonal between permutations and plane rotations."""
    rng = np.random.default_rng(seed)
    places = rng.choice(m, len(values), replace=False), rng.choice(n, len(values), replace=False)
    A = sp.csr_array((values, places), shape=(m, n))
    for side in (m, n):
        order = rng.permutation(side)
        p, q = order[: side // 2], order[side // 2 : side // 2 * 2]
        angle = rng.uniform(0, 2 * np.pi, len(p))
        c, s, rest = np.cos(angle), np.sin(angle), order[len(p) * 2 :]
        entries = np.concatenate([c, c, s, -s, np.ones(len(rest))])
        places = np.concatenate([p, q, p, q, rest]), np.concatenate([p, q, q, p, rest])
        G = sp.csr_array((entries, places), shape=(side, side))
        A = sp.csr_array(G @ A if side == m else A @ G)
    return A


def pve(A, result, s, *, side="U"):
    """``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2`` against the known values `s`; of ``A v_i`` for ``side="V"``."""
    k = len(result.s)
    B, X = (A.conj().T, result.U) if side == "U" else (A, result.Vt.conj().T)
    X = X.astype(np.result_type(X, np.float64))
    # In strips, so that a large matrix in single precision is not converted as a whole.
    strips = range(0, B.shape[0], 1000)
    squares = sum(np.sum(np.abs(B[i : i + 1000].astype(X.dtype) @ X) ** 2, axis=0) for i in strips)
    return float(np.max(np.abs(s[:k] ** 2 - squares)) / s[k] ** 2)


@dataclass(frozen=True)
class Verdict:
    """What the certificates of one result said, and what is true of the factors as they are stored."""

    spectral: float  # bound over truth
    frobenius_holds: bool

    @property
    def spectral_holds(self) -> bool:
        return self.spectral >= 1


def judged(A, result):
    """Certificates against the errors of the stored factors."""
    E = A.astype(np.float64) - (result.U.astype(np.float64) * result.s) @ result.Vt.astype(np.float64)
    n = E.shape[1]
    largest = float(np.sqrt(eigvalsh(E.T @ E, subset_by_index=[n - 1, n - 1])[0]))
    info, true = result.info, norm(E)
    if info.frobenius_kind == "exact":
        holds = abs(true - info.frobenius_error) <= info.frobenius_resolution
    else:
        holds = info.frobenius_kind == "floor" and true <= info.frobenius_error
    return Verdict(info.spectral_error / largest, bool(holds))


def assert_certified(verdicts):
    """Bounds hold in at least 99 %; the median bound is at most ten times the truth; Frobenius always as stated."""
    ratios = np.array([verdict.spectral for verdict in verdicts])
    assert np.mean(ratios >= 1) >= 0.99, (
        f"{np.sum(ratios < 1)} of {len(ratios)} spectral bounds are too small"
    )
    assert np.median(ratios) <= 10, f"median bound is {np.median(ratios):.1f} times the truth"
    broken = sum(not verdict.frobenius_holds for verdict in verdicts)
    assert not broken, f"{broken} of {len(verdicts)} Frobenius certificates do not hold"


def assert_honest(errors, tol):
    """`errors`: PVE of runs that said ``converged``."""
    errors = np.asarray(errors)
    assert np.sum(errors > tol) <= 0.01 * len(errors), (
        f"{np.sum(errors > tol)} of {len(errors)} runs missed {tol}; worst {errors.max():.1e}"
    )


class Counted(MatrixSource):
    """A matrix in memory that counts the rows read."""

    in_memory = True
    name = "counted"

    def __init__(self, A):
        self.shape, self.dtype, self.rows, self._array = A.shape, A.dtype, 0, A

    def read(self, start, stop):
        self.rows += stop - start
        return self._array[start:stop]

    @property
    def reads(self):
        return self.rows / self.shape[0]


def assert_reads(A, s, k, reads, seed):
    """(s, V) to a PVE of 1e-2 within so many reads, and with U in one more, at which it stops by itself."""
    few, free = Counted(A), Counted(A)
    options = {"method": "krylov", "block_size": 64, "tol": 1e-2, "seed": seed}
    short = truncated_svd(few, k, max_reads=reads, **options)
    assert few.reads <= reads + SAMPLED
    assert pve(A, short, s, side="V") <= 1e-2
    assert np.max(np.abs(s[:k] ** 2 - short.s**2)) / s[k] ** 2 <= 1e-2
    long = truncated_svd(free, k, **options)
    assert free.reads <= reads + 1 + SAMPLED and long.info.reads <= reads + 1
    assert long.info.reason == "converged" and pve(A, long, s) <= 1e-2
