"""Where svdflow keeps, for the user and outside any study, what would be computed again otherwise."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where findings are kept: ``$SVDFLOW_CACHE``, else ``svdflow`` in the user's folder for caches.

    Raises
    ------
    RuntimeError
        Nothing says where, and the user has no home.
    """
    if given := os.environ.get("SVDFLOW_CACHE"):
        return Path(given)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))  # by its specification, relative ones do not count
    if not base.is_absolute():
        base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "svdflow"
