"""Digits of least squares fits against the certified answers of NIST's reference data sets.

The data and the certified coefficients in strd.json are those of the NIST/ITL Statistical Reference Datasets,
linear least squares regression (https://www.itl.nist.gov/div898/strd/lls/lls.shtml), public domain.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from math import lcm
from typing import Any

import numpy as np

from svdflow.audit.records import Judge, Record
from svdflow.registry import Threshold
from svdflow.selfcheck.least_squares_solvers import (
    FAMILY,
    METHODS,
    Method,
    by_qr,
    scaled_columns,
    sweep_record,
)
from svdflow.selfcheck.linear_solvers import EPS, exact_solve

MOST_DIGITS = 15.0  # NIST prints 15
LAST_DIGIT = 5e-15  # half a unit of the fifteenth, for a coefficient that starts with 1
RANKLESS = ("normal equations", "Cholesky")  # they decide on no rank, so none is lost
CLEAR = 100  # times max(m, n) eps: singular values of the scaled columns above are no rounding


@dataclass(frozen=True)
class Fit:
    """One data set.

    Attributes
    ----------
    A : (m, n) float64, the design matrix, each entry rounded once; b : (m,) float64
    certified : (n,) fractions, NIST's coefficients as printed
    exact, rounded : (n,) fractions, exact fits of the decimal data and of A and b
    """

    name: str
    A: np.ndarray
    b: np.ndarray
    certified: list[Fraction]
    exact: list[Fraction]
    rounded: list[Fraction]

    @property
    def ceiling(self) -> float:
        """Digits of the exact fit of the rounded data, which no method for floats can be expected to pass."""
        return digits(self.rounded, self.certified)

    @property
    def reach(self) -> float:
        """Digits to expect of a stable method: the ceiling, or what one rounding of the columns leaves of it."""
        return min(self.ceiling, -float(np.log10(EPS / 2 * _sensitivity(self))))


def names() -> tuple[str, ...]:
    """The data sets, from lower to higher difficulty."""
    return tuple(_stored())


@cache
def _stored() -> dict[str, Any]:
    return json.loads(files("svdflow.selfcheck").joinpath("strd.json").read_text(encoding="utf-8"))


@cache
def fit(name: str) -> Fit:
    """A data set with its exact fits; KeyError if there is none of that name."""
    data = _stored()[name]
    y, *x = ([Fraction(word) for word in words.split()] for words in (data["y"], *data["x"]))
    rows = [
        [Fraction(1), *row] if len(row) > 1 else [row[0] ** k for k in range(data["degree"] + 1)]
        for row in zip(*x, strict=True)
    ]
    A = np.array([[float(v) for v in row] for row in rows])
    b = np.array([float(v) for v in y])
    for shared in (A, b):
        shared.setflags(write=False)  # every caller gets the same arrays
    certified = [Fraction(word) for word in data["certified"].split()]
    return Fit(name, A, b, certified, exact_fit(rows, y), exact_fit(A.tolist(), b.tolist()))


def exact_fit(rows: Any, y: Any) -> list[Fraction]:
    """Exact least squares coefficients (n,) of rows (m, n) of full column rank, floats or fractions."""
    columns = [_common(column) for column in zip(*rows, strict=True)]
    top, unit = _common(y)
    gram = [[sum(p * q for p, q in zip(a, c, strict=True)) for c, _ in columns] for a, _ in columns]
    along = [[sum(p * q for p, q in zip(a, top, strict=True))] for a, _ in columns]
    return [value * of / unit for (value,), (_, of) in zip(exact_solve(gram, along), columns, strict=True)]


def _common(values: Any) -> tuple[list[int], int]:
    """The values as integers over one denominator, which keeps the sums free of fractions."""
    exact = [Fraction(v) for v in values]
    unit = lcm(*(v.denominator for v in exact))
    return [v.numerator * (unit // v.denominator) for v in exact], unit


def digits(x: Any, truth: list[Fraction]) -> float:
    """Log relative error: the correct digits of the worst coefficient, 15 at most.

    McCullough (1998), "Assessing the reliability of statistical software".
    """
    if not all(isinstance(v, Fraction) or np.isfinite(v) for v in x):
        return -np.inf
    worst = max(float(abs(Fraction(a) - t) / abs(t)) for a, t in zip(x, truth, strict=True))
    return min(MOST_DIGITS, -float(np.log10(worst))) if worst else MOST_DIGITS


def _sensitivity(data: Fit) -> float:
    """Largest relative change of a coefficient by unit columnwise changes of A and b (Björck 1996, section 1.4)."""
    scaled, scale = scaled_columns(data.A)
    x = np.array([float(v) for v in data.rounded]) / scale
    length = np.linalg.norm(scaled, axis=0)
    X = np.linalg.pinv(scaled, rcond=1e-14)
    r = np.linalg.norm(data.b - scaled @ x)
    by_fit = np.linalg.norm(X, axis=1) * (np.linalg.norm(data.b) + length @ np.abs(x))
    by_residual = np.abs(X @ X.T) @ length * r
    return float(((by_fit + by_residual) / np.abs(x)).max())


def found_digits(data: Fit, method: Method) -> tuple[float, int]:
    """Digits and rank that a method gets on a data set; it may raise LinAlgError."""
    x, rank = method(data.A, data.b)
    return digits(x.tolist(), data.certified), rank


def audit_strd(seed: int, limits: Mapping[str, Threshold], subject: Method = by_qr) -> Iterator[Record]:
    """Digits lost on NIST's data sets, and whether that can be seen without the certified answers.

    Parameters
    ----------
    seed : int
        Not used: nothing is drawn.
    limits : mapping of audit name to Threshold
    subject : callable
        ``x, rank = subject(A, b)``; takes the place of `svdflow.svd.lstsq_qr`.
    """
    judge = Judge(FAMILY, "strd", seed, limits)
    fits = [fit(name) for name in names()]
    yield _data_record(judge, fits)
    for data in fits:
        got, rank = found_digits(data, subject)
        reason = f"{got:.2f} digits of the {data.ceiling:.2f} that rounded data allow, rank {rank}"
        lost = max(data.ceiling - got, 0.0)
        yield judge("strd_digits", f"lstsq_qr, {data.name}", lost, _blur(data), reason)
    methods = {**METHODS, "lstsq_qr": subject}
    for name, method in methods.items():
        if name != "lstsq_qr":
            yield _peer_record(judge, name, method, fits)
    cases = [(data.name, data.A, data.b) for data in fits]
    for name, method in methods.items():
        audit = "ls_backward" if name == "lstsq_qr" else "peer_backward_error"
        yield sweep_record(judge, audit, f"{name}, without the answer", method, cases)
    for name, method in methods.items():
        if name not in RANKLESS:
            yield _rank_record(judge, name, method, fits)


def _blur(data: Fit) -> float:
    """Digits by which NIST's own rounding blurs a comparison near the ceiling."""
    return float(np.log10(1 + LAST_DIGIT * 10**data.ceiling))


