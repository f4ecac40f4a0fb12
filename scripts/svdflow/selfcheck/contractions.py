"""Contractions against plain loops in exact arithmetic: the einsum patterns of attention, and Kronecker products."""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import product
from math import isqrt, prod
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold
from svdflow.selfcheck.precision import FORMATS, REFERENCE, Array, Share, gamma, likely_share, worst

Einsum = Callable[..., Any]
# Length of each index: all different where they are contracted, so that a swapped pair shows; d = 64 as in attention.
SIZES = {"b": 2, "h": 2, "q": 3, "k": 5, "d": 64, "s": 3, "m": 12, "e": 4, "i": 12, "j": 12, "l": 12}
PATTERNS = {
    "scores": "bhqd,bhkd->bhqk",
    "weighted values": "bhqk,bhkd->bhqd",
    "split into heads": "bsm,mhe->bshe",
    "merge heads": "bshe,hem->bsm",
    "layer norm mean": "bsd->bs",
    "layer norm variance": "bsd,bsd->bs",
    "layer norm gain": "bsd,d->bsd",
    "batched product": "bij,bjl->bil",
    "outer product": "q,d->qd",
    "batched outer product": "bq,bd->bqd",
    "trace": "ii->",
    "batched trace": "bii->b",
    "trace of a product": "ij,ji->",
    "trace of three": "ij,jl,li->",
}


def audit_einsum(seed: int, limits: Mapping[str, Threshold], subject: Einsum = np.einsum) -> Iterator[Record]:
    """Patterns of attention in float32 and float64 against plain loops over rational numbers.

    Where p factors are multiplied and k products are summed, in any order, the result is within gamma_(k+p-2)
    times the same contraction of the absolute values (Higham 2002, section 3.1); the loops have no error of
    their own, so half of the 2 gamma_k for two rounded sides is the bound. The resolution is one rounding.
    `subject(spec, *operands)` gives the contraction.
    """
    judge = Judge("stability", "einsum", seed, limits)
    for name, spec in PATTERNS.items():
        shares = []
        for dtype in ("float32", "float64"):
            rng = np.random.default_rng(seed)
            operands = [rng.standard_normal(shape).astype(dtype) for shape in shapes(spec)]
            exact, magnitude = loops(spec, *operands)
            unit, k = FORMATS[dtype].unit, roundings(spec)
            got, bound = subject(spec, *operands), gamma(k, unit) * magnitude
            shares.append(Share.of(got, exact, bound, 1 / k, dtype, likely_share(k, unit)))
        yield worst(shares).record(judge, "einsum", f"{name} {spec}")


def shapes(spec: str) -> list[tuple[int, ...]]:
    """The shapes of the operands of an einsum pattern, from `SIZES`."""
    return [tuple(SIZES[letter] for letter in word) for word in spec.partition("->")[0].split(",")]


def roundings(spec: str) -> int:
    """Most roundings that a product takes on its way into a result: k - 1 additions, p - 1 products."""
    inputs, _, output = spec.partition("->")
    words = inputs.split(",")
    summed = set("".join(words)) - set(output)
    return prod(SIZES[letter] for letter in summed) - 1 + len(words) - 1


def loops(spec: str, *operands: Array) -> tuple[Array, Array]:
    """An einsum by one loop over all letters.

    Parameters
    ----------
    spec : str
        ``"ij,jk->ik"``, with the output spelled out.
    operands : arrays of integers or floats
        As many as the pattern has inputs, of matching shapes.

    Returns
    -------
    exact : object array of Fraction
        The contraction.
    magnitude : float64 array of the same shape
        The contraction of the absolute values.
    """
    inputs, _, output = spec.partition("->")
    words = inputs.split(",")
    pairs = zip(words, operands, strict=True)
    sizes = {letter: n for word, x in pairs for letter, n in zip(word, x.shape, strict=True)}
    numbers, scales = zip(*map(_whole, operands), strict=True)
    total = np.full([sizes[letter] for letter in output], 0, object)
    magnitude = total.copy()
    for indices in product(*map(range, sizes.values())):
        at = dict(zip(sizes, indices, strict=True))
        term = prod(x[tuple(at[i] for i in word)] for word, x in zip(words, numbers, strict=True))
        place = tuple(at[letter] for letter in output)
        total[place] += term
        magnitude[place] += abs(term)
    scale = prod(scales)
    exact = np.array([Fraction(t, scale) for t in total.ravel()], object).reshape(total.shape)
    return exact, np.array([m / scale for m in magnitude.ravel()]).reshape(total.shape)


