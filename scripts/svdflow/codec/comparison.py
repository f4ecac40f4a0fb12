"""Curves of codecs side by side: at equal rate, at equal error, and in a sentence for a person."""

from collections.abc import Mapping, Sequence
from math import exp, isfinite, isnan, log, nan
from typing import Any, NamedTuple

import numpy as np

from svdflow.codec.other_codecs import CodecPoint
from svdflow.metrics.rate import frontier
from svdflow.registry import CODECS

RATES = (
    1.0,
    0.5,
    2.0,
    0.25,
    3.0,
    0.15,
    4.0,
    6.0,
)  # bits a pixel at which pictures are compared, the usual first; the verdict names the first that both reach
ERRORS = (1e-3, 1e-2, 3e-3, 3e-4, 3e-2, 1e-4, 1e-1)  # relative errors at which fields are compared
TIE_DB, TIE_BYTES = (
    0.05,
    1.02,
)  # differences in dB and in bytes that nobody sees or pays for: no verdict on them. Chosen
ARCHIVE = "the factor archive"
ROUNDING = 1e-9  # by which a point may miss its own curve: what logarithms and dB lose


def at_rate(points: Sequence[CodecPoint], bits: float) -> float:
    """PSNR in dB at `bits` a value, between the points of one codec; NaN outside their range.

    Monotone cubic in log rate (Fritsch and Carlson, 1980), through the points that no cheaper one equals. Points
    without loss have no finite PSNR and do not count.
    """
    return _between(*_by_psnr(points), log(bits)) if bits > 0 else nan


def at_error(points: Sequence[CodecPoint], error: float) -> float:
    """Bits a value that one codec needs for a relative error, in the logarithms of both; NaN outside its points."""
    lossy = [p for p in points if p.relative_error > 0]
    rates, qualities = frontier([p.bits_per_value for p in lossy], [-log(p.relative_error) for p in lossy])
    return exp(_between(qualities, rates, -log(error))) if error > 0 else nan


def verdict(curves: Mapping[str, Sequence[CodecPoint]], ours: Sequence[str], noun: str) -> str:
    """One or two sentences for a person: which of these to use.

    Parameters
    ----------
    curves : mapping of codec to its points
        All of one array. Where a codec for pictures is among them PSNR is compared at equal rate, else bytes at
        equal relative error, at the usual levels and at those of the archive's own points.
    ours : sequence of str
        Which of the keys are factor archives; the best of them stands for them at each level.
    noun : str
        What was compressed, in the plural: ``images``.

    Returns
    -------
    verdict : str
        A win is claimed only where the archive is ahead at every level at which both were measured. A peer counts
        with its best point that costs no more; beyond its last point that can deny a win and never give one.
    """
    own = {key: curves[key] for key in ours if curves.get(key)}
    peers = {key: points for key, points in curves.items() if key not in ours and points}
    if not own or not peers:
        missing = "other codec" if own else "factor archive"
        return f"No {missing} was measured on these {noun}, so there is nothing to compare."
    pairs = (
        _pairs_at_rates(own, peers)
        if any(_declared(key, "picture", False) for key in peers)
        else _pairs_at_errors(own, peers)
    )
    if not pairs:
        spans = [_span(side) for side in (own, peers)]
        return (
            f"For these {noun} nothing can be said: {ARCHIVE} was measured at {spans[0]} bits per value, "
            f"the other codecs at {spans[1]}, and no rate or error is common to both."
        )
    first = pairs[0]
    best, worst = (pick(pairs, key=lambda pair: pair.lead) for pick in (max, min))
    if worst.lead > 1:
        return f"For these {noun} use {ARCHIVE}: {first.at} it {first.rest}."
    if best.lead < -1:
        return f"For these {noun} use {first.peer}: {first.at} it {first.rest}."
    if best.lead <= 1 and worst.lead >= -1:
        return f"For these {noun} {ARCHIVE} and {first.peer} do equally well: {first.told}."
    return f"For these {noun} it depends on the quality wanted: {best.told}, but {worst.told}."