def _data_record(judge: Judge, fits: list[Fit]) -> Record:
    worst, name = min((digits(data.exact, data.certified), data.name) for data in fits)
    reason = f"exact fits of the decimal data: {worst:.2f} digits on {name}, worst of {len(fits)} sets"
    return judge("strd_data", "certified answers", 10**-worst / LAST_DIGIT, 0.0, reason)


def _peer_record(judge: Judge, name: str, method: Method, fits: list[Fit]) -> Record:
    lost, words = [], []
    for data in fits:
        try:
            got, rank = found_digits(data, method)
        except np.linalg.LinAlgError:
            lost.append((data.reach, data.name))
            words.append(f"{data.name} raises")
            continue
        lost.append((max(data.reach - got, 0.0), data.name))
        words.append(f"{data.name} {got:.2f}" + (f" (rank {rank})" if rank < len(data.certified) else ""))
    value, worst = max(lost)
    advice = "; use lstsq_qr instead" if value > judge.limits["peer_digits"].warn else ""
    reason = f"most on {worst}; digits: {', '.join(words)}{advice}"
    return judge("peer_digits", f"{name}, NIST's answers", value, max(map(_blur, fits)), reason)


def _rank_record(judge: Judge, name: str, method: Method, fits: list[Fit]) -> Record:
    """Columns that the method took for dependent although their scaled singular values stand clear of rounding."""
    lost, words = 0, []
    for data in fits:
        s = np.linalg.svd(scaled_columns(data.A)[0], compute_uv=False)
        clear = int(np.count_nonzero(s > CLEAR * max(data.A.shape) * EPS * s[0]))
        rank = method(data.A, data.b)[1]
        if rank < clear:
            lost += clear - rank
            words.append(f"rank {rank} of {clear} on {data.name}")
    reason = ", ".join(words) + "; use lstsq_qr instead" if lost else f"none on {len(fits)} sets"
    return judge("rank_loss", f"{name}, without the answer", lost, 0.0, reason)
