"""What a file declares against what it holds: sizes are checked before anything is allocated for them."""

import os

import h5py

from svdflow.errors import DeclaredSizeError

# A deflate stream holds at most 258 bytes a code of 2 bits: zlib.net/zlib_tech.html gives 1032 to 1.
DEFLATE_RATIO = 1032
SLACK = 4096  # bytes that headers and small blocks may take beyond what the ratio allows; chosen


def refuse_unheld(declared: int, held: int, name: str, *, ratio: int = 1) -> None:
    """Refuse `declared` bytes of which the file holds `held`, compressed at most by `ratio`."""
    if declared > held * ratio + SLACK:
        packed = " compressed" if ratio > 1 else ""
        raise DeclaredSizeError(
            f"{name}: declares {_size(declared)}, where the file holds {_size(held)}{packed}; it is damaged or not "
            "what it says"
        )


def refuse_unfit(needed: int, name: str) -> None:
    """Refuse what does not fit the memory of this machine."""
    limit = memory()
    if needed > limit:
        raise DeclaredSizeError(
            f"{name}: takes {_size(needed)} in memory, and this machine has {_size(limit)}; store it dense in HDF5 "
            "or Zarr, which are read in parts, or take a larger machine"
        )


def refuse_bloated(dataset: h5py.Dataset, name: str) -> None:
    """Refuse an HDF5 dataset that is larger than what is stored for it can unpack to, or a chunk than memory."""
    if dataset.chunks:
        chunk = dataset.dtype.itemsize
        for side in dataset.chunks:
            chunk *= side
        refuse_unfit(chunk, f"{name}: one chunk")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        raise DeclaredSizeError(f"{name}: is compressed by deflate twice; store it anew with one filter")


def memory() -> int:
    """Bytes of memory of this machine, or of the limit that was set on this process."""
    import resource

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return total if limit == resource.RLIM_INFINITY else min(total, limit)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000 or unit == "PB":
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return ""
