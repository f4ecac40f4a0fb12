"""Dot tests: is ``(A v)^H u = v^H (A^H u)`` for the operators that svdflow is made of?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp

from svdflow.analysis.svd_derivatives import svd_backward, svd_derivative
from svdflow.audit.records import Judge, Record
from svdflow.compute import Device
from svdflow.compute.engine import Engine
from svdflow.denoisers.methods.ssa import diagonal_means
from svdflow.denoisers.patches import Patches
from svdflow.images.colour import from_planes, to_planes
from svdflow.least_squares.dense import pinv
from svdflow.matrix.generators.randomness import normal
from svdflow.matrix.opening import as_source
from svdflow.matrix.sources import TransposedSource
from svdflow.registry import Threshold
from svdflow.selfcheck.planted_derivatives import Planted
from svdflow.svd.factorization import truncated_svd
from svdflow.svd.orthonormal import adjoint
from svdflow.svd.plan import Plan, Target, make_plan
from svdflow.svd.read.bands import BandedBlocks
from svdflow.svd.read.converted_panels import Panels
from svdflow.svd.read.sparse_work import SparseProducts
from svdflow.svd.sparse_reader import reader_for

Array = np.ndarray
Product = Callable[[Array], Array]
MODES = {"rr": (False, False), "cr": (True, False), "rc": (False, True), "cc": (True, True)}
DRAWS = 3  # pairs of vectors each; a wrong adjoint passes one by chance only
DOUBLE = float(np.finfo(np.float64).eps)
COLOUR = np.array(  # ITU T.871, section 7
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ]
)


@dataclass(frozen=True)
class DotTest:
    """Outcome of `dot_test`, in units of ``n eps ||A v|| ||u||`` with n terms in the longest sum.

    Attributes
    ----------
    value : float
        The largest discrepancy; infinite where something was not finite.
    resolution : float
        What rounding of the two inner products alone may make.
    mode : str
        Where it was largest: whether v and u were real (r) or complex (c).
    cases : int
    """

    value: float
    resolution: float
    mode: str
    cases: int


def dot_test(
    forward: Product,
    backward: Product,
    n: int,
    m: int,
    *,
    complex_: bool = True,
    seed: int = 0,
    eps: float = DOUBLE,
    terms: int | None = None,
) -> DotTest:
    """Hold two linear maps against each other: the second should be the adjoint of the first.

    Parameters
    ----------
    forward : callable
        From (n,) to (m,), float64 or complex128.
    backward : callable
        From (m,) to (n,).
    n, m : int
    complex_ : bool
        Try the four combinations of real and complex vectors; else real ones only.
    seed : int
    eps : float
        Of the precision that the maps compute in.
    terms : int, optional
        Of the longest sum in the maps, where that is not max(m, n).

    Raises
    ------
    ValueError
        A result has another shape.

    Notes
    -----
    Both sides agree for all v and u only if both maps are linear. The inner products round by
    ``gamma_m ||A v|| ||u|| + gamma_n ||v|| ||A^H u||`` at most (Higham 2002, section 3.1, and Cauchy).
    """
    rng = np.random.default_rng(seed)
    worst = DotTest(-1.0, 1.0, "", 0)
    cases = 0
    for mode in MODES if complex_ else ("rr",):
        for draw in range(DRAWS):
            v, u = (normal(rng, (k,), kind) for k, kind in zip((n, m), MODES[mode], strict=True))
            Av = _applied("forward", forward, v, m)
            if draw == 0:  # random vectors are nearly orthogonal, and hide a wrong scale behind sqrt(n)
                u = Av if MODES[mode][1] else Av.real
            Au = _applied("backward", backward, u, n)
            cases += 1
            sizes = [float(np.linalg.norm(x)) for x in (Av, u, v, Au)]
            unit = (terms or max(m, n)) * eps * sizes[0] * sizes[1]
            missed = _over(float(abs(np.vdot(Av, u) - np.vdot(v, Au))), unit)
            rounding = _over(0.5 * DOUBLE * (m * sizes[0] * sizes[1] + n * sizes[2] * sizes[3]), unit)
            if missed > worst.value:
                worst = DotTest(missed, rounding if np.isfinite(rounding) else 1.0, mode, 0)
    return replace(worst, cases=cases)


def _applied(which: str, product: Product, x: Array, size: int) -> Array:
    y = np.asarray(product(x))
    if y.shape != (size,):
        raise ValueError(f"{which} made {y.shape} of {x.shape}; expected ({size},)")
    return y


def _over(part: float, unit: float) -> float:
    if np.isfinite(part) and np.isfinite(unit):
        return part / unit if unit > 0 else np.inf if part > 0 else 0.0
    return np.inf


@dataclass(frozen=True)
class Operator:
    """A linear map and what should be its adjoint; see `dot_test`."""

    forward: Product
    backward: Product
    n: int
    m: int
    complex_: bool = False
    eps: float = DOUBLE
    terms: int | None = None


def matrix_operators(rng: np.random.Generator) -> Iterator[tuple[str, Operator]]:
    """Sources, panels and products of the SVD engine, of real, complex, sparse, wide and chunked matrices."""
    m, n = 90, 40
    R, C = normal(rng, (m, n), False), normal(rng, (m, n), True)
    S = sp.random_array(
        (m, n), density=0.2, rng=rng, data_sampler=rng.standard_normal
    ) + 1j * sp.random_array((m, n), density=0.2, rng=rng, data_sampler=rng.standard_normal)
    chunked = da.from_array(C, chunks=(25, 13))
    for name, A in {"complex array": C, "sparse": S, "dask": chunked}.items():
        yield f"source, {name}", source_operator(A)
    cases = {
        "real centred": (R + 3, True),
        "complex": (C, False),
        "wide complex centred": (C.conj().T + 2, True),
        "sparse wide centred": (S.conj().T.tocsr(), True),
    }
    for name, (A, center) in cases.items():
        yield f"panels, {name}", panel_operator(A, center)
        yield f"A^H A, {name}", gram_operator(A, center)
    products = SparseProducts(sp.csr_array(S), np.dtype(np.complex128), Engine(1))
    yield (
        "sparse products",
        Operator(of_vectors(products.times), of_vectors(products.adjoint_times), n, m, True),
    )
    tall = normal(rng, (5000, 6), True)
    blocks = BandedBlocks(len(tall), Engine(1))
    forward, backward = partial(blocks.times, tall), partial(blocks.inner, tall)
    yield "bands", Operator(of_vectors(forward), of_vectors(backward), 6, 5000, True)


def of_vectors(product: Product) -> Product:
    """A product with blocks of columns as one with a vector."""
    return lambda v: product(v[:, None])[:, 0]


def source_operator(A: Any) -> Operator:
    """Reading rows of a matrix, and rows of its conjugate transpose."""
    source = as_source(A)
    turned, (m, n) = TransposedSource(source), source.shape
    return Operator(lambda v: source.read(0, m) @ v, lambda u: turned.read(0, n) @ u, n, m, True)


def _panels(A: Any, center: bool) -> tuple[Plan, Panels]:
    target = Target(rank=4)
    plan = make_plan(
        as_source(A), target, method="gram", tol=0.01, block_size=None, max_reads=None, center=center
    )
    m = plan.tall.shape[0]
    bounds = tuple(
        (start, min(start + 37, m)) for start in range(0, m, 37)
    )  # several, as large matrices have them
    plan = replace(plan, bounds=bounds, groups=(bounds[:2], bounds[2:]))
    return plan, Panels.of(plan, Device())


def panel_operator(A: Any, center: bool) -> Operator:
    """Products with the panels of the tall matrix, as a factorization reads them."""
    plan, panels = _panels(A, center)
    (m, n), dtype = plan.tall.shape, plan.wide

    def forward(v: Array) -> Array:
        parts = [panels.panel(plan.tall.read(a, b), dtype).times(v[:, None]) for a, b in plan.bounds]
        return np.concatenate(parts)[:, 0]

    def backward(u: Array) -> Array:
        parts = (
            panels.panel(plan.tall.read(a, b), dtype).adjoint_times(u[a:b, None]) for a, b in plan.bounds
        )
        return adjoint(sum(parts))[:, 0]

    return Operator(forward, backward, n, m, plan.wide.kind == "c")


def gram_operator(A: Any, center: bool) -> Operator:
    """``A^H A X`` of the engine against plain products: by itself it would hide a lost conjugation."""
    plan, panels = _panels(A, center)
    reader = reader_for(plan, panels, Engine(1))
    dense = np.asarray(A.toarray() if sp.issparse(A) else A)
    dense = dense - dense.mean(axis=0) if center else dense
    dense = dense.conj().T if plan.transposed else dense
    n = dense.shape[1]
    return Operator(
        of_vectors(lambda X: reader.gram_times(X.astype(plan.wide))),
        lambda u: dense.conj().T @ (dense @ u),
        n,
        n,
        plan.wide.kind == "c",
    )


def factor_operators(rng: np.random.Generator) -> Iterator[tuple[str, Operator]]:
    """What factors reconstruct, projection on them, the pseudo-inverse, and the derivative of the SVD."""
    m, n, k = 60, 35, 6
    A = normal(rng, (m, k), True) @ normal(rng, (k, n), True)
    U, s, Vt = truncated_svd(A, k)
    turned = truncated_svd(adjoint(A), k)
    yield (
        "reconstruction",
        Operator(lambda v: U @ (s * (Vt @ v)), lambda u: turned.U @ (turned.s * (turned.Vt @ u)), n, m, True),
    )
    yield "projection", Operator(lambda v: U @ (adjoint(U) @ v), lambda u: U @ (adjoint(U) @ u), m, m, True)
    inverse, other = pinv(A).matrix, pinv(adjoint(A)).matrix
    yield "pseudo-inverse", Operator(lambda v: inverse @ v, lambda u: other @ u, m, n, True)
    case = Planted.draw(rng, (7, 5), np.linspace(1, 0.2, 5), False)
    factors = case.computed()[0]
    shapes = [factor.shape for factor in factors]

    def jvp(v: Array) -> Array:
        return np.concatenate([d.ravel() for d in svd_derivative(factors, v.reshape(7, 5))])

    def vjp(u: Array) -> Array:
        parts = np.split(u, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        cotangents = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        return svd_backward(factors, cotangents).ravel()

    yield "derivative of the SVD", Operator(jvp, vjp, 35, sum(int(np.prod(shape)) for shape in shapes))


def image_operators(rng: np.random.Generator) -> Iterator[tuple[str, Operator]]:
    """Patches and their sum, trajectory matrices and their means, colour and its inverse."""
    patches = Patches((24, 20), side=5, stride=3, search=6)
    band = list(patches.bands())[1]
    image = np.zeros(patches.shape, np.float32)
    table = patches.table(image, band)
    index = rng.integers(len(table), size=50).astype(np.int32)
    weights = rng.uniform(0.5, 2, size=50).astype(np.float32)
    rows = band.stop - band.first + patches.side - 1

    def gather(v: Array) -> Array:
        image = np.zeros(patches.shape, np.float32)
        image[band.first : band.first + rows] = v.reshape(rows, -1)
        return (weights[:, None] * patches.table(image, band)[index]).ravel().astype(np.float64)

    def scatter(u: Array) -> Array:
        return (
            patches.sum(u.reshape(50, -1).astype(np.float32), index, weights, band).ravel().astype(np.float64)
        )

    single = float(np.finfo(np.float32).eps)
    yield "patches", Operator(gather, scatter, rows * 20, 50 * 25, False, single, 50)
    length, lags = 40, 13
    shape = lags, length - lags + 1
    place = np.arange(length)
    counts = np.minimum(np.minimum(place + 1, length - place), lags)
    yield (
        "trajectory matrix",
        Operator(
            lambda v: np.lib.stride_tricks.sliding_window_view(v, shape[1]).ravel(),
            lambda u: counts * diagonal_means(u.reshape(1, *shape))[0],
            length,
            shape[0] * shape[1],
            True,
        ),
    )
    inverse = np.linalg.inv(COLOUR)

    def seen(v: Array) -> Array:
        return np.stack(list(to_planes(v.reshape(4, 5, 3), "ycbcr").values())).ravel()

    def shown(v: Array) -> Array:
        return from_planes(dict(zip(("y", "cb", "cr"), v.reshape(3, 4, 5), strict=True)), "ycbcr").ravel()

    yield "colour", Operator(seen, lambda u: (u.reshape(3, 20).T @ COLOUR).ravel(), 60, 60)
    yield "colour, back", Operator(shown, lambda u: (inverse.T @ u.reshape(20, 3).T).ravel(), 60, 60)


def own_operators(rng: np.random.Generator) -> Iterator[tuple[str, Operator]]:
    """All linear maps of svdflow that have an adjoint here, by name."""
    for operators in (matrix_operators, factor_operators, image_operators):
        yield from operators(rng)


def audit_adjoint_dot(
    seed: int,
    limits: Mapping[str, Threshold],
    subject: Callable[[np.random.Generator], Iterable[tuple[str, Operator]]] = own_operators,
) -> Iterator[Record]:
    """One row a kind of operator: the worst of its dot tests. A name is the kind, and after a comma the case."""
    judge = Judge("gradients", "adjoint_dot", seed, limits)
    worst: dict[str, tuple[DotTest, str]] = {}
    for name, operator in subject(np.random.default_rng(seed)):
        options: dict[str, Any] = {
            "complex_": operator.complex_,
            "seed": seed,
            "eps": operator.eps,
            "terms": operator.terms,
        }
        found = dot_test(operator.forward, operator.backward, operator.n, operator.m, **options)
        kind, _, case = name.partition(", ")
        if kind not in worst or found.value > worst[kind][0].value:
            size = operator.terms or max(operator.n, operator.m)
            worst[kind] = found, f"{case or kind}, n = {size}"
    for kind, (found, case) in worst.items():
        reason = f"(A v).u - v.(A^H u) is {found.value:.2g} n eps ||A v|| ||u||; {case}, mode {found.mode}"
        yield judge("adjoint_dot", kind, found.value, found.resolution, reason)
