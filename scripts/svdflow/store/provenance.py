"""Where a result came from; no wall-clock time, so that equal runs make equal files."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

LIBRARIES = ("numpy", "scipy", "h5py", "dask", "pillow", "tifffile", "imagecodecs")


def provenance(settings: dict[str, Any], code: str = "") -> dict[str, Any]:
    """Root attributes of a result file: version, settings, digest of the code, library versions."""
    import svdflow

    return {
        "svdflow_version": svdflow.__version__,
        "settings": settings,
        "code": code,
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