def _whole(x: Array) -> tuple[Array, int]:
    """Whole numbers (Python's, so of any size) and the power of two that they have to be divided by."""
    fractions = [Fraction(v) for v in x.ravel().tolist()]
    scale = max(f.denominator for f in fractions)
    return np.array([f.numerator * (scale // f.denominator) for f in fractions], object).reshape(
        x.shape
    ), scale


EPSILON = 1e-5  # under the root, as in torch.nn.LayerNorm


def layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    """(x - mean) / sqrt(variance + 1e-5) * gain + bias over the last axis d of x, shape (b, s, d), in its dtype."""
    d = x.dtype.type(x.shape[-1])
    deviation = x - (np.einsum("bsd->bs", x) / d)[..., None]
    variance = np.einsum("bsd,bsd->bs", deviation, deviation) / d
    scale = 1 / np.sqrt(variance + x.dtype.type(EPSILON))
    return np.einsum("bsd,bs,d->bsd", deviation, scale, gain) + bias


def audit_layer_norm(
    seed: int, limits: Mapping[str, Threshold], subject: Callable[..., Array] = layer_norm
) -> Iterator[Record]:
    """Layer normalization against rational arithmetic: plain rows, rows with a variance near 1e-5 and a mean of 1000.

    The deviation c = x - mean errs by e = gamma_(d+1) mean |x| + u |c|, the variance v by
    2 mean(|c| e) + mean(e^2) + gamma_(d+2) v, the scale by half of that over v + 1e-5 and 4 u relative, and
    the result by both, 4 u for its products and u for its sum. Second order is within the 1 % on top.
    """
    judge = Judge("stability", "layer_norm", seed, limits)
    for dtype in ("float32", "float64"):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((2, 3, 64)) * [[1], [0.003], [1]] + [[0.5], [0], [1000]]
        x = x.astype(dtype)
        gain, bias = (rng.standard_normal(64).astype(dtype) for _ in range(2))
        exact, bound = exact_layer_norm(x, gain, bias)
        # One rounding of a result, in units of the bound.
        resolution = float(np.max(FORMATS[dtype].unit * np.abs(exact.astype(np.float64)) / bound))
        share = Share.of(subject(x, gain, bias), exact, bound, resolution)
        yield share.record(judge, "layer_norm", dtype)


def exact_layer_norm(x: Array, gain: Array, bias: Array) -> tuple[Array, Array]:
    """Layer normalization in Fractions (square root to 100 digits) and the bound of `audit_layer_norm`."""
    unit, d = FORMATS[x.dtype.name].unit, x.shape[-1]
    epsilon = Fraction(float(x.dtype.type(EPSILON)))
    exact, bound = np.empty(x.shape, object), np.empty(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        values = [Fraction(v) for v in x[row].tolist()]
        mean = sum(values, Fraction(0)) / d
        deviation = [v - mean for v in values]
        variance = sum((c * c for c in deviation), Fraction(0)) / d
        root = _root(variance + epsilon)
        weighted = zip(deviation, gain.tolist(), bias.tolist(), strict=True)
        exact[row] = [c / root * Fraction(g) + Fraction(t) for c, g, t in weighted]
        c, v, whole = np.abs(np.array(deviation, float)), float(variance), float(variance + epsilon)
        e = gamma(d + 1, unit) * np.mean(np.abs(x[row].astype(float))) + unit * c
        variance_error = 2 * np.mean(c * e) + np.mean(e**2) + gamma(d + 2, unit) * v
        relative = variance_error / (2 * whole) + 8 * unit
        size = np.abs(gain.astype(float)) / np.sqrt(whole)
        bound[row] = 1.01 * (size * (e + c * relative) + unit * np.abs(exact[row].astype(float)))
    return exact, bound


def _root(x: Fraction) -> Fraction:
    scale = 10**100
    return Fraction(isqrt(int(x * scale * scale)), scale)


Kron = Callable[[Array, Array], Array]


def audit_kronecker(seed: int, limits: Mapping[str, Threshold], subject: Kron = np.kron) -> Iterator[Record]:
    """Identities of the Kronecker product, A (4, 3) and B (5, 6), whose product has shape (20, 18).

    On small integers every operation is exact and the identities must hold to the bit: vec(A X B) =
    (B^T kron A) vec X with vec by columns, (A kron B)(C kron D) = A C kron B D, and the transpose. On normal
    numbers the two sides differ by at most the gammas of both times the product of absolute values. The
    singular values of A kron B are all products s_i(A) s_j(B), in units of N eps s_1 (Van Loan 2000).
    """
    judge = Judge("stability", "kronecker", seed, limits)
    rng = np.random.default_rng(seed)
    for kind in ("integers", "float32", "float64"):
        dtype = "float64" if kind == "integers" else kind
        A, B, C, D, X = (
            (rng.integers(-9, 10, n) if kind == "integers" else rng.standard_normal(n)).astype(dtype)
            for n in ((4, 3), (5, 6), (3, 4), (6, 2), (3, 5))
        )
        unit = 0.0 if kind == "integers" else FORMATS[dtype].unit
        shares = [_vec_share(subject, A, X, B, unit), _mixed_share(subject, A, B, C, D, unit)]
        turned = subject(A.T, B.T).astype(REFERENCE)
        shares.append(Share.of(subject(A, B).T, turned, 0.0, 0.0, "transpose"))
        yield worst(shares).record(judge, "kronecker", f"identities, {kind}")
    shares = [_singular_share(subject, rng, dtype) for dtype in ("float32", "float64")]
    yield worst(shares).record(judge, "kronecker_singular_values", "s_i(A) s_j(B)")


def _vec(X: Array) -> Array:
    return X.ravel(order="F")


def _vec_share(kron: Kron, A: Array, X: Array, B: Array, unit: float) -> Share:
    n, p = A.shape[1], B.shape[0]
    k = (n + p) + (n * p + 1)
    bound = gamma(k, unit) * _vec(np.abs(A) @ np.abs(X) @ np.abs(B)).astype(float)
    got, expected = kron(B.T, A) @ _vec(X), _vec((A @ X) @ B).astype(REFERENCE)
    return Share.of(got, expected, bound, 1 / k if unit else 0.0, "vec(A X B)")


def _mixed_share(kron: Kron, A: Array, B: Array, C: Array, D: Array, unit: float) -> Share:
    n, p = A.shape[1], B.shape[1]
    k = (n * p + 2) + (n + p + 1)
    bound = gamma(k, unit) * np.kron(np.abs(A) @ np.abs(C), np.abs(B) @ np.abs(D)).astype(float)
    got, expected = kron(A, B) @ kron(C, D), kron(A @ C, B @ D).astype(REFERENCE)
    return Share.of(got, expected, bound, 1 / k if unit else 0.0, "mixed product")


def _singular_share(kron: Kron, rng: np.random.Generator, dtype: str) -> Share:
    A, B = rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal((5, 6)).astype(dtype)
    wide = [np.linalg.svd(M.astype(np.float64), compute_uv=False) for M in (A, B)]
    expected = np.sort(np.outer(*wide).ravel())[::-1]
    got = np.linalg.svd(kron(A, B), compute_uv=False)[: expected.size]
    bound = 20 * 2 * FORMATS[dtype].unit * expected[0]
    resolution = FORMATS["float64"].unit / FORMATS[dtype].unit * 0.5
    return Share.of(got, expected.astype(REFERENCE), bound, resolution, dtype)
