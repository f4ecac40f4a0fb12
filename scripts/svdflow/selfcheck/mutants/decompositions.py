"""Faults in a decomposition and in what is stored of one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import nan
from typing import Any

import h5py
import numpy as np

from svdflow.audit.decomposition import EPS, Full, full_records
from svdflow.audit.records import Record
from svdflow.audit.stored_factors import compared_records, stored_records
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.mutants.mutant import Limits, Mutant
from svdflow.selfcheck.sample_matrices import randsvd

STORED_RANK = 4  # triplets of stored factors: fewer than the matrix has, as after a truncation
Factors = dict[str, Any]


def audit_full(seed: int, limits: Limits, fault: Callable[[Full], Full]) -> Iterator[Record]:
    """The panel of a full decomposition of a complex 10 x 7 matrix with singular values 7, 6, ... 1."""
    rng = np.random.default_rng(seed)
    A = randsvd(rng, 10, 7, np.arange(7.0, 0, -1), True)
    return full_records(fault(Full.of(A)), limits, "complex 10 x 7")


def audit_integers(seed: int, limits: Limits, fault: Callable[[Full], Full]) -> Iterator[Record]:
    """The panel of an integer matrix of rank 3, which is known exactly."""
    weights = np.random.default_rng(seed).integers(1, 6, 3)
    A = (np.vstack([np.eye(3), [[1, 1, 1], [1, 2, 3]]]) * weights) @ np.eye(3, 4, 1)
    return full_records(fault(Full.of(A)), limits, "integers of rank 3")


def audit_stored(seed: int, limits: Limits, fault: Callable[[Factors], Factors]) -> Iterator[Record]:
    """Stored factors of rank 4 of a 12 x 9 matrix with falling singular values, beside the full ones."""
    rng = np.random.default_rng(seed)
    full = Full.of(rng.standard_normal((12, 9)) * 0.7 ** np.arange(9))
    k = STORED_RANK
    error = float(np.linalg.norm(full.s[k:]))
    factors = fault({"U": full.U[:, :k], "s": full.s[:k], "Vt": full.Vt[:k], "frobenius_error": error})
    with h5py.File("planted", "w", driver="core", backing_store=False) as file:
        file.attrs["frobenius_error"] = factors.pop("frobenius_error")
        for name, values in factors.items():
            file[name] = values
        yield from stored_records(file["/"], limits, "12 x 9 of rank 4", full.s, alone=False)
        yield from compared_records(full, file["/"], limits, "12 x 9 of rank 4")


def untouched(subject: Any) -> Any:
    """The control."""
    return subject


def wrong_value(full: Full) -> Full:
    """The largest singular value 1e-11 too large."""
    return replace(full, s=full.s * np.where(np.arange(full.s.size) == 0, 1 + 1e-11, 1))


def stretched(full: Full) -> Full:
    """U not orthonormal, made up for in s, so that the product is right to the last digit."""
    return replace(full, U=full.U * 2, s=full.s / 2)


def sheared(full: Full) -> Full:
    """Columns of U mixed, made up for nowhere."""
    U = full.U.copy()
    U[:, 0] += 1e-9 * U[:, 1]
    return replace(full, U=U)


def swapped(full: Full) -> Full:
    """The first two columns of U in each other's place."""
    return replace(full, U=full.U[:, [1, 0, *range(2, full.U.shape[1])]])


def unsorted(full: Full) -> Full:
    """Singular triplets in rising order: a right decomposition, in the wrong order."""
    return replace(full, U=full.U[:, ::-1], s=full.s[::-1], Vt=full.Vt[::-1])


def negative(full: Full) -> Full:
    """A negative singular value with its left vector turned round."""
    signs = np.where(np.arange(full.s.size) == full.s.size - 1, -1.0, 1.0)
    return replace(full, U=full.U * signs, s=full.s * signs)


def shifted(full: Full) -> Full:
    """The singular values counted from 1 where they are counted from 0."""
    return replace(full, s=np.append(full.s[1:], full.s[-1]))