class Pair(NamedTuple):
    """The best archive beside the best peer at one level; `lead` is above 1 where ours wins, below -1 where not."""

    peer: str
    lead: float
    at: str
    better: str
    rest: str

    @property
    def told(self) -> str:
        return f"{self.at} {self.better} {self.rest}"


def _pairs_at_rates(own: Mapping[str, Any], peers: Mapping[str, Any]) -> list[Pair]:
    """PSNR at equal rate, the usual rates first."""
    found = []
    for rate in dict.fromkeys((*RATES, *(p.bits_per_value for points in own.values() for p in points))):
        mine = max((db for points in own.values() if isfinite(db := at_rate(points, rate))), default=nan)
        between = {key: db for key, points in peers.items() if isfinite(db := at_rate(points, rate))}
        spent = [(p.psnr, key) for key, points in peers.items() for p in points if p.bits_per_value <= rate]
        theirs, peer = max([*((db, key) for key, db in between.items()), *spent], default=(nan, ""))
        lead = (mine - theirs) / TIE_DB
        if isnan(lead) or (lead > 0 and not between):
            continue
        kept = {
            _name(peer): f"{theirs:.1f} dB" if isfinite(theirs) else "everything",
            ARCHIVE: f"{mine:.1f} dB",
        }
        better, worse = sorted(kept, key=lambda name: (name == ARCHIVE) != (lead > 0))
        at = f"at {rate:.3g} bit{'' if rate == 1 else 's'} per pixel"
        rest = f"keeps {kept[better]} where {worse} keeps {kept[worse]}"
        found.append(Pair(_name(peer), lead, at, better, rest))
    return found


def _pairs_at_errors(own: Mapping[str, Any], peers: Mapping[str, Any]) -> list[Pair]:
    """Bytes at equal relative error, the usual errors first."""
    found = []
    lossy = any(p.relative_error > 0 for points in peers.values() for p in points)
    for error in dict.fromkeys((*ERRORS, *(p.relative_error for points in own.values() for p in points))):
        mine = min((b for points in own.values() if isfinite(b := at_error(points, error))), default=nan)
        between = {key: b for key, points in peers.items() if isfinite(b := at_error(points, error))}
        spent = [
            (p.bits_per_value, k) for k, points in peers.items() for p in points if p.relative_error <= error
        ]
        theirs, peer = min([*((bits, key) for key, bits in between.items()), *spent], default=(nan, ""))
        lead = log(theirs / mine) / log(TIE_BYTES)
        if isnan(lead) or (lead > 0 and lossy and not between):
            continue
        better, worse = (ARCHIVE, _name(peer)) if lead > 0 else (_name(peer), ARCHIVE)
        factor = max(theirs / mine, mine / theirs)
        less = f"{factor:.2g} times fewer bytes than" if factor > TIE_BYTES else "as many bytes as"
        found.append(
            Pair(_name(peer), lead, f"at relative error {error:.2g}", better, f"needs {less} {worse}")
        )
    return found


def _span(side: Mapping[str, Sequence[CodecPoint]]) -> str:
    rates = [p.bits_per_value for points in side.values() for p in points]
    return f"{min(rates):.3g} to {max(rates):.3g}"


def _name(key: str) -> str:
    return str(_declared(key, "title", key))


def _declared(key: str, what: str, default: Any) -> Any:
    """What is declared of a codec; `default` for any other name."""
    return getattr(CODECS.get(key), what, default)


def _by_psnr(points: Sequence[CodecPoint]) -> tuple[np.ndarray, np.ndarray]:
    return frontier([p.bits_per_value for p in points], [p.psnr for p in points])


def _between(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """y at a place between strictly ascending x; NaN outside, but for rounding."""
    if not len(x) or not x[0] - ROUNDING <= at <= x[-1] + ROUNDING:
        return nan
    if len(x) == 1:
        return float(y[0])
    from scipy.interpolate import PchipInterpolator  # on use: it takes 0.3 s to import

    return float(PchipInterpolator(x, y)(min(max(at, x[0]), x[-1])))
