"""Condition numbers of Hilbert matrices, which are known exactly."""

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.linalg import hilbert

from svdflow.audit.condition import EPS, FAMILY, HILBERT_14, Limits, norm_records
from svdflow.audit.records import Judge, Record
from svdflow.audit.verdicts import Verdict


def audit_hilbert(
    seed: int, limits: Limits, subject: Callable[..., Iterable[Record]] | None = None
) -> Iterator[Record]:
    """What NumPy says of the Hilbert matrix of order 14 without a word, beside the panel's INCONCLUSIVE.

    The right-hand side is A times ones, so the solution is ones but for rounding; `subject` stands for `norm_records`.
    """
    judge = Judge(FAMILY, "hilbert", seed, limits)
    A, ones = hilbert(14), np.ones(14)
    b = A @ ones
    calls: dict[str, Callable[[], float]] = {
        "numpy.linalg.solve": lambda: float(np.abs(np.linalg.solve(A, b) - ones).max()),
        "numpy.linalg.inv": lambda: float(np.abs(np.linalg.inv(A) @ b - ones).max()),
        "numpy.linalg.lstsq": lambda: float(np.abs(np.linalg.lstsq(A, b)[0] - ones).max()),
        "numpy.linalg.cond": lambda: float(abs(np.linalg.cond(A) / HILBERT_14 - 1)),
    }
    for name, call in calls.items():
        yield _peer(judge, name, call)
    s = np.linalg.svd(A, compute_uv=False)
    rows = {row.audit: row for row in (subject or norm_records)(A, s, limits, "hilbert")}
    numbers = [name for name, row in rows.items() if row.verdict is not Verdict.INCONCLUSIVE]
    reason = f"{rows['condition_one'].reason}; numbers given: {' '.join(numbers) or 'none'}"
    yield judge("silent_number", "hilbert 14", float(len(numbers)), 0.0, reason)


def _peer(judge: Judge, name: str, call: Callable[[], float]) -> Record:
    """A relative error above 1 % without a warning is a silent number."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            error, raised = call(), ""
        except np.linalg.LinAlgError as refusal:
            error, raised = 0.0, str(refusal)
    said = raised or "; ".join(str(w.message) for w in heard) or "nothing"
    silent = error if said == "nothing" else 0.0
    return judge("peer_silence", name, silent, 14 * EPS, f"relative error {error:.2g}, said: {said}")