def unconjugated(full: Full) -> Full:
    """V^T in place of V^H."""
    return replace(full, Vt=full.Vt.conj())


def single(full: Full) -> Full:
    """The decomposition rounded to float32 on its way."""
    return replace(
        full,
        U=full.U.astype(np.complex64).astype(complex),
        s=full.s.astype(np.float32).astype(float),
        Vt=full.Vt.astype(np.complex64).astype(complex),
    )


def squared(full: Full) -> Full:
    """Eigenvalues of A^H A called singular values."""
    return replace(full, s=full.s**2)


def lifted(full: Full) -> Full:
    """The smallest singular value 1e-9 of the largest: above every cut-off, and the exact rank one less."""
    return replace(full, s=np.append(full.s[:-1], 1e-9 * full.s[0]))


def claims_less(factors: Factors) -> Factors:
    """A compression error recorded 1 % too small."""
    return {**factors, "frobenius_error": 0.99 * factors["frobenius_error"]}


def claims_zero(factors: Factors) -> Factors:
    """The compression error of a truncation recorded as none."""
    return {**factors, "frobenius_error": 0.0}


def second_best(factors: Factors) -> Factors:
    """The largest singular triplet left out."""
    return {**factors, "U": factors["U"][:, 1:], "s": factors["s"][1:], "Vt": factors["Vt"][1:]}


def coarse_values(factors: Factors) -> Factors:
    """Singular values 3 % too large."""
    return {**factors, "s": 1.03 * factors["s"]}


def long_vectors(factors: Factors) -> Factors:
    """Left vectors 0.1 % too long."""
    return {**factors, "U": 1.001 * factors["U"]}


# The figure follows from the fault: singular values count in units of 7 s_1 eps, departures of U in 10 eps.
FULL_FAULTS: list[tuple[str, str, Callable[[Full], Full], float]] = [
    ("singular value 1 + 1e-11", "svd_values_only", wrong_value, 1e-11 / (7 * EPS)),
    ("U not orthonormal", "svd_orthogonality_u", stretched, 3 / (10 * EPS)),
    ("U sheared by 1e-9", "svd_orthogonality_u", sheared, 1e-9 / (10 * EPS)),
    ("columns of U swapped", "svd_residual", swapped, nan),
    ("unsorted singular values", "svd_order", unsorted, 1 / EPS),
    ("negative singular value", "svd_order", negative, 1 / EPS),
    ("singular values off by one", "svd_values_only", shifted, 1 / (7 * 6 * EPS)),
    ("V^T in place of V^H", "svd_residual", unconjugated, nan),
    ("decomposition in float32", "svd_residual", single, nan),
    ("eigenvalues as singular values", "svd_values_only", squared, 42 / (7 * 49 * EPS)),
]

STORED_FAULTS: list[tuple[str, str, Callable[[Factors], Factors], str]] = [
    ("recorded error 1 % off", "recorded_error", claims_less, "recorded"),
    ("recorded error zero", "recorded_error", claims_zero, "recorded 0"),
    ("largest triplet left out", "eckart_young", second_best, "optimum"),
    ("stored vectors 0.1 % too long", "stored_orthogonality_u", long_vectors, ""),
    ("stored values not the true ones", "stored_truth", coarse_values, "exact spectrum"),
    ("stored values 3 % off", "stored_values", coarse_values, "4 stored values"),
]

MUTANTS = [
    *(
        Mutant(name, row, Verdict.FAIL, "", audit_full, fault, untouched, figure)
        for name, row, fault, figure in FULL_FAULTS
    ),
    *(
        Mutant(name, row, Verdict.FAIL, phrase, audit_stored, fault, untouched)
        for name, row, fault, phrase in STORED_FAULTS
    ),
    Mutant(
        "rank of integers one too high",
        "rank_exact",
        Verdict.FAIL,
        "exact rank 3, matrix_rank 4",
        audit_integers,
        lifted,
        untouched,
    ),
]
