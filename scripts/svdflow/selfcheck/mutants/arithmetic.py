"""Faults in sums, variances, log-sum-exp, softmax, contractions and low precision."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from svdflow.audit.records import Record
from svdflow.audit.verdicts import Verdict
from svdflow.selfcheck.contractions import audit_einsum, audit_kronecker, audit_layer_norm, layer_norm
from svdflow.selfcheck.mutants.mutant import AuditOf, Limits, Mutant
from svdflow.selfcheck.precision import (
    audit_low_precision_matmul,
    audit_precision,
    audit_singular_value_floor,
    cast,
    singular_values,
)
from svdflow.selfcheck.softmax import audit_log_sum_exp, audit_softmax, log_sum_exp, softmax
from svdflow.selfcheck.sums import (
    STATISTICS,
    SUMS,
    VARIANCES,
    audit_numacc,
    audit_sum,
    audit_variance,
    textbook_variance,
    two_pass_variance,
)

Array = np.ndarray


def bare_softmax(x: Array) -> Array:
    """exp(x) / sum exp(x): overflows where the largest entry does."""
    with np.errstate(all="ignore"):
        e = np.exp(x)
        return e / e.sum(dtype=x.dtype)


def half_softmax(x: Array) -> Array:
    """Right, but in float16 whatever it is given."""
    with np.errstate(all="ignore"):
        return softmax(x.astype(np.float16)).astype(x.dtype)


def peak_softmax(x: Array) -> Array:
    """Divided by the largest entry in place of the sum."""
    e = np.exp(x - x.max())
    return e / e.max()


def bare_log_sum_exp(x: Array) -> Any:
    """log of the sum of exp(x) without a shift."""
    with np.errstate(all="ignore"):
        return np.log(np.sum(np.exp(x), dtype=x.dtype))


def shift_lost(x: Array) -> Any:
    """The shift subtracted and not added again."""
    return log_sum_exp(x) - x.max()


def half_sum(x: Array) -> Any:
    """Accumulated in float16."""
    with np.errstate(all="ignore"):
        return np.sum(x, dtype=np.float16)


def last_forgotten(x: Array) -> Any:
    """One term short."""
    return np.sum(x[:-1])


def population_variance(x: Array) -> float:
    """Divided by n in place of n - 1."""
    return two_pass_variance(x) * (x.size - 1) / x.size


def transposed_einsum(spec: str, *operands: Array) -> Array:
    """The last two letters of the result in each other's place, put into the shape that is expected."""
    words, output = spec.split("->")
    shape = np.einsum(spec, *operands).shape
    return np.einsum(f"{words}->{output[:-2]}{output[:-3:-1]}", *operands).reshape(shape)


def half_einsum(spec: str, *operands: Array) -> Array:
    """Contracted in float16."""
    return np.einsum(spec, *(x.astype(np.float16) for x in operands)).astype(operands[0].dtype)


def swapped_kron(A: Array, B: Array) -> Array:
    """B kron A in place of A kron B."""
    return np.kron(B, A)


def unbiased_norm(x: Array, gain: Array, bias: Array) -> Array:
    """The variance over d - 1."""
    d = x.shape[-1]
    deviation = x - x.mean(axis=-1, keepdims=True)
    variance = (deviation**2).sum(axis=-1, keepdims=True) / (d - 1)
    return deviation / np.sqrt(variance + 1e-5) * gain + bias


def wider(name: str, values: Any) -> Array:
    """float32 where float16 is asked for."""
    return cast("float32" if name == "float16" else name, values)


def half_product(A: Array, B: Array) -> Array:
    """The second half of the terms left out."""
    half = A.shape[1] // 2
    return A[:, :half] @ B[:half]


def single_values(A: Array) -> Array:
    """Singular values in float32, whatever the matrix is."""
    return singular_values(A.astype(np.float32)).astype(A.dtype)


def _sum(seed: int, limits: Limits, subject: Any) -> Iterable[Record]:
    return audit_sum(seed, limits, {"numpy pairwise": (subject, SUMS["numpy pairwise"][1])})


def _variance(seed: int, limits: Limits, subject: Any) -> Iterable[Record]:
    return audit_variance(seed, limits, {"two-pass": (subject, VARIANCES["two-pass"][1])})


def textbook_deviation(x: Array) -> float:
    """Root of the textbook variance; of a negative one, nothing."""
    return float(np.sqrt(max(textbook_variance(x), 0.0)))


def _numacc(seed: int, limits: Limits, subject: Any) -> Iterable[Record]:
    return audit_numacc(seed, limits, {"two-pass": subject})


FAULTS: list[tuple[str, str, str, AuditOf, Any, Any]] = [
    ("softmax without a shift", "overflow", "error nan", audit_softmax, bare_softmax, softmax),
    ("softmax in float16", "softmax", "of bound", audit_softmax, half_softmax, softmax),
    ("softmax over the largest", "sum_to_one", "of bound", audit_softmax, peak_softmax, softmax),
    (
        "log-sum-exp without a shift",
        "overflow",
        "error inf",
        audit_log_sum_exp,
        bare_log_sum_exp,
        log_sum_exp,
    ),
    ("shift lost", "shift_invariance", "of bound", audit_log_sum_exp, shift_lost, log_sum_exp),
    ("sum in float16", "sum", "of bound", _sum, half_sum, np.sum),
    ("last term forgotten", "sum", "of bound", _sum, last_forgotten, np.sum),
    ("textbook variance", "variance", "mean 1e+07", _variance, textbook_variance, two_pass_variance),
    (
        "n in place of n - 1",
        "variance",
        "error 1.0e-03",
        _variance,
        population_variance,
        two_pass_variance,
    ),
    (
        "textbook deviation on NumAcc",
        "numacc",
        "NumAcc4",
        _numacc,
        textbook_deviation,
        STATISTICS["two-pass"],
    ),
    ("einsum transposed", "einsum", "of bound", audit_einsum, transposed_einsum, np.einsum),
    ("einsum in float16", "einsum", "of bound", audit_einsum, half_einsum, np.einsum),
    ("Kronecker order swapped", "kronecker", "vec(A X B)", audit_kronecker, swapped_kron, np.kron),
    ("layer norm over d - 1", "layer_norm", "of bound", audit_layer_norm, unbiased_norm, layer_norm),
    ("float32 called float16", "precision", "instead of 65504", audit_precision, wider, cast),
    (
        "product of half the terms",
        "low_precision_matmul",
        "of bound",
        audit_low_precision_matmul,
        half_product,
        np.matmul,
    ),
    (
        "singular values in float32",
        "singular_value_floor",
        "of bound",
        audit_singular_value_floor,
        single_values,
        singular_values,
    ),
]

MUTANTS = [
    Mutant(name, row, Verdict.FAIL, phrase, audit, fault, right)
    for name, row, phrase, audit, fault, right in FAULTS
]
