"""Where the files of a manifest are; ingest jobs import this and nothing else of the plan."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "package:"
SHA256_DIGITS = 64  # hexadecimal digits of a SHA-256 digest (FIPS 180-4): 256 bits, four a digit


def locate(folder: str, name: str = "") -> Path:
    """The path of a manifest's file; a package (``package:NAME/FOLDER``) is found without importing it."""
    if not folder.startswith(PACKAGE):
        return Path(folder, name)
    package, _, inside = folder.removeprefix(PACKAGE).partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"package '{package}', which holds these files, is not installed; run 'make setup'"
        )
    if leaves(inside) or leaves(name):
        raise ValueError(f"{folder}/{name}: is not within its package")
    return Path(spec.submodule_search_locations[0], inside, name)


def leaves(path: str) -> bool:
    """Whether a path below a folder leads out of it, by what it says: ``..``, or a path from the root."""
    return path.startswith("/") or ".." in path.split("/") or "\0" in path


def file_state(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change in ns; of a folder (a Zarr store) those of all its files, the latest one."""
    if not path.is_dir():
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    found = [file.stat() for file in path.rglob("*") if file.is_file()]
    return sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=path.stat().st_mtime_ns)


def files_of_shard(
    folder: str, first: int, names: Sequence[str | None], digests: Sequence[str]
) -> list[dict[str, Any]]:
    """The files of an ingest job: index in the manifest, path, name and, where it is known, sha256."""
    files = []
    for place, (name, digest) in enumerate(zip(names, digests, strict=True), start=first):
        if name is not None:
            file = {"index": place, "path": str(locate(folder, name)), "name": name}
            files.append(file | ({"sha256": digest} if len(digest) == SHA256_DIGITS else {}))
    return files
