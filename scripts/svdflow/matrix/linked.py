"""A matrix file that is linked: what ingest records of it, and its opening in later stages as it was recorded."""

from pathlib import Path
from typing import Any

from svdflow.errors import ItemError
from svdflow.matrix.opening import open_matrix
from svdflow.matrix.sources import MatrixSource
from svdflow.store import Observation
from svdflow.study.located import file_state

DESCRIBED = ("m", "n", "dtype")


def link_attrs(
    source: MatrixSource, path: Path, dataset: str, fill: float | None, allow_links: bool
) -> dict[str, Any]:
    """Attributes of an observation that stands for a file."""
    size, mtime_ns = file_state(path)
    attrs = {
        "link_path": str(path),
        "link_dataset": dataset,
        "link_mtime_ns": mtime_ns,
        "link_allow_links": allow_links,
        **described(source),
        "size": size,
    }
    return attrs if fill is None else {**attrs, "link_fill": fill}


def described(source: MatrixSource) -> dict[str, Any]:
    """Shape and type."""
    return {"m": int(source.shape[0]), "n": int(source.shape[1]), "dtype": source.dtype.name}


def open_linked(observation: Observation) -> MatrixSource:
    """The matrix of an observation that links a file, if it is still the one that was ingested.

    Raises
    ------
    ItemError
        ``changed``: size, time of change, shape or type differ from what ingest recorded.
    """
    assert observation.link is not None
    path, dataset = observation.link
    attrs = observation.group.attrs
    if "link_mtime_ns" in attrs:
        try:
            size, mtime_ns = file_state(Path(path))
        except OSError:
            raise ItemError(
                "missing", f"{path}: was there at ingest and is gone; put it back, and run again"
            ) from None
        if size != int(attrs["size"]):
            raise _changed(path, f"it had {attrs['size']} bytes and has {size}")
        if mtime_ns != int(attrs["link_mtime_ns"]):
            raise _changed(path, "it was written to")
    fill = float(attrs["link_fill"]) if "link_fill" in attrs else None
    allow_links = bool(attrs.get("link_allow_links", False))
    source = open_matrix(path, dataset or None, fill=fill, allow_links=allow_links)
    now = described(source)
    before = {key: attrs[key] for key in DESCRIBED if key in attrs}
    if before and any(before[key] != now[key] for key in before):
        words = [f"{part['m']} x {part['n']}, {part['dtype']}" for part in (before, now)]
        raise _changed(path, f"it held {words[0]} and holds {words[1]}")
    return source


def _changed(path: str, what: str) -> ItemError:
    return ItemError(
        "changed", f"{path}: is not the file that was ingested: {what}; run again, and it is read anew"
    )
