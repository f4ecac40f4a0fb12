"""Denoisers by name, and the kinds of datasets that each applies to; what they do is in `svdflow.denoisers`."""

from collections.abc import Sequence

EVERYTHING = ("images", "synthetic", "matrix")
PICTURES = ("images",)
MATRICES = ("synthetic", "matrix")

APPLIES: dict[str, Sequence[str]] = {
    "shrink": EVERYTHING,
    "truncate": EVERYTHING,
    "patch_svd": PICTURES,
    "wnnm": PICTURES,
    "mppca": EVERYTHING,  # pages of an image, or a matrix with a grid
    "ssa": MATRICES,
    "tv": PICTURES,
    "wavelet": PICTURES,
    "nl_means": PICTURES,
}

# Seconds of one core that a million values take; benchmarks/images.py --case denoise.
COST = {
    "patch_svd": 60.0,
    "wnnm": 130.0,
    "mppca": 10.0,
    "ssa": 5.0,
    "tv": 8.0,
    "wavelet": 10.0,
    "nl_means": 5.0,
}


def applicable(methods: Sequence[str], kind: str) -> list[str]:
    """Those of `methods` that apply to datasets of this kind, in their order."""
    return [method for method in methods if kind in APPLIES[method]]
